//! From what a node calls its engine to an address and what TLS needs.

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::error::EngineError;
use crate::connect::tcp::bare;
use crate::connect::tls::{OptionFile, TlsFiles, Trust};
use crate::store::docker::contexts::{Contexts, DEFAULT, DockerContext};
use crate::store::docker::host;

/// Port of an address that names none.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address as the context or the variable says it (`unix:///var/run/docker.sock`).
    pub url: String,
    /// How to get there.
    pub address: Address,
    /// Path in front of every request, without a slash at its end; only behind TCP.
    pub base_path: String,
}

/// How to reach an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(String),
    /// A host and port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// What to speak TLS with; absent without TLS.
        tls: Option<TlsFiles>,
    },
    /// `docker system dial-stdio` on another host.
    Ssh(Ssh),
}

/// A host behind ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// Name or address, without brackets.
    pub host: String,
    /// User there.
    pub user: Option<String>,
    /// Port of ssh.
    pub port: Option<u16>,
    /// The engine's socket there.
    pub socket: Option<String>,
}

impl Endpoint {
    /// What `text` means: the name of a docker context, else a host's address without TLS; the active context when it
    /// is empty.
    pub fn resolve(text: &str, contexts: &Contexts) -> Result<Self, EngineError> {
        let name = match text {
            "" => contexts.active(),
            text => text,
        };
        match contexts.get(name)? {
            Some(context) => Self::of_context(&context),
            None if name.contains("://") => Self::parse(&host::parse_any(name)?, None),
            None if text.is_empty() => Err(EngineError::NoContext {
                name: name.to_owned(),
            }),
            None => Err(EngineError::NoHost {
                text: name.to_owned(),
            }),
        }
    }

    fn of_context(context: &DockerContext) -> Result<Self, EngineError> {
        if context.host.is_empty() {
            return Err(EngineError::NoEngine {
                name: context.name.clone(),
            });
        }
        Self::parse(&context.host, tls_files(context))
    }

