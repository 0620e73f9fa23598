//! What a session could not do for the daemon, kept in our own words.
//!
//! The daemon passes a failure of ours on as the text of an error of its own, among other words and without a way out.
//! When it ends the build with such a text, what was kept here says more.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::{Code, Status};

use crate::causes;

/// As many failures are kept: one for each call that may run at the same time, and no unbounded list of them.
const KEPT: usize = 32;
/// What a daemon says of a session that it does not have any more.
const NO_SESSION: [&str; 2] = ["no active session", "session healthcheck failed"];

/// What a session could not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SessionFailure {
    /// What failed, with the path or object and the cause.
    pub message: String,
    /// The way out, where one is known.
    pub hint: Option<String>,
    /// Whether a disk is full or a quota used up, which has an exit code of its own.
    pub is_exhausted: bool,
}

impl SessionFailure {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let kind = known_kind(error);
        Self {
            message: causes::one_line(error),
            hint: kind.and_then(way_out).map(str::to_owned),
            is_exhausted: kind.is_some_and(is_exhausted),
        }
    }
}

/// The failures of one session. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    failures: Vec<SessionFailure>,
    /// The first failure of an export.
    export: Option<FailedExport>,
    /// Why the session ended before it was to be closed.
    end: Option<String>,
}

/// When an export of the daemon failed on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The daemon was still sending. It often has no words for that but `EOF`; it ends the build in any case.
    Sending,
    /// The daemon had ended it and was waiting for the answer. Either that answer is what ends the build, or the daemon
    /// has ended an export that it could not go on with, for a reason of its own.
    Ended,
}

#[derive(Debug)]
struct FailedExport {
    failure: SessionFailure,
    moment: Moment,
}

impl FailedExport {
    fn is_behind(&self, message: &str) -> bool {
        let without_words = message == "EOF" || message.ends_with(": EOF");
        self.moment == Moment::Sending || without_words || message.contains(&self.failure.message)
    }
}

impl Failures {
    /// Keeps `error` and gives it the form in which the daemon is told of it. The daemon may do without what it asked
    /// for.
    pub(super) fn told(&self, code: Code, error: &(dyn Error + 'static)) -> Status {
        let failure = SessionFailure::of(error);
        let status = Status::new(code, failure.message.clone());
        let mut kept = self.lock();
        if kept.failures.len() < KEPT {
            kept.failures.push(failure);
        }
        status
    }

    /// The same for the failure of an export, which the daemon cannot do without.
    pub(super) fn export(&self, error: &(dyn Error + 'static)) -> Status {
        self.failed_export(SessionFailure::of(error), Moment::Sending)
    }

    /// The same for a failure that is in its words already.
    pub(super) fn failed_export(&self, failure: SessionFailure, moment: Moment) -> Status {
        let status = Status::unknown(failure.message.clone());
        let mut kept = self.lock();
        kept.export.get_or_insert(FailedExport { failure, moment });
        status
    }

    /// Keeps why the session ended too early; the first reason stays.
    pub(super) fn ended(&self, why: impl Into<String>) {
        self.lock().end.get_or_insert_with(|| why.into());
    }

    /// The failure of ours that made the daemon end the build with `message`, if it was one.
    pub(super) fn behind(&self, message: &str) -> Option<SessionFailure> {
        let kept = self.lock();
        let in_its_words = |failure: &&SessionFailure| message.contains(&failure.message);
        let export = kept.export.as_ref().filter(|export| export.is_behind(message));
        let export = export.map(|export| &export.failure);
        let told = export.or_else(|| kept.failures.iter().find(in_its_words));
        if told.is_some() {
            return told.cloned();
        }
        let end = kept.end.as_ref()?;
        NO_SESSION
            .iter()
            .any(|text| message.contains(text))
            .then(|| SessionFailure {
                message: format!("the session with the daemon ended during the build: {end}"),
                hint: None,
                is_exhausted: false,
            })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kind of a system call's failure somewhere among the causes, of those that have a way out.
fn known_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && way_out(error.kind()).is_some()
        {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

fn is_exhausted(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn way_out(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        kind if is_exhausted(kind) => {
            Some("There is no space left for it: free some, or choose another disk")
        }
        io::ErrorKind::PermissionDenied => {
            Some("Check the owner and mode of the path, or run as the user it belongs to")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("The file system is mounted read-only: choose another path")
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            Some("A file is in the way: remove it, or choose another path")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to write /out/a")]
    struct Failed(#[source] io::Error);

    #[test]
    fn a_failure_is_found_behind_the_daemons_words_with_its_way_out() {
        let failures = Failures::default();
        let full = Failed(io::ErrorKind::StorageFull.into());
        let status = failures.told(Code::Unknown, &full);
        let passed_on = format!("rpc error: code = Unknown desc = {}", status.message());
        let found = failures.behind(&passed_on).unwrap();
        assert_eq!(found.message, format!("failed to write /out/a: {}", full.0));
        assert!(found.hint.unwrap().contains("no space left"));
        assert!(found.is_exhausted);
        assert_eq!(failures.behind("process did not complete: exit code: 3"), None);
    }

    #[test]
    fn a_failed_export_is_the_cause_whatever_the_daemon_says() {
        let failures = Failures::default();
        failures.export(&Failed(io::ErrorKind::StorageFull.into()));
        assert!(
            failures
                .behind("EOF")
                .unwrap()
                .message
                .starts_with("failed to write /out/a: ")
        );
    }

    /// The daemon ends a good export and a failed one alike, and hears of ours either way.
    #[test]
    fn an_export_that_failed_after_its_end_is_the_cause_only_in_its_own_words() {
        let failures = Failures::default();
        let refused = SessionFailure {
            message: "the engine did not load it".to_owned(),
            hint: None,
            is_exhausted: false,
        };
        failures.failed_export(refused.clone(), Moment::Ended);
        let own = "failed to copy: unexpected status from GET request: 403 Forbidden";
        assert_eq!(failures.behind(own), None);
        for passed_on in [
            "rpc error: code = Unknown desc = the engine did not load it",
            "EOF",
            "error writing: EOF",
        ] {
            assert_eq!(failures.behind(passed_on), Some(refused.clone()), "{passed_on}");
        }
    }

    #[test]
    fn a_session_that_ended_says_why_only_where_it_was_missed() {
        let failures = Failures::default();
        let missed = "no active session for abc: context deadline exceeded";
        assert_eq!(failures.behind(missed), None);
        failures.ended("connection reset");
        failures.ended("later");
        assert_eq!(
            failures.behind(missed).unwrap().message,
            "the session with the daemon ended during the build: connection reset"
        );
        assert_eq!(failures.behind("exit code: 3"), None);
    }

    #[test]
    fn the_number_of_failures_kept_is_bounded() {
        let failures = Failures::default();
        for _ in 0..2 * KEPT {
            failures.told(Code::Unknown, &Failed(io::ErrorKind::Other.into()));
        }
        assert_eq!(failures.lock().failures.len(), KEPT);
    }
}
