//! `stop`: end the daemons of a builder.

use crate::cli::builders::Builder;
use crate::cli::display::Display;
use crate::cli::settings::{Context, resolve_builder};
use crate::cli::values::Limit;
use crate::cli::{engine, status};
use crate::error::{CommandError, Result};

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost stop ci\n  bkhost stop --dry-run ci")]
pub struct Args {
    /// Show what would be stopped and stop nothing
    #[arg(long)]
    dry_run: bool,
    /// The builder (default: the selected one)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Stops the nodes one after the other; the first failure ends it.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let mut builder = resolve_builder(context, args.name.as_deref()).await?.builder;
    engine::ready(context, &mut builder).await?;
    if args.dry_run {
        return show_plan(context, builder).await;
    }
    let display = Display::of_steps(context, "Stopping", &builder.label())?;
    let stopped = stop_all(context, &builder, &display).await;
    display.end().await;
    stopped
}

async fn stop_all(context: &Context<'_>, builder: &Builder, display: &Display) -> Result<()> {
    let nodes = builder.record.nodes();
    let mut unopened: Option<CommandError> = None;
    for node in nodes {
        let config = builder.node_config(context, node);
        match context.drivers.open(&builder.record.driver, config).await {
            Ok(opened) => {
                let prefix = (nodes.len() > 1).then_some(node.name.as_str());
                opened
                    .stop(context.request(display.lane(prefix), None, "stop"))
                    .await?;
            }
            Err(error) => unopened = Some(error.into()),
        }
    }
    unopened.map_or(Ok(()), Err)
}

async fn show_plan(context: &Context<'_>, builder: Builder) -> Result<()> {
    let report = status::load(context, builder, Limit(None)).await;
    for node in &report.nodes {
        let name = format!("{} ({})", report.builder.name(), node.node.name);
        context.ui.say(match &node.error {
            Some(error) => format!("Cannot tell whether {name} runs: {}", error.message),
            None if node.is_running() => format!("Would stop {name}"),
            None => format!("Would leave {name} as it is: {}", node.status_word()),
        });
    }
    Ok(())
}
