//! What the last words of a helper program mean: whether waiting may help, and the way out where it will not.
//!
//! The programs tell their failures apart by words alone: their exit status is the same for an engine that is not there
//! and for a container that is about to start.

use bkhost_driver::{Error, ErrorKind};

use crate::endpoint::SCHEMES;
use crate::target::{Kind, Target};

/// A known failure: `words` as the program writes them (in lower case), its kind, and what to do about it.
type Known = (&'static str, ErrorKind, &'static str);

/// Of the commands that `exec` into something, whatever engine is behind it. Engines have various words for a program
/// that is not there, and some have another exit status for it.
const NO_BUILDCTL: &str = "Use an image that has `buildctl`, such as `moby/buildkit`";
const EXEC: [Known; 3] = [
    ("executable file not found", ErrorKind::NotFound, NO_BUILDCTL),
    ("exit status: 127", ErrorKind::NotFound, NO_BUILDCTL),
    (
        "\"buildctl\": permission denied",
        ErrorKind::Denied,
        "`buildctl` in it cannot be run by its user",
    ),
];
/// Of a shell that was to run `buildctl`.
const SHELL: [Known; 2] = [
    (
        "exit status: 127",
        ErrorKind::NotFound,
        "`buildctl` must be on the PATH there",
    ),
    (
        "exit status: 126",
        ErrorKind::Denied,
        "`buildctl` there cannot be run by this user",
    ),
];
const START_ENGINE: &str = "Start the Docker Engine, or name the context of another one with `?context=NAME`";
const DOCKER: [Known; 7] = [
    (
        "cannot connect to the docker daemon",
        ErrorKind::Other,
        START_ENGINE,
    ),
    ("failed to connect to the docker", ErrorKind::Other, START_ENGINE),
    ("error during connect", ErrorKind::Other, START_ENGINE),
    (
        "permission denied while trying to connect",
        ErrorKind::Denied,
        "Run as a user who may use the Docker Engine",
    ),
    (
        "context not found",
        ErrorKind::NotFound,
        "`docker context ls` shows the contexts there are",
    ),
    (
        "no such container",
        ErrorKind::NotFound,
        "`docker ps` shows the containers that run",
    ),
    (
        "is paused",
        ErrorKind::Other,
        "`docker unpause` lets the container go on",
    ),
];
const PODMAN: [Known; 3] = [
    (
        "cannot connect to podman",
        ErrorKind::Other,
        "Start Podman's machine or service",
    ),
    (
        "no such container",
        ErrorKind::NotFound,
        "`podman ps` shows the containers that run",
    ),
    (
        "no container with name",
        ErrorKind::NotFound,
        "`podman ps` shows the containers that run",
    ),
];
const START_CONTAINERD: &str =
    "Start containerd (`containerd-rootless-setuptool.sh install` for an ordinary user)";
const NERDCTL: [Known; 3] = [
    (
        "cannot access containerd socket",
        ErrorKind::Other,
        START_CONTAINERD,
    ),
    (
        "rootless containerd not running",
        ErrorKind::Other,
        START_CONTAINERD,
    ),
    (
        "no such container",
        ErrorKind::NotFound,
        "`nerdctl ps` shows the containers that run; `?namespace=NAME` names another namespace",
    ),
];
const CLUSTER: &str =
    "Choose a cluster with `?context=NAME` or KUBECONFIG; `kubectl get pods` must work from this machine";
const POD: &str = "`kubectl get pods` shows the pods; `?namespace=NAME` names another namespace";
const MAY_NOT: &str = "`kubectl auth can-i create pods/exec` tells whether this user may";
const KUBECTL: [Known; 10] = [
    ("the connection to the server", ErrorKind::Other, CLUSTER),
    ("unable to connect to the server", ErrorKind::Other, CLUSTER),
    ("no configuration has been provided", ErrorKind::Other, CLUSTER),
    ("error loading config file", ErrorKind::Other, CLUSTER),
    ("error: context ", ErrorKind::NotFound, CLUSTER),
    ("(notfound)", ErrorKind::NotFound, POD),
    ("completed pod", ErrorKind::NotFound, POD),
    ("is not valid for pod", ErrorKind::NotFound, POD),
    ("(forbidden)", ErrorKind::Denied, MAY_NOT),
    ("you must be logged in", ErrorKind::Unauthenticated, MAY_NOT),
];
const LOG_IN: &str =
    "`ssh` to that host must work without a question: keys, agent and `known_hosts` are ssh's own";
const SSH: [Known; 5] = [
    (
        "could not resolve hostname",
        ErrorKind::NotFound,
        "Check the spelling of the host, and this machine's name resolution",
    ),
    ("permission denied (", ErrorKind::Unauthenticated, LOG_IN),
    (
        "too many authentication failures",
        ErrorKind::Unauthenticated,
        LOG_IN,
    ),
    ("host key verification failed", ErrorKind::Unauthenticated, LOG_IN),
    ("no matching host key", ErrorKind::Protocol, LOG_IN),
];
/// Not the name is wrong, its server does not answer now.
const PASSING: &str = "temporary failure";

