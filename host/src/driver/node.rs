//! What the rest of bkhost sees of a driver: neutral types, no component model, no generation of the contract.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::deadline::Deadline;
use crate::connect::pipe::Pipe;
use crate::docker::Engines;
use crate::fs::Owner;
use crate::progress::event::Sink;

/// What a driver says about itself before anything is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DriverInfo {
    /// Name as typed after `--driver`.
    pub name: String,
    /// Version of the driver itself.
    pub version: String,
    /// Version of the contract that it speaks.
    pub track: String,
    /// One line about what it does.
    pub summary: String,
    /// Options it knows; `env.` stands for every name with that prefix.
    pub options: Vec<OptionInfo>,
    /// What it wants as endpoint.
    pub endpoint: EndpointInfo,
    /// Optional interfaces that count: `diagnose`, `logs`, `scale`.
    pub optional: Vec<String>,
    /// More, by the contract's documented keys.
    pub extra: BTreeMap<String, String>,
}

impl DriverInfo {
    /// Whether builders can be made with it; a driver that serves engines which are there anyway says no.
    pub fn makes_builders(&self) -> bool {
        self.says("instances")
    }

    /// Whether its daemons can be given configuration files.
    pub fn takes_files(&self) -> bool {
        self.says("files")
    }

    /// Whether its daemons can be given arguments.
    pub fn takes_flags(&self) -> bool {
        self.says("flags")
    }

    /// Whether it does something that a driver does unless its description denies it.
    fn says(&self, key: &str) -> bool {
        self.extra.get(key).is_none_or(|value| value != "false")
    }

    /// Whether it may be asked why a step was killed whose daemon lives.
    pub fn explains_steps(&self) -> bool {
        self.counts("diagnose") && self.extra.get("step-ends").is_some_and(|value| value == "true")
    }

    /// Whether the optional interface of that name counts.
    pub fn counts(&self, interface: &str) -> bool {
        self.optional.iter().any(|name| name == interface)
    }
}

/// One driver option.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptionInfo {
    /// Name, or a prefix that ends in `.`.
    pub name: String,
    /// Kind of value: `string`, `bool`, `int`, `bytes`, `duration`, `path`, `quantity`, `list`, or another word.
    pub kind: String,
    /// Shown default; absent when there is none.
    pub default: Option<String>,
    /// One line of help.
    pub help: String,
}

/// What a driver wants to be told as endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointInfo {
    /// `required` (typed or from `variable`), `derived` (the driver makes it; nothing may be typed) or `engine` (a
    /// docker context or host).
    pub kind: String,
    /// URL schemes it accepts; empty when `derived`.
    pub schemes: Vec<String>,
    /// Environment variable that stands in for a missing argument.
    pub variable: Option<String>,
}

/// A node as it is opened: everything a driver may know about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeConfig {
    /// Name of the builder as the user spelled it.
    pub builder: String,
    /// Name of the node as stored (lower case).
    pub node: String,
    /// Endpoint as stored; empty before the first `create`.
    pub endpoint: String,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Fixed platforms in printed form.
    pub platforms: Vec<String>,
    /// buildkitd arguments.
    pub daemon_flags: Vec<String>,
    /// Files below `/etc/buildkit`, relative path to content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Where the driver's key-value state of this node is kept; absent for a builder that is not stored yet, whose
    /// state then lives in memory.
    pub state_file: Option<PathBuf>,
    /// Whom that file belongs to, if that is not simply who runs the command.
    pub state_owner: Option<Owner>,
}

/// State of a node or an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is there.
    Inactive,
    /// On its way up.
    Starting,
    /// Usable.
    Running,
    /// On its way down.
    Stopping,
    /// There, but not running.
    Stopped,
    /// None of these; the detail says what.
    Other,
}

impl State {
    /// The word shown in `ls` and `inspect`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Other => "other",
        }
    }
}

