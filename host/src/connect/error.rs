//! Why a stream did not become a connection to a BuildKit daemon.

use std::io;
use std::time::Duration;

use super::liveness::{Ending, Lost};
use super::peer::Peer;
use crate::duration::shown;

/// Why no daemon could be talked to over a stream that a driver had opened. Which endpoint and instance it was is for
/// the caller to add.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody took the connection.
    #[error("The connection was refused: {text}")]
    Refused {
        /// Text of the system.
        text: String,
    },
    /// It was cut before the daemon had said anything.
    #[error("The connection was reset before the daemon answered: {text}")]
    Reset {
        /// Text of the system.
        text: String,
    },
    /// It was closed before the daemon had said anything.
    #[error("The connection was closed before the daemon answered")]
    Closed,
    /// The helper program behind it ended before the daemon had said anything.
    #[error(
        "`{program}` ended with status {status} before the daemon answered{}",
        after_colon(last_line)
    )]
    Helper {
        /// Its name.
        program: &'static str,
        /// Its exit status; 128 and the signal's number for one that was killed.
        status: i32,
        /// The last line that it wrote to stderr; may be empty.
        last_line: String,
    },
    /// The helper program behind it closed the connection, but goes on. It encrypts by itself, if at all: no question of
    /// TLS options.
    #[error(
        "`{program}` closed the connection before the daemon answered{}",
        after_colon(last_line)
    )]
    HelperClosed {
        /// Its name.
        program: &'static str,
        /// The last line that it wrote to stderr; may be empty.
        last_line: String,
    },
    /// TLS was refused, on this side or the other.
    #[error("{text}")]
    Tls {
        /// What is wrong.
        text: String,
        /// The way out, where one is known.
        hint: Option<String>,
    },
    /// It ended after the daemon had begun to answer.
    #[error("The connection ended while the daemon answered")]
    Lost(#[source] Lost),
    /// Whoever answers does not speak HTTP/2.
    #[error("The other side is no BuildKit daemon: it speaks {peer}, not HTTP/2")]
    NotHttp2 {
        /// What it speaks.
        peer: Peer,
    },
    /// It speaks HTTP/2, but knows none of BuildKit's calls.
    #[error("The other side is no BuildKit daemon: {text}")]
    NotBuildKit {
        /// What it answered.
        text: String,
    },
    /// The daemon answered with an error.
    #[error("The daemon refused the first call: {text}")]
    Denied {
        /// Its gRPC code and message.
        text: String,
        /// It may be otherwise soon (gRPC code Unavailable).
        transient: bool,
    },
    /// No answer in time.
    #[error("The daemon did not answer within {}", shown(*after))]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
}

fn after_colon(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!(": {words}"),
    }
}

impl ConnectError {
    /// Another try may succeed: the daemon may still be starting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Reset { .. }
            | Self::Closed
            | Self::Helper { .. }
            | Self::HelperClosed { .. }
            | Self::Lost(_)
            | Self::TimedOut { .. } => true,
            Self::Denied { transient, .. } => *transient,
            Self::Tls { .. } | Self::NotHttp2 { .. } | Self::NotBuildKit { .. } => false,
        }
    }

    /// What to do about it, if that can be told from the stream alone.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Tls { hint, .. } => hint.as_deref(),
            Self::NotHttp2 { peer: Peer::Tls } => {
                Some("The endpoint wants TLS: give `cacert`, `cert` and `key`")
            }
            Self::NotHttp2 { .. } | Self::NotBuildKit { .. } => {
                Some("Check that the endpoint is the address of `buildkitd`")
            }
            Self::Reset { .. } | Self::Closed => Some(
                "A daemon that wants TLS ends a plain connection like this: if it does, give `cacert`, `cert` and `key`",
            ),
            _ => None,
        }
    }

    /// The error for a connection that ended before the first call was answered.
    pub(super) fn of_loss(lost: Lost, peer: Peer) -> Self {
        match (peer, &lost.how) {
            (_, Ending::Tls { text, hint }) => Self::Tls {
                text: text.clone(),
                hint: hint.clone(),
            },
            (Peer::Http2, _) => Self::Lost(lost),
            (Peer::Silent, Ending::Reset { kind, text }) => Self::of_io(*kind, text.clone()),
            (Peer::Silent, Ending::Eof) => Self::Closed,
            (Peer::Silent, _) => Self::Lost(lost),
            (peer, _) => Self::NotHttp2 { peer },
        }
    }

    fn of_io(kind: io::ErrorKind, text: String) -> Self {
        match kind {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::AddrNotAvailable => {
                Self::Refused { text }
            }
            _ => Self::Reset { text },
        }
    }
}
