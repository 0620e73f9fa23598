//! `stop`: end the daemons of a builder.

use crate::cli::display::Display;
use crate::cli::settings::{Context, resolve_builder};
use crate::cli::status;
use crate::cli::values::Limit;
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
    let builder = resolve_builder(context, args.name.as_deref()).await?.builder;
    status::check_loadable(context, &builder)?;
    if args.dry_run {
        return show_plan(context, builder).await;
    }
    let display = Display::lines(context.ui);
    let sink = display.sink();
    let mut unopened: Option<CommandError> = None;
    let mut stopped = Ok(());
    for node in builder.record.nodes() {
        let config = builder.node_config(context, node);
        match context.drivers.open(&builder.record.driver, config).await {
            Ok(opened) => stopped = opened.stop(context.request(sink.clone(), None, "stop")).await,
            Err(error) => unopened = Some(error.into()),
        }
        if stopped.is_err() {
            break;
        }
    }
    drop(sink);
    display.end().await;
    stopped?;
    unopened.map_or(Ok(()), Err)
}

async fn show_plan(context: &Context<'_>, builder: crate::cli::builders::Builder) -> Result<()> {
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
