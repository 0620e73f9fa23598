//! What an endpoint names, and how to connect to it.

use std::time::Duration;

use bkhost_driver::{Connection, Error, Result, Ssh};

/// A parsed endpoint.
#[derive(Clone, Debug)]
pub struct Target {
    url: String,
    authority: Option<String>,
    kind: Kind,
}

/// The ways to a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A unix socket, by its path.
    Unix(String),
    /// A pipe of Windows, by its name with slashes.
    NamedPipe(String),
    /// A host and port.
    Tcp { host: String, port: u16 },
    /// A machine with `buildctl`.
    Ssh(Ssh),
    /// A container of docker.
    Docker {
        container: String,
        context: Option<String>,
    },
    /// A container of podman.
    Podman { container: String },
    /// A container of nerdctl.
    Nerdctl {
        container: String,
        namespace: Option<String>,
    },
    /// A pod.
    Pod {
        pod: String,
        container: Option<String>,
        namespace: Option<String>,
        context: Option<String>,
    },
}

impl Target {
    pub fn new(url: &str, authority: Option<String>, kind: Kind) -> Self {
        Self {
            url: url.to_owned(),
            authority,
            kind,
        }
    }

    /// The endpoint as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host of the URL, port included.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The way to the daemon.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.kind, Kind::Unix(_))
    }

    /// Whether a helper program makes the connection.
    pub fn is_helper(&self) -> bool {
        !matches!(self.kind, Kind::Unix(_) | Kind::NamedPipe(_) | Kind::Tcp { .. })
    }

    /// Name to verify the server by, unless an option gives one.
    pub fn server_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Tcp { host, .. } => Some(host),
            _ => None,
        }
    }

    /// One attempt, without TLS.
    pub fn connect(&self, timeout: Duration) -> Result<Connection> {
        match &self.kind {
            Kind::Unix(path) => Connection::open_unix(path, timeout),
            Kind::NamedPipe(_) => Err(Error::unsupported(
                "npipe connections are only supported on windows",
            )),
            Kind::Tcp { host, port } => Connection::open_tcp(host, *port, timeout),
            Kind::Ssh(ssh) => Connection::open_ssh(ssh, timeout),
            Kind::Docker { container, context } => {
                Connection::open_docker_exec(container, context.as_deref(), timeout)
            }
            Kind::Podman { container } => Connection::open_podman_exec(container, timeout),
            Kind::Nerdctl { container, namespace } => {
                Connection::open_nerdctl_exec(container, namespace.as_deref(), timeout)
            }
            Kind::Pod {
                pod,
                container,
                namespace,
                context,
            } => {
                let (container, namespace) = (container.as_deref(), namespace.as_deref());
                Connection::open_kubectl_exec(pod, container, namespace, context.as_deref(), timeout)
            }
        }
    }
}
