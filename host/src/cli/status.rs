//! What builders and their nodes are right now, asked in parallel with a deadline for each.

use std::collections::BTreeMap;
use std::time::Instant;

use super::builders::Builder;
use super::engine;
use super::platform_summary::merged;
use super::settings::Context;
use super::values::{self, Limit};
use crate::buildkit::client::Client;
use crate::buildkit::worker::Worker;
use crate::driver::node::{DriverError, DriverErrorKind, Instance, Node, State, WorkerFacts};
use crate::error::CommandError;
use crate::platform::Platform;
use crate::progress::event::Sink;
use crate::store::record::NodeRecord;
use crate::store::shared;

/// A builder with what is known of it.
#[derive(Debug)]
pub struct BuilderReport {
    /// The builder.
    pub builder: Builder,
    /// Why its nodes could not be looked at.
    pub error: Option<Trouble>,
    /// Its nodes; for a builder whose nodes come and go, one entry per live daemon.
    pub nodes: Vec<NodeReport>,
    /// Its nodes come and go.
    pub dynamic: bool,
}

/// A node with what is known of it.
#[derive(Clone, Debug, Default)]
pub struct NodeReport {
    /// Its record.
    pub node: NodeRecord,
    /// Its state; absent after an error.
    pub state: Option<State>,
    /// The driver's explanation of the state; may be empty.
    pub detail: String,
    /// Why it cannot be used or told.
    pub error: Option<Trouble>,
    /// Version of its daemon.
    pub version: Option<String>,
    /// Workers of its daemon.
    pub workers: Vec<Worker>,
    /// What builds on it can do, by the driver's keys; asked for with `--debug` only, or where the daemon does not tell
    /// its version.
    pub abilities: BTreeMap<String, String>,
    /// Settings in which what runs differs from the configuration, as the driver names them.
    pub drift: Option<String>,
    /// Its live daemons.
    pub instances: Vec<Instance>,
    /// Its daemons come and go.
    pub dynamic: bool,
}

/// A failure that is shown beside what works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// One line.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// There was no answer in time, or none for now: a port may be there before its daemon.
    pub silent: bool,
}

impl Trouble {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into().trim().to_owned(),
            hint: None,
            silent: false,
        }
    }
}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        Self {
            silent: matches!(
                error.kind,
                DriverErrorKind::TimedOut | DriverErrorKind::Unavailable
            ),
            hint: error.hint,
            ..Self::new(error.message)
        }
    }
}

