//! Booting the nodes of a builder.

use super::builders::Builder;
use super::display::Display;
use super::settings::Context;
use super::status::BuilderReport;
use crate::error::Result;
use crate::progress::event::Sink;
use crate::store::record::NodeRecord;

/// Boots every node that could be looked at and does not run, all at once, and shows it. The first failure ends it.
pub async fn boot_missing(context: &Context<'_>, report: &BuilderReport) -> Result<()> {
    let display = Display::of_steps(context, "Building", &report.builder.label())?;
    let missing = report
        .nodes
        .iter()
        .filter(|node| node.error.is_none() && !node.is_running());
    let several = report.nodes.len() > 1;
    let boots = missing.map(|node| {
        let prefix = several.then_some(node.node.name.as_str());
        boot(context, &report.builder, &node.node, display.lane(prefix))
    });
    let booted = futures::future::try_join_all(boots).await;
    display.end().await;
    booted.map(|_| ())
}

async fn boot(context: &Context<'_>, builder: &Builder, node: &NodeRecord, sink: Sink) -> Result<()> {
    let config = builder.node_config(context, node);
    let opened = context.drivers.open(&builder.record.driver, config).await?;
    Ok(opened.boot(context.request(sink, None, "bootstrap")).await?)
}