    fn parse(url: &str, tls: Option<TlsFiles>) -> Result<Self, EngineError> {
        let unparsable = || EngineError::NoHost { text: url.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(unparsable)?;
        let mut base_path = String::new();
        let address = match scheme {
            "unix" => Address::Unix(rest.to_owned()),
            "ssh" => Address::Ssh(ssh(url)?),
            "tcp" | "http" | "https" => {
                let tls = match (scheme, tls) {
                    ("https", None) => Some(TlsFiles {
                        trust: Trust::System,
                        identity: None,
                    }),
                    (_, tls) => tls,
                };
                let (place, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                base_path = path.trim_end_matches('/').to_owned();
                let (host, port) = host_and_port(place, tls.is_some()).ok_or_else(unparsable)?;
                Address::Tcp { host, port, tls }
            }
            _ => return Err(EngineError::Scheme { url: url.to_owned() }),
        };
        Ok(Self {
            url: url.to_owned(),
            address,
            base_path,
        })
    }

    /// What requests name as their host. Sockets have none; these are the docker client's.
    pub fn http_host(&self) -> String {
        match &self.address {
            Address::Unix(_) => "api.moby.localhost".to_owned(),
            Address::Ssh(_) => "docker.example.com".to_owned(),
            Address::Tcp { host, port, .. } => crate::connect::tcp::host_and_port(host, *port),
        }
    }
}

/// What a context says about TLS; on sockets nobody looks at it.
fn tls_files(context: &DockerContext) -> Option<TlsFiles> {
    let files = &context.tls;
    let any = files.ca.is_some() || files.cert.is_some() || files.key.is_some();
    if !any && !context.skip_tls_verify {
        return None;
    }
    let option = match context.name.as_str() {
        DEFAULT => "DOCKER_CERT_PATH".to_owned(),
        name => format!("context {name}"),
    };
    let file = |path: &std::path::PathBuf| OptionFile::new(option.clone(), path);
    let trust = match &files.ca {
        _ if context.skip_tls_verify => Trust::Anybody,
        Some(path) => Trust::File(file(path)),
        None => Trust::System,
    };
    Some(TlsFiles {
        trust,
        identity: files.cert.as_ref().map(file).zip(files.key.as_ref().map(file)),
    })
}

fn host_and_port(place: &str, tls: bool) -> Option<(String, u16)> {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ if tls => (place, TLS_PORT),
        _ => (place, PORT),
    };
    let host = bare(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

fn ssh(text: &str) -> Result<Ssh, EngineError> {
    let invalid = |why: String| EngineError::Ssh { why };
    let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if url.password().is_some() {
        return Err(invalid("plain-text password is not supported".to_owned()));
    }
    let host = match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => decoded(name).unwrap_or_default(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        _ => return Err(invalid("no host specified".to_owned())),
    };
    if let Some(query) = url.query() {
        return Err(invalid(format!("extra query after the host: {query:?}")));
    }
    if let Some(fragment) = url.fragment() {
        return Err(invalid(format!("extra fragment after the host: {fragment:?}")));
    }
    Ok(Ssh {
        host,
        user: decoded(url.username()),
        port: url.port(),
        socket: decoded(url.path()).filter(|path| path != "/"),
    })
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::docker::DockerEnvironment;
    use crate::store::docker::config::DockerConfig;
    use std::path::Path;

    fn contexts(folder: &Path, change: impl FnOnce(&mut DockerEnvironment)) -> Contexts {
        let mut environment = DockerEnvironment {
            folder: folder.to_owned(),
            ..DockerEnvironment::default()
        };
        change(&mut environment);
        Contexts::new(environment, &DockerConfig::load(folder).0)
    }

    fn resolved(text: &str) -> Endpoint {
        Endpoint::resolve(text, &contexts(Path::new("/nonexistent"), |_| {})).unwrap()
    }

    fn refused(text: &str) -> String {
        let error = Endpoint::resolve(text, &contexts(Path::new("/nonexistent"), |_| {})).unwrap_err();
        crate::causes::one_line(&error)
    }

    fn tcp(host: &str, port: u16, tls: Option<TlsFiles>) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
            tls,
        }
    }

    #[test]
    fn addresses_are_understood() {
        let unix = resolved("unix:///run/d.sock");
        assert_eq!(unix.address, Address::Unix("/run/d.sock".to_owned()));
        assert_eq!(unix.url, "unix:///run/d.sock");
        assert_eq!(resolved("").url, host::DEFAULT_HOST);
        assert_eq!(resolved("tcp://h").address, tcp("h", 2375, None));
        assert_eq!(resolved("tcp://[::1]:5").address, tcp("::1", 5, None));
        assert_eq!(resolved("tcp://[::1]:5").http_host(), "[::1]:5");
        let behind = resolved("tcp://h:5/engine/");
        assert_eq!(
            (behind.base_path.as_str(), behind.address),
            ("/engine", tcp("h", 5, None))
        );
        let system = TlsFiles {
            trust: Trust::System,
            identity: None,
        };
        assert_eq!(resolved("https://h").address, tcp("h", 2376, Some(system)));
        let ssh = Ssh {
            host: "h".to_owned(),
            user: Some("u".to_owned()),
            port: Some(22),
            socket: Some("/run/d.sock".to_owned()),
        };
        assert_eq!(resolved("ssh://u@h:22/run/d.sock").address, Address::Ssh(ssh));
    }

    #[test]
    fn other_addresses_are_refused_in_the_docker_clients_words() {
        for (text, words) in [
            ("nowhere", "unable to parse docker host `nowhere`"),
            ("foo://x", "invalid bind address format: foo://x"),
            ("tcp://h:port", "unable to parse docker host `tcp://h:port`"),
            (
                "ssh://u:p@h",
                "ssh host connection is not valid: invalid SSH URL: plain-text password is not supported",
            ),
            (
                "ssh://h?x=1",
                "ssh host connection is not valid: invalid SSH URL: extra query after the host: \"x=1\"",
            ),
            (
                "ssh://h#x",
                "ssh host connection is not valid: invalid SSH URL: extra fragment after the host: \"x\"",
            ),
            ("fd://x", "protocol of `fd://x` is not available"),
            (
                "npipe:////./pipe/x",
                "protocol of `npipe:////./pipe/x` is not available",
            ),
        ] {
            assert_eq!(refused(text), words);
        }
    }

    #[test]
    fn the_environment_names_host_and_tls() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let of = |verify: bool| {
            let contexts = contexts(Path::new("/nonexistent"), |environment| {
                environment.host = Some("tcp://h:7".to_owned());
                environment.cert_path = Some(dir.path().to_owned());
                environment.tls = true;
                environment.tls_verify = verify;
            });
            match Endpoint::resolve("", &contexts).unwrap().address {
                Address::Tcp { tls: Some(tls), .. } => tls,
                other => panic!("no TLS: {other:?}"),
            }
        };
        let file = |name: &str| OptionFile::new("DOCKER_CERT_PATH", dir.path().join(name));
        assert_eq!(of(true).trust, Trust::File(file("ca.pem")));
        assert_eq!(of(true).identity, Some((file("cert.pem"), file("key.pem"))));
        assert_eq!(of(false).trust, Trust::Anybody);
    }

    #[test]
    fn a_context_that_is_not_there_or_has_no_engine_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let chosen = contexts(dir.path(), |environment| {
            environment.context = Some("gone".to_owned());
        });
        let error = Endpoint::resolve("", &chosen).unwrap_err();
        assert_eq!(error.to_string(), "context \"gone\" does not exist");
        assert!(error.hint().is_some());
        let meta = dir.path().join("contexts/meta/x");
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::write(meta.join("meta.json"), r#"{"Name":"bare","Endpoints":{}}"#).unwrap();
        let error = Endpoint::resolve("bare", &chosen).unwrap_err();
        assert_eq!(error.to_string(), "docker endpoint for \"bare\" not found");
    }
}
