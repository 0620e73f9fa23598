//! Drivers that do what their endpoint says: `…/down` is inactive, `…/broken` fails, `…/closing` is not ready, `…/silent`
//! never answers, `…/drifted` runs with another memory than configured, and a socket that exists is a running daemon.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(dead_code, reason = "two test programs use this file, neither all of it")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bkhost::connect::pipe::Pipe;
use bkhost::driver::node::*;
use bkhost::progress::step::Step;

/// The drivers `process` and `remote`, and a record of what they were asked to do.
#[derive(Default)]
pub struct Scripted {
    more: &'static [&'static str],
    done: std::sync::Arc<Mutex<Vec<String>>>,
}

struct ScriptedNode {
    info: DriverInfo,
    config: NodeConfig,
    done: std::sync::Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// The same with a driver `engine`, which serves an engine that is there.
    pub fn with_engine() -> Self {
        Self {
            more: &["engine"],
            ..Self::default()
        }
    }

    /// The same with drivers for docker contexts and for containers.
    pub fn with_docker() -> Self {
        Self {
            more: &["docker", "docker-container"],
            ..Self::default()
        }
    }

    /// What was done to nodes, in order.
    pub fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }
}

fn info(name: &str) -> Option<DriverInfo> {
    let option = |name: &str, kind: &str, help: &str| OptionInfo {
        name: name.into(),
        kind: kind.into(),
        default: Some("false".into()).filter(|_| kind == "bool"),
        help: help.into(),
    };
    let load = option("default-load", "bool", "Load results into the engine");
    let denied: &[&str] = match name {
        "docker" | "engine" => &["instances", "files", "flags"],
        "remote" => &["files", "flags"],
        _ => &[],
    };
    let (summary, endpoint, options) = match name {
        "engine" => (
            "An engine that is there",
            EndpointInfo {
                kind: "engine".into(),
                schemes: vec!["engine".into()],
                ..EndpointInfo::default()
            },
            vec![],
        ),
        "docker" | "docker-container" => (
            "What docker has",
            EndpointInfo {
                kind: "engine".into(),
                ..EndpointInfo::default()
            },
            vec![load],
        ),
        "process" => (
            "A daemon on this machine",
            EndpointInfo {
                kind: "derived".into(),
                ..EndpointInfo::default()
            },
            vec![load, option("root", "path", "State folder")],
        ),
        "remote" => (
            "A daemon that runs already",
            EndpointInfo {
                kind: "required".into(),
                schemes: vec!["tcp".into(), "unix".into()],
                variable: Some("BUILDKIT_HOST".into()),
            },
            vec![load, option("cacert", "path", "Certificate authority")],
        ),
        _ => return None,
    };
    Some(DriverInfo {
        name: name.into(),
        version: "0.1.0".into(),
        track: "0.1.0-rc.1".into(),
        summary: summary.into(),
        options,
        endpoint,
        optional: vec![],
        extra: denied.iter().map(|key| ((*key).into(), "false".into())).collect(),
    })
}

fn error(kind: DriverErrorKind, driver: &str, message: impl Into<String>) -> DriverError {
    DriverError {
        kind,
        driver: driver.into(),
        message: message.into(),
        hint: None,
        details: vec![],
    }
}

#[async_trait]
impl Drivers for Scripted {
    fn names(&self) -> Vec<String> {
        let all = self.more.iter().chain(&["process", "remote"]);
        all.map(|name| (*name).to_owned()).collect()
    }

    async fn info(&self, driver: &str) -> DriverResult<DriverInfo> {
        info(driver).ok_or_else(|| error(DriverErrorKind::NotFound, driver, "unknown"))
    }

    async fn imports(&self, _driver: &str) -> DriverResult<BTreeMap<String, Vec<String>>> {
        Ok(BTreeMap::from([
            ("bkhost:host/connections@0.1.0".into(), vec!["open-unix".into()]),
            ("bkhost:host/types@0.1.0".into(), vec![]),
        ]))
    }

