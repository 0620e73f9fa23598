//! Why an engine cannot be asked, or what it answered instead. Texts that users of the docker client know are kept to the
//! letter.

use std::io;
use std::time::Duration;

use super::proxy::ProxyError;
use super::sockets::{self, Found};
use crate::causes::{io_words, one_line};
use crate::connect::helper_program::HelperError;
use crate::connect::tls::{self, TlsError};
use crate::store::docker::contexts::ContextError;
use crate::store::docker::helper;
use crate::store::docker::host::HostError;

/// What ssh's failures are about, as the docker client has it.
const SSH_HINT: &str = "Make sure the URL is valid, and Docker 18.09 or later is installed on the remote host; `ssh HOST docker info` tells";

/// Longest word of an engine that is told.
const LONGEST_WORD: usize = 4 << 10;
/// How addresses are written.
const ADDRESS_HINT: &str =
    "An engine's address is written `unix:///PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`";
/// What lets a user in.
const DENIED_HINT: &str = "Use `sudo`, or a rootless engine, or join the group that owns the socket: `sudo usermod -aG docker $USER`, then sign in again (who is in it is as powerful as root)";

/// Why a request to an engine has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The docker client's contexts cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// An address of no known scheme.
    #[error(transparent)]
    Address(#[from] HostError),
    /// The active context is not there.
    #[error("context {name:?} does not exist")]
    NoContext {
        /// Its name.
        name: String,
    },
    /// A context for something else.
    #[error("docker endpoint for {name:?} not found")]
    NoEngine {
        /// Its name.
        name: String,
    },
    /// Neither a context nor an address.
    #[error("unable to parse docker host `{text}`")]
    NoHost {
        /// What was given.
        text: String,
    },
    /// An address that only other systems or the engine itself can use.
    #[error("protocol of `{url}` is not available")]
    Scheme {
        /// The address.
        url: String,
    },
    /// An address for ssh that is none.
    #[error("ssh host connection is not valid: invalid SSH URL: {why}")]
    Ssh {
        /// Why.
        why: String,
    },
    /// There is no socket.
    #[error(
        "failed to connect to the docker API at {url}; check if the path is correct and if the daemon is running: dial \
         unix {path}: connect: no such file or directory"
    )]
    NoSocket {
        /// The address.
        url: String,
        /// The socket.
        path: String,
        /// Engines that listen elsewhere.
        others: Vec<Found>,
    },
    /// The user may not use the socket.
    #[error("permission denied while trying to connect to the docker API at {url}")]
    Denied {
        /// The address.
        url: String,
        /// Engines that listen elsewhere.
        others: Vec<Found>,
    },
    /// The host name is not known.
    #[error(
        "failed to connect to the docker API at {url}: lookup {name}: {}",
        io_words(cause)
    )]
    Lookup {
        /// The address.
        url: String,
        /// The host's name.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// Nobody listens, or nobody answers.
    #[error("Cannot connect to the Docker daemon at {url}. Is the docker daemon running?")]
    NotRunning {
        /// The address.
        url: String,
        /// Engines that listen elsewhere.
        others: Vec<Found>,
    },
    /// The engine takes connections and says nothing.
    #[error("The Docker Engine at {url} did not answer within {limit:.0?}")]
    Silent {
        /// The address.
        url: String,
        /// How long was waited.
        limit: Duration,
    },
    /// Another failure to connect.
    #[error("failed to connect to the docker API at {url}: {}", io_words(cause))]
    Connect {
        /// The address.
        url: String,
        /// Why.
        cause: io::Error,
    },
    /// There is no way through the proxy.
    #[error("failed to connect to the docker API at {url}")]
    Proxy {
        /// The address.
        url: String,
        /// Why not.
        source: Box<ProxyError>,
    },
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The helper program failed.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// The stream failed, or what came over it was no HTTP. The cause is in the text where it says something to a user.
    #[error("{}", http_words(url, cause))]
    Http {
        /// The address.
        url: String,
        /// What happened.
        cause: hyper::Error,
    },
    /// The stream failed before anything was asked.
    #[error("The connection to the docker API at {url} was lost: {}", io_words(cause))]
    Lost {
        /// The address.
        url: String,
        /// Why.
        cause: io::Error,
    },
    /// `DOCKER_API_VERSION` is no version.
    #[error("invalid API version ({text}): must be formatted <major>.<minor>")]
    Version {
        /// What it says.
        text: String,
    },
    /// The engine is too old.
    #[error(
        "API version {version} is not supported by this client: the minimum supported API version is {minimum}"
    )]
    OldVersion {
        /// Its version.
        version: String,
        /// The oldest that is spoken.
        minimum: String,
    },
    /// A request that cannot be sent.
    #[error("`{method} {path}` is no request: {why}")]
    Request {
        /// Its method.
        method: String,
        /// Its path.
        path: String,
        /// Why not.
        why: String,
    },
    /// An answer of 400 and above where one is no answer.
    #[error("Error response from daemon: {message}")]
    Answer {
        /// HTTP status.
        status: u16,
        /// The engine's word.
        message: String,
    },
    /// A request that should have become a stream.
    #[error("unable to upgrade to {protocol}, received {status}{}", after(message))]
    NotUpgraded {
        /// What it should have become.
        protocol: String,
        /// HTTP status instead of 101.
        status: u16,
        /// The engine's word; may be empty.
        message: String,
    },
    /// An answer larger than anybody reads whole.
    #[error("The answer to `{method} {path}` has more than {} MiB", limit >> 20)]
    Large {
        /// Method of the request.
        method: String,
        /// Path of the request.
        path: String,
        /// What is read.
        limit: usize,
    },
    /// The engine does not speak HTTP/2 on its socket.
    #[error("The engine at {url} does not speak HTTP/2 on its socket: it answered {peer}")]
    NoHttp2 {
        /// The address.
        url: String,
        /// What it spoke.
        peer: String,
    },
    /// An image cannot be pulled.
    #[error("{message}")]
    Pull {
        /// The engine's word.
        message: String,
    },
    /// An image cannot be loaded.
    #[error("The engine at {url} did not load the image: {message}")]
    Load {
        /// The address.
        url: String,
        /// The engine's word.
        message: String,
    },
    /// An image cannot be pushed.
    #[error("failed to push {name}: {message}")]
    Push {
        /// Its name.
        name: String,
        /// The engine's word.
        message: String,
    },
    /// Credentials cannot be looked up.
    #[error("{text}")]
    Credentials {
        /// Why, in words for the user.
        text: String,
    },
    /// No image has such a name.
    #[error("invalid reference format: {reference:?}")]
    Reference {
        /// The name.
        reference: String,
    },
}

