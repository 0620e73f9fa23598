//! Trying again what may heal, until the operation's deadline.

use std::time::Duration;

use crate::{Deadline, Error, ErrorKind, Result, Step, random, timer, wait_any};

/// Pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: what a user waits for nothing once the daemon is there.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Repeats a call while it fails with something that may heal, with growing pauses and jitter. Ends with the last cause,
/// at once for what cannot heal, and within its pause when the operation is cancelled.
///
/// ```no_run
/// # use bkhost_driver::{Connection, Result, Retry, Step};
/// # use std::time::Duration;
/// fn wait(step: &Step<'_>) -> Result<Connection> {
///     Retry::new(step).within(Duration::from_secs(20)).run(|deadline| {
///         Connection::open_tcp("10.0.0.7", 1234, deadline.timeout(Duration::from_secs(5)))
///     })
/// }
/// ```
pub struct Retry<'a> {
    step: &'a Step<'a>,
    deadline: Deadline,
    first: Duration,
    longest: Duration,
    transient: Box<dyn Fn(&Error) -> bool + 'a>,
}

impl<'a> Retry<'a> {
    /// Until the step's deadline; pauses of 100 ms, growing to 1 s; retries what [`Error::is_transient`] says.
    pub fn new(step: &'a Step<'a>) -> Self {
        Self {
            step,
            deadline: Deadline::of(step),
            first: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
            transient: Box::new(Error::is_transient),
        }
    }

    /// Also ends after that time.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.deadline = self.deadline.or_earlier(Deadline::within(limit));
        self
    }

    /// Sets the first and the longest pause.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// Decides what may heal.
    #[must_use]
    pub fn when(mut self, transient: impl Fn(&Error) -> bool + 'a) -> Self {
        self.transient = Box::new(transient);
        self
    }

    /// Calls `attempt` until it succeeds. It gets the deadline, to bound its own calls by.
    ///
    /// # Errors
    /// The last cause, with details `attempts` and `waited` when it was tried more than once; or `cancelled`.
    pub fn run<T>(&self, mut attempt: impl FnMut(Deadline) -> Result<T>) -> Result<T> {
        let begun = crate::Instant::now();
        let mut pause = self.first;
        let mut attempts = 0_u32;
        let mut cause: Option<Error> = None;
        loop {
            self.ensure_not_cancelled()?;
            let error = match attempt(self.deadline) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempts += 1;
            if !(self.transient)(&error) {
                return Err(error);
            }
            cause = Some(telling(cause, error, self.deadline));
            self.wait(pause);
            if self.deadline.is_over() {
                break;
            }
            pause = pause.saturating_mul(2).min(self.longest);
        }
        self.ensure_not_cancelled()?;
        let cause =
            cause.unwrap_or_else(|| Error::new(ErrorKind::TimedOut, "The time for this operation is over"));
        Err(cause
            .with_detail("attempts", attempts.to_string())
            .with_detail("waited", seconds(begun.elapsed())))
    }

    fn ensure_not_cancelled(&self) -> Result<()> {
        match self.step.is_cancelled() {
            true => Err(Error::new(ErrorKind::Cancelled, "Cancelled")),
            false => Ok(()),
        }
    }

    /// Waits between half and all of the pause, so that many clients do not come back together.
    fn wait(&self, pause: Duration) {
        let pause = pause.mul_f64(0.5 + random::fraction() / 2.0);
        let pause = timer(self.deadline.timeout(pause));
        wait_any(&[&pause, &self.step.cancellation()]);
    }
}

/// `12.3s`.
fn seconds(time: Duration) -> String {
    format!("{}.{}s", time.as_secs(), time.subsec_millis() / 100)
}

/// The last cause, unless it only says that the deadline cut an attempt short while an earlier one knew more.
fn telling(earlier: Option<Error>, last: Error, deadline: Deadline) -> Error {
    match earlier {
        Some(earlier) if last.kind() == ErrorKind::TimedOut && deadline.is_over() => earlier,
        _ => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connection;
    use crate::testing::{Host, Listener, Script};

    fn open(deadline: Deadline) -> Result<Connection> {
        Connection::open_tcp("h", 1, deadline.timeout(Duration::from_secs(5)))
    }

    #[test]
    fn it_comes_back_until_somebody_listens() {
        let host = Host::new();
        host.tcp(
            "h",
            1,
            Listener::new()
                .after(Duration::from_secs(4))
                .accept(Script::new()),
        );
        Retry::new(&host.step("x")).run(open).unwrap();
        assert!(host.elapsed() >= Duration::from_secs(4) && host.elapsed() < Duration::from_secs(6));
    }

    #[test]
    fn it_ends_with_the_last_cause_at_the_deadline() {
        let host = Host::new();
        host.deadline_in(Duration::from_secs(3));
        let error = Retry::new(&host.step("x")).run(open).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(host.elapsed(), Duration::from_secs(3));
        assert!(error.details().iter().any(|(key, _)| key == "attempts"));
        assert!(
            error
                .details()
                .contains(&("waited".to_owned(), "3.0s".to_owned()))
        );
    }

    #[test]
    fn a_last_try_cut_short_does_not_hide_the_cause() {
        let host = Host::new();
        let refused = Listener::new().refuse().refuse().silent();
        host.tcp("h", 1, refused);
        let error = Retry::new(&host.step("x"))
            .within(Duration::from_secs(2))
            .run(open)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }

    #[test]
    fn silence_all_the_time_is_a_timeout() {
        let host = Host::new();
        host.tcp("h", 1, Listener::new().silent());
        let error = Retry::new(&host.step("x"))
            .within(Duration::from_secs(12))
            .run(open)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn what_cannot_heal_ends_at_once() {
        let host = Host::new();
        host.tcp(
            "h",
            1,
            Listener::new().fail(Error::new(ErrorKind::Certificate, "Bad")),
        );
        let error = Retry::new(&host.step("x")).run(open).unwrap_err();
        assert_eq!((error.message(), error.details()), ("Bad", &[][..]));
        assert_eq!(host.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_cancellation_ends_the_pause() {
        let host = Host::new();
        host.cancel_in(Duration::from_millis(20));
        let error = Retry::new(&host.step("x")).run(open).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(host.elapsed(), Duration::from_millis(20));
    }
}
