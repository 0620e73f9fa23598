//! The driver `docker`: the BuildKit daemon inside a Docker Engine.
//!
//! It makes nothing and stops nothing. Its builders are the docker contexts that are there anyway.
#![forbid(unsafe_code)]

mod release;

use std::net::IpAddr;
use std::time::Duration;

use bkhost_driver::engine::{self, Framing, Request};
use bkhost_driver::{
    Config, Connection, Deadline, DialRequest, Driver, DriverInfo, Endpoint, Error, ErrorKind, Finding,
    Instance, Loss, Options, Pair, Result, State, Status, Worker, log,
};
use serde_json::Value;

bkhost_driver::export!(Docker);

/// The only instance of a node.
const INSTANCE: &str = "default";
/// Longest wait for an answer; an engine behind ssh takes seconds.
const ANSWER: Duration = Duration::from_secs(10);
/// Label of workers on the containerd image store.
const SNAPSHOTTER: &str = "org.mobyproject.buildkit.worker.snapshotter";
/// Label with the address by which containers reach the engine's machine.
const HOST_GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";
/// What only the containerd image store can do.
const STORE_ABILITIES: [&str; 6] = [
    "oci-exporter",
    "docker-exporter",
    "cache-export",
    "multi-platform",
    "direct-push",
    "prefer-image-digest",
];

/// An opened node.
struct Docker {
    config: Config,
}

impl Driver for Docker {
    fn describe() -> DriverInfo {
        DriverInfo::new(
            "Uses the BuildKit daemon inside a Docker Engine",
            Endpoint::engine(),
        )
        .with_optional("diagnose")
        .with_extra("instances", "false")
        .with_extra("files", "false")
        .with_extra("flags", "false")
    }

    fn open(config: Config) -> Result<Self> {
        if !config.file_names().is_empty() {
            return Err(Error::invalid_config(
                "setting config file is not supported for docker driver, use dockerd configuration file",
            ));
        }
        Options::new(&config).finish(|name| format!("invalid driver option {name} for docker driver"))?;
        Ok(Self { config })
    }

    /// What was typed, else the docker context that is active now.
    fn endpoint(&self, typed: &str) -> Result<String> {
        match typed {
            "" => Ok(self.config.fact("docker-context").unwrap_or_default()),
            typed => Ok(typed.to_owned()),
        }
    }

    /// An engine that answers has a daemon inside. One that does not may run: it is not known.
    fn status(&self) -> Result<Status> {
        let version = engine_version(ANSWER).map_err(not_connecting)?;
        let status = Status::new(State::Running);
        Ok(match release::buildkit_of(&version) {
            Some(buildkit) => status.with_attribute("version", buildkit),
            None => status,
        })
    }

    /// Without a look at the engine: this is called before every dial, which looks anyway.
    fn instances(&self) -> Result<Vec<Instance>> {
        Ok(vec![Instance::new(INSTANCE, State::Running)])
    }

    /// Engines of today speak HTTP/2 on their socket; older ones turn a request into it.
    fn dial(&self, instance: &str, request: &DialRequest) -> Result<Connection> {
        if instance != INSTANCE {
            let words = format!("There is no instance `{instance}`");
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        let deadline = Deadline::of(&request.step);
        match engine::open_http2(deadline.timeout(ANSWER)) {
            Err(error) if speaks_otherwise(&error) => Request::new("POST", "/grpc")
                .with_header("upgrade", "h2c")
                .hijack(Framing::Raw, deadline.timeout(ANSWER)),
            other => other,
        }
    }

    /// What the image store behind the daemon can do. Images get into either by an exporter of the engine's own: it names
    /// those that nobody named, and makes them ready to run.
    fn abilities(&self, workers: &[Worker]) -> Vec<Pair> {
        let containerd = workers.iter().any(|worker| label(worker, SNAPSHOTTER).is_some());
        let ability = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut abilities: Vec<Pair> = STORE_ABILITIES
            .iter()
            .map(|name| (name.to_string(), containerd.to_string()))
            .collect();
        abilities.push(ability("default-load", "true"));
        abilities.push(ability("exporter", "moby"));
        let address = host_gateway(workers).unwrap_or_default();
        abilities.push(ability("host-gateway", &address));
        abilities
    }

    fn explain(&self, loss: &Loss) -> Result<Finding> {
        let finding = match engine_version(loss.step.time_left_or(ANSWER)) {
            Ok(_) => Finding::new(
                "tunnel-cut",
                "The connection to the Docker Engine was cut; the engine answers",
            )
            .with_hint("Either the way to it was interrupted, or it was restarted; its own log says which"),
            Err(error) => Finding::new("engine-gone", "The Docker Engine does not answer any more")
                .with_hint("It was stopped or restarted, or its machine is out of reach")
                .with_detail("error", error.message()),
        };
        Ok(match loss.stderr_tail.is_empty() {
            true => finding,
            false => finding.with_detail("log", loss.stderr_tail.clone()),
        })
    }
}

/// The engine's version (`20.10.24+dfsg1`).
fn engine_version(timeout: Duration) -> Result<String> {
    let answer = Request::new("GET", "/version").send(timeout)?.accepted()?;
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let text = |key: &str| body.as_ref()?.get(key)?.as_str().map(str::to_owned);
    text("Version").ok_or_else(|| Error::new(ErrorKind::Protocol, "The engine does not tell its version"))
}

fn not_connecting(error: Error) -> Error {
    let words = format!("{}: driver not connecting", error.message());
    let same = Error::new(error.kind(), words);
    let same = match error.hint() {
        Some(hint) => same.with_hint(hint),
        None => same,
    };
    let details = error.details().iter();
    details.fold(same, |same, (key, value)| same.with_detail(key, value))
}

/// The engine is there, and did not understand.
fn speaks_otherwise(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Unsupported)
}

fn label<'w>(worker: &'w Worker, key: &str) -> Option<&'w str> {
    let found = worker.labels.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.as_str())
}

/// The address of the first worker that has one. Builds that need none do not suffer from one that is none.
fn host_gateway(workers: &[Worker]) -> Option<String> {
    let text = workers.iter().find_map(|worker| label(worker, HOST_GATEWAY))?;
    match text.parse::<IpAddr>() {
        Ok(_) => Some(text.to_owned()),
        Err(_) => {
            log::warning(format!("failed to parse host-gateway IP: {text}"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