fn after(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

/// A hint, and the engines that listen elsewhere.
fn with_others(hint: &str, others: &[Found]) -> String {
    match sockets::told(others) {
        told if told.is_empty() => hint.to_owned(),
        told => format!("{hint}. {told}"),
    }
}

/// What was probably meant by an address of a host that looks like something else: a word without slashes counts as a
/// host's name.
fn misspelled(url: &str) -> Option<String> {
    let place = url.strip_prefix("tcp://")?;
    let (host, path) = place.find('/').map_or((place, ""), |slash| place.split_at(slash));
    let scheme = host.split(':').next().unwrap_or_default();
    if path.ends_with(".sock") {
        return Some(format!("A socket's address is written `unix://{path}`"));
    }
    let is_scheme = matches!(scheme, "unix" | "tcp" | "ssh" | "http" | "https");
    is_scheme.then(|| format!("Two slashes follow the scheme: `{scheme}://…`"))
}

impl EngineError {
    /// Whether the engine has no room for what it was given.
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Load { message, .. } | Self::Answer { message, .. } if is_full(message))
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoContext { .. } | Self::NoHost { .. } | Self::NoEngine { .. } => {
                "`docker context ls` lists the contexts there are; an engine's address is written `unix:///PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`"
            }
            Self::Context(error) => return error.hint(),
            Self::Address(_) | Self::Scheme { .. } => ADDRESS_HINT,
            Self::Ssh { .. } => {
                "An engine behind ssh is written `ssh://[USER@]HOST[:PORT][/SOCKET]`; keys take the place of passwords"
            }
            Self::NoSocket { others, .. } => {
                return Some(with_others(
                    "Start the engine, or name the one to use: `docker context use NAME`, or the variable DOCKER_HOST",
                    others,
                ));
            }
            Self::Denied { others, .. } => return Some(with_others(DENIED_HINT, others)),
            Self::Lookup { url, .. } => {
                return Some(misspelled(url).unwrap_or_else(|| {
                    "Check the host name in DOCKER_HOST or in the docker context".to_owned()
                }));
            }
            Self::Push { message, .. } if is_refused(message) => {
                "`docker login REGISTRY` stores credentials that are used here, too; they may lack the right to push"
            }
            Self::Load { message, .. } if is_full(message) => {
                "The engine's disk is full: `docker system df` shows what takes it"
            }
            Self::NotRunning { url, others } => {
                return Some(misspelled(url).unwrap_or_else(|| {
                    with_others(
                        "Start the engine, or correct its address in DOCKER_HOST or in the docker context",
                        others,
                    )
                }));
            }
            Self::Silent { .. } => {
                "The engine hangs, or something else listens there: restart it, or look at its log"
            }
            Self::Proxy { source, .. } => return Some(source.hint()),
            Self::Tls(error) => return Behind::Tls(error).hint(),
            Self::Helper(error) => return Behind::Helper(error).hint(),
            Self::Http { cause, .. } => return behind(cause).and_then(Behind::hint),
            Self::Answer { message, .. } if message.contains("HTTP request to an HTTPS server") => {
                "Turn TLS on: DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or a docker context with certificates"
            }
            Self::Credentials { text } => return helper::hint(text),
            Self::Version { .. } => "Correct or unset DOCKER_API_VERSION",
            Self::OldVersion { .. } => "Update the engine to 19.03 or newer",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Whether the engine's word is that of a full disk or a quota used up.
fn is_full(message: &str) -> bool {
    ["no space left on device", "disk quota exceeded"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether a registry wants other credentials.
fn is_refused(message: &str) -> bool {
    let words = [
        "unauthorized",
        "no basic auth credentials",
        "denied",
        "authentication required",
    ];
    words.iter().any(|words| message.contains(words))
}

/// What is behind a failed stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behind<'a> {
    /// TLS refused it.
    Tls(&'a TlsError),
    /// The helper program ended.
    Helper(&'a HelperError),
    /// A system call.
    Io(&'a io::Error),
}

impl Behind<'_> {
    fn hint(self) -> Option<String> {
        match self {
            Self::Tls(TlsError::Protocol { .. }) => Some(
                "The engine may listen without TLS there: unset DOCKER_TLS and DOCKER_TLS_VERIFY, or change the docker \
                 context"
                    .to_owned(),
            ),
            Self::Tls(error) => error.hint(),
            Self::Helper(HelperError::Missing { program }) => {
                Some(format!("Install `{program}`, or put its folder on PATH"))
            }
            Self::Helper(HelperError::Ended { .. }) => Some(SSH_HINT.to_owned()),
            Self::Helper(_) | Self::Io(_) => None,
        }
    }
}

/// What is behind a failure of HTTP, if it is the stream's and not its own.
pub(crate) fn behind(error: &hyper::Error) -> Option<Behind<'_>> {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(error) = next.downcast_ref::<io::Error>() {
            return Some(behind_io(error));
        }
        cause = next.source();
    }
    None
}

fn behind_io(error: &io::Error) -> Behind<'_> {
    if let Some(cause) = tls::cause(error) {
        return Behind::Tls(cause);
    }
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<HelperError>()) {
        Some(cause) => Behind::Helper(cause),
        None => Behind::Io(error),
    }
}

