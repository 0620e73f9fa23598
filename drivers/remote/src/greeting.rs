//! Finds out whether an accepted connection leads to something that speaks HTTP/2, as BuildKit's daemon does.
//!
//! A listener that accepts proves little: a proxy, a port forwarding or a helper program accepts before its daemon is
//! there, and TLS 1.3 tells of a refused client certificate only afterwards. So a connection that will be thrown away is
//! greeted as HTTP/2 clients do (RFC 9113, section 3.4), and the first frame of the answer is looked at.

use bkhost_driver::{Connection, Deadline, Error, ErrorKind, Result};

use crate::target::Target;

/// Preface of a client, followed by an empty SETTINGS frame.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Head of a frame: length (3 bytes), type, flags, stream (4 bytes).
const HEAD: usize = 9;
/// The frame that a server sends first.
const SETTINGS: u8 = 4;
/// The frame of a server that is about to close.
const GOAWAY: u8 = 7;
/// Most that is read of what a helper program says instead of an answer.
const LONGEST_WORDS: usize = 4 << 10;

/// Greets the other side of `connection`, which leads to `target`.
pub fn exchange(mut connection: Connection, target: &Target, deadline: Deadline) -> Result<()> {
    let url = target.url();
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
            return Err(match target.is_helper() {
                true => told(&mut connection, head, deadline).unwrap_or_else(|head| strange(url, &head)),
                false => strange(url, &head),
            });
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

/// What a helper program says on its standard output before it fails: the docker command puts there why an engine cannot
/// run `buildctl`. Gives back what was read when it does not fail.
fn told(
    connection: &mut Connection,
    mut words: Vec<u8>,
    deadline: Deadline,
) -> std::result::Result<Error, Vec<u8>> {
    while words.len() < LONGEST_WORDS {
        connection.set_timeout(deadline.time_left().unwrap_or_default());
        match connection.receive(LONGEST_WORDS) {
            Ok(part) if part.is_empty() => break,
            Ok(part) => words.extend(part),
            Err(ended) if ended.details().iter().any(|(key, _)| key == "exit-status") => {
                return Ok(with_words(&ended, &String::from_utf8_lossy(&words)));
            }
            Err(_) => break,
        }
    }
    Err(words)
}

/// The same failure with more words of the program, in front of those that it has.
fn with_words(ended: &Error, words: &str) -> Error {
    let words = words.trim();
    let last = words.lines().last().unwrap_or_default();
    let message = match ended
        .details()
        .iter()
        .any(|(key, log)| key == "log" && !log.is_empty())
    {
        true => ended.message().to_owned(),
        false => format!("{}: {last}", ended.message()),
    };
    let error = Error::new(ended.kind(), message);
    ended
        .details()
        .iter()
        .fold(error, |error, (key, value)| match key.as_str() {
            "log" => error.with_detail(key, format!("{words}\n{value}").trim_end()),
            _ => error.with_detail(key, value),
        })
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