/// Answer of [`Node::status`].
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// A line of explanation; may be empty.
    pub detail: String,
    /// Documented keys, unknown ones are shown as they are.
    pub attributes: Vec<(String, String)>,
}

/// One live daemon of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Identity to dial; unique within the node.
    pub id: String,
    /// Its state.
    pub state: State,
    /// Facts about it, such as `platforms`.
    pub labels: Vec<(String, String)>,
}

/// A worker as the daemon lists it, for [`Node::abilities`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerFacts {
    /// Worker id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its platforms in printed form, native first.
    pub platforms: Vec<String>,
}

/// What a driver is asked to connect for.
#[derive(Clone, Debug)]
pub struct DialRequest {
    /// Where the driver's steps are shown.
    pub sink: Sink,
    /// When to give up.
    pub deadline: Deadline,
    /// Ends the call early.
    pub cancel: Cancel,
    /// `build`, `inspect`, `dial-stdio` …; for logs, never for decisions.
    pub purpose: &'static str,
}

/// Options of [`Node::remove`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Keep the daemon's cache and state.
    pub keep_state: bool,
    /// Keep the daemon itself.
    pub keep_daemon: bool,
}

/// [`Loss::how`] of a step of a build that was killed while its daemon lives.
pub const STEP_KILLED: &str = "step-killed";
/// The word of a [`Finding`] without evidence.
pub const NO_EVIDENCE: &str = "unknown";

/// How a connection that was in use came to its end, for [`Node::diagnose`]; or a step, whose times are the times then, and
/// whose exit code is the status.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Instance it went to.
    pub instance: String,
    /// When the connection was opened.
    pub opened: SystemTime,
    /// When its loss was noticed.
    pub lost: SystemTime,
    /// `eof`, `reset`, `silent`, `goaway`, or another word.
    pub how: String,
    /// Exit status of the helper program behind the connection, if there was one and it has ended.
    pub exit_status: Option<i32>,
    /// The last of what that program wrote to stderr; may be empty.
    pub stderr_tail: String,
    /// Where looking for the reason is shown, and how long it may take.
    pub request: DialRequest,
}

/// What a driver found out about a loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// A word: `oom-killed`, `killed`, `exited`, `evicted`, `node-silent`, `tunnel-cut`, `unknown` …
    pub word: String,
    /// One line for the user.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Exit code or signal and the last lines of the daemon's log, as far as known.
    pub details: Vec<(String, String)>,
}

/// A cancellation that can be waited for; clones share it.
pub type Cancel = tokio_util::sync::CancellationToken;

/// Kinds of failure a driver can report; the order is of no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriverErrorKind {
    /// The builder's configuration is wrong: an option, an endpoint, a file.
    InvalidConfig,
    /// The named thing does not exist.
    NotFound,
    /// A capability was not granted, or a permission is missing.
    Denied,
    /// Credentials were refused or are missing.
    Unauthenticated,
    /// Nobody listens at the endpoint.
    Refused,
    /// It took too long.
    TimedOut,
    /// The user or the host ended it.
    Cancelled,
    /// Not now, perhaps later.
    Unavailable,
    /// No capacity: memory, quota, slots.
    Exhausted,
    /// The other side speaks something else.
    Protocol,
    /// A certificate, a key or a server name was refused.
    Certificate,
    /// Somebody else was faster or owns the name.
    Conflict,
    /// The driver cannot do this.
    Unsupported,
    /// A defect of the driver: a trap, a broken rule.
    Defect,
    /// None of these.
    Other,
}

/// A failure with the driver's own words, which always name the driver.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DriverError {
    /// What kind it is.
    pub kind: DriverErrorKind,
    /// Name of the driver.
    pub driver: String,
    /// One line; names the endpoint or object.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// More facts, such as the last lines of a log.
    pub details: Vec<(String, String)>,
}

/// Result of a driver call.
pub type DriverResult<T> = Result<T, DriverError>;

/// The drivers there are, by name.
#[async_trait]
pub trait Drivers: Send + Sync {
    /// Names, sorted.
    fn names(&self) -> Vec<String>;

