//! A small Docker Engine with a state of its own, behind the scripted host.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bkhost_driver::testing::Host;
use serde_json::{Value, json};

pub const NAME: &str = "buildx_buildkit_node0";
pub const VOLUME: &str = "buildx_buildkit_node0_state";
pub const IMAGE: &str = "moby/buildkit:buildx-stable-1";

/// Something that happens before a request is answered that begins so.
type Incident = (String, Box<dyn FnOnce(&mut State)>);

/// The engine's state, as tests set and read it.
#[derive(Default)]
pub struct State {
    pub containers: BTreeMap<String, Value>,
    pub volumes: BTreeSet<String>,
    pub images: BTreeSet<String>,
    pub info: Value,
    /// Words with which pulls fail.
    pub pull_failure: Option<&'static str>,
    /// What a pull says to use instead.
    pub pulled: String,
    pub has_gpu: bool,
    /// How often `buildctl debug workers` fails.
    pub failures: u32,
    pub events: String,
    pub log: String,
    pub version: &'static str,
    /// Archives with the id of their container.
    pub archives: Vec<(String, Vec<u8>)>,
    incidents: Vec<Incident>,
    commands: Vec<String>,
    made: u32,
    gone: bool,
}

/// A handle on the engine.
#[derive(Clone)]
pub struct Engine(Rc<RefCell<State>>);

impl Engine {
    /// An engine that can pull the default image and has nothing yet.
    pub fn serving(host: &Host) -> Self {
        let state = State {
            info: json!({ "CgroupDriver": "systemd", "SecurityOptions": ["name=seccomp,profile=builtin"] }),
            version: "buildkitd github.com/moby/buildkit v0.8.3 81c2cbd",
            ..State::default()
        };
        let engine = Self(Rc::new(RefCell::new(state)));
        let served = engine.clone();
        host.engine_serves(move |request, body| served.0.borrow_mut().answer(request, body));
        engine
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    /// Once, before a request that begins so is answered.
    pub fn before(&self, request: &str, act: impl FnOnce(&mut State) + 'static) {
        self.with(|state| state.incidents.push((request.to_owned(), Box::new(act))));
    }

    /// Nobody answers any more.
    pub fn leave(&self) {
        self.with(|state| state.gone = true);
    }

    /// The builder's container.
    pub fn container(&self) -> Value {
        self.with(|state| state.containers.get(NAME).cloned().unwrap_or_default())
    }
}

impl State {
    /// Makes a container as a client would.
    pub fn make(&mut self, name: &str, body: &Value) -> String {
        self.made += 1;
        let id = format!("c{}", self.made);
        let part = |key: &str| body.get(key).cloned().unwrap_or_default();
        let container = json!({
            "Id": id, "RestartCount": 0,
            "State": { "Status": "created", "Running": false, "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z" },
            "Config": { "Image": part("Image"), "Cmd": part("Cmd"), "Env": part("Env"), "Labels": part("Labels") },
            "HostConfig": part("HostConfig"),
        });
        self.containers.insert(name.to_owned(), container);
        if name == NAME {
            self.volumes.insert(VOLUME.to_owned());
        }
        id
    }

    /// A container as buildx makes it, that runs.
    pub fn run_buildx(&mut self, flags: &[&str]) {
        let restart = json!({ "Name": "unless-stopped", "MaximumRetryCount": 0 });
        let config = json!({ "Privileged": true, "RestartPolicy": restart, "NetworkMode": "bridge" });
        self.make(
            NAME,
            &json!({ "Image": IMAGE, "Cmd": flags, "Env": ["PATH=/bin"], "HostConfig": config }),
        );
        self.set("Status", json!("running"));
        self.set("Running", json!(true));
    }

    /// Sets a part of the state of the builder's container.
    pub fn set(&mut self, key: &str, value: Value) {
        if let Some(container) = self.containers.get_mut(NAME) {
            container["State"][key] = value;
        }
    }

    /// Ends the builder's container.
    pub fn end(&mut self, code: i64) {
        self.set("Running", json!(false));
        self.set("Status", json!("exited"));
        self.set("ExitCode", json!(code));
    }

