//! Failures of host functions: those that a guest is told, and those that end it.

use wasmtime::component::ResourceTableError;

use crate::causes::{io_words, one_line};
use crate::driver::bindings::types::{Error, ErrorKind, Host};
use crate::driver::grants::Denied;
use crate::driver::limits::Exceeded;
use crate::driver::state::View;
use crate::fs::FileError;

/// Result of a host function whose contract has an error.
pub(crate) type Answer<T> = Result<T, Failure>;

/// Why a host function has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The guest is told.
    Told(Error),
    /// The guest broke a rule that no guest can break by chance, or the host failed: the operation ends.
    Trap(wasmtime::Error),
}

impl Failure {
    /// A failure that the guest is told; `message` as the contract wants it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Told(Error {
            kind,
            message: message.into(),
            hint: None,
            details: Vec::new(),
        })
    }

    /// The same failure with a way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(error) = &mut self {
            error.hint = Some(hint.into());
        }
        self
    }

    /// A failed system call while `doing`, with the kind that fits its cause.
    pub fn io(doing: &str, error: &std::io::Error) -> Self {
        Self::new(io_kind(error), format!("{doing}: {}", io_words(error)))
    }
}

/// The kind of failure that a system call's error is.
pub(crate) fn io_kind(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::ConnectionRefused => ErrorKind::Refused,
        Io::TimedOut => ErrorKind::TimedOut,
        Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::BrokenPipe
        | Io::NotConnected
        | Io::NetworkUnreachable
        | Io::HostUnreachable
        | Io::NetworkDown
        | Io::UnexpectedEof => ErrorKind::Unavailable,
        Io::StorageFull | Io::QuotaExceeded | Io::OutOfMemory => ErrorKind::Exhausted,
        Io::InvalidData => ErrorKind::Protocol,
        Io::AddrInUse | Io::AlreadyExists => ErrorKind::Conflict,
        Io::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorKind::Denied, denied.to_string())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let kind = match &error {
            FileError::Io { source, .. } => io_kind(source),
            FileError::NotRegular { .. } => ErrorKind::Conflict,
        };
        let message = one_line(&error);
        let hint = error.hint();
        let failure = Self::new(kind, message);
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self::Trap(wasmtime::Error::new(exceeded))
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl Host for View<'_> {
    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<Error> {
        match failure {
            Failure::Told(error) => Ok(error),
            Failure::Trap(error) => Err(error),
        }
    }
}