fn http_words(url: &str, error: &hyper::Error) -> String {
    match behind(error) {
        Some(Behind::Tls(cause)) => one_line(cause),
        Some(Behind::Helper(cause)) => one_line(cause),
        Some(Behind::Io(cause)) if cause.kind() != io::ErrorKind::UnexpectedEof => {
            format!(
                "The connection to the docker API at {url} was lost: {}",
                io_words(cause)
            )
        }
        None if error.is_parse() => format!("What answers at {url} is no Docker Engine: {error}"),
        None if !error.is_incomplete_message() => {
            format!("Asking the docker API at {url} failed: {}", one_line(error))
        }
        _ => format!("The connection to the docker API at {url} ended before the answer did"),
    }
}

/// The engine's own word in an answer that is an error. What is no engine may answer with a page, whose beginning tells
/// enough.
pub(crate) fn message_of(status: u16, body: &[u8]) -> String {
    let told = serde_json::from_slice::<serde_json::Value>(body).ok();
    let told = told
        .as_ref()
        .and_then(|value| value.get("message")?.as_str())
        .map(str::to_owned);
    let text = told.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    match text.as_str() {
        "" => format!("it answered with status {status}"),
        _ if text.len() > LONGEST_WORD => {
            let end = text.floor_char_boundary(LONGEST_WORD);
            format!("{} …", text.get(..end).unwrap_or_default())
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_said() {
        let hint = |url: &str| misspelled(url);
        for typed in ["unix:/run/d.sock", "/run/d.sock", "unix:/run/d.sock "] {
            let url = crate::store::docker::host::parse(typed).unwrap();
            assert_eq!(
                hint(&url).as_deref(),
                Some("A socket's address is written `unix:///run/d.sock`"),
                "{typed}"
            );
        }
        assert_eq!(
            hint("tcp://ssh:2375").as_deref(),
            Some("Two slashes follow the scheme: `ssh://…`")
        );
        assert_eq!(hint("tcp://sshd.example:2375/path"), None);
        assert_eq!(hint("unix:///run/d.sock"), None);
    }

    #[test]
    fn engines_elsewhere_are_named_with_the_command_that_uses_them() {
        let error = EngineError::NoSocket {
            url: "unix:///var/run/docker.sock".to_owned(),
            path: "/var/run/docker.sock".to_owned(),
            others: vec![Found {
                program: "Podman",
                socket: "/run/podman/podman.sock".into(),
            }],
        };
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("Start the engine"), "{hint}");
        let use_it = "Podman listens at `/run/podman/podman.sock`, which `DOCKER_HOST=unix:///run/podman/podman.sock` uses";
        assert!(hint.ends_with(use_it), "{hint}");
    }

    #[test]
    fn the_engines_word_is_found() {
        assert_eq!(
            message_of(404, br#"{"message":"no such container: c"}"#),
            "no such container: c"
        );
        assert_eq!(message_of(502, b"bad gateway\n"), "bad gateway");
        assert_eq!(message_of(500, b""), "it answered with status 500");
        let page = message_of(502, "<p>é".repeat(1 << 14).as_bytes());
        assert!(page.len() < 5000 && page.ends_with(" …"), "{page}");
    }
}
