//! What one operation of a driver may reach: its manifest ∩ the builder's configuration ∩ the user's consent, with a
//! memory of what allowed calls have returned.

pub(crate) mod endpoint;
pub(crate) mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::endpoint::{Endpoint, Helper};
use self::rules::{Request, Rule, Scope};
use super::manifest::Wanted;
use super::node::NodeConfig;

/// Things of one class that are remembered in one operation.
const REMEMBERED: usize = 10_000;

/// A call that was not granted. The text names the call and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} is not granted: {rule}")]
pub(crate) struct Denied {
    /// The call with what it was to reach, in backticks.
    pub call: String,
    /// Why not.
    pub rule: String,
}

impl Denied {
    /// A refusal of `call` because of `rule`.
    pub fn new(call: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            call: call.into(),
            rule: rule.into(),
        }
    }
}

/// Which API a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// The Docker Engine.
    Engine,
    /// Kubernetes.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "asked by the API that comes with the kubernetes driver")
    )]
    Cluster,
}

/// The grants of one operation.
#[derive(Debug)]
pub(crate) struct Grants {
    wanted: Arc<Wanted>,
    config: Arc<NodeConfig>,
    endpoint: Endpoint,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Ids by class, as allowed requests returned them.
    ids: BTreeMap<String, BTreeSet<String>>,
    /// Sockets of the node's own daemon.
    sockets: BTreeSet<PathBuf>,
    /// Folders for such sockets.
    folders: BTreeSet<PathBuf>,
}

impl Grants {
    /// The grants of a driver whose manifest wants `wanted` (as far as it was consented to) for a node.
    pub fn new(wanted: Arc<Wanted>, config: Arc<NodeConfig>) -> Self {
        let endpoint = Endpoint::parse(&config.endpoint);
        Self {
            wanted,
            config,
            endpoint,
            memory: Mutex::default(),
        }
    }

    /// Whether a unix socket may be opened: the one the endpoint names, or one of the node's own daemon.
    pub fn unix(&self, path: &str) -> Result<(), Denied> {
        let call = || format!("`open-unix` of `{path}`");
        if self.is_own_socket(Path::new(path)) {
            return Ok(());
        }
        if !self.wanted.connections.unix {
            return Err(Denied::new(
                call(),
                "the driver's manifest does not want unix sockets",
            ));
        }
        match &self.endpoint {
            Endpoint::Unix(named) if named == path => Ok(()),
            _ => Err(Denied::new(call(), self.endpoint_words())),
        }
    }

    /// Whether a TCP connection may be opened: to the host and port that the endpoint names.
    pub fn tcp(&self, host: &str, port: u16) -> Result<(), Denied> {
        let call = || format!("`open-tcp` to `{host}:{port}`");
        if !self.wanted.connections.tcp {
            return Err(Denied::new(call(), "the driver's manifest does not want TCP"));
        }
        match &self.endpoint {
            Endpoint::Tcp {
                host: named,
                port: named_port,
            } if *named_port == port && endpoint::same_host(named, host) => Ok(()),
            _ => Err(Denied::new(call(), self.endpoint_words())),
        }
    }

    /// Whether a helper program may be run: its kind must be wanted, and the endpoint must name exactly this.
    pub fn helper(&self, helper: &Helper) -> Result<(), Denied> {
        let kind = helper.kind();
        let call = || format!("`open-{kind}`");
        if !self
            .wanted
            .connections
            .helpers
            .iter()
            .any(|wanted| wanted == kind)
        {
            let rule = format!("the driver's manifest does not want the helper `{kind}`");
            return Err(Denied::new(call(), rule));
        }
        match &self.endpoint {
            Endpoint::Helper(named) if named == helper => Ok(()),
            _ => Err(Denied::new(call(), self.endpoint_words())),
        }
    }

    /// The path behind an option that names a TLS file; absent when the option was not given.
    pub fn tls_file(&self, option: &str) -> Result<Option<&str>, Denied> {
        self.option(option, &self.wanted.connections.tls_options, "a TLS file")
    }

    /// Whether a program may be found.
    pub fn program(&self, name: &str) -> Result<(), Denied> {
        if self.wanted.processes.programs.iter().any(|wanted| wanted == name) {
            return Ok(());
        }
        Err(Denied::new(
            format!("`find` of `{name}`"),
            "the driver's manifest does not want this program",
        ))
    }

