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
    let removals = names.iter().map(|name| {
        let removal = remove_named(context, &args, name, &display);
        async { said(context, &args, name, removal.await) }
    });
    let removed = futures::future::join_all(removals).await;
    display.end().await;
    verdict(removed)
}

fn verdict(removed: Vec<bool>) -> Result<()> {
    if removed.into_iter().all(|removed| removed) {
        Ok(())
    } else {
        Err(CommandError::user("failed to remove one or more builders"))
    }
}

/// A removal that did not succeed.
struct Failed {
    error: CommandError,
    /// What may be left of a builder that was forgotten all the same.
    left: Option<String>,
}

impl<E: Into<CommandError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            left: None,
        }
    }
}

/// Says what became of a builder, and whether all went well.
fn said(context: &Context<'_>, args: &Args, name: &str, removed: std::result::Result<(), Failed>) -> bool {
    match &removed {
        Ok(()) if args.dry_run => {}
        Ok(()) => context.ui.say(format!("{name} removed")),
        Err(Failed { error, left }) => {
            say_error(context, &format!("failed to remove {name}: "), error);
            if let Some(left) = left {
                context
                    .ui
                    .warn(format!("{name} is forgotten all the same; {left}"));
            }
        }
    }
    removed.is_ok()
}

fn say_error(context: &Context<'_>, before: &str, error: &CommandError) {
    context.ui.say(format!("{before}{}", error.line()));
    for hint in error.hints() {
        let hint = context.environment.called.respelled(hint);
        context.ui.say(format!("hint: {hint}"));
    }
}

async fn remove_named(
    context: &Context<'_>,
    args: &Args,
    name: &str,
    display: &Display,
) -> std::result::Result<(), Failed> {
    // A file that cannot be read is removed only when nothing but forgetting was asked for.
    if args.keep_daemon && context.store.contains(name) {
        if args.dry_run {
            say_forgets(context, name);
            return Ok(());
        }
        return Ok(forget(context, name).await?);
    }
    let Some(builder) = builders::find(context, name).await? else {
        return Err(unknown_builder(context, name).into());
    };
    if builder.origin == Origin::Context {
        return Err(CommandError::user(format!(
            "context builder cannot be removed, run `docker context rm {name}` to remove this context"
        ))
        .into());
    }
    remove_builder(context, args, builder, display).await
}

/// Removes the daemons of a builder and then, whatever became of them, its record; but not of one that was interrupted:
/// it has to be found again.
async fn remove_builder(
    context: &Context<'_>,
    args: &Args,
    builder: Builder,
    display: &Display,
) -> std::result::Result<(), Failed> {
    if args.dry_run {
        show_plan(context, args, builder).await;
        return Ok(());
    }
    let removed = if args.keep_daemon {
        Ok(())
    } else {
        remove_daemons(context, &builder, args.removal(builder.origin), display).await
    };
    let interrupted = removed.is_err() && context.cancel.is_cancelled();
    if !builder.is_stored() || interrupted {
        return Ok(removed?);
    }
    forget(context, builder.name()).await?;
    removed.map_err(|error| Failed {
        error,
        left: Some(left_behind(context, &builder)),
    })
}

/// What a removal that failed may have left, in words: the nodes, for which the user has to look.
fn left_behind(context: &Context<'_>, builder: &Builder) -> String {
    let why = match status::check_loadable(context, builder) {
        Ok(()) => "",
        Err(_) => "without its driver nothing is removed, and ",
    };
    let nodes: Vec<String> = builder
        .record
        .nodes()
        .iter()
        .map(|node| format!("{} (`{}`)", node.name, node.endpoint))
        .collect();
    let list = if nodes.is_empty() { "" } else { ": " };
    format!("{why}its daemons may still be there{list}{}", nodes.join(", "))
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

fn say_forgets(context: &Context<'_>, name: &str) {
    context.ui.say(format!("Would forget builder {name}"));
}

/// Says what would be done. It does not fail: what would fail is part of it.
async fn show_plan(context: &Context<'_>, args: &Args, builder: Builder) {
    let report = status::load(context, builder, args.timeout.timeout).await;
    let builder = &report.builder;
    let name = builder.name();
    let removal = args.removal(builder.origin);
    if let (Some(error), false) = (&report.error, removal.keep_daemon) {
        let left = left_behind(context, builder);
        let would = if builder.is_stored() {
            format!("Would only forget builder {name}, and fail")
        } else {
            format!("Would fail to remove builder {name}")
        };
        context.ui.say(format!("{would}: {}; {left}", error.message));
        return;
    }
    if builder.is_stored() {
        say_forgets(context, name);
    }
    if removal.keep_daemon {
        return;
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
    let (inactive, troubles) = find_inactive(context, args).await?;
    let before = if args.dry_run {
        "Would leave as it is: "
    } else {
        ""
    };
    for trouble in &troubles {
        say_error(context, before, trouble);
    }
    let display = Display::of_steps(context, "Removing", "")?;
    let removals = inactive.into_iter().map(|builder| {
        let name = builder.name().to_owned();
        let removal = remove_builder(context, args, builder, &display);
        async move { said(context, args, &name, removal.await) }
    });
    let mut removed = futures::future::join_all(removals).await;
    display.end().await;
    // What a plan would leave is part of the plan.
    removed.push(args.dry_run || troubles.is_empty());
    verdict(removed)
}

/// Stored builders that do not run, and why it cannot be told of others.
async fn find_inactive(context: &Context<'_>, args: &Args) -> Result<(Vec<Builder>, Vec<CommandError>)> {
    let all = builders::all(context).await?;
    all.warnings.iter().for_each(|warning| context.ui.warn(warning));
    let stored = all.builders.into_iter().filter(Builder::is_stored).collect();
    let reports = status::load_all(context, stored, args.timeout.timeout).await;
    let (unknown, known): (Vec<_>, Vec<_>) = reports.into_iter().partition(|report| report.error.is_some());
    let mut troubles: Vec<CommandError> = all.broken.into_iter().map(CommandError::from).collect();
    troubles.extend(unknown.into_iter().filter_map(not_loaded));
    let inactive = known
        .into_iter()
        .filter(|report| !report.dynamic && !is_active(report))
        .map(|report| report.builder);
    Ok((inactive.collect(), troubles))
}

/// Why it cannot be told whether a builder is active. It is left alone, for its daemons may run.
fn not_loaded(report: BuilderReport) -> Option<CommandError> {
    let name = report.builder.name().to_owned();
    let error = CommandError::from(report.error?).prefixed(&format!("cannot load {name}"));
    Some(error.with_hint(format!(
        "`bkhost rm --keep-daemon {name}` forgets the builder and leaves its daemons as they are"
    )))
}

/// A node that does not answer in time may be running: its builder is left alone.
fn is_active(report: &BuilderReport) -> bool {
    let may_run = |node: &status::NodeReport| {
        node.is_running() || node.error.as_ref().is_some_and(|error| error.silent)
    };
    report.nodes.iter().any(may_run)
}
