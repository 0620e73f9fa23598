//! Booting the nodes of a builder.

use super::builders::Builder;
use super::settings::Context;
use super::status::BuilderReport;
use crate::error::Result;
use crate::progress::event::Sink;
use crate::store::record::NodeRecord;

/// Boots every node that could be looked at and does not run, all at once. The first failure ends it.
pub async fn boot_missing(context: &Context<'_>, report: &BuilderReport, sink: &Sink) -> Result<()> {
    let missing = report
        .nodes
        .iter()
        .filter(|node| node.error.is_none() && !node.is_running());
    let boots = missing.map(|node| boot(context, &report.builder, &node.node, sink));
    futures::future::try_join_all(boots).await.map(|_| ())
}

async fn boot(context: &Context<'_>, builder: &Builder, node: &NodeRecord, sink: &Sink) -> Result<()> {
    let config = builder.node_config(context, node);
    let opened = context.drivers.open(&builder.record.driver, config).await?;
    Ok(opened
        .boot(context.request(sink.clone(), None, "bootstrap"))
        .await?)
}
