//! What the builder's container is made of, and how it is remembered for later comparison.

use std::time::Duration;

use bkhost_driver::{Config, ErrorKind, engine, log, timer, wait_any};
use serde_json::{Map, Value, json};

use crate::api::{self, Creation, EngineInfo};
use crate::archive::{CONFIG_NAME, File, Fingerprint};
use crate::options::Settings;

/// Label with the settings that a container was made with.
pub const LABEL: &str = "bkhost.configuration";
/// The daemon's folder, which the state volume holds.
const STATE_FOLDER: &str = "/var/lib/buildkit";
/// Libraries of the graphics driver in WSL.
const WSL_FOLDER: &str = "/usr/lib/wsl";
/// Parent of the cgroup where the engine makes cgroups by itself.
const CGROUP_PARENT: &str = "/docker/buildx";
/// How often another client may be in the way of a look for GPUs, and the pause after each time.
const PROBES: u32 = 20;
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// Everything that a container is made from.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Its name.
    pub name: &'a str,
    /// The options.
    pub settings: &'a Settings,
    /// Arguments for buildkitd.
    pub flags: &'a [String],
    /// Files for buildkitd.
    pub files: &'a [File],
}

/// What the engine and its machine have to give.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Facts about the engine, where it told them.
    pub info: Option<EngineInfo>,
    /// Whether it can hand in GPUs.
    pub gpu: bool,
    /// Whether this is WSL, and the engine in it.
    pub wsl: bool,
}

impl Plan<'_> {
    /// The volume with the daemon's state.
    pub fn volume(&self) -> String {
        format!("{}_state", self.name)
    }

    /// Arguments of the image's entrypoint.
    pub fn command(&self) -> Vec<String> {
        let mut command = Vec::new();
        if self.files.iter().any(|(name, _)| name == CONFIG_NAME) {
            command.extend(["--config".to_owned(), format!("/etc/buildkit/{CONFIG_NAME}")]);
        }
        command.extend(self.flags.iter().cloned());
        command
    }

    /// The body of the request that makes it.
    pub fn body(&self, image: &str, surroundings: &Surroundings) -> Value {
        let mut body = Map::new();
        body.insert("Image".to_owned(), image.into());
        let command = self.command();
        if !command.is_empty() {
            body.insert("Cmd".to_owned(), command.into());
        }
        let env = self.settings.env.iter();
        let env: Vec<String> = env.map(|(name, value)| format!("{name}={value}")).collect();
        if !env.is_empty() {
            body.insert("Env".to_owned(), env.into());
        }
        let remembered = Value::Object(self.remembered()).to_string();
        body.insert("Labels".to_owned(), json!({ LABEL: remembered }));
        body.insert("HostConfig".to_owned(), self.host_config(surroundings));
        Value::Object(body)
    }

    fn host_config(&self, surroundings: &Surroundings) -> Value {
        let mut config = self.limits();
        let mut set = |name: &str, value: Value| config.insert(name.to_owned(), value);
        set("Privileged", true.into());
        set("Init", true.into());
        set("Mounts", self.mounts(surroundings.wsl));
        if let Some(policy) = &self.settings.restart {
            let policy = json!({ "Name": policy.name, "MaximumRetryCount": policy.maximum });
            set("RestartPolicy", policy);
        }
        if surroundings.gpu {
            set("DeviceRequests", all_gpus());
        }
        if let Some(info) = &surroundings.info {
            if info.uses_cgroupfs() {
                let parent = self.settings.cgroup_parent.as_deref().unwrap_or(CGROUP_PARENT);
                set("CgroupParent", parent.into());
            }
            if info.maps_users() {
                set("UsernsMode", "host".into());
            }
        }
        Value::Object(config)
    }

    /// Network and limits, by the engine's names.
    fn limits(&self) -> Map<String, Value> {
        let settings = self.settings;
        let numbers = [
            ("Memory", settings.memory),
            ("MemorySwap", settings.memory_swap),
            ("CpuPeriod", settings.cpu_period),
            ("CpuQuota", settings.cpu_quota),
            ("CpuShares", settings.cpu_shares),
        ];
        let texts = [
            ("NetworkMode", &settings.network),
            ("CpusetCpus", &settings.cpuset_cpus),
            ("CpusetMems", &settings.cpuset_mems),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.into())));
        let texts = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?.into())));
        numbers
            .chain(texts)
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn mounts(&self, wsl: bool) -> Value {
        let state = json!({ "Type": "volume", "Source": self.volume(), "Target": STATE_FOLDER });
        match wsl {
            false => json!([state]),
            true => {
                let libraries =
                    json!({ "Type": "bind", "Source": WSL_FOLDER, "Target": WSL_FOLDER, "ReadOnly": true });
                json!([state, libraries])
            }
        }
    }

    /// The settings as the label holds them: option by option, files and values of variables as fingerprints.
    pub fn remembered(&self) -> Map<String, Value> {
        let settings = self.settings;
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let restart = settings.restart.as_ref();
        let restart = restart.map(|policy| format!("{}:{}", policy.name, policy.maximum));
        let flags = (!self.flags.is_empty()).then(|| self.flags.join(" "));
        let mut env = Fingerprint::default();
        for (name, value) in &settings.env {
            env.add(name.as_bytes());
            env.add(value.as_bytes());
        }
        let env = (!settings.env.is_empty()).then(|| env.text());
        let files = crate::archive::fingerprint(self.files);
        let parts = [
            ("image", Some(settings.image.clone())),
            ("network", settings.network.clone()),
            ("memory", number(settings.memory)),
            ("memory-swap", number(settings.memory_swap)),
            ("cpu-period", number(settings.cpu_period)),
            ("cpu-quota", number(settings.cpu_quota)),
            ("cpu-shares", number(settings.cpu_shares)),
            ("cpuset-cpus", settings.cpuset_cpus.clone()),
            ("cpuset-mems", settings.cpuset_mems.clone()),
            ("cgroup-parent", settings.cgroup_parent.clone()),
            ("restart-policy", restart),
            ("env", env),
            ("buildkitd-flags", flags),
            ("files", files),
        ];
        let given = parts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        given.collect()
    }
}

