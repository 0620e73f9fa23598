//! From a node's record to a daemon that answers: status, boot, instances, choice, dial, first call.
//!
//! It has a deadline of its own and tries again while another try may help, because a daemon may stop in the moment
//! between its status and the dial. Nothing here is tried again once a build has begun.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

use crate::buildkit::client::Client;
use crate::buildkit::error::Ran;
use crate::connect::backoff::Backoff;
use crate::connect::channel::HELPER_GRACE;
use crate::connect::error::ConnectError;
use crate::connect::liveness::Lost;
use crate::driver::deadline::Deadline;
use crate::driver::node::{
    Cancel, DialRequest, DriverError, DriverErrorKind, Drivers, Finding, Instance, Loss, NO_EVIDENCE, Node,
    NodeConfig, STEP_KILLED, State, WorkerFacts,
};
use crate::duration::shown;
use crate::plan::instances::{Spread, least_loaded, random, sticky};
use crate::progress::event::Sink;

/// How long a daemon may take to answer when nothing else is said: long enough for a machine that wakes up, short
/// enough that a wrong address is noticed.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// What a daemon is wanted for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `build`, `inspect`, `dial-stdio` …; for logs.
    pub purpose: &'static str,
    /// What keeps similar builds on one of several daemons: the context's path.
    pub affinity: String,
    /// When to give up. Drivers put it off while something comes that takes long, such as an image.
    pub deadline: Deadline,
    /// Ends it early.
    pub cancel: Cancel,
    /// Where steps are shown.
    pub sink: Sink,
}

impl Wanted {
    fn request(&self) -> DialRequest {
        DialRequest {
            sink: self.sink.clone(),
            deadline: self.deadline.clone(),
            cancel: self.cancel.clone(),
            purpose: self.purpose,
        }
    }
}

/// A daemon that answers.
pub struct Daemon {
    /// Its node.
    pub node: Box<dyn Node>,
    /// Name of the node.
    pub name: String,
    /// Which of the node's daemons it is.
    pub instance: String,
    /// The connection.
    pub client: Client,
    opened: SystemTime,
}

/// Why there is no daemon. Driver and instance are named, the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// The driver says why.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The driver could not make the daemon usable. It tries again by itself as long as that may help, so its word is
    /// the last one.
    #[error(transparent)]
    Boot(DriverError),
    /// The stream that the driver opened leads to no daemon.
    #[error("Cannot reach the daemon of node `{node}`")]
    Connect {
        /// Name of the node.
        node: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// The driver booted the node, but lists no live daemon.
    #[error("Node `{node}` has no running daemon")]
    NoInstance {
        /// Name of the node.
        node: String,
    },
    /// It took too long.
    #[error("Node `{node}` was not usable within {}", shown(*after))]
    TimedOut {
        /// Name of the node.
        node: String,
        /// How long it was waited for.
        after: Duration,
        /// What the last try ended with.
        #[source]
        last: Option<Box<AcquireError>>,
    },
    /// The user ended it.
    #[error("context canceled")]
    Cancelled,
}

impl AcquireError {
    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Driver(error) | Self::Boot(error) => error.hint.clone(),
            Self::Connect { source, .. } => source.hint().map(str::to_owned),
            Self::TimedOut { last, .. } => last.as_ref().and_then(|last| last.hint()),
            Self::NoInstance { .. } | Self::Cancelled => None,
        }
    }

    /// Facts of the driver's, such as the last lines of a log.
    pub fn details(&self) -> &[(String, String)] {
        match self {
            Self::Driver(error) | Self::Boot(error) => &error.details,
            Self::TimedOut { last: Some(last), .. } => last.details(),
            _ => &[],
        }
    }

    /// Whether the user ended it.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Driver(error) | Self::Boot(error) => error.kind == DriverErrorKind::Cancelled,
            _ => false,
        }
    }

    /// Whether another try may help: the daemon may be starting or stopping.
    fn is_transient(&self) -> bool {
        match self {
            Self::Driver(error) => {
                matches!(
                    error.kind,
                    DriverErrorKind::Refused | DriverErrorKind::Unavailable
                )
            }
            Self::Connect { source, .. } => source.is_transient(),
            Self::NoInstance { .. } => true,
            Self::Boot(_) | Self::TimedOut { .. } | Self::Cancelled => false,
        }
    }
}

