//! The driver `docker-container`: a BuildKit daemon in a privileged container of a Docker Engine.
//!
//! Options, names and messages are those of buildx's driver of that name, so that each finds the other's containers. How
//! clients converge, how a container is renewed, and what a lost daemon died of are its own.
#![forbid(unsafe_code)]

mod api;
mod archive;
mod boot;
mod clock;
mod creation;
mod diagnosis;
mod drift;
mod image;
mod options;
mod readiness;
mod version;

use std::cell::Cell;
use std::time::Duration;

use bkhost_driver::{
    ByteStream, Config, Connection, DialRequest, Driver, DriverInfo, Endpoint, Error, ErrorKind, Finding,
    Instance, LogRequest, Loss, Pair, Removal, Result, Retry, State, Status, Step, Worker,
};

use crate::api::Container;
use crate::archive::File;
use crate::boot::Boot;
use crate::creation::Plan;
use crate::options::Settings;

bkhost_driver::export!(DockerContainer);

/// Longest wait for an ordinary answer of the engine; one under load takes seconds.
const ANSWER: Duration = Duration::from_secs(20);
/// How long stopping may take: the engine kills after 10 s, or as the container says.
const STOPPING: Duration = Duration::from_secs(120);
/// How long others may be in the way of a removal.
const CONTENTION: Duration = Duration::from_secs(10);
/// Limit of asking for the version of an old daemon, which nobody waits for gladly.
const VERSION: Duration = Duration::from_secs(5);

/// An opened node.
struct DockerContainer {
    /// Name of the container, which is also its only instance.
    name: String,
    settings: Settings,
    flags: Vec<String>,
    files: Vec<File>,
    config: Config,
    /// What `status` saw, for the `instances` that the host asks for next.
    seen: Cell<Option<State>>,
}

impl Driver for DockerContainer {
    fn describe() -> DriverInfo {
        let info = DriverInfo::new(
            "Runs a BuildKit daemon in a container of a Docker Engine",
            Endpoint::engine(),
        );
        let info = options::all().into_iter().fold(info, DriverInfo::with_option);
        info.with_optional("diagnose")
            .with_optional("logs")
            .with_extra("step-ends", "true")
    }

    fn open(config: Config) -> Result<Self> {
        let settings = options::read(&config)?;
        Ok(Self {
            name: format!("buildx_buildkit_{}", config.node()),
            files: archive::files(&config, settings.provenance_add_gha)?,
            flags: config.daemon_flags(),
            settings,
            config,
            seen: Cell::new(None),
        })
    }

    /// What was typed, else the docker context that is active now: a builder stays with its engine.
    fn endpoint(&self, typed: &str) -> Result<String> {
        if !typed.is_empty() {
            return Ok(typed.to_owned());
        }
        let active = self.config.fact("docker-context").filter(|name| !name.is_empty());
        active.ok_or_else(|| {
            Error::invalid_config("No docker context is active")
                .with_hint("Name a docker context or a docker host, such as `unix:///var/run/docker.sock`")
        })
    }

    fn status(&self) -> Result<Status> {
        let Some(container) = self.inspect()? else {
            self.seen.set(Some(State::Inactive));
            return Ok(Status::new(State::Inactive));
        };
        let (state, detail) = state_of(&container);
        self.seen.set(Some(state));
        let status = match version::recall(&self.config.memory(), &container) {
            Some(version) => Status::new(state).with_attribute("version", version),
            None => Status::new(state),
        };
        Ok(match self.drift(&container) {
            Some(names) => status.with_detail(detail).with_attribute("drift", names),
            None => status.with_detail(detail),
        })
    }

    fn boot(&self, step: &Step<'_>) -> Result<()> {
        Boot::new(self, step).run()?;
        self.wait(step)?;
        self.renew_version(step.time_left_or(VERSION));
        Ok(())
    }

    fn instances(&self) -> Result<Vec<Instance>> {
        let state = match self.seen.take() {
            Some(state) => Some(state),
            None => self.inspect()?.map(|container| state_of(&container).0),
        };
        Ok(match state {
            // One that has ended is listed, too: its log is there.
            Some(state) if state != State::Inactive => vec![Instance::new(&self.name, state)],
            _ => Vec::new(),
        })
    }

