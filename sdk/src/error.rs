//! The error of every fallible function of a driver.

use std::fmt;
use std::io;

use crate::host;

pub use crate::bindings::bkhost::host::types::ErrorKind;

/// Result of a driver's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure in words for the user.
///
/// ```
/// use bkhost_driver::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Refused, "Nobody listens at `tcp://10.0.0.7:1234`")
///     .with_hint("Is the machine up?")
///     .with_detail("machine", "m-17");
/// assert!(error.is_transient());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    details: Vec<(String, String)>,
}

impl Error {
    /// A failure of that kind. The message is one line without a full stop and names the endpoint, option or object.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            details: Vec::new(),
        }
    }

    /// A mistake in the builder's configuration.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    /// Something that this driver cannot do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Adds the way out, shown on a line of its own. A later hint replaces an earlier one.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a fact by key, such as `exit-code`, `signal` or `log` (last lines of a daemon's log).
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((key.into(), value.into()));
        self
    }

    /// Puts words in front of the message: `context: message`.
    #[must_use]
    pub fn with_context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without hint and details.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// All facts, in the order in which they were added.
    pub fn details(&self) -> &[(String, String)] {
        &self.details
    }

    /// Whether the same call may succeed a little later: nobody listens yet, not now, or it took too long.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Refused | ErrorKind::Unavailable | ErrorKind::TimedOut
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<host::types::Error> for Error {
    fn from(record: host::types::Error) -> Self {
        Self {
            kind: record.kind,
            message: record.message,
            hint: record.hint,
            details: record
                .details
                .into_iter()
                .map(|pair| (pair.key, pair.value))
                .collect(),
        }
    }
}

impl From<Error> for host::types::Error {
    fn from(error: Error) -> Self {
        let details = error.details.into_iter();
        Self {
            kind: error.kind,
            message: error.message,
            hint: error.hint,
            details: details
                .map(|(key, value)| host::types::Pair { key, value })
                .collect(),
        }
    }
}

/// An error that passed through `std::io` comes back as it was; any other gets the nearest kind.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        let text = error.to_string();
        match error.into_inner().map(|inner| inner.downcast::<Self>()) {
            Some(Ok(inner)) => *inner,
            _ => Self::new(from_io_kind(kind), text),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(to_io_kind(error.kind), error)
    }
}

fn from_io_kind(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::ConnectionRefused => ErrorKind::Refused,
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::Interrupted => ErrorKind::Cancelled,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::Protocol,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        io::ErrorKind::OutOfMemory => ErrorKind::Exhausted,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Other,
    }
}

fn to_io_kind(kind: ErrorKind) -> io::ErrorKind {
    match kind {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::Denied => io::ErrorKind::PermissionDenied,
        ErrorKind::Refused => io::ErrorKind::ConnectionRefused,
        ErrorKind::TimedOut => io::ErrorKind::TimedOut,
        ErrorKind::Protocol => io::ErrorKind::InvalidData,
        ErrorKind::Unsupported => io::ErrorKind::Unsupported,
        // Not `Interrupted`: `Read::read_exact` and its like would try again.
        _ => io::ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_std_io() {
        let error = Error::new(ErrorKind::Cancelled, "Gone")
            .with_hint("h")
            .with_detail("k", "v");
        assert_eq!(Error::from(io::Error::from(error.clone())), error);
    }

    #[test]
    fn an_io_error_gets_the_nearest_kind() {
        let error = Error::from(io::Error::new(io::ErrorKind::UnexpectedEof, "short"));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Protocol, "short"));
    }

    #[test]
    fn only_what_may_heal_is_transient() {
        for kind in [ErrorKind::Refused, ErrorKind::Unavailable, ErrorKind::TimedOut] {
            assert!(Error::new(kind, "x").is_transient());
        }
        for kind in [
            ErrorKind::Certificate,
            ErrorKind::Protocol,
            ErrorKind::InvalidConfig,
            ErrorKind::Cancelled,
        ] {
            assert!(!Error::new(kind, "x").is_transient());
        }
    }
}
