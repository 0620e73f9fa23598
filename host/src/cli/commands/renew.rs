//! `renew`: make the daemons of a builder follow its configuration.

use std::collections::BTreeSet;

use crate::cli::display::Display;
use crate::cli::settings::{Context, resolve_builder};
use crate::cli::status::{self, BuilderReport, NodeReport};
use crate::cli::values::Limit;
use crate::error::{CommandError, Result};
use crate::progress::event::Sink;
use crate::store::record::NodeRecord;

/// Arguments of `renew`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show what would be renewed and renew nothing
    #[arg(long)]
    dry_run: bool,
    /// The builder (default: the selected one)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "\
Nodes that run as configured stay as they are. Builds that run on the others end.

Examples:
  bkhost create --append --name ci --node ci0 --driver-opt memory=8g
  bkhost renew --dry-run ci
  bkhost renew ci";

/// Stops and boots the nodes that differ, one after the other; the first failure ends it.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let builder = resolve_builder(context, args.name.as_deref()).await?.builder;
    let mut report = status::load(context, builder, Limit(None)).await;
    if let Some(trouble) = report.error.take() {
        return Err(trouble.into());
    }
    if args.dry_run {
        show_plan(context, &report);
        return Ok(());
    }
    let differing = differing(&report);
    if !differing.is_empty() {
        let display = Display::of_steps(context, "Renewing", &report.builder.label())?;
        let renewed = renew_all(context, &report, &differing, &display).await;
        display.end().await;
        renewed?;
    }
    // A node that could not be looked at may differ: that is a failure, once the others are renewed.
    if let Some((node, trouble)) = report
        .nodes
        .iter()
        .find_map(|node| Some((node, node.error.clone()?)))
    {
        let error = CommandError::from(trouble);
        return Err(error.prefixed(&format!("Cannot tell whether node `{}` differs", node.node.name)));
    }
    if differing.is_empty() {
        context
            .ui
            .say(format!("{} runs as configured", report.builder.name()));
    }
    Ok(())
}

/// Nodes of the record whose daemons differ from it; a node with several daemons is named once.
fn differing(report: &BuilderReport) -> Vec<&NodeRecord> {
    let names: BTreeSet<&str> = report
        .nodes
        .iter()
        .filter(|node| node.drift.is_some())
        .map(|node| node.node.name.as_str())
        .collect();
    let nodes = report.builder.record.nodes().iter();
    nodes.filter(|node| names.contains(node.name.as_str())).collect()
}

async fn renew_all(
    context: &Context<'_>,
    report: &BuilderReport,
    nodes: &[&NodeRecord],
    display: &Display,
) -> Result<()> {
    let several = report.builder.record.nodes().len() > 1;
    for node in nodes {
        let prefix = several.then_some(node.name.as_str());
        renew(context, report, node, display.lane(prefix)).await?;
    }
    Ok(())
}

async fn renew(context: &Context<'_>, report: &BuilderReport, node: &NodeRecord, sink: Sink) -> Result<()> {
    let builder = &report.builder;
    let config = builder.node_config(context, node);
    let opened = context.drivers.open(&builder.record.driver, config).await?;
    opened.stop(context.request(sink.clone(), None, "stop")).await?;
    Ok(opened.boot(context.request(sink, None, "bootstrap")).await?)
}

fn show_plan(context: &Context<'_>, report: &BuilderReport) {
    for node in &report.nodes {
        context.ui.say(plan(report.builder.name(), node));
    }
}

fn plan(builder: &str, node: &NodeReport) -> String {
    let name = format!("{builder} ({})", node.node.name);
    match (&node.error, &node.drift) {
        (Some(error), _) => format!("Cannot tell whether {name} differs: {}", error.message),
        (None, Some(settings)) => format!("Would renew {name}: {settings}"),
        (None, None) => format!("Would leave {name} as it is"),
    }
}