/// Whether the machine is WSL, and the engine runs in it: only then are its libraries there to be mounted.
pub fn is_in_wsl(config: &Config) -> bool {
    let wsl = config.fact("wsl").is_some_and(|name| !name.is_empty());
    if !wsl || config.fact("wsl-lib").as_deref() != Some("true") {
        return false;
    }
    let url = engine::host_url().unwrap_or_default();
    ["unix:", "npipe:", "fd:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

/// Tries whether the engine starts a container with all GPUs. It is thrown away, and nothing that fails matters.
///
/// It has a name, which all clients share: what a killed client has left is used up by the next one.
pub fn has_gpu(name: &str, image: &str, timeout: Duration) -> bool {
    let body = json!({
        "Image": image,
        "Entrypoint": ["/bin/true"],
        "HostConfig": { "NetworkMode": "none", "AutoRemove": true, "DeviceRequests": all_gpus() },
    });
    for _ in 0..PROBES {
        match api::create(name, &body, timeout) {
            Ok(Creation::Made(_) | Creation::NameTaken) => {}
            Err(error) if error.kind() == ErrorKind::Denied => {
                log::warning(format!("GPUs were not looked for: {}", error.message()));
                return false;
            }
            _ => return false,
        }
        match api::start(name, timeout) {
            Ok(true) => return true,
            // It was another client's, and is gone.
            Ok(false) => {
                wait_any(&[&timer(PROBE_PAUSE)]);
            }
            Err(_) => {
                // Engines of some versions keep what they could not start.
                let _ = api::delete(&format!("/containers/{name}?force=1&v=1"), timeout);
                return false;
            }
        }
    }
    false
}

fn all_gpus() -> Value {
    json!([{ "Count": -1, "Capabilities": [["gpu"]] }])
}
