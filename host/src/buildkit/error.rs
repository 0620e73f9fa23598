//! What a daemon's failures become: code, message, and the typed details that travel with them.

use std::fmt;
use std::time::{Duration, SystemTime};

use bkhost_proto::rpc;
use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::session::SessionFailure;
use crate::connect::channel::Channel;
use crate::connect::liveness::Lost;
use crate::duration::shown;
use crate::error::{EXIT_CANCELLED, EXIT_DAEMON_INTERNAL, EXIT_FAILURE, EXIT_RESOURCE_EXHAUSTED};

mod detail;
pub use detail::{Detail, Frame, Stack};

/// A gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No error.
    Ok,
    /// Cancelled by somebody.
    Canceled,
    /// An error without a code, such as a failing step.
    Unknown,
    /// A bad argument.
    InvalidArgument,
    /// It took too long.
    DeadlineExceeded,
    /// Something named does not exist.
    NotFound,
    /// Something exists that should not.
    AlreadyExists,
    /// Not allowed.
    PermissionDenied,
    /// Memory or disk ran out.
    ResourceExhausted,
    /// Not possible in this state.
    FailedPrecondition,
    /// Given up in the middle.
    Aborted,
    /// Past the end.
    OutOfRange,
    /// The daemon does not know the call or the feature.
    Unimplemented,
    /// A fault of the daemon itself.
    Internal,
    /// Nobody there at the moment.
    Unavailable,
    /// Data is damaged.
    DataLoss,
    /// No valid credentials.
    Unauthenticated,
}

impl Code {
    fn of(code: tonic::Code) -> Self {
        match code {
            tonic::Code::Ok => Self::Ok,
            tonic::Code::Cancelled => Self::Canceled,
            tonic::Code::Unknown => Self::Unknown,
            tonic::Code::InvalidArgument => Self::InvalidArgument,
            tonic::Code::DeadlineExceeded => Self::DeadlineExceeded,
            tonic::Code::NotFound => Self::NotFound,
            tonic::Code::AlreadyExists => Self::AlreadyExists,
            tonic::Code::PermissionDenied => Self::PermissionDenied,
            tonic::Code::ResourceExhausted => Self::ResourceExhausted,
            tonic::Code::FailedPrecondition => Self::FailedPrecondition,
            tonic::Code::Aborted => Self::Aborted,
            tonic::Code::OutOfRange => Self::OutOfRange,
            tonic::Code::Unimplemented => Self::Unimplemented,
            tonic::Code::Internal => Self::Internal,
            tonic::Code::Unavailable => Self::Unavailable,
            tonic::Code::DataLoss => Self::DataLoss,
            tonic::Code::Unauthenticated => Self::Unauthenticated,
        }
    }
}

/// The names that daemons print, so `Canceled` with one l.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An error that a daemon answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonError {
    /// Its gRPC code.
    pub code: Code,
    /// Its text.
    pub message: String,
    /// Typed details in the order of the wire.
    pub details: Vec<Detail>,
    /// When the step ran that failed, as far as the build's progress has told.
    pub ran: Option<Box<Ran>>,
}

/// The time of a step, by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its begin.
    pub began: SystemTime,
    /// Its end.
    pub ended: SystemTime,
}

impl DaemonError {
    pub(super) fn of(status: &Status) -> Self {
        Self::decoded(
            Code::of(status.code()),
            status.message().to_owned(),
            wire_status(status).details,
        )
    }

    /// The error of a `google.rpc.Status` that came inside a message, such as a history record.
    pub(super) fn of_wire(status: rpc::Status) -> Self {
        let code = Code::of(tonic::Code::from_i32(status.code));
        Self::decoded(code, status.message, status.details)
    }

    fn decoded(code: Code, message: String, details: Vec<prost_types::Any>) -> Self {
        Self {
            code,
            message,
            details: details.into_iter().map(Detail::decode).collect(),
            ran: None,
        }
    }

    /// Exit code of the process that failed inside a step.
    pub fn process_exit_code(&self) -> Option<u32> {
        self.details.iter().find_map(|detail| match detail {
            Detail::Exit { code } => Some(*code),
            _ => None,
        })
    }

    /// Digest of the vertex that failed.
    pub fn vertex(&self) -> Option<&str> {
        self.details.iter().find_map(|detail| match detail {
            Detail::Vertex { digest } => Some(digest.as_str()),
            _ => None,
        })
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Code::Ok | Code::Unknown => f.write_str(&self.message),
            code => write!(f, "{code}: {}", self.message),
        }
    }
}

impl std::error::Error for DaemonError {}

/// The whole status for the wire, details included as they came.
pub(super) fn wire_status(status: &Status) -> rpc::Status {
    let whole = rpc::Status::decode(Bytes::copy_from_slice(status.details()));
    rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: whole.map(|whole| whole.details).unwrap_or_default(),
    }
}