    fn answer(&mut self, request: &str, body: &[u8]) -> (u16, Vec<u8>) {
        if let Some(at) = self
            .incidents
            .iter()
            .position(|(begin, _)| request.starts_with(begin.as_str()))
        {
            let (_, act) = self.incidents.remove(at);
            act(self);
        }
        if self.gone {
            return (0, b"Cannot connect to the Docker daemon".to_vec());
        }
        let (status, answer) = self.route(request, body);
        let text = match answer {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        (status, text.into_bytes())
    }

    fn route(&mut self, request: &str, body: &[u8]) -> (u16, Value) {
        let (method, path) = request.split_once(' ').unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, segments.as_slice()) {
            ("PULL", _) => self.pull(request.trim_start_matches("PULL ")),
            ("HOST-URL", _) | (_, ["HOST-URL"]) => (200, json!("unix:///var/run/docker.sock")),
            ("GET", ["info"]) => (200, self.info.clone()),
            ("GET", ["events"]) => (200, json!(self.events)),
            ("POST", ["containers", "create"]) => self.create(query, &json),
            ("DELETE", ["volumes", volume]) => match self.volumes.remove(*volume) {
                true => (204, Value::Null),
                false => (404, json!({ "message": "no such volume" })),
            },
            ("POST", ["exec", exec, "start"]) => (200, json!(self.start_exec(exec))),
            ("GET", ["exec", exec, "json"]) => (200, json!({ "ExitCode": self.exit_code(exec) })),
            (_, ["containers", container, rest @ ..]) => {
                self.on_container(method, container, rest, query, &json, body)
            }
            _ => panic!("The engine has no {request}"),
        }
    }

    fn pull(&mut self, reference: &str) -> (u16, Value) {
        match self.pull_failure {
            Some(words) => (500, json!(words)),
            None => {
                self.images.insert(reference.to_owned());
                if !self.pulled.is_empty() {
                    self.images.insert(self.pulled.clone());
                }
                (200, json!(self.pulled))
            }
        }
    }

    fn create(&mut self, query: &str, body: &Value) -> (u16, Value) {
        let image = body["Image"].as_str().unwrap();
        if !self.images.contains(image) {
            return (404, json!({ "message": format!("No such image: {image}") }));
        }
        let name = query.strip_prefix("name=").unwrap();
        if self.containers.contains_key(name) {
            return (
                409,
                json!({ "message": "Conflict. The container name is already in use" }),
            );
        }
        (201, json!({ "Id": self.make(name, body) }))
    }

    fn on_container(
        &mut self,
        method: &str,
        container: &str,
        rest: &[&str],
        query: &str,
        json: &Value,
        body: &[u8],
    ) -> (u16, Value) {
        let by_id = |(name, value): (&String, &Value)| {
            (name == container || value["Id"] == *container).then(|| name.clone())
        };
        let Some(name) = self.containers.iter().find_map(by_id) else {
            return (
                404,
                json!({ "message": format!("No such container: {container}") }),
            );
        };
        let running = self.containers[&name]["State"]["Running"] == true;
        match (method, rest) {
            ("GET", ["json"]) => (200, self.containers[&name].clone()),
            ("GET", ["logs"]) => (
                200,
                json!(format!(
                    "{}{}",
                    self.log,
                    if query.contains("until") { " until" } else { "" }
                )),
            ),
            ("PUT", ["archive"]) => {
                assert_eq!(query, "noOverwriteDirNonDir=true&path=/etc");
                self.archives.push((container.to_owned(), body.to_vec()));
                (200, Value::Null)
            }
            ("POST", ["start"]) if name.starts_with("bkhost_probe_") => {
                self.containers.remove(&name);
                match self.has_gpu {
                    true => (204, Value::Null),
                    false => (500, json!({ "message": "could not select device driver" })),
                }
            }
            ("POST", ["start"]) => {
                let state = &mut self.containers.get_mut(&name).unwrap()["State"];
                (state["Running"], state["Status"]) = (json!(true), json!("running"));
                (if running { 304 } else { 204 }, Value::Null)
            }
            ("POST", ["stop"]) => {
                self.end(0);
                (204, Value::Null)
            }
            ("POST", ["exec"]) if !running => (409, json!({ "message": "container is not running" })),
            ("POST", ["exec"]) => {
                let command = json["Cmd"].as_array().unwrap().iter();
                let words: Vec<&str> = command.map(|word| word.as_str().unwrap()).collect();
                self.commands.push(words.join(" "));
                (201, json!({ "Id": format!("{}", self.commands.len() - 1) }))
            }
            ("DELETE", []) if running && !query.contains("force=1") => {
                (409, json!({ "message": "cannot remove a running container" }))
            }
            ("DELETE", []) => {
                self.containers.remove(&name);
                (204, Value::Null)
            }
            _ => panic!("The engine has no {method} {rest:?} of a container"),
        }
    }

    fn command(&self, exec: &str) -> &str {
        &self.commands[exec.parse::<usize>().unwrap()]
    }

    fn start_exec(&mut self, exec: &str) -> String {
        match self.command(exec) {
            "buildkitd --version" => self.version.to_owned(),
            _ if self.failures > 0 => "connection refused".to_owned(),
            _ => "ID PLATFORMS".to_owned(),
        }
    }

    fn exit_code(&mut self, exec: &str) -> i64 {
        if self.command(exec) != "buildctl debug workers" || self.failures == 0 {
            return 0;
        }
        self.failures -= 1;
        1
    }
}
