//! `create`: make a builder, add, change or remove one of its nodes.

mod endpoint;
mod request;
mod save;

use crate::cli::args::Timeout;
use crate::cli::builders::{Builder, Origin};
use crate::cli::settings::{Context, with_known};
use crate::cli::{boot, print, status};
use crate::error::{CommandError, Result};
use crate::store::selection::Selection;
use crate::store::shared;
use request::Request;
use save::Saved;

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the builder (default: a random one)
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Driver to use; `bkhost driver ls` lists them
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Node to create or change (default: a new one)
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Fixed platforms of the node, a comma list; may be repeated
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Options for the driver, `key=value` joined by commas; may be repeated
    #[arg(long = "driver-opt", value_name = "KEY=VALUE")]
    driver_opts: Vec<String>,
    /// Arguments for buildkitd, split as a shell does
    #[arg(long, value_name = "FLAGS")]
    buildkitd_flags: Option<String>,
    /// Configuration file for buildkitd
    #[arg(long, alias = "config", value_name = "FILE")]
    buildkitd_config: Option<std::path::PathBuf>,
    /// Boot the builder's nodes now
    #[arg(long)]
    bootstrap: bool,
    /// Add a node to a builder instead of making one
    #[arg(long)]
    append: bool,
    /// Remove a node from a builder; its daemon is left as it is
    #[arg(long)]
    leave: bool,
    /// Select the builder
    #[arg(long = "use")]
    select: bool,
    #[command(flatten)]
    timeout: Timeout,
    /// Docker context, engine address or daemon address, as the driver wants it
    #[arg(value_name = "CONTEXT|ENDPOINT")]
    endpoint: Option<String>,
}

const EXAMPLES: &str = "Examples:
  bkhost create --name ci                    A container in the active Docker Engine
  bkhost create --name far my-context        A container in the engine of a docker context
  bkhost create --name ci --driver remote tcp://buildkit.example:1234
  bkhost create --name ci --append --platform linux/arm64 tcp://arm.example:1234
  bkhost create --name ci --node ci0 --driver-opt default-load=true
  bkhost create --name ci --leave --node ci1
  bkhost create --name here --driver process --use --bootstrap";

/// Stores the change, looks at the changed node, and takes the change back if the node cannot be used at all.
pub async fn run(context: &Context<'_>, args: Args) -> Result<()> {
    if args.leave {
        return leave(context, &args).await;
    }
    let (limit, bootstrap, select) = (args.timeout.timeout, args.bootstrap, args.select);
    let request = Request::resolve(context, args).await?;
    let saved = save::save(context, &request).await?;
    if saved.restart_needed {
        context
            .ui
            .warn("new settings may not be used until builder is restarted");
    }
    let builder = Builder {
        record: saved.record.clone(),
        origin: Origin::Stored(saved.revision),
        warnings: Vec::new(),
    };
    let report = status::load(context, builder, limit).await;
    check(context, &request, &saved, &report).await?;
    if select {
        self::select(context, &saved).await?;
    }
    if bootstrap {
        boot::boot_missing(context, &report).await?;
    }
    print(context.ui, format!("{}\n", saved.record.name))
}

/// Takes the change back when the node that was changed has an error. Silence is none: a daemon that is not there yet
/// is no reason to refuse its builder.
async fn check(
    context: &Context<'_>,
    request: &Request,
    saved: &Saved,
    report: &status::BuilderReport,
) -> Result<()> {
    for node in &report.nodes {
        let Some(trouble) = node.error.clone() else {
            continue;
        };
        let (builder, name) = (&saved.record.name, &node.node.name);
        if trouble.silent || *name != saved.node {
            context.ui.warn(format!(
                "Failed to get status for {builder} ({name}): {}",
                trouble.message
            ));
            continue;
        }
        save::roll_back(context, saved).await?;
        let error = CommandError::user(format!(
            "failed to initialize builder {builder} ({name}): {}",
            trouble.message
        ));
        let hints = [trouble.hint, endpoint::advice(context, request)];
        return Err(hints.into_iter().flatten().fold(error, CommandError::with_hint));
    }
    Ok(())
}

async fn select(context: &Context<'_>, saved: &Saved) -> Result<()> {
    let selection = Selection {
        key: context.contexts.key()?,
        name: saved.record.name.clone(),
        global: false,
    };
    let transaction = context.store.transaction(context.waiting()).await?;
    Ok(transaction.select(&selection, false, shared::is_shared(&saved.record.driver))?)
}

async fn leave(context: &Context<'_>, args: &Args) -> Result<()> {
    let name = args.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        return Err(CommandError::user("leave requires instance name").with_hint("Give it with `--name`"));
    }
    let Some(node) = args.node.as_deref().filter(|node| !node.is_empty()) else {
        return Err(CommandError::user("leave requires node name").with_hint(format!(
            "Give it with `--node`; `bkhost inspect {name}` shows the nodes"
        )));
    };
    let transaction = context.store.transaction(context.waiting()).await?;
    let Some(stored) = context.store.load(name)? else {
        let error = CommandError::user(format!("failed to find instance {name:?} for leave"));
        return Err(with_known(context, name, error));
    };
    let mut record = stored.record;
    record.leave(node)?;
    transaction.remove_node_traces(&record.name, node)?;
    transaction.save(&record)?;
    Ok(())
}
