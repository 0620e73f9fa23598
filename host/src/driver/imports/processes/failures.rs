//! Failures of the keeper as the contract's errors.

use super::super::types::Failure;
use crate::causes::one_line;
use crate::driver::bindings::types::ErrorKind;
use crate::keeper::error::KeeperError;

/// The contract's error for a failure of the keeper.
pub(super) fn failure(error: KeeperError) -> Failure {
    let kind = match &error {
        KeeperError::Untrusted { .. } | KeeperError::Unmarked { .. } | KeeperError::NotAllowed { .. } => {
            ErrorKind::Denied
        }
        KeeperError::TooLong { .. } | KeeperError::NotRunnable { .. } => ErrorKind::InvalidConfig,
        KeeperError::Locked { .. } | KeeperError::NotStopped { .. } => ErrorKind::TimedOut,
        KeeperError::Running { .. } | KeeperError::StateInUse { .. } => ErrorKind::Conflict,
        KeeperError::NotRemoved { .. } | KeeperError::Keeper { .. } => ErrorKind::Other,
        KeeperError::File(_) => return file_failure(error),
    };
    let failure = Failure::new(kind, one_line(&error));
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn file_failure(error: KeeperError) -> Failure {
    match error {
        KeeperError::File(error) => error.into(),
        other => Failure::new(ErrorKind::Other, one_line(&other)),
    }
}
