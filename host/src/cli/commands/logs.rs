//! `logs`: the log of a builder's daemons.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::cli::builders::Builder;
use crate::cli::settings::{Context, resolve_builder};
use crate::cli::{engine, print};
use crate::connect::pipe::Pipe;
use crate::driver::node::{LogRequest, Node};
use crate::error::{CommandError, Result};
use crate::store::record::NodeRecord;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bkhost logs\n  bkhost logs --follow --tail 20 ci\n  bkhost logs --node ci1 ci"
)]
pub struct Args {
    /// Wait for new lines
    #[arg(short, long)]
    follow: bool,
    /// Show only this many of the last lines
    #[arg(short = 'n', long, value_name = "LINES", value_parser = lines)]
    tail: Option<u64>,
    /// Show only this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Show only this instance of the node
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// The builder (default: the selected one)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

fn lines(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "must be a number of lines, 0 or more".to_owned())
}

/// Longest wait for the first byte of a log.
const FIRST_BYTE: Duration = Duration::from_secs(20);
/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Prints the logs of all chosen instances, one after the other.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let mut builder = resolve_builder(context, args.name.as_deref()).await?.builder;
    engine::ready(context, &mut builder).await?;
    let nodes: Vec<&NodeRecord> = builder
        .record
        .nodes()
        .iter()
        .filter(|node| args.node.as_ref().is_none_or(|name| *name == node.name))
        .collect();
    if let (Some(name), true) = (&args.node, nodes.is_empty()) {
        let known = names(builder.record.nodes());
        return Err(
            CommandError::user(format!("node {name:?} not found for {}", builder.name()))
                .with_hint(format!("It has {known}")),
        );
    }
    if args.follow && nodes.len() > 1 {
        return Err(
            CommandError::user("Only one node can be followed at a time").with_hint(format!(
                "Choose one with `--node`: {}",
                names(nodes.iter().copied())
            )),
        );
    }
    for node in &nodes {
        show_node(context, args, &builder, node, nodes.len() > 1).await?;
    }
    Ok(())
}

fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeRecord>) -> String {
    let names: Vec<&str> = nodes.into_iter().map(|node| node.name.as_str()).collect();
    names.join(", ")
}

async fn show_node(
    context: &Context<'_>,
    args: &Args,
    builder: &Builder,
    node: &NodeRecord,
    headed: bool,
) -> Result<()> {
    let config = builder.node_config(context, node);
    let opened = context.drivers.open(&builder.record.driver, config).await?;
    let instances = opened.instances().await?;
    let ids = instances.into_iter().map(|instance| instance.id);
    let chosen: Vec<String> = ids
        .filter(|id| args.instance.as_ref().is_none_or(|wanted| wanted == id))
        .collect();
    if chosen.is_empty() {
        return Err(CommandError::user(format!(
            "No daemon of node `{}` of builder `{}` is there to show a log of",
            node.name,
            builder.name()
        ))
        .with_hint(format!(
            "`bkhost inspect --bootstrap {}` starts it",
            builder.name()
        )));
    }
    for id in &chosen {
        if headed || chosen.len() > 1 {
            context.ui.say(format!("==> {} {id} <==", node.name));
        }
        show_instance(context, args, opened.as_ref(), id).await?;
    }
    Ok(())
}

async fn show_instance(context: &Context<'_>, args: &Args, node: &dyn Node, instance: &str) -> Result<()> {
    let request = LogRequest {
        follow: args.follow,
        tail: args.tail,
        timeout: FIRST_BYTE,
    };
    match node.logs(instance, request).await? {
        Some(pipe) => copy(context, pipe).await,
        None => Err(
            CommandError::user(format!("Driver `{}` shows no logs", node.info().name))
                .with_hint("The daemon's log is where the daemon runs; `bkhost inspect` shows the endpoint"),
        ),
    }
}

async fn copy(context: &Context<'_>, mut pipe: Pipe) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = pipe.read(&mut chunk).await;
        let length = read.map_err(|error| CommandError::user("The log was cut off").with_source(error))?;
        if length == 0 {
            return Ok(());
        }
        print(context.ui, chunk.get(..length).unwrap_or_default())?;
    }
}
