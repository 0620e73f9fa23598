//! A scripted host, so that a driver's logic runs under plain `cargo test`.
//!
//! One [`Host`] a test: it decides what the configuration says, who listens where, which programs there are, and writes
//! down what the driver did. Its clock jumps: a driver that waits 20 s costs no time.
//!
//! ```
//! use std::time::Duration;
//! use bkhost_driver::Connection;
//! use bkhost_driver::testing::{Host, Listener, Script};
//!
//! let host = Host::new();
//! host.unix("/run/b.sock", Listener::new().accept(Script::new().say("hello")));
//! let mut connection = Connection::open_unix("/run/b.sock", Duration::from_secs(1)).unwrap();
//! assert_eq!(connection.receive(16).unwrap(), b"hello");
//! assert_eq!(host.connection(&connection).target, "unix:/run/b.sock");
//! ```

use std::time::Duration;

pub use crate::fake::connections::{ConnectionRecord, Listener, Script, TlsRecord};
pub use crate::fake::processes::{DaemonPlan, LaunchRecord};
pub use crate::fake::steps::Progress;

use crate::fake::{self, config, processes, steps, with};
use crate::time::nanoseconds;
use crate::{Config, Connection, DialRequest, LogRequest, Loss, Removal, Step, Worker};

/// The scripted host of this thread. A new one begins a new world.
#[derive(Debug)]
#[non_exhaustive]
pub struct Host;

