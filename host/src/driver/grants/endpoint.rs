//! A node's endpoint as far as grants need to understand it. The grammar of endpoints is the drivers' business; what
//! is not understood here grants nothing.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// What an endpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A unix socket, by its path as written.
    Unix(String),
    /// A host and port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// Something behind a helper program.
    Helper(Helper),
    /// Nothing that could be connected to.
    Other,
}

/// A helper program with its typed fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Helper {
    /// `ssh` to `buildctl dial-stdio` on a host.
    Ssh {
        /// Name or address, without brackets.
        host: String,
        /// User there.
        user: Option<String>,
        /// Port of ssh.
        port: Option<u16>,
        /// The daemon's socket there.
        socket: Option<String>,
    },
    /// `docker exec`.
    DockerExec {
        /// Name or id of the container.
        container: String,
        /// Docker context.
        context: Option<String>,
    },
    /// `podman exec`.
    PodmanExec {
        /// Name or id of the container.
        container: String,
    },
    /// `nerdctl exec`.
    NerdctlExec {
        /// Name or id of the container.
        container: String,
        /// Namespace of containerd.
        namespace: Option<String>,
    },
    /// `kubectl exec`.
    KubectlExec {
        /// Name of the pod.
        pod: String,
        /// Container in it.
        container: Option<String>,
        /// Its namespace.
        namespace: Option<String>,
        /// Context of the kubeconfig.
        context: Option<String>,
    },
}

impl Helper {
    /// All kinds, as manifests name them.
    pub const KINDS: [&str; 5] = [
        "ssh",
        "docker-exec",
        "podman-exec",
        "nerdctl-exec",
        "kubectl-exec",
    ];

    /// The kind as manifests name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ssh { .. } => "ssh",
            Self::DockerExec { .. } => "docker-exec",
            Self::PodmanExec { .. } => "podman-exec",
            Self::NerdctlExec { .. } => "nerdctl-exec",
            Self::KubectlExec { .. } => "kubectl-exec",
        }
    }
}

impl Endpoint {
    /// What `text` names.
    pub fn parse(text: &str) -> Self {
        // A path is taken as it is written: decoding it would let two spellings mean one socket.
        if let Some(path) = text.strip_prefix("unix://") {
            return Self::Unix(path.to_owned());
        }
        match Url::parse(text) {
            Ok(url) => parse_url(&url).unwrap_or(Self::Other),
            Err(_) => Self::Other,
        }
    }
}

fn parse_url(url: &Url) -> Option<Endpoint> {
    let query = |name: &str| {
        let value = url.query_pairs().find(|(key, _)| key == name)?.1.into_owned();
        (!value.is_empty()).then_some(value)
    };
    let host = plain_host(url)?;
    let helper = match url.scheme() {
        "tcp" => {
            let port = url.port()?;
            return Some(Endpoint::Tcp { host, port });
        }
        "ssh" => Helper::Ssh {
            host,
            user: decoded(url.username()),
            port: url.port(),
            socket: decoded(url.path()).filter(|path| path != "/"),
        },
        "docker-container" => Helper::DockerExec {
            container: host,
            context: query("context"),
        },
        "podman-container" => Helper::PodmanExec { container: host },
        "nerdctl-container" => Helper::NerdctlExec {
            container: host,
            namespace: query("namespace"),
        },
        "kube-pod" => Helper::KubectlExec {
            pod: host,
            container: query("container"),
            namespace: query("namespace"),
            context: query("context"),
        },
        _ => return None,
    };
    Some(Endpoint::Helper(helper))
}

fn plain_host(url: &Url) -> Option<String> {
    let host = match url.host()? {
        Host::Domain(name) => decoded(name)?,
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    (!host.is_empty()).then_some(host)
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
    (!text.is_empty()).then_some(text)
}

/// Whether two spellings of a host mean the same: names without regard to case, addresses by value.
pub(crate) fn same_host(one: &str, other: &str) -> bool {
    match (address(one), address(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_understood() {
        let tcp = |host: &str, port| Endpoint::Tcp {
            host: host.to_owned(),
            port,
        };
        for (text, expected) in [
            (
                "unix:///run/x%20y.sock",
                Endpoint::Unix("/run/x%20y.sock".to_owned()),
            ),
            ("tcp://host:1234", tcp("host", 1234)),
            ("tcp://host:1234/ignored", tcp("host", 1234)),
            ("tcp://[::1]:1234", tcp("::1", 1234)),
            ("tcp://host", Endpoint::Other),
            ("tcp://", Endpoint::Other),
            ("kubernetes:///b?deployment=n", Endpoint::Other),
            ("default", Endpoint::Other),
            ("", Endpoint::Other),
        ] {
            assert_eq!(Endpoint::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn every_kind_of_helper_can_be_named_by_a_manifest() {
        let endpoints = [
            "ssh://h",
            "docker-container://c",
            "podman-container://c",
            "nerdctl-container://c",
            "kube-pod://p",
        ];
        let kinds = endpoints.map(|endpoint| match Endpoint::parse(endpoint) {
            Endpoint::Helper(helper) => helper.kind(),
            other => panic!("no helper: {other:?}"),
        });
        assert_eq!(kinds, Helper::KINDS);
    }

    #[test]
    fn helpers_are_understood() {
        let ssh = Endpoint::parse("ssh://me@host");
        assert_eq!(
            ssh,
            Endpoint::Helper(Helper::Ssh {
                host: "host".to_owned(),
                user: Some("me".to_owned()),
                port: None,
                socket: None,
            })
        );
        let pod = Endpoint::parse("kube-pod://p?namespace=n&container=&context=c");
        assert_eq!(
            pod,
            Endpoint::Helper(Helper::KubectlExec {
                pod: "p".to_owned(),
                container: None,
                namespace: Some("n".to_owned()),
                context: Some("c".to_owned()),
            })
        );
    }
}