/// Adds to an error of a helper program what it means for `target`. Errors that waiting cannot heal get a kind of which
/// nothing is tried again.
pub fn explained(target: &Target, error: Error) -> Error {
    let Some(way) = Way::of(target.kind()) else {
        return error;
    };
    if error.kind() == ErrorKind::NotFound {
        let hint = format!(
            "Install `{}` or put its folder on PATH. {}",
            way.program,
            way.told(target)
        );
        return error.with_hint(hint);
    }
    let said = said(&error);
    match way.known(&said) {
        Some((_, kind, hint)) => {
            told(target, *kind, &error).with_hint(format!("{hint}. {}", way.told(target)))
        }
        None => error,
    }
}

/// Words for a place that is reached, but where no daemon is, or not yet.
const NOBODY: [&str; 5] = [
    "is not running",
    // podman's and nerdctl's for that
    "container state improper",
    "exec in a stopped state",
    "connection refused",
    "no such file or directory",
];

/// Whether a helper program that ended has told that no daemon runs.
pub fn is_nobody_there(error: &Error) -> bool {
    let said = said(error);
    error.kind() == ErrorKind::Unavailable && NOBODY.iter().any(|words| said.contains(words))
}

/// Whether `buildctl` was there and no socket: the daemon is not up, or was given other addresses only.
pub fn misses_socket(error: &Error) -> bool {
    let said = said(error);
    said.contains("dial unix") && said.contains("no such file or directory")
}

/// The command that shows the last words of a daemon in a container or pod.
pub fn log_command(target: &Target) -> Option<String> {
    let given = |option: &str, value: &Option<String>| match value {
        Some(value) => format!(" --{option} {value}"),
        None => String::new(),
    };
    Some(match target.kind() {
        Kind::Docker { container, context } => {
            format!("docker{} logs {container}", given("context", context))
        }
        Kind::Podman { container } => format!("podman logs {container}"),
        Kind::Nerdctl { container, namespace } => {
            format!("nerdctl{} logs {container}", given("namespace", namespace))
        }
        Kind::Pod {
            pod,
            container,
            namespace,
            context,
        } => format!(
            "kubectl{}{} logs {pod}{}",
            given("context", context),
            given("namespace", namespace),
            given("container", container)
        ),
        Kind::Unix(_) | Kind::NamedPipe(_) | Kind::Tcp { .. } | Kind::Ssh(_) => return None,
    })
}

/// The same failure as one that waiting does not heal. What the message says already is not said again.
fn told(target: &Target, kind: ErrorKind, error: &Error) -> Error {
    let words = format!("`{}` cannot be reached: {}", target.url(), error.message());
    let more = |(key, value): &&(String, String)| key == "log" && value.trim().contains('\n');
    let details = error.details().iter().filter(more);
    details.fold(Error::new(kind, words), |told, (key, value)| {
        told.with_detail(key, value)
    })
}

/// How endpoints of one scheme are reached, and which failures of that are known.
struct Way {
    program: &'static str,
    command: &'static str,
    own: &'static [Known],
    inside: &'static [Known],
}

impl Way {
    fn of(kind: &Kind) -> Option<Self> {
        let (program, command, own, inside): (_, _, &[Known], &[Known]) = match kind {
            Kind::Unix(_) | Kind::NamedPipe(_) | Kind::Tcp { .. } => return None,
            Kind::Ssh(_) => ("ssh", "ssh", &SSH, &SHELL),
            Kind::Docker { .. } => ("docker", "docker exec", &DOCKER, &EXEC),
            Kind::Podman { .. } => ("podman", "podman exec", &PODMAN, &EXEC),
            Kind::Nerdctl { .. } => ("nerdctl", "nerdctl exec", &NERDCTL, &EXEC),
            Kind::Pod { .. } => ("kubectl", "kubectl exec", &KUBECTL, &EXEC),
        };
        Some(Self {
            program,
            command,
            own,
            inside,
        })
    }

    fn known(&self, said: &str) -> Option<&'static Known> {
        if said.contains(PASSING) {
            return None;
        }
        let mut all = self.own.iter().chain(self.inside);
        all.find(|(words, ..)| said.contains(words))
    }

    /// Which program serves the scheme, and which schemes there are.
    fn told(&self, target: &Target) -> String {
        let scheme = target.url().split("://").next().unwrap_or_default();
        format!(
            "`{scheme}://` is reached by `{}`; other endpoints: {}",
            self.command,
            others(scheme)
        )
    }
}

fn others(scheme: &str) -> String {
    let others: Vec<String> = SCHEMES
        .iter()
        .filter(|other| **other != scheme && **other != "npipe")
        .map(|other| format!("`{other}://`"))
        .collect();
    others.join(", ")
}

/// Everything the program left, in lower case.
fn said(error: &Error) -> String {
    let wanted = |key: &str| matches!(key, "exit-status" | "log");
    let left = error.details().iter().filter(|(key, _)| wanted(key));
    let left: Vec<&str> = left.map(|(_, value)| value.as_str()).collect();
    left.join("\n").to_lowercase()
}
