//! Failures of the Docker Engine API as the contract's errors.

use super::super::connections::failures::{helper_kind, tls_kind};
use super::super::types::{Failure, io_kind};
use crate::causes::one_line;
use crate::docker::error::{Behind, EngineError, behind};
use crate::docker::proxy::ProxyError;
use crate::driver::bindings::types::{Error, ErrorKind, Pair};

/// What a guest is told of a request without an answer.
pub(super) fn engine_failure(error: &EngineError) -> Failure {
    let status = match error {
        EngineError::Answer { status, .. } | EngineError::NotUpgraded { status, .. } => Some(Pair {
            key: "status".to_owned(),
            value: status.to_string(),
        }),
        _ => None,
    };
    Failure::Told(Error {
        kind: kind(error),
        message: one_line(error),
        hint: error.hint(),
        details: status.into_iter().collect(),
    })
}

fn kind(error: &EngineError) -> ErrorKind {
    use EngineError as E;
    match error {
        E::NoContext { .. } | E::NoSocket { .. } | E::Lookup { .. } => ErrorKind::NotFound,
        E::Context(_)
        | E::Address(_)
        | E::NoEngine { .. }
        | E::NoHost { .. }
        | E::Scheme { .. }
        | E::Ssh { .. }
        | E::Version { .. }
        | E::Reference { .. }
        | E::Request { .. } => ErrorKind::InvalidConfig,
        E::Denied { .. } => ErrorKind::Denied,
        E::Silent { .. } => ErrorKind::TimedOut,
        E::Proxy { source, .. } => proxy_kind(source),
        E::NotRunning { .. } => ErrorKind::Refused,
        E::Connect { cause, .. } | E::Lost { cause, .. } => io_kind(cause),
        E::Tls(error) => tls_kind(error),
        E::Helper(error) => helper_kind(error),
        E::Http { cause, .. } => match behind(cause) {
            Some(Behind::Tls(error)) => tls_kind(error),
            Some(Behind::Helper(error)) => helper_kind(error),
            Some(Behind::Io(error)) => io_kind(error),
            None if cause.is_parse() => ErrorKind::Protocol,
            None => ErrorKind::Unavailable,
        },
        E::OldVersion { .. } | E::NoHttp2 { .. } => ErrorKind::Unsupported,
        E::Answer { status, .. } => of_status(*status),
        // The engine that does not know the path has no such thing.
        E::NotUpgraded {
            status: 400 | 404, ..
        } => ErrorKind::Unsupported,
        E::NotUpgraded { status, .. } => of_status(*status),
        E::Large { .. } => ErrorKind::Exhausted,
        E::Credentials { .. } => ErrorKind::Unauthenticated,
        E::Pull { .. } | E::Load { .. } | E::Push { .. } => ErrorKind::Other,
    }
}

fn proxy_kind(error: &ProxyError) -> ErrorKind {
    match error {
        ProxyError::Address { .. } => ErrorKind::InvalidConfig,
        ProxyError::Unreached { cause, .. } => io_kind(cause),
        ProxyError::Tls { source, .. } => tls_kind(source),
        ProxyError::Refused { status, .. } if status.as_u16() == 407 => ErrorKind::Unauthenticated,
        ProxyError::Refused { .. } => ErrorKind::Refused,
        ProxyError::Http { .. } => ErrorKind::Protocol,
    }
}

fn of_status(status: u16) -> ErrorKind {
    match status {
        400 => ErrorKind::InvalidConfig,
        401 | 407 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        501 => ErrorKind::Unsupported,
        502..=504 => ErrorKind::Unavailable,
        507 => ErrorKind::Exhausted,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::connections::failures::told;
    use super::*;

    #[test]
    fn an_engines_refusal_has_its_status_and_words() {
        let answer = EngineError::Answer {
            status: 409,
            message: "the name is in use".to_owned(),
        };
        let error = told::<()>(Err(engine_failure(&answer)));
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert_eq!(error.message, "Error response from daemon: the name is in use");
        assert_eq!(error.details[0].value, "409");
        let refused = EngineError::NotUpgraded {
            protocol: "h2c".to_owned(),
            status: 404,
            message: String::new(),
        };
        let error = told::<()>(Err(engine_failure(&refused)));
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert_eq!(error.message, "unable to upgrade to h2c, received 404");
    }
}
