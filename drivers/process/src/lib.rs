//! The driver `process`: a BuildKit daemon on this machine, without containers or other services.
//!
//! The daemon belongs to a keeper process of the host, which holds its log and its end and stops it when it is idle. The
//! driver decides how it is started, converges with other clients, and says how it ended.
#![forbid(unsafe_code)]

mod convergence;
mod diagnosis;
mod fingerprint;
mod launch;
mod options;

use std::time::Duration;

use bkhost_driver::process::{self, Daemon, Lock};
use bkhost_driver::{
    ByteStream, Config, Connection, Deadline, DialRequest, Driver, DriverInfo, Endpoint, Error, ErrorKind,
    Finding, Instance, LogRequest, Loss, OptionInfo, Pair, Removal, Result, State, Status, Step, Worker,
};

use crate::options::Settings;

bkhost_driver::export!(Process);

/// The only instance of a node: whichever daemon the keeper has.
const INSTANCE: &str = "local";
/// Longest wait of a look at the daemon's socket: it is on this machine.
const GLANCE: Duration = Duration::from_secs(1);
/// How long buildkitd may take to end its builds before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long clearing a large state folder may take.
const REMOVAL: Duration = Duration::from_secs(120);

/// An opened node.
struct Process {
    settings: Settings,
    config: Config,
}

impl Driver for Process {
    fn describe() -> DriverInfo {
        let option = OptionInfo::new;
        DriverInfo::new("Runs a BuildKit daemon on this machine", Endpoint::derived())
            .with_option(option(
                "binary",
                "path",
                "buildkitd to start; found on PATH without it",
            ))
            .with_option(
                option(
                    "rootless",
                    "string",
                    "Run without root: `auto`, `true` or `false`",
                )
                .with_default("auto"),
            )
            .with_option(option(
                "rootlesskit",
                "path",
                "rootlesskit to use; found on PATH without it",
            ))
            .with_option(option("root", "path", "Folder of the daemon's state"))
            .with_option(
                option(
                    "idle-timeout",
                    "duration",
                    "Stop the daemon after this long without use; `0` never",
                )
                .with_default("10m"),
            )
            .with_option(option("timeout", "duration", "How long boot may take").with_default("60s"))
            .with_option(option(
                "env.",
                "string",
                "Environment of the daemon: `env.NAME=VALUE`",
            ))
            .with_option(
                option(
                    "default-load",
                    "bool",
                    "Load images into the Docker Engine unless told otherwise",
                )
                .with_default("false"),
            )
            .with_optional("diagnose")
            .with_optional("logs")
    }

    fn open(config: Config) -> Result<Self> {
        check_endpoint(&config.endpoint())?;
        let settings = options::read(&config)?;
        Ok(Self { settings, config })
    }

    fn endpoint(&self, _typed: &str) -> Result<String> {
        Ok(format!("unix://{}", launch::socket(&process::runtime_folder()?)))
    }

    fn status(&self) -> Result<Status> {
        let Some(daemon) = process::current()? else {
            return Ok(Status::new(State::Inactive));
        };
        if !daemon.is_running() {
            let words = daemon.end().map(|end| diagnosis::words_of(&daemon, &end));
            return Ok(Status::new(State::Stopped).with_detail(words.unwrap_or_default()));
        }
        let status = match Connection::open_unix(&daemon.socket(), GLANCE) {
            Ok(_) => Status::new(State::Running),
            Err(error) if convergence::may_come(&error) => Status::new(State::Starting),
            Err(error) => return Err(error),
        };
        let status = status.with_detail(format!("pid {}", daemon.pid()));
        Ok(match self.drift(&daemon) {
            Some(parts) => status.with_attribute("drift", parts),
            None => status,
        })
    }

    fn boot(&self, step: &Step<'_>) -> Result<()> {
        step.run("starting buildkitd", |part| {
            let (daemon, _connection) = self.reach(part)?;
            if let Some(parts) = self.drift(&daemon) {
                let words = "The daemon runs with other options";
                let builder = self.config.builder();
                part.message(&format!(
                    "{words} ({parts}); `bkhost renew {builder}` applies them"
                ));
            }
            Ok(())
        })
    }

    fn instances(&self) -> Result<Vec<Instance>> {
        let running = convergence::running()?;
        let instance = |daemon: Daemon| {
            Instance::new(INSTANCE, State::Running).with_label("name", format!("buildkitd {}", daemon.pid()))
        };
        Ok(running.map(instance).into_iter().collect())
    }

    /// A daemon that was stopped for being idle a moment ago is started again: the build that comes gets one.
    fn dial(&self, instance: &str, request: &DialRequest) -> Result<Connection> {
        if instance != INSTANCE {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("There is no instance `{instance}`"),
            ));
        }
        let (_, connection) = self.reach(&request.step)?;
        Ok(connection)
    }

    fn abilities(&self, _workers: &[Worker]) -> Vec<Pair> {
        vec![("default-load".to_owned(), self.settings.default_load.to_string())]
    }

    /// Where none was started there is nothing to wait for, and no trace to leave.
    fn stop(&self, step: &Step<'_>) -> Result<()> {
        if process::current()?.is_none() {
            return Ok(());
        }
        step.run("stopping buildkitd", |part| {
            let _lock = self.lock(part)?;
            process::stop(part.time_left_or(GRACE))
        })
    }

    fn remove(&self, step: &Step<'_>, removal: &Removal) -> Result<()> {
        if removal.keep_daemon {
            return Ok(());
        }
        step.run("removing buildkitd", |part| {
            let _lock = self.lock(part)?;
            process::stop(part.time_left_or(GRACE))?;
            let folder = process::state_folder("root")?;
            process::remove(&folder, removal.keep_state, part.time_left_or(REMOVAL))
        })
    }

    fn explain(&self, loss: &Loss) -> Result<Finding> {
        diagnosis::finding(process::current()?, loss)
    }

    fn open_log(&self, instance: &str, request: &LogRequest) -> Result<ByteStream> {
        match instance {
            INSTANCE => process::open_log(request),
            _ => Err(Error::new(
                ErrorKind::NotFound,
                format!("There is no instance `{instance}`"),
            )),
        }
    }
}

impl Process {
    fn deadline(&self, step: &Step<'_>) -> Deadline {
        Deadline::of(step).or_earlier(Deadline::within(self.settings.timeout))
    }

    /// The lock of everybody who starts or ends this node's daemon.
    fn lock(&self, step: &Step<'_>) -> Result<Lock> {
        convergence::lock(step, self.deadline(step))
    }

    /// What the running daemon was started with differently.
    fn drift(&self, daemon: &Daemon) -> Option<String> {
        let running = daemon.attribute("fingerprint").unwrap_or_default();
        fingerprint::drift(&running, &fingerprint::of(&self.settings, &self.config))
    }
}

/// The driver makes the endpoint; what it made comes back when the builder is used.
fn check_endpoint(endpoint: &str) -> Result<()> {
    let own = endpoint.starts_with("unix:///") && endpoint.ends_with(launch::SOCKET_NAME);
    if endpoint.is_empty() || own {
        return Ok(());
    }
    let words = format!("The driver process makes its own endpoint; `{endpoint}` cannot be used");
    Err(Error::invalid_config(words)
        .with_hint("Leave it out, or use the driver `remote` for a daemon that is there"))
}

#[cfg(test)]
mod tests;