/// Opens a node: validates its configuration, touches nothing.
///
/// # Errors
///
/// What the driver refuses.
pub async fn open(
    drivers: &dyn Drivers,
    driver: &str,
    config: NodeConfig,
) -> Result<Box<dyn Node>, AcquireError> {
    Ok(drivers.open(driver, config).await?)
}

/// Makes the node's daemon usable without connecting to it.
///
/// # Errors
///
/// What the driver ends with, the deadline, a cancellation.
pub async fn boot(node: &dyn Node, name: &str, wanted: &Wanted) -> Result<(), AcquireError> {
    bounded(name, wanted, boot_if_needed(node, wanted)).await
}

/// Connects to one of the node's daemons and asks for its workers; boots it before if needed.
///
/// # Errors
///
/// See [`AcquireError`]; causes that cannot heal end it at once.
pub async fn acquire(node: Box<dyn Node>, name: &str, wanted: &Wanted) -> Result<Daemon, AcquireError> {
    let started = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        let error = match bounded(name, wanted, attempt(node.as_ref(), name, wanted)).await {
            Ok(found) => return Ok(found.with(node, name)),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        tracing::debug!(%error, node = name, "trying again");
        let wait = backoff.next_wait();
        let late = wanted
            .deadline
            .instant()
            .is_some_and(|deadline| Instant::now() + wait >= deadline);
        if late {
            return Err(AcquireError::TimedOut {
                node: name.to_owned(),
                after: started.elapsed(),
                last: Some(Box::new(error)),
            });
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = wanted.cancel.cancelled() => return Err(AcquireError::Cancelled),
        }
    }
}

/// What one try found.
struct Found {
    instance: String,
    client: Client,
    opened: SystemTime,
}

impl Found {
    fn with(self, node: Box<dyn Node>, name: &str) -> Daemon {
        Daemon {
            node,
            name: name.to_owned(),
            instance: self.instance,
            client: self.client,
            opened: self.opened,
        }
    }
}

async fn attempt(node: &dyn Node, name: &str, wanted: &Wanted) -> Result<Found, AcquireError> {
    boot_if_needed(node, wanted).await?;
    let instance = pick(node, name, wanted).await?;
    let opened = SystemTime::now();
    let pipe = node.dial(&instance, wanted.request()).await?;
    let client = Client::connect(pipe, wanted.deadline.instant())
        .await
        .map_err(|source| AcquireError::Connect {
            node: name.to_owned(),
            source,
        })?;
    Ok(Found {
        instance,
        client,
        opened,
    })
}

/// A state that cannot be told is left to the boot, which says more about what is wrong.
async fn boot_if_needed(node: &dyn Node, wanted: &Wanted) -> Result<(), AcquireError> {
    let running = node
        .status()
        .await
        .is_ok_and(|status| status.state == State::Running);
    if !running {
        node.boot(wanted.request()).await.map_err(AcquireError::Boot)?;
    }
    Ok(())
}

async fn pick(node: &dyn Node, name: &str, wanted: &Wanted) -> Result<String, AcquireError> {
    let instances = node.instances().await?;
    let running: Vec<&str> = instances
        .iter()
        .filter(|instance| instance.state == State::Running)
        .map(|Instance { id, .. }| id.as_str())
        .collect();
    let chosen = match running.as_slice() {
        [] | [_] => running.first().copied(),
        several => match Spread::of(&node.placement().await?, &wanted.affinity) {
            Spread::Sticky(key) => sticky(several, &key),
            Spread::Random => random(several, rand::random()),
            Spread::LeastLoaded => least_loaded(&loads(node, several, wanted).await),
        },
    };
    chosen.map(str::to_owned).ok_or_else(|| AcquireError::NoInstance {
        node: name.to_owned(),
    })
}

/// Active builds of every instance, asked at once; `None` where it cannot be told.
async fn loads<'a>(node: &dyn Node, instances: &[&'a str], wanted: &Wanted) -> Vec<(&'a str, Option<usize>)> {
    let ask = |instance: &'a str| async move {
        let pipe = node.dial(instance, wanted.request()).await.ok()?;
        let client = Client::connect(pipe, wanted.deadline.instant()).await.ok()?;
        client.active_builds().await.ok()?
    };
    let asked = instances.iter().map(|instance| async move {
        let load = tokio::time::timeout(LOAD_LIMIT, ask(instance)).await;
        (*instance, load.ok().flatten())
    });
    futures::future::join_all(asked).await
}