    /// What a driver says about itself; an unknown name is [`DriverErrorKind::NotFound`] with the nearest known one as
    /// hint.
    async fn info(&self, driver: &str) -> DriverResult<DriverInfo>;

    /// The engines as its drivers know them, so that the host asks over the same connections; `None` when it has none.
    fn engines(&self) -> Option<Arc<Engines>> {
        None
    }

    /// Functions that a driver imports, by interface. What is not among them it cannot call.
    async fn imports(&self, driver: &str) -> DriverResult<BTreeMap<String, Vec<String>>>;

    /// Opens a node: validates every option, touches nothing.
    async fn open(&self, driver: &str, config: NodeConfig) -> DriverResult<Box<dyn Node>>;
}

/// An opened node. Every call runs in a sandbox of its own and may be made concurrently.
#[async_trait]
pub trait Node: Send + Sync {
    /// The driver's own description.
    fn info(&self) -> &DriverInfo;

    /// The endpoint to store for this node; what was typed, completed or derived by the driver. Touches nothing.
    async fn endpoint(&self) -> DriverResult<String>;

    /// State of the node as a whole. An error means that it cannot be told.
    async fn status(&self) -> DriverResult<Status>;

    /// Makes the daemon usable. Idempotent; many clients may do it at once.
    async fn boot(&self, request: DialRequest) -> DriverResult<()>;

    /// Live daemons.
    async fn instances(&self) -> DriverResult<Vec<Instance>>;

    /// [`Node::status`] and, when that is [`State::Running`], [`Node::instances`]: for who wants both.
    async fn status_and_instances(&self) -> DriverResult<(Status, Vec<Instance>)> {
        let status = self.status().await?;
        let instances = match status.state {
            State::Running => self.instances().await?,
            _ => Vec::new(),
        };
        Ok((status, instances))
    }

    /// What the options ask for: `sticky`, `sticky:KEY`, `random`, `least-loaded`.
    async fn placement(&self) -> DriverResult<Vec<(String, String)>>;

    /// Connects to exactly this instance.
    async fn dial(&self, instance: &str, request: DialRequest) -> DriverResult<Pipe>;

    /// What builds on this node can do, by documented keys (`default-load`, `host-gateway`, `oci-exporter` …).
    async fn abilities(&self, workers: Vec<WorkerFacts>) -> DriverResult<BTreeMap<String, String>>;

    /// Stops the daemon, keeping its state.
    async fn stop(&self, request: DialRequest) -> DriverResult<()>;

    /// Removes the daemon.
    async fn remove(&self, request: DialRequest, removal: Removal) -> DriverResult<()>;

    /// Says why a connection was lost; `None` when the driver has no such ability.
    async fn diagnose(&self, loss: Loss) -> DriverResult<Option<Finding>>;

    /// The daemon's log; `None` when the driver has no such ability.
    async fn logs(&self, instance: &str, logs: LogRequest) -> DriverResult<Option<Pipe>>;
}

/// Which part of a daemon's log is wanted.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// Keep the stream open for new lines.
    pub follow: bool,
    /// Only this many last lines.
    pub tail: Option<u64>,
    /// Longest wait for the first byte.
    pub timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_does_not_deny_it_does() {
        let says = |extra: &[(&str, &str)]| {
            let extra = extra
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let info = DriverInfo {
                extra: extra.collect(),
                ..DriverInfo::default()
            };
            (info.makes_builders(), info.takes_files(), info.takes_flags())
        };
        assert_eq!(says(&[]), (true, true, true));
        assert_eq!(
            says(&[("instances", "true"), ("files", "true")]),
            (true, true, true)
        );
        assert_eq!(says(&[("instances", "false")]), (false, true, true));
        assert_eq!(says(&[("files", "false")]), (true, false, true));
        assert_eq!(says(&[("flags", "false")]), (true, true, false));
    }
}