impl Host {
    /// A host that knows no endpoint, no program and no option, for a node `node0` of a builder `builder`.
    #[expect(
        clippy::new_without_default,
        reason = "it changes the thread's world, which a default should not"
    )]
    pub fn new() -> Self {
        fake::reset();
        with(|world| {
            world.config.builder = "builder".to_owned();
            world.config.node = "node0".to_owned();
            world.cluster.namespace = "default".to_owned();
        });
        Self
    }

    /// Sets a driver option.
    #[must_use]
    pub fn option(self, name: &str, value: &str) -> Self {
        with(|world| world.config.options.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the endpoint.
    #[must_use]
    pub fn endpoint(self, endpoint: &str) -> Self {
        with(|world| world.config.endpoint = endpoint.to_owned());
        self
    }

    /// Adds an argument for buildkitd.
    #[must_use]
    pub fn daemon_flag(self, flag: &str) -> Self {
        with(|world| world.config.flags.push(flag.to_owned()));
        self
    }

    /// Adds a fixed platform.
    #[must_use]
    pub fn platform(self, platform: &str) -> Self {
        with(|world| world.config.platforms.push(platform.to_owned()));
        self
    }

    /// Adds a file for the daemon.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        with(|world| world.config.files.insert(name.to_owned(), content));
        self
    }

    /// Sets a fact about the host, such as `privileged`.
    #[must_use]
    pub fn fact(self, name: &str, value: &str) -> Self {
        with(|world| world.config.facts.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a program there.
    #[must_use]
    pub fn program(self, name: &str, path: &str) -> Self {
        with(|world| world.processes.programs.insert(name.to_owned(), path.to_owned()));
        self
    }

    /// The node's configuration, for `Driver::open`.
    pub fn config(&self) -> Config {
        Config::new(config::NodeConfig::current())
    }

    /// Begins a step, as the host does for `boot`, `stop` and `remove`.
    pub fn step(&self, name: &str) -> Step<'static> {
        Step::owned(steps::Step::begun(name))
    }

    /// A request to dial for a build.
    pub fn dial_request(&self) -> DialRequest {
        DialRequest::new(self.step("connecting"), "build")
    }

    /// A request for the whole log.
    pub fn log_request(&self) -> LogRequest {
        LogRequest::default()
    }

    /// A removal of everything.
    pub fn removal(&self) -> Removal {
        Removal::default()
    }

    /// A worker without labels and platforms.
    pub fn worker(&self) -> Worker {
        Worker::default()
    }

    /// The loss of a connection that was opened when the test began and ended just now.
    pub fn loss(&self, instance: &str) -> Loss {
        Loss {
            instance: instance.to_owned(),
            opened_at: Duration::from_nanos(fake::time::begin()),
            lost_at: crate::wall_clock(),
            how: "eof".to_owned(),
            exit_status: None,
            stderr_tail: String::new(),
            step: self.step("diagnosing"),
        }
    }

    /// Moves the clock.
    pub fn advance(&self, time: Duration) {
        with(|world| world.advance(nanoseconds(time)));
    }

    /// Time since the test began.
    pub fn elapsed(&self) -> Duration {
        with(|world| Duration::from_nanos(world.now))
    }

    /// Gives the operation a deadline, that long from now.
    pub fn deadline_in(&self, time: Duration) {
        with(|world| world.deadline = Some(world.now.saturating_add(nanoseconds(time))));
    }

    /// Cancels the operation, that long from now.
    pub fn cancel_in(&self, time: Duration) {
        with(|world| world.cancelled_at = Some(world.now.saturating_add(nanoseconds(time))));
    }

    /// Makes the node's memory read-only, as in `status` and `instances`.
    pub fn read_only_memory(&self) {
        with(|world| world.memory.read_only = true);
    }

    /// Lets somebody listen at a unix socket.
    pub fn unix(&self, path: &str, listener: Listener) {
        self.listen(format!("unix:{path}"), listener);
    }

    /// Lets somebody listen at a TCP port.
    pub fn tcp(&self, host: &str, port: u16, listener: Listener) {
        self.listen(format!("tcp:{host}:{port}"), listener);
    }

    /// Lets somebody answer at any target as [`ConnectionRecord::target`] spells it, such as `docker-exec:b:-`.
    pub fn listen(&self, target: impl Into<String>, listener: Listener) {
        with(|world| world.network.listeners.insert(target.into(), listener));
    }

    /// What became of this connection.
    pub fn connection(&self, connection: &Connection) -> ConnectionRecord {
        connection.raw().state(|state| state.record())
    }

    /// All connections, in the order in which they were opened.
    pub fn connections(&self) -> Vec<ConnectionRecord> {
        with(|world| {
            world
                .network
                .connections
                .iter()
                .map(|state| state.record())
                .collect()
        })
    }

    /// What a user would have seen.
    pub fn progress(&self) -> Vec<Progress> {
        with(|world| world.progress.clone())
    }

    /// Log lines with their levels (`debug`, `info`, `warning`, `error`).
    pub fn log(&self) -> Vec<(String, String)> {
        with(|world| world.log.clone())
    }

    /// Says what the next daemon does that the driver starts; without a plan it listens at once and never ends.
    pub fn plan_daemon(&self, plan: DaemonPlan) {
        with(|world| world.processes.plans.push_back(plan));
    }

    /// Puts a daemon there that was started just now by somebody else.
    pub fn running_daemon(&self, plan: DaemonPlan) {
        self.daemon_elsewhere(Duration::ZERO, plan);
    }

    /// Lets another client start a daemon at that time; until then it holds the lock `boot`.
    pub fn daemon_elsewhere(&self, after: Duration, plan: DaemonPlan) {
        with(|world| {
            let at = world.now.saturating_add(nanoseconds(after));
            world.processes.foreign_locks.insert("boot".to_owned(), at);
            world.processes.foreign = Some((at, plan));
        });
    }

    /// How daemons were started by the driver.
    pub fn launches(&self) -> Vec<LaunchRecord> {
        with(|world| world.processes.launches.clone())
    }

    /// How often the driver asked for a stop.
    pub fn stops(&self) -> usize {
        with(|world| world.processes.stops)
    }

    /// State folders that the driver removed, and whether their state was kept.
    pub fn removals(&self) -> Vec<(String, bool)> {
        with(|world| world.processes.removals.clone())
    }

    /// Leases that are held.
    pub fn leases(&self) -> usize {
        with(|world| world.processes.leases)
    }

    /// Whether the driver holds this lock.
    pub fn is_locked(&self, name: &str) -> bool {
        with(|world| world.processes.is_locked(name))
    }

    /// Folder of the sockets of scripted daemons.
    pub fn runtime_folder(&self) -> &'static str {
        processes::RUNTIME_FOLDER
    }

    /// Lets the engine answer its next request. A status of 0 is an engine that cannot be reached. A pull is the request
    /// `PULL reference`: a body names another reference to use, a status of 400 and above fails it with these words.
    pub fn engine_answers(&self, status: u16, body: impl AsRef<[u8]>) {
        let answer = (status, body.as_ref().to_vec());
        with(|world| world.engine.answers.push_back(answer));
    }

    /// Lets this answer all requests to the engine for which no answer was scripted: an engine with a state of its own.
    /// It must not call the host.
    pub fn engine_serves(&self, serve: impl FnMut(&str, &[u8]) -> (u16, Vec<u8>) + 'static) {
        with(|world| world.engine.server = Some(Box::new(serve)));
    }

    /// Requests to the engine as `METHOD path`, with their bodies.
    pub fn engine_requests(&self) -> Vec<(String, Vec<u8>)> {
        with(|world| world.engine.requests.clone())
    }

    /// Lets the cluster answer its next request.
    pub fn cluster_answers(&self, status: u16, body: impl AsRef<[u8]>) {
        let answer = (status, body.as_ref().to_vec());
        with(|world| world.cluster.api.answers.push_back(answer));
    }

    /// Adds an event to the next watch.
    pub fn cluster_event(&self, event: impl AsRef<[u8]>) {
        let event = event.as_ref().to_vec();
        with(|world| world.cluster.events.push_back(event));
    }

    /// Requests to the cluster as `METHOD path`, with their bodies.
    pub fn cluster_requests(&self) -> Vec<(String, Vec<u8>)> {
        with(|world| world.cluster.api.requests.clone())
    }
}