    /// The value of an option that may name the file of a program; absent when it was not given or is empty.
    pub fn program_option(&self, option: &str) -> Result<Option<&str>, Denied> {
        let options = &self.wanted.processes.program_options;
        let value = self.option(option, options, "a program")?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Options that may name the folder of the daemon's state.
    pub fn folder_options(&self) -> &[String] {
        &self.wanted.processes.folder_options
    }

    /// The value of an option that may name the folder of the daemon's state; absent when it was not given or is
    /// empty.
    pub fn folder_option(&self, option: &str) -> Result<Option<&str>, Denied> {
        let options = &self.wanted.processes.folder_options;
        let value = self.option(option, options, "a folder")?;
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Whether the driver may run programs at all; `call` is the function that asks.
    pub fn processes(&self, call: &str) -> Result<(), Denied> {
        if self.wanted.processes.programs.is_empty() {
            return Err(Denied::new(
                format!("`{call}`"),
                "the driver's manifest does not want to run programs",
            ));
        }
        Ok(())
    }

    /// Allows this socket of the node's own daemon for the rest of the operation.
    pub fn allow_socket(&self, path: &Path) {
        let mut memory = self.memory();
        if memory.sockets.len() < REMEMBERED {
            memory.sockets.insert(path.to_owned());
        }
    }

    /// Allows sockets that lie directly in this folder of the node for the rest of the operation.
    pub fn allow_sockets_in(&self, folder: &Path) {
        let mut memory = self.memory();
        if memory.folders.len() < REMEMBERED {
            memory.folders.insert(folder.to_owned());
        }
    }

    /// Whether a request to an API may be sent; the rule that allows it knows what to remember of the answer.
    pub fn request(&self, api: Api, request: &Request<'_>) -> Result<Rule<'_>, Denied> {
        let rules = match api {
            Api::Engine => &self.wanted.engine,
            Api::Cluster => &self.wanted.cluster,
        };
        let memory = self.memory();
        let remembered = |class: &str, id: &str| memory.ids.get(class).is_some_and(|ids| ids.contains(id));
        let scope = Scope::new(&self.config, &remembered);
        rules::find(rules, request, &scope)
    }

    /// Whether the driver may ask the Docker Engine at all; `call` is the function that asks.
    pub fn engine(&self, call: &str) -> Result<(), Denied> {
        match self.wanted.engine.is_empty() {
            false => Ok(()),
            true => Err(Denied::new(
                format!("`{call}`"),
                "the driver's manifest has no rule for the Docker Engine",
            )),
        }
    }

    /// Whether the engine's BuildKit may be reached on the engine's own socket: it is what `POST /grpc` leads to.
    pub fn engine_http2(&self) -> Result<(), Denied> {
        let grpc = Request {
            method: "POST",
            path: "/grpc",
            body: b"",
        };
        match self.request(Api::Engine, &grpc) {
            Ok(_) => Ok(()),
            Err(_) => Err(Denied::new(
                "`open-http2`",
                "no rule of the driver's manifest allows `POST /grpc`",
            )),
        }
    }

    /// Whether the engine may be told to pull an image of this name.
    pub fn image(&self, reference: &str) -> Result<(), Denied> {
        let nothing = |_: &str, _: &str| false;
        let scope = Scope::new(&self.config, &nothing);
        let patterns = &self.wanted.images;
        if patterns
            .iter()
            .any(|pattern| rules::matches(pattern, reference, &scope))
        {
            return Ok(());
        }
        let rule = "no pattern among the `images` of the driver's manifest allows this name";
        Err(Denied::new(format!("`pull` of `{reference}`"), rule))
    }

    /// Remembers the ids in an answer to a request that `rule` allowed.
    pub fn learn(&self, rule: &Rule<'_>, answer: &serde_json::Value) {
        let mut memory = self.memory();
        for (class, id) in rule.ids(answer) {
            let ids = memory.ids.entry(class.to_owned()).or_default();
            if ids.len() < REMEMBERED {
                ids.insert(id.to_owned());
            }
        }
    }

    /// The value of an option that the manifest names for this; an empty name stands for no option.
    fn option(&self, name: &str, wanted: &[String], what: &str) -> Result<Option<&str>, Denied> {
        if name.is_empty() {
            return Ok(None);
        }
        if !wanted.iter().any(|option| option == name) {
            let rule = format!("the driver's manifest does not name it as an option for {what}");
            return Err(Denied::new(format!("Option `{name}`"), rule));
        }
        Ok(self.config.options.get(name).map(String::as_str))
    }

    fn is_own_socket(&self, path: &Path) -> bool {
        let memory = self.memory();
        if memory.sockets.contains(path) {
            return true;
        }
        let plain = path
            .components()
            .all(|part| !matches!(part, std::path::Component::ParentDir));
        plain
            && path.file_name().is_some()
            && path
                .parent()
                .is_some_and(|parent| memory.folders.contains(parent))
    }

    fn endpoint_words(&self) -> String {
        match self.config.endpoint.as_str() {
            "" => "the builder names no endpoint".to_owned(),
            endpoint => format!("the builder's endpoint is `{endpoint}`"),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::manifest::{WantedConnections, WantedProcesses};

    fn grants(endpoint: &str) -> Grants {
        let wanted = Wanted {
            connections: WantedConnections {
                unix: true,
                tcp: true,
                tls_options: vec!["cacert".to_owned()],
                helpers: vec!["ssh".to_owned(), "docker-exec".to_owned()],
            },
            processes: WantedProcesses {
                programs: vec!["buildkitd".to_owned()],
                program_options: vec!["binary".to_owned()],
                folder_options: vec!["root".to_owned()],
            },
            ..Wanted::default()
        };
        with(wanted, endpoint)
    }

    fn with(wanted: Wanted, endpoint: &str) -> Grants {
        let config = NodeConfig {
            endpoint: endpoint.to_owned(),
            options: [("cacert", "/ca.pem"), ("binary", ""), ("secret", "/etc/shadow")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..NodeConfig::default()
        };
        Grants::new(Arc::new(wanted), Arc::new(config))
    }

    fn words<T: std::fmt::Debug>(result: Result<T, Denied>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_unix_socket_is_the_endpoints_own() {
        let grants = grants("unix:///run/b.sock");
        grants.unix("/run/b.sock").unwrap();
        for path in [
            "/run/c.sock",
            "/run/../run/b.sock",
            "run/b.sock",
            "/run/b.sock/",
            "/etc/shadow",
        ] {
            assert_eq!(
                words(grants.unix(path)),
                format!(
                    "`open-unix` of `{path}` is not granted: the builder's endpoint is `unix:///run/b.sock`"
                )
            );
        }
        assert!(words(grants.tcp("run", 80)).contains("the builder's endpoint is"));
        assert!(
            words(with(Wanted::default(), "unix:///a").unix("/a")).contains("does not want unix sockets")
        );
        assert!(words(self::grants("").unix("/a")).ends_with("the builder names no endpoint"));
    }

    #[test]
    fn tcp_reaches_the_endpoints_host_and_port() {
        let grants = grants("tcp://Build.example:1234");
        grants.tcp("build.example", 1234).unwrap();
        assert_eq!(
            words(grants.tcp("build.example", 22)),
            "`open-tcp` to `build.example:22` is not granted: the builder's endpoint is `tcp://Build.example:1234`"
        );
        assert!(grants.tcp("example", 1234).is_err());
        self::grants("tcp://[::1]:1234").tcp("::1", 1234).unwrap();
        self::grants("tcp://[::1]:1234").tcp("[0:0::1]", 1234).unwrap();
        assert!(words(with(Wanted::default(), "tcp://a:1").tcp("a", 1)).contains("does not want TCP"));
    }

    #[test]
    fn a_helper_says_what_the_endpoint_says() {
        let grants = grants("ssh://me@host:22/run/b.sock");
        let ssh = |host: &str, user: Option<&str>| Helper::Ssh {
            host: host.to_owned(),
            user: user.map(str::to_owned),
            port: Some(22),
            socket: Some("/run/b.sock".to_owned()),
        };
        grants.helper(&ssh("host", Some("me"))).unwrap();
        assert!(words(grants.helper(&ssh("-oProxyCommand=x", Some("me")))).starts_with("`open-ssh`"));
        assert!(grants.helper(&ssh("host", None)).is_err());
        let podman = Helper::PodmanExec {
            container: "c".to_owned(),
        };
        assert_eq!(
            words(self::grants("podman-container://c").helper(&podman)),
            "`open-podman-exec` is not granted: the driver's manifest does not want the helper `podman-exec`"
        );
    }

    #[test]
    fn options_are_read_for_their_purpose_only() {
        let grants = grants("");
        assert_eq!(grants.tls_file("cacert").unwrap(), Some("/ca.pem"));
        assert_eq!(
            words(grants.tls_file("secret")),
            "Option `secret` is not granted: the driver's manifest does not name it as an option for a TLS file"
        );
        assert_eq!(grants.program_option("binary").unwrap(), None);
        assert!(grants.program_option("root").is_err());
        assert_eq!(grants.folder_option("root").unwrap(), None);
    }

    #[test]
    fn programs_are_those_of_the_manifest() {
        let grants = grants("");
        grants.program("buildkitd").unwrap();
        grants.processes("start").unwrap();
        assert!(words(grants.program("sh")).starts_with("`find` of `sh` is not granted"));
        assert!(words(with(Wanted::default(), "").processes("start")).starts_with("`start` is not granted"));
    }

    #[test]
    fn ids_of_allowed_answers_are_remembered() {
        let rule = |method: &str, path: &str| rules::RuleText {
            method: method.to_owned(),
            path: path.to_owned(),
            ..rules::RuleText::default()
        };
        let mut create = rule("POST", "/containers/create");
        create.remember.insert("container".to_owned(), "/Id".to_owned());
        let wanted = Wanted {
            engine: vec![create, rule("POST", "/containers/{id:container}/start")],
            ..Wanted::default()
        };
        let grants = with(wanted, "");
        let request = |path| Request {
            method: "POST",
            path,
            body: b"",
        };
        assert_eq!(
            words(grants.request(Api::Engine, &request("/containers/c1/start"))),
            "`POST /containers/c1/start` is not granted: no rule of the driver's manifest allows this method and path"
        );
        let rule = grants
            .request(Api::Engine, &request("/containers/create"))
            .unwrap();
        grants.learn(&rule, &serde_json::json!({"Id": "c1"}));
        grants
            .request(Api::Engine, &request("/containers/c1/start"))
            .unwrap();
        assert!(
            grants
                .request(Api::Engine, &request("/containers/c2/start"))
                .is_err()
        );
        // Each API has rules of its own.
        assert!(
            grants
                .request(Api::Cluster, &request("/containers/create"))
                .is_err()
        );
    }

    #[test]
    fn the_engines_buildkit_is_reached_by_the_rule_for_it() {
        let rule = |method: &str, path: &str| rules::RuleText {
            method: method.to_owned(),
            path: path.to_owned(),
            ..rules::RuleText::default()
        };
        let of = |engine: Vec<rules::RuleText>| {
            let wanted = Wanted {
                engine,
                ..Wanted::default()
            };
            with(wanted, "")
        };
        of(vec![rule("POST", "/grpc")]).engine_http2().unwrap();
        let other = of(vec![rule("GET", "/info")]);
        assert_eq!(
            words(other.engine_http2()),
            "`open-http2` is not granted: no rule of the driver's manifest allows `POST /grpc`"
        );
        other.engine("host-url").unwrap();
        assert_eq!(
            words(of(Vec::new()).engine("host-url")),
            "`host-url` is not granted: the driver's manifest has no rule for the Docker Engine"
        );
    }

    #[test]
    fn images_are_those_that_the_builder_names() {
        let wanted = Wanted {
            images: ["{option:image}", "moby/buildkit:*"].map(str::to_owned).into(),
            ..Wanted::default()
        };
        let mut config = NodeConfig::default();
        config
            .options
            .insert("image".to_owned(), "example.com/b:1".to_owned());
        let grants = Grants::new(Arc::new(wanted.clone()), Arc::new(config));
        grants.image("example.com/b:1").unwrap();
        grants.image("moby/buildkit:rootless").unwrap();
        assert_eq!(
            words(grants.image("example.com/b:2")),
            "`pull` of `example.com/b:2` is not granted: no pattern among the `images` of the driver's manifest allows this \
             name"
        );
        assert!(
            with(wanted, "").image("").is_err(),
            "an option that was not given"
        );
    }

    #[test]
    fn own_sockets_are_remembered() {
        let grants = with(Wanted::default(), "");
        assert!(grants.unix("/run/n/a.sock").is_err());
        grants.allow_sockets_in(Path::new("/run/n"));
        grants.unix("/run/n/a.sock").unwrap();
        assert!(grants.unix("/run/n/deeper/a.sock").is_err());
        assert!(grants.unix("/run/n/..").is_err());
        assert!(grants.unix("/run/n/../n/a.sock").is_err());
        grants.allow_socket(Path::new("/elsewhere/b.sock"));
        grants.unix("/elsewhere/b.sock").unwrap();
    }
}