/// Why a call other than a solve failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RpcError {
    /// The daemon answered with an error.
    #[error("The daemon's `{call}` failed")]
    Daemon {
        /// Name of the call.
        call: &'static str,
        /// The answer.
        #[source]
        error: DaemonError,
    },
    /// The connection is gone.
    #[error("The daemon's `{call}` got no answer")]
    Lost {
        /// Name of the call.
        call: &'static str,
        /// How it was lost.
        #[source]
        how: Lost,
    },
    /// The daemon is there, but did not answer this call in time.
    #[error("The daemon's `{call}` got no answer within {}", shown(*after))]
    TimedOut {
        /// Name of the call.
        call: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
}

impl RpcError {
    pub(super) async fn of(call: &'static str, status: Status, channel: &Channel) -> Self {
        match channel.loss_behind(&status).await {
            Some(how) => Self::Lost { call, how },
            None => Self::Daemon {
                call,
                error: DaemonError::of(&status),
            },
        }
    }

    /// The daemon does not know this call.
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Daemon { error, .. } if error.code == Code::Unimplemented)
    }
}

/// Why a solve failed. The texts are those that buildx shows, because scripts match on them.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SolveError {
    /// The daemon reports a failure: of a step, of the frontend, of an exporter.
    #[error("failed to solve: {0}")]
    Failed(DaemonError),
    /// What the daemon asked of the client could not be done: a file that cannot be written, a folder that cannot be
    /// read.
    #[error("failed to solve: {failure}")]
    Session {
        /// What could not be done.
        failure: SessionFailure,
        /// What the daemon made of it.
        error: DaemonError,
    },
    /// The build is done, and a file that it has exported cannot have its name.
    #[error("failed to solve: {0}")]
    Unnamed(SessionFailure),
    /// The caller cancelled it.
    #[error("failed to solve: Canceled: context canceled")]
    Cancelled,
    /// The connection went away while it ran.
    #[error("failed to solve")]
    Lost {
        /// How it was lost.
        #[source]
        how: Lost,
    },
}

impl SolveError {
    /// The process exit code for it, as buildx has it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cancelled => EXIT_CANCELLED,
            Self::Lost { .. } => EXIT_FAILURE,
            Self::Session { failure, .. } | Self::Unnamed(failure) if failure.is_exhausted => {
                EXIT_RESOURCE_EXHAUSTED
            }
            Self::Unnamed(_) => EXIT_FAILURE,
            Self::Failed(error) | Self::Session { error, .. } => match error.code {
                Code::Internal => EXIT_DAEMON_INTERNAL,
                Code::ResourceExhausted => EXIT_RESOURCE_EXHAUSTED,
                Code::Canceled => EXIT_CANCELLED,
                _ => EXIT_FAILURE,
            },
        }
    }

    /// Typed details; empty unless the daemon reported the failure.
    pub fn details(&self) -> &[Detail] {
        match self {
            Self::Failed(error) | Self::Session { error, .. } => &error.details,
            _ => &[],
        }
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Session { failure, .. } | Self::Unnamed(failure) => failure.hint.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Any;

    fn status_with(code: tonic::Code, message: &str, details: Vec<Any>) -> Status {
        let whole = rpc::Status {
            code: code as i32,
            message: message.to_owned(),
            details,
        };
        Status::with_details(code, message, whole.encode_to_vec().into())
    }

    fn failed(code: tonic::Code, message: &str) -> SolveError {
        SolveError::Failed(DaemonError::of(&status_with(code, message, Vec::new())))
    }

    #[test]
    fn texts_and_exit_codes_are_those_of_buildx() {
        for (error, text, exit) in [
            (failed(tonic::Code::Unknown, "boom"), "failed to solve: boom", 1),
            (
                failed(tonic::Code::Internal, "boom"),
                "failed to solve: Internal: boom",
                100,
            ),
            (
                failed(tonic::Code::ResourceExhausted, "boom"),
                "failed to solve: ResourceExhausted: boom",
                102,
            ),
            (
                failed(tonic::Code::Cancelled, "context canceled"),
                "failed to solve: Canceled: context canceled",
                130,
            ),
            (
                SolveError::Cancelled,
                "failed to solve: Canceled: context canceled",
                130,
            ),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.exit_code(), exit, "{text}");
        }
    }

    #[test]
    fn details_go_back_to_the_daemon_as_they_came() {
        let detail = Any {
            type_url: "example.com/not+known".into(),
            value: b"\x01\x02".to_vec(),
        };
        let status = status_with(tonic::Code::Unknown, "boom", vec![detail.clone()]);
        assert_eq!(wire_status(&status).details, [detail]);
    }

    #[test]
    fn the_exit_code_of_a_process_is_found() {
        let detail = Any {
            type_url: "github.com/moby/buildkit/gatewayapi.ExitMessage+json".into(),
            value: br#"{"Code":3}"#.to_vec(),
        };
        let status = status_with(tonic::Code::Unknown, "boom", vec![detail]);
        assert_eq!(DaemonError::of(&status).process_exit_code(), Some(3));
    }
}