/// One of several daemons that does not tell its load soon is not waited for: it would be no good choice anyway.
const LOAD_LIMIT: Duration = Duration::from_secs(5);

/// Ends `work` at the deadline or a cancellation.
async fn bounded<T>(
    name: &str,
    wanted: &Wanted,
    work: impl Future<Output = Result<T, AcquireError>>,
) -> Result<T, AcquireError> {
    let started = Instant::now();
    tokio::select! {
        biased;
        done = work => done,
        () = wanted.cancel.cancelled() => Err(AcquireError::Cancelled),
        () = wanted.deadline.passed(GRACE) => Err(AcquireError::TimedOut { node: name.to_owned(), after: started.elapsed(), last: None }),
    }
}

/// A driver that minds the deadline itself has better words for it, so it gets the time to say them.
const GRACE: Duration = Duration::from_secs(2);

impl Daemon {
    /// The workers as drivers are told of them.
    pub fn worker_facts(&self) -> Vec<WorkerFacts> {
        self.client
            .workers()
            .iter()
            .map(|worker| WorkerFacts {
                id: worker.id.clone(),
                labels: worker.labels.clone(),
                platforms: worker.platforms.clone(),
            })
            .collect()
    }

    /// What builds on it can do, by the driver's keys.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub async fn abilities(&self) -> Result<BTreeMap<String, String>, AcquireError> {
        Ok(self.node.abilities(self.worker_facts()).await?)
    }

    /// Asks the driver why the connection was lost; `None` when it cannot tell.
    pub async fn diagnose(&self, lost: &Lost) -> Option<Finding> {
        let (exit_status, stderr_tail) = match self.client.channel().last_words() {
            Some(words) => (words.ended_within(HELPER_GRACE).await, words.stderr()),
            None => (None, String::new()),
        };
        let loss = Loss {
            instance: self.instance.clone(),
            opened: self.opened,
            lost: SystemTime::now(),
            how: lost.word().to_owned(),
            exit_status,
            stderr_tail,
            request: diagnosis(DIAGNOSIS_LIMIT),
        };
        self.finding(loss, DIAGNOSIS_LIMIT).await
    }

    /// Asks the driver why a step was killed; `None` without evidence, and where it is not to be asked. `ran` is when the
    /// step ran, as far as that is known.
    pub async fn diagnose_step(&self, exit_code: i32, ran: Option<&Ran>) -> Option<Finding> {
        if !self.node.info().explains_steps() {
            return None;
        }
        let loss = Loss {
            instance: self.instance.clone(),
            opened: ran.map_or(self.opened, |ran| ran.began),
            lost: ran.map_or_else(SystemTime::now, |ran| ran.ended),
            how: STEP_KILLED.to_owned(),
            exit_status: Some(exit_code),
            stderr_tail: String::new(),
            request: diagnosis(STEP_LIMIT),
        };
        let finding = self.finding(loss, STEP_LIMIT).await;
        finding.filter(|finding| finding.word != NO_EVIDENCE)
    }

    async fn finding(&self, loss: Loss, limit: Duration) -> Option<Finding> {
        let finding = tokio::time::timeout(limit + DIAGNOSIS_GRACE, self.node.diagnose(loss)).await;
        finding.ok().and_then(Result::ok).flatten()
    }
}

fn diagnosis(limit: Duration) -> DialRequest {
    DialRequest {
        sink: Sink::discard(),
        deadline: (Instant::now() + limit).into(),
        cancel: Cancel::new(),
        purpose: "diagnose",
    }
}

/// The failure is known already; its reason is worth no long wait.
const STEP_LIMIT: Duration = Duration::from_secs(2);

/// A diagnosis must not delay the end of a build that is already known to be lost.
const DIAGNOSIS_LIMIT: Duration = Duration::from_secs(3);
/// A driver that waits for a sign of life until its deadline has still to say that there was none. All in all a silent
/// daemon ends a build before 30 s have passed.
const DIAGNOSIS_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
