//! `rm`: remove builders and their daemons.

use crate::cli::args::Timeout;
use crate::cli::builders::{self, Builder, Origin};
use crate::cli::display::Display;
use crate::cli::settings::{Context, resolve_builder, unknown_builder};
use crate::cli::status::{self, BuilderReport};
use crate::driver::node::Removal;
use crate::error::{CommandError, Result};
use crate::progress::event::Sink;
use crate::store::record::NodeRecord;

/// Arguments of `rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Keep the BuildKit state: the cache
    #[arg(long)]
    keep_state: bool,
    /// Remove the state of the builder `local` as well, which is kept otherwise
    #[arg(long, conflicts_with = "keep_state")]
    with_state: bool,
    /// Only forget the builder; its daemons are left as they are
    #[arg(long)]
    keep_daemon: bool,
    /// Remove all builders that do not run
    #[arg(long)]
    all_inactive: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    force: bool,
    /// Show what would be removed and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    timeout: Timeout,
    /// The builders (default: the selected one)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

const EXAMPLES: &str = "Examples:
  bkhost rm ci
  bkhost rm --keep-state ci            Keep its cache for a builder of the same name
  bkhost rm --keep-daemon ci           Forget it, leave its daemons running
  bkhost rm --all-inactive --dry-run";

const QUESTION: &str = "WARNING! This will remove all builders that are not in running state. Are you sure you want to continue?";

impl Args {
    fn removal(&self, origin: Origin) -> Removal {
        let keeps = self.keep_state || (origin == Origin::Implicit && !self.with_state);
        Removal {
            keep_state: keeps,
            keep_daemon: self.keep_daemon,
        }
    }
}

/// Removes builders; a failure leaves the others going.
pub async fn run(context: &Context<'_>, args: Args) -> Result<()> {
    if args.all_inactive {
        return remove_inactive(context, &args).await;
    }
    let names = if args.names.is_empty() {
        vec![resolve_builder(context, None).await?.builder.name().to_owned()]
    } else {
        args.names.clone()
    };
    let display = Display::of_steps(context, "Removing", &names.join(" "))?;
    let removals = names
        .iter()
        .map(|name| remove_and_say(context, &args, name, &display));
    let removed = futures::future::join_all(removals).await;
    display.end().await;
    if removed.into_iter().all(|removed| removed) {
        Ok(())
    } else {
        Err(CommandError::user("failed to remove one or more builders"))
    }
}

async fn remove_and_say(context: &Context<'_>, args: &Args, name: &str, display: &Display) -> bool {
    let removed = remove_named(context, args, name, display).await;
    match &removed {
        Ok(()) if args.dry_run => {}
        Ok(()) => context.ui.say(format!("{name} removed")),
        Err(error) => {
            context
                .ui
                .say(format!("failed to remove {name}: {}", error.line()));
            error
                .hints()
                .iter()
                .for_each(|hint| context.ui.say(format!("hint: {hint}")));
        }
    }
    removed.is_ok()
}

async fn remove_named(context: &Context<'_>, args: &Args, name: &str, display: &Display) -> Result<()> {
    // A file that cannot be read is removed only when nothing but forgetting was asked for.
    if args.keep_daemon && !args.dry_run && context.store.contains(name) {
        return forget(context, name).await;
    }
    let Some(builder) = builders::find(context, name).await? else {
        return Err(unknown_builder(context, name));
    };
    if builder.origin == Origin::Context {
        return Err(CommandError::user(format!(
            "context builder cannot be removed, run `docker context rm {name}` to remove this context"
        )));
    }
    if args.dry_run {
        return show_plan(context, args, builder).await;
    }
    if args.keep_daemon {
        return Ok(());
    }
    let work = remove_daemons(context, &builder, args.removal(builder.origin), display);
    let removed = match args.timeout.timeout.0 {
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(CommandError::user(format!("No answer within {limit:.0?}")))),
        None => work.await,
    };
    if builder.is_stored() {
        forget(context, name).await?;
    }
    removed
}

async fn forget(context: &Context<'_>, name: &str) -> Result<()> {
    let transaction = context.store.transaction(context.waiting()).await?;
    Ok(transaction.remove(name)?)
}