impl From<Trouble> for CommandError {
    fn from(trouble: Trouble) -> Self {
        let error = CommandError::user(trouble.message);
        match trouble.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl NodeReport {
    /// The word for its state; empty when unknown.
    pub fn status_word(&self) -> &'static str {
        match (&self.error, self.state) {
            (Some(_), _) => "error",
            (None, Some(state)) => state.word(),
            (None, None) => "",
        }
    }

    /// The platforms it was given.
    pub fn fixed_platforms(&self) -> &[Platform] {
        self.node.platforms.as_deref().unwrap_or_default()
    }

    /// Fixed platforms, then those of its workers.
    pub fn platforms(&self) -> Vec<Platform> {
        let workers: Vec<Platform> = self
            .workers
            .iter()
            .flat_map(|worker| &worker.platforms)
            .filter_map(|text| text.parse().ok())
            .collect();
        merged(self.fixed_platforms(), &workers)
    }

    /// Whether its daemon can be used as it is.
    pub fn is_running(&self) -> bool {
        self.error.is_none() && self.state == Some(State::Running)
    }
}

/// The error for a driver that does not exist, in the words of buildx, with what there is.
pub fn check_driver(context: &Context<'_>, driver: &str) -> Result<(), Trouble> {
    let names = context.drivers.names();
    if names.iter().any(|name| name == driver) {
        return Ok(());
    }
    let mut trouble = Trouble::new(format!("failed to find driver {driver:?}"));
    trouble.hint = Some(if names.is_empty() {
        "This program was built without drivers: run `cargo xtask drivers` and build it again".to_owned()
    } else if let Some(near) = values::nearest(driver, names.iter().map(String::as_str)) {
        format!(
            "Did you mean `{near}`? Drivers that are there: {}",
            quoted(&names)
        )
    } else {
        format!("Drivers that are there: {}", quoted(&names))
    });
    Err(trouble)
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Looks at all nodes of a builder. Nothing here is an error of the command.
pub async fn load(context: &Context<'_>, mut builder: Builder, limit: Limit) -> BuilderReport {
    let deadline = limit.deadline();
    let error = engine::prepare(context, &mut builder, deadline).await.err();
    let mut report = BuilderReport {
        error,
        dynamic: builder.is_stored() && builder.record.nodes().is_empty(),
        nodes: Vec::new(),
        builder,
    };
    if report.error.is_some() {
        return report;
    }
    let nodes = report.builder.record.nodes();
    let loads = nodes
        .iter()
        .map(|node| load_node(context, &report.builder, node, deadline));
    let nodes = futures::future::join_all(loads).await;
    report.dynamic |= !nodes.is_empty()
        && nodes
            .iter()
            .all(|node| node.dynamic && !node.instances.is_empty());
    report.nodes = if report.dynamic {
        one_per_instance(nodes)
    } else {
        nodes
    };
    report
}

/// Whether the builder's driver is there, and may have stored builders.
pub fn check_loadable(context: &Context<'_>, builder: &Builder) -> Result<(), Trouble> {
    let driver = &builder.record.driver;
    if builder.is_stored() && !shared::is_storable(driver) {
        return Err(Trouble::new(format!(
            "additional instances of driver {driver:?} cannot be created"
        )));
    }
    check_driver(context, driver)
}

/// Looks at many builders at once.
pub async fn load_all(context: &Context<'_>, builders: Vec<Builder>, limit: Limit) -> Vec<BuilderReport> {
    let loads = builders.into_iter().map(|builder| load(context, builder, limit));
    futures::future::join_all(loads).await
}

async fn load_node(
    context: &Context<'_>,
    builder: &Builder,
    node: &NodeRecord,
    deadline: Option<Instant>,
) -> NodeReport {
    let mut report = NodeReport {
        node: node.clone(),
        ..NodeReport::default()
    };
    let started = Instant::now();
    let looked = tokio::select! {
        looked = look_at(context, builder, &mut report, deadline) => looked,
        () = until(deadline) => Err(Trouble {
            silent: true,
            ..Trouble::new(format!("No answer within {:.0?}", started.elapsed()))
        }),
        () = context.cancel.cancelled() => Err(Trouble::new("Cancelled")),
    };
    report.error = looked.err();
    report
}

/// The deadline; never without one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn look_at(
    context: &Context<'_>,
    builder: &Builder,
    report: &mut NodeReport,
    deadline: Option<Instant>,
) -> Result<(), Trouble> {
    let config = builder.node_config(context, &report.node);
    let node = context.drivers.open(&builder.record.driver, config).await?;
    if report.node.endpoint.is_empty() {
        report.node.endpoint = node.endpoint().await?;
    }
    let (status, instances) = node.status_and_instances().await?;
    report.state = Some(status.state);
    report.detail = status.detail;
    let attribute = |key: &str| {
        let found = status.attributes.iter().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
    };
    report.dynamic = attribute("dynamic").is_some_and(|value| value == "true");
    report.drift = attribute("drift");
    report.version = attribute("version");
    if status.state != State::Running {
        return Ok(());
    }
    report.instances = instances;
    let running = report
        .instances
        .iter()
        .find(|instance| instance.state == State::Running);
    let Some(instance) = running.map(|instance| instance.id.clone()) else {
        return Ok(());
    };
    ask_daemon(context, node.as_ref(), &instance, report, deadline).await
}

async fn ask_daemon(
    context: &Context<'_>,
    node: &dyn Node,
    instance: &str,
    report: &mut NodeReport,
    deadline: Option<Instant>,
) -> Result<(), Trouble> {
    let request = context.request(Sink::discard(), deadline, "inspect");
    let pipe = node.dial(instance, request).await?;
    let client = Client::connect(pipe, deadline).await.map_err(|error| Trouble {
        hint: error.hint().map(str::to_owned),
        ..Trouble::new(format!("listing workers: {error}"))
    })?;
    report.workers = client.workers().to_vec();
    let told = client
        .version()
        .await
        .ok()
        .flatten()
        .map(|version| version.version);
    // Every question to a driver costs a guest: this one is for old daemons, and for who wants to see all.
    if (told.is_none() && report.version.is_none()) || context.ui.debug() {
        report.abilities = node.abilities(report.workers.iter().map(facts).collect()).await?;
    }
    // The daemon's own word comes first, then what the driver knows of this one.
    let told = told.or_else(|| report.abilities.get("version").cloned());
    report.version = told.filter(|text| !text.is_empty()).or(report.version.take());
    Ok(())
}

fn facts(worker: &Worker) -> WorkerFacts {
    WorkerFacts {
        id: worker.id.clone(),
        labels: worker.labels.clone(),
        platforms: worker.platforms.clone(),
    }
}

fn one_per_instance(nodes: Vec<NodeReport>) -> Vec<NodeReport> {
    let mut expanded = Vec::new();
    for node in nodes {
        for instance in &node.instances {
            let mut copy = node.clone();
            let platforms = instance.labels.iter().find(|(name, _)| name == "platforms");
            if let Some((_, list)) = platforms.filter(|(_, list)| !list.is_empty()) {
                copy.node.platforms = crate::platform::parse_list(&[list]).ok();
            }
            expanded.push(copy);
        }
    }
    expanded
}
