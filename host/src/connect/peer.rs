//! What the other side speaks, told from the first bytes it sent.

use std::fmt;

/// As many first bytes as are kept: enough for an HTTP/1 status line.
pub const OPENING_LENGTH: usize = 64;

/// Type of an HTTP/2 SETTINGS frame, which a server must send first (RFC 9113, 3.4).
const SETTINGS: u8 = 4;
/// First bytes of TLS records: alert and handshake (RFC 8446, 5.1).
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;

/// Whoever answered at the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It said nothing yet.
    Silent,
    /// An HTTP/2 server.
    Http2,
    /// An HTTP/1 server, with its status line.
    Http1(String),
    /// A TLS server, spoken to without TLS.
    Tls,
    /// Something else, with its first bytes as text.
    Other(String),
}

impl Peer {
    /// Judges the first bytes that were read.
    pub fn of(opening: &[u8]) -> Self {
        match opening {
            [] => Self::Silent,
            [_, _, _, SETTINGS, _, 0, 0, 0, 0, ..] => Self::Http2,
            [TLS_ALERT | TLS_HANDSHAKE, 3, ..] => Self::Tls,
            bytes if bytes.starts_with(b"HTTP/1.") => Self::Http1(first_line(bytes)),
            bytes => Self::Other(first_line(bytes)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("nothing"),
            Self::Http2 => f.write_str("HTTP/2"),
            Self::Http1(line) => write!(f, "HTTP/1 (`{line}`)"),
            Self::Tls => f.write_str("TLS"),
            Self::Other(text) => write!(f, "`{text}`"),
        }
    }
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    line.unwrap_or_default()
        .iter()
        .take(OPENING_LENGTH)
        .flat_map(|byte| byte.escape_ascii())
        .map(char::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_apart() {
        for (bytes, peer) in [
            (&b""[..], Peer::Silent),
            (&[0, 0, 0, 4, 0, 0, 0, 0, 0], Peer::Http2),
            (&[0x15, 3, 1, 0, 2, 2, 70], Peer::Tls),
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: x",
                Peer::Http1("HTTP/1.1 400 Bad Request".into()),
            ),
            (b"SSH-2.0-OpenSSH\r\n", Peer::Other("SSH-2.0-OpenSSH".into())),
            (b"\x00\xff", Peer::Other("\\x00\\xff".into())),
        ] {
            assert_eq!(Peer::of(bytes), peer);
        }
    }
}
