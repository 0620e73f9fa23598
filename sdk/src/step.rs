//! Progress that the user watches.

use std::time::Duration;

use crate::{Error, ErrorKind, Pollable, Result, host};

/// A running step, or a part of one. Dropping a part ends it; one that was not failed ends well.
///
/// A step also carries the deadline and the cancellation of the whole operation.
#[derive(Debug)]
pub struct Step<'a>(Handle<'a>);

/// The host lends the step of a call and gives away every other.
#[derive(Debug)]
enum Handle<'a> {
    Owned(host::steps::Step),
    // Natively the fake host gives all steps away.
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    Lent(&'a host::steps::Step),
}

impl<'a> Step<'a> {
    pub(crate) fn owned(step: host::steps::Step) -> Self {
        Self(Handle::Owned(step))
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn lent(step: &'a host::steps::Step) -> Self {
        Self(Handle::Lent(step))
    }

    pub(crate) fn raw(&self) -> &host::steps::Step {
        match &self.0 {
            Handle::Owned(step) => step,
            Handle::Lent(step) => step,
        }
    }

    /// Begins a part of this step, such as `pulling image`. Parts may be nested.
    pub fn begin(&self, name: &str) -> Step<'static> {
        Step::owned(self.raw().begin(name))
    }

    /// Runs one part: it fails with the error's message when `work` fails.
    pub fn run<T>(&self, name: &str, work: impl FnOnce(&Step<'_>) -> Result<T>) -> Result<T> {
        let part = self.begin(name);
        work(&part).inspect_err(|error| part.fail(error.message()))
    }

    /// Reports how far this step is, in bytes. An absent total is unknown.
    pub fn progress(&self, current: u64, total: Option<u64>) {
        self.raw().progress(current, total);
    }

    /// Shows a line of output under the step.
    pub fn message(&self, text: &str) {
        self.raw().message(text);
    }

    /// Ends the step as failed, with the text to show.
    pub fn fail(&self, message: &str) {
        self.raw().fail(message);
    }

    /// What is left of the whole operation; zero once its deadline has passed, absent when it has none.
    pub fn time_left(&self) -> Option<Duration> {
        self.raw().remaining().map(Duration::from_nanos)
    }

    /// What is left of the operation, and at most `longest`: the timeout for one call.
    pub fn time_left_or(&self, longest: Duration) -> Duration {
        self.time_left().map_or(longest, |left| left.min(longest))
    }

    /// Whether the operation was cancelled. A driver then has one second to undo what it must.
    pub fn is_cancelled(&self) -> bool {
        self.raw().cancelled()
    }

    /// Becomes ready when the operation is cancelled.
    pub fn cancellation(&self) -> Pollable {
        Pollable::new(self.raw().cancellation())
    }

    /// Ends a function whose operation is over.
    ///
    /// # Errors
    /// `cancelled` or `timed-out`.
    pub fn ensure_running(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "Cancelled"));
        }
        if self.time_left().is_some_and(|left| left.is_zero()) {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "The time for this operation is over",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, Progress};

    #[test]
    fn a_part_that_fails_says_why_and_one_that_does_not_ends_well() {
        let host = Host::new();
        let step = host.step("boot");
        let failed = step.run("a", |part| {
            part.fail("No");
            part.message("too late");
            Err::<(), _>(Error::invalid_config("Never seen"))
        });
        assert_eq!(failed, Err(Error::invalid_config("Never seen")));
        assert_eq!(
            step.run("b", |part| {
                part.message("hello");
                Ok(7)
            }),
            Ok(7)
        );
        let expected = [
            Progress::Begun("boot".into()),
            Progress::Begun("a".into()),
            Progress::Failed("a".into(), "No".into()),
            Progress::Begun("b".into()),
            Progress::Message("b".into(), "hello".into()),
            Progress::Ended("b".into()),
        ];
        assert_eq!(host.progress(), expected);
    }

    #[test]
    fn an_operation_that_is_over_says_how() {
        let host = Host::new();
        host.deadline_in(Duration::from_secs(1));
        let step = host.step("x");
        assert_eq!(step.ensure_running(), Ok(()));
        host.advance(Duration::from_secs(2));
        assert_eq!(
            step.ensure_running().map_err(|e| e.kind()),
            Err(ErrorKind::TimedOut)
        );
        host.cancel_in(Duration::ZERO);
        assert_eq!(
            step.ensure_running().map_err(|e| e.kind()),
            Err(ErrorKind::Cancelled)
        );
    }
}