    fn dial(&self, instance: &str, request: &DialRequest) -> Result<Connection> {
        self.ensure_own(instance)?;
        self.renew_version(request.step.time_left_or(VERSION));
        let timeout = request.step.time_left_or(ANSWER);
        api::connect(&self.name, &["buildctl", "dial-stdio"], timeout)
    }

    fn abilities(&self, _workers: &[Worker]) -> Vec<Pair> {
        vec![("default-load".to_owned(), self.settings.default_load.to_string())]
    }

    /// Where nothing runs there is nothing to wait for, and no trace to leave.
    fn stop(&self, step: &Step<'_>) -> Result<()> {
        if !self
            .inspect()?
            .is_some_and(|container| container.is_running() || container.is_restarting())
        {
            return Ok(());
        }
        step.run(&format!("stopping container {}", self.name), |part| {
            api::stop(&self.name, part.time_left_or(STOPPING)).map(|_| ())
        })
    }

    /// The volume goes also when the container is gone already: nothing else would ever remove it.
    fn remove(&self, step: &Step<'_>, removal: &Removal) -> Result<()> {
        if removal.keep_daemon {
            return Ok(());
        }
        step.run(&format!("removing container {}", self.name), |part| {
            delete(&format!("/containers/{}?force=1&v=1", self.name), part)?;
            // A client that was killed while it looked for GPUs has left it.
            delete(&format!("/containers/{}?force=1&v=1", self.probe()), part)
        })?;
        if removal.keep_state {
            return Ok(());
        }
        let volume = self.plan().volume();
        step.run(&format!("removing volume {volume}"), |part| {
            delete(&format!("/volumes/{volume}"), part)
        })
    }

    fn explain(&self, loss: &Loss) -> Result<Finding> {
        self.find_reason(loss)
    }

    fn open_log(&self, instance: &str, request: &LogRequest) -> Result<ByteStream> {
        self.ensure_own(instance)?;
        api::log(&self.name, request.follow, request.tail, ANSWER)
    }
}

impl DockerContainer {
    fn inspect(&self) -> Result<Option<Container>> {
        api::inspect(&self.name, ANSWER)
    }

    fn plan(&self) -> Plan<'_> {
        Plan {
            name: &self.name,
            settings: &self.settings,
            flags: &self.flags,
            files: &self.files,
        }
    }

    /// Name of the container that looks for GPUs.
    fn probe(&self) -> String {
        format!("bkhost_probe_{}", self.config.node())
    }

    fn ensure_own(&self, instance: &str) -> Result<()> {
        match instance == self.name {
            true => Ok(()),
            false => {
                let words = format!("There is no instance `{instance}`");
                Err(Error::new(ErrorKind::NotFound, words))
            }
        }
    }
}

/// Removes what this path names. Somebody else who is at the same makes it a conflict for a moment.
fn delete(path: &str, step: &Step<'_>) -> Result<()> {
    let retry = Retry::new(step).within(CONTENTION);
    let retry = retry.when(|error| error.kind() == ErrorKind::Conflict);
    retry.run(|_| api::delete(path, step.time_left_or(STOPPING)).map(|_| ()))
}

/// The container's state, and what explains it.
fn state_of(container: &Container) -> (State, String) {
    let code = container.number("/State/ExitCode");
    if container.flag("/State/Paused") {
        return (State::Stopped, "paused".to_owned());
    }
    if container.is_restarting() {
        return (State::Starting, format!("restarting after exit code {code}"));
    }
    if container.is_running() {
        return (State::Running, String::new());
    }
    match (container.flag("/State/OOMKilled"), code) {
        (true, _) => (State::Stopped, "ran out of memory".to_owned()),
        (false, 0) => (State::Stopped, String::new()),
        (false, code) => (State::Stopped, format!("exit code {code}")),
    }
}

#[cfg(test)]
mod tests;