/// Stops and removes all nodes; their failures are put together.
async fn remove_daemons(
    context: &Context<'_>,
    builder: &Builder,
    removal: Removal,
    display: &Display,
) -> Result<()> {
    status::check_loadable(context, builder)?;
    let removals = builder.record.nodes().iter().map(|node| {
        let sink = display.lane(Some(&node.name));
        remove_node(context, builder, node, removal, sink)
    });
    let failures: Vec<String> = futures::future::join_all(removals)
        .await
        .into_iter()
        .filter_map(std::result::Result::err)
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(CommandError::user(failures.join("\n")))
    }
}

async fn remove_node(
    context: &Context<'_>,
    builder: &Builder,
    node: &NodeRecord,
    removal: Removal,
    sink: Sink,
) -> std::result::Result<(), String> {
    let name = &node.name;
    let config = builder.node_config(context, node);
    let opened = context.drivers.open(&builder.record.driver, config).await;
    let opened = opened.map_err(|error| format!("failed to load node {name}: {error}"))?;
    if !removal.keep_daemon {
        let stopped = opened.stop(context.request(sink.clone(), None, "rm")).await;
        stopped.map_err(|error| format!("failed to stop node {name}: {error}"))?;
    }
    let removed = opened.remove(context.request(sink, None, "rm"), removal).await;
    removed.map_err(|error| format!("failed to remove node {name}: {error}"))
}

async fn show_plan(context: &Context<'_>, args: &Args, builder: Builder) -> Result<()> {
    let report = status::load(context, builder, args.timeout.timeout).await;
    let name = report.builder.name();
    let removal = args.removal(report.builder.origin);
    if report.builder.is_stored() {
        context.ui.say(format!("Would forget builder {name}"));
    }
    if removal.keep_daemon {
        return Ok(());
    }
    let state = if removal.keep_state {
        "keep its state"
    } else {
        "delete its state"
    };
    for node in &report.nodes {
        let status = node
            .error
            .as_ref()
            .map_or_else(|| node.status_word(), |error| &error.message);
        context.ui.say(format!(
            "Would stop and remove {name} ({}) and {state}; it is now: {status}",
            node.node.name
        ));
    }
    report.error.map_or(Ok(()), |error| Err(error.into()))
}

/// Asks on a thread of its own, so that Ctrl-C is seen meanwhile.
async fn confirmed(context: &Context<'_>) -> bool {
    let ui = context.ui.clone();
    let answer = tokio::task::spawn_blocking(move || ui.confirm(QUESTION));
    tokio::select! {
        answer = answer => answer.is_ok_and(|answer| answer.unwrap_or_default()),
        () = context.cancel.cancelled() => false,
    }
}

async fn remove_inactive(context: &Context<'_>, args: &Args) -> Result<()> {
    if !args.names.is_empty() {
        return Err(CommandError::user(
            "cannot specify builder name when --all-inactive is set",
        ));
    }
    let asks = !args.force && !args.dry_run;
    if asks && !confirmed(context).await {
        return Ok(());
    }
    let all = builders::all(context).await?;
    if let Some(error) = all.broken.into_iter().next() {
        return Err(error.into());
    }
    let stored = all.builders.into_iter().filter(Builder::is_stored).collect();
    let reports = status::load_all(context, stored, args.timeout.timeout).await;
    for report in &reports {
        if let Some(error) = &report.error {
            let message = format!("cannot load {}: {}", report.builder.name(), error.message);
            return Err(CommandError::user(message));
        }
    }
    let display = Display::of_steps(context, "Removing", "")?;
    let removals = reports
        .into_iter()
        .filter(|report| !report.dynamic && !is_active(report))
        .map(|report| remove_one_inactive(context, args, report.builder, &display));
    let removed = futures::future::try_join_all(removals).await;
    display.end().await;
    removed.map(|_| ())
}

/// A node that does not answer in time may be running: its builder is left alone.
fn is_active(report: &BuilderReport) -> bool {
    let may_run = |node: &status::NodeReport| {
        node.is_running() || node.error.as_ref().is_some_and(|error| error.silent)
    };
    report.nodes.iter().any(may_run)
}

async fn remove_one_inactive(
    context: &Context<'_>,
    args: &Args,
    builder: Builder,
    display: &Display,
) -> Result<()> {
    if args.dry_run {
        return show_plan(context, args, builder).await;
    }
    let removed = remove_daemons(context, &builder, args.removal(builder.origin), display).await;
    forget(context, builder.name()).await?;
    context.ui.say(format!("{} removed", builder.name()));
    removed
}