    async fn open(&self, driver: &str, config: NodeConfig) -> DriverResult<Box<dyn Node>> {
        let info = self.info(driver).await?;
        for name in config.options.keys() {
            if !info.options.iter().any(|option| option.name == *name) {
                let message = format!("invalid driver option {name} for {driver} driver");
                return Err(error(DriverErrorKind::InvalidConfig, driver, message));
            }
        }
        let scheme = config.endpoint.split(':').next().unwrap_or_default();
        if info.endpoint.kind == "required" && !info.endpoint.schemes.iter().any(|known| known == scheme) {
            let message = format!("unrecognized url scheme {scheme}");
            return Err(error(DriverErrorKind::InvalidConfig, driver, message));
        }
        Ok(Box::new(ScriptedNode {
            info,
            config,
            done: self.done.clone(),
        }))
    }
}

impl ScriptedNode {
    fn note(&self, what: &str) {
        self.done
            .lock()
            .unwrap()
            .push(format!("{what} {}", self.config.node));
    }

    fn address(&self) -> String {
        if self.config.endpoint.is_empty() {
            format!("unix:///run/bkhost/{}/down", self.config.node)
        } else {
            self.config.endpoint.clone()
        }
    }

    fn socket(&self) -> Option<std::path::PathBuf> {
        let path = std::path::PathBuf::from(self.address().strip_prefix("unix://")?);
        path.exists().then_some(path)
    }

    fn state(&self) -> State {
        let address = self.address();
        if self.socket().is_some() || address.ends_with("/up") {
            State::Running
        } else {
            State::Inactive
        }
    }
}

#[async_trait]
impl Node for ScriptedNode {
    fn info(&self) -> &DriverInfo {
        &self.info
    }

    async fn endpoint(&self) -> DriverResult<String> {
        Ok(self.address())
    }

    async fn status(&self) -> DriverResult<Status> {
        if self.address().ends_with("/broken") {
            return Err(error(
                DriverErrorKind::Other,
                &self.info.name,
                "The daemon is broken",
            ));
        }
        if self.address().ends_with("/closing") {
            let words = "The daemon closed the connection";
            return Err(error(DriverErrorKind::Unavailable, &self.info.name, words));
        }
        if self.address().ends_with("/silent") {
            std::future::pending::<()>().await;
        }
        let is_drifted = self.address().ends_with("/drifted");
        let drift = is_drifted.then(|| ("drift".into(), "memory".into()));
        Ok(Status {
            state: self.state(),
            detail: String::new(),
            attributes: drift.into_iter().collect(),
        })
    }

    async fn boot(&self, request: DialRequest) -> DriverResult<()> {
        let step = Step::start(&request.sink, "[internal] booting buildkit").await;
        self.note("boot");
        step.finish().await;
        Ok(())
    }

    async fn instances(&self) -> DriverResult<Vec<Instance>> {
        Ok(self
            .socket()
            .map(|_| Instance {
                id: self.config.node.clone(),
                state: State::Running,
                labels: vec![],
            })
            .into_iter()
            .collect())
    }

    async fn placement(&self) -> DriverResult<Vec<(String, String)>> {
        Ok(vec![])
    }

    async fn dial(&self, _instance: &str, _request: DialRequest) -> DriverResult<Pipe> {
        let path = self.socket().unwrap_or_default();
        let stream = tokio::net::UnixStream::connect(path).await;
        let refused =
            |cause: std::io::Error| error(DriverErrorKind::Refused, &self.info.name, cause.to_string());
        Ok(Pipe::new(stream.map_err(refused)?))
    }

    async fn abilities(&self, _workers: Vec<WorkerFacts>) -> DriverResult<BTreeMap<String, String>> {
        Ok(BTreeMap::from([("oci-exporter".into(), "true".into())]))
    }

    async fn stop(&self, _request: DialRequest) -> DriverResult<()> {
        self.note("stop");
        Ok(())
    }

    async fn remove(&self, _request: DialRequest, removal: Removal) -> DriverResult<()> {
        if self.config.endpoint.ends_with("/broken") {
            return Err(error(
                DriverErrorKind::Other,
                &self.info.name,
                "The daemon is broken",
            ));
        }
        self.note(if removal.keep_state {
            "remove, keeping state,"
        } else {
            "remove"
        });
        Ok(())
    }

    async fn diagnose(&self, _loss: Loss) -> DriverResult<Option<Finding>> {
        Ok(None)
    }

    async fn logs(&self, _instance: &str, _logs: LogRequest) -> DriverResult<Option<Pipe>> {
        Ok(None)
    }
}
