//! Finds out whether an accepted connection leads to something that speaks HTTP/2, as BuildKit's daemon does.
//!
//! A listener that accepts proves little: a proxy, a port forwarding or a helper program accepts before its daemon is
//! there, and TLS 1.3 tells of a refused client certificate only afterwards. So a connection that will be thrown away is
//! greeted as HTTP/2 clients do (RFC 9113, section 3.4), and the first frame of the answer is looked at.

use bkhost_driver::{Connection, Deadline, Error, ErrorKind, Result};

/// Preface of a client, followed by an empty SETTINGS frame.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Head of a frame: length (3 bytes), type, flags, stream (4 bytes).
const HEAD: usize = 9;
/// The frame that a server sends first.
const SETTINGS: u8 = 4;
/// The frame of a server that is about to close.
const GOAWAY: u8 = 7;

/// Greets the other side of `connection`, which leads to `url`.
pub fn exchange(mut connection: Connection, url: &str, deadline: Deadline) -> Result<()> {
    let timeout = || deadline.time_left().unwrap_or_default();
    connection.set_timeout(timeout());
    if let Err(error) = connection.send(GREETING) {
        return Err(last_words(&mut connection, error));
    }
    let mut head = Vec::new();
    while head.len() < HEAD {
        connection.set_timeout(timeout());
        let part = connection.receive(HEAD - head.len())?;
        if part.is_empty() {
            return Err(match head.is_empty() {
                true => Error::new(ErrorKind::Unavailable, format!("`{url}` closed the connection")),
                false => strange(url, &head),
            });
        }
        head.extend(part);
        if !may_be_frame(&head) {
            return Err(strange(url, &head));
        }
    }
    match head.get(3) {
        Some(&GOAWAY) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("`{url}` is going away"),
        )),
        _ => Ok(()),
    }
}

/// A helper program that has ended refuses what is written, and only a read tells why.
fn last_words(connection: &mut Connection, error: Error) -> Error {
    match connection.receive(HEAD) {
        Err(told) if told.details().iter().any(|(key, _)| key == "exit-status") => told,
        _ => error,
    }
}

/// Whether these bytes can begin the first frame of a server: on stream 0, of one of two types, and of a size that other
/// protocols' first words, read as a number, exceed.
fn may_be_frame(bytes: &[u8]) -> bool {
    let typed = bytes.get(3).is_none_or(|kind| matches!(*kind, SETTINGS | GOAWAY));
    let stream = bytes.get(5..).unwrap_or_default().iter().all(|byte| *byte == 0);
    bytes.first() == Some(&0) && typed && stream
}

fn strange(url: &str, bytes: &[u8]) -> Error {
    let error = Error::new(
        ErrorKind::Protocol,
        format!("`{url}` does not speak BuildKit's protocol"),
    );
    match bytes {
        // Alert and handshake records of TLS.
        [0x15 | 0x16, 3, ..] => error.with_hint("It speaks TLS: set the driver option `cacert`"),
        _ => error.with_hint("Is this the address of a BuildKit daemon?"),
    }
}
