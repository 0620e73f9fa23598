//! Finds the daemon that a build goes to: opens nodes, places platforms, boots what is needed.

use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};

use super::super::super::values;
use super::{ChosenBuilder, failure, platforms_of};
use crate::acquire::{self, DEFAULT_LIMIT, Daemon, Wanted};
use crate::driver::node::{Cancel, Drivers, Node, NodeConfig};
use crate::error::{CommandError, Result};
use crate::plan::{Assignment, NodePlatforms, Plan, place, place_on_stored};
use crate::platform::Platform;
use crate::progress::event::Sink;
use crate::progress::step::Step;
use crate::ui::Ui;

/// The daemon of a build, and what it builds.
pub struct Found {
    /// The daemon.
    pub daemon: Daemon,
    /// Its platforms; empty leaves it to the daemon.
    pub platforms: Vec<Platform>,
}

/// What a daemon of the builder is wanted for.
pub struct Goal<'a> {
    /// The drivers there are.
    pub drivers: &'a dyn Drivers,
    /// Where nodes that are left out are told.
    pub ui: &'a Ui,
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Where steps are shown.
    pub sink: &'a Sink,
    /// The platforms it has to build; empty leaves it to the daemon.
    pub platforms: &'a [Platform],
    /// What keeps similar work on one of several daemons.
    pub affinity: String,
    /// `build`, `dial-stdio` …; for logs.
    pub purpose: &'static str,
}

/// A node whose driver accepted its configuration.
struct Opened<'a> {
    node: Box<dyn Node>,
    config: &'a NodeConfig,
}

/// Finds the one daemon that builds all wanted platforms.
pub async fn find(goal: &Goal<'_>, builder: &ChosenBuilder) -> Result<Found> {
    let opened = open_all(goal, builder).await?;
    let mut nodes: Vec<NodePlatforms> = opened.iter().map(|opened| facts(opened.config)).collect();
    let first = place_on_stored(goal.platforms, &nodes).map_err(failure::of_placement)?;
    first.check_settled(&nodes).map_err(failure::of_placement)?;
    if first.complete() || nodes.len() == 1 {
        let assignment = first.single(&nodes).map_err(failure::of_placement)?;
        return goal.acquire_one(opened, assignment, nodes).await;
    }
    let mut daemons = goal.acquire_all(opened).await?;
    for (node, daemon) in nodes.iter_mut().zip(&daemons) {
        node.workers = worker_platforms(daemon);
    }
    let plan = place(goal.platforms, &nodes).map_err(failure::of_placement)?;
    let Assignment { node, platforms } = plan.single(&nodes).map_err(failure::of_placement)?;
    say_homeless(&plan, &nodes, goal.sink).await;
    if node >= daemons.len() {
        return Err(CommandError::internal(
            "A platform was placed on a node that is not there",
        ));
    }
    Ok(Found {
        daemon: daemons.swap_remove(node),
        platforms,
    })
}

/// Opens every node. One that cannot be used is said and passed over, as long as another one can.
async fn open_all<'a>(goal: &Goal<'_>, builder: &'a ChosenBuilder) -> Result<Vec<Opened<'a>>> {
    let opening = builder
        .nodes
        .iter()
        .map(|config| acquire::open(goal.drivers, &builder.driver, config.clone()));
    let mut opened = Vec::new();
    let mut refused = Vec::new();
    for (config, outcome) in builder.nodes.iter().zip(join_all(opening).await) {
        match outcome {
            Ok(node) => opened.push(Opened { node, config }),
            Err(error) => refused.push((config, error)),
        }
    }
    if opened.is_empty() {
        return Err(match refused.pop() {
            Some((_, error)) => failure::of_acquire(error).prefixed("no valid drivers found"),
            None => CommandError::user("no drivers found").with_hint(format!(
                "`bkhost create --append --name {}` adds a node",
                builder.name
            )),
        });
    }
    for (config, error) in refused {
        goal.ui.warn(format!(
            "Node `{}` is left out: {}",
            config.node,
            failure::of_acquire(error).line()
        ));
    }
    Ok(opened)
}

fn facts(config: &NodeConfig) -> NodePlatforms {
    NodePlatforms {
        name: config.node.clone(),
        stored: platforms_of(config),
        workers: Vec::new(),
    }
}

fn worker_platforms(daemon: &Daemon) -> Vec<Platform> {
    let mut list: Vec<Platform> = Vec::new();
    for text in daemon
        .client
        .workers()
        .iter()
        .flat_map(|worker| &worker.platforms)
    {
        if let Ok(platform) = text.parse()
            && !list.contains(&platform)
        {
            list.push(platform);
        }
    }
    list
}

/// Says in one line, before the build, what no node lists. Its Dockerfile may cross-compile, so it is no error.
async fn say_homeless(plan: &Plan, nodes: &[NodePlatforms], sink: &Sink) {
    let platforms: Vec<String> = plan.homeless().map(Platform::to_string).collect();
    let Some(first) = nodes.first().filter(|_| !platforms.is_empty()) else {
        return;
    };
    let line = format!(
        "[internal] no node lists {}: `{}` builds it, which works for steps that cross-compile",
        platforms.join(", "),
        first.name
    );
    Step::start(sink, line).await.finish().await;
}

impl Goal<'_> {
    fn wanted(&self, config: &NodeConfig) -> Wanted {
        Wanted {
            purpose: self.purpose,
            affinity: self.affinity.clone(),
            deadline: Instant::now().checked_add(limit(config)).into(),
            cancel: self.cancel.clone(),
            sink: self.sink.clone(),
        }
    }

    async fn acquire(&self, opened: Opened<'_>) -> Result<Daemon> {
        let wanted = self.wanted(opened.config);
        let acquired = acquire::acquire(opened.node, &opened.config.node, &wanted).await;
        acquired.map_err(failure::of_acquire)
    }

    async fn acquire_one(
        &self,
        opened: Vec<Opened<'_>>,
        assignment: Assignment,
        mut nodes: Vec<NodePlatforms>,
    ) -> Result<Found> {
        let Assignment { node, platforms } = assignment;
        let Some(opened) = opened.into_iter().nth(node) else {
            return Err(CommandError::internal(
                "A platform was placed on a node that is not there",
            ));
        };
        let daemon = self.acquire(opened).await?;
        if let [only] = nodes.as_mut_slice() {
            only.workers = worker_platforms(&daemon);
            let plan = place(&platforms, &nodes).map_err(failure::of_placement)?;
            say_homeless(&plan, &nodes, self.sink).await;
        }
        Ok(Found { daemon, platforms })
    }

    async fn acquire_all(&self, opened: Vec<Opened<'_>>) -> Result<Vec<Daemon>> {
        try_join_all(opened.into_iter().map(|opened| self.acquire(opened))).await
    }
}

/// How long a node may take to be usable: what its `timeout` option allows, or the default if that is longer.
fn limit(config: &NodeConfig) -> Duration {
    let option = config
        .options
        .get("timeout")
        .and_then(|text| values::duration(text).ok());
    let own = option
        .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
        .map(Duration::from_nanos);
    own.unwrap_or_default().max(DEFAULT_LIMIT)
}
