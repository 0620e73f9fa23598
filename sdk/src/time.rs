//! Clocks and sleep. Those of the standard library panic inside a component.

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::{Step, host};

/// A point on a clock that only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Now.
    pub fn now() -> Self {
        Self(host::time::monotonic())
    }

    /// Time since then; zero if it is still to come.
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Time between two points; zero if the other one is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Time since 1970-01-01 UTC.
pub fn wall_clock() -> Duration {
    Duration::from_nanos(host::time::wall())
}

/// Waits; ends early when the operation is cancelled. The host ends it after 60 s at the latest.
pub fn sleep(duration: Duration) {
    host::time::sleep(nanoseconds(duration));
}

/// Nanoseconds of a duration; more than 584 years are as much as that.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// When something must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Never.
    pub fn none() -> Self {
        Self(None)
    }

    /// That long from now.
    pub fn within(duration: Duration) -> Self {
        Self(Some(Instant::now() + duration))
    }

    /// That of the whole operation.
    pub fn of(step: &Step<'_>) -> Self {
        step.time_left().map_or(Self::none(), Self::within)
    }

    /// The earlier one of two.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (one, None) | (None, one) => Self(one),
        }
    }

    /// Time that is left; absent without a deadline.
    pub fn time_left(self) -> Option<Duration> {
        self.0.map(|at| at - Instant::now())
    }

    /// Timeout for one call: what is left, and at most `longest`.
    pub fn timeout(self, longest: Duration) -> Duration {
        self.time_left().map_or(longest, |left| left.min(longest))
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.time_left().is_some_and(|left| left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn a_deadline_is_the_earlier_of_two() {
        let host = Host::new();
        let deadline = Deadline::within(Duration::from_secs(5)).or_earlier(Deadline::none());
        let deadline = deadline.or_earlier(Deadline::within(Duration::from_secs(9)));
        host.advance(Duration::from_secs(2));
        assert_eq!(deadline.time_left(), Some(Duration::from_secs(3)));
        assert_eq!(deadline.timeout(Duration::from_secs(1)), Duration::from_secs(1));
        host.advance(Duration::from_secs(4));
        assert!(deadline.is_over());
        assert!(!Deadline::none().is_over());
    }
}
