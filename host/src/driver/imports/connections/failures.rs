//! Failures of streams as the contract's errors: by what is behind them, not by their text.

use std::io;

use super::super::types::{Failure, io_kind};
use crate::causes::{io_words, one_line};
use crate::connect::helper_program::HelperError;
use crate::connect::tls::{self, TlsError};
use crate::driver::bindings::types::{Error, ErrorKind, Pair};

/// A failed system call on the way to `peer`.
pub(crate) fn io_failure(doing: &str, peer: &str, error: &io::Error) -> Failure {
    Failure::new(io_kind(error), format!("{doing} `{peer}`: {}", io_words(error)))
}

/// A failed read or write; TLS and helper programs have their own words.
pub(crate) fn stream_failure(doing: &str, peer: &str, error: &io::Error) -> Failure {
    if let Some(cause) = tls::cause(error) {
        return tls_failure(cause);
    }
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<HelperError>())
    {
        Some(cause) => helper_failure(cause),
        None => io_failure(doing, peer, error),
    }
}

/// A failure of TLS by its kind.
pub(crate) fn tls_failure(error: &TlsError) -> Failure {
    let failure = Failure::new(tls_kind(error), one_line(error));
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// The kind that a failure of TLS is.
pub(crate) fn tls_kind(error: &TlsError) -> ErrorKind {
    match error {
        TlsError::Unreadable { .. } | TlsError::Unusable { .. } | TlsError::BadName { .. } => {
            ErrorKind::InvalidConfig
        }
        TlsError::Certificate { .. } | TlsError::Identity { .. } => ErrorKind::Certificate,
        TlsError::Protocol { .. } => ErrorKind::Protocol,
        TlsError::Unsupported { .. } => ErrorKind::Unsupported,
        TlsError::Closed { .. } => ErrorKind::Unavailable,
        TlsError::Io { source, .. } => io_kind(source),
    }
}

/// The kind that a failure of a helper program is.
pub(crate) fn helper_kind(error: &HelperError) -> ErrorKind {
    match error {
        HelperError::Invalid { .. } => ErrorKind::InvalidConfig,
        HelperError::Missing { .. } => ErrorKind::NotFound,
        HelperError::Run { source, .. } => io_kind(source),
        HelperError::Ended { .. } => ErrorKind::Unavailable,
    }
}

/// A failure of a helper program by its kind.
pub(crate) fn helper_failure(error: &HelperError) -> Failure {
    let (kind, message) = (helper_kind(error), one_line(error));
    match error {
        HelperError::Invalid { .. } | HelperError::Run { .. } => Failure::new(kind, message),
        HelperError::Missing { program } => {
            Failure::new(kind, message).with_hint(format!("Install `{program}`, or put its folder on PATH"))
        }
        HelperError::Ended { status, stderr, .. } => Failure::Told(Error {
            kind,
            message,
            hint: None,
            details: vec![pair("exit-status", status), pair("log", stderr)],
        }),
    }
}

fn pair(key: &str, value: &str) -> Pair {
    Pair {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// What a guest is told.
#[cfg(test)]
pub(crate) fn told<T>(answer: Result<T, Failure>) -> Error {
    match answer {
        Err(Failure::Told(error)) => error,
        Err(Failure::Trap(error)) => panic!("a trap: {error}"),
        Ok(_) => panic!("no failure"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_behind_a_read_keep_their_kind() {
        let refused = TlsError::Identity {
            peer: "p".to_owned(),
            why: "w".to_owned(),
            hint: "h".to_owned(),
        };
        let error = io::Error::new(io::ErrorKind::InvalidData, refused);
        let error = told::<()>(Err(stream_failure("Failed to read from", "p", &error)));
        assert_eq!(
            (error.kind, error.hint.as_deref()),
            (ErrorKind::Certificate, Some("h"))
        );

        let ended = HelperError::Ended {
            program: "ssh",
            status: "exit status: 255".to_owned(),
            stderr: "no route\n".to_owned(),
        };
        let error = told::<()>(Err(stream_failure(
            "Failed to read from",
            "p",
            &io::Error::other(ended),
        )));
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(error.message, "`ssh` ended with exit status: 255: no route");

        let reset = io::ErrorKind::ConnectionReset.into();
        let error = told::<()>(Err(stream_failure("Failed to read from", "p", &reset)));
        assert_eq!(error.message, "Failed to read from `p`: connection reset");
    }
}
