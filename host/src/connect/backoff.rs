//! How long to wait between two tries to reach a daemon.

use std::time::Duration;

/// Exponential waits with jitter: clients that failed together do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    /// First wait about `first`, doubling up to `limit`.
    pub fn new(first: Duration, limit: Duration) -> Self {
        Self { next: first, limit }
    }

    /// The wait before the next try: between half of the current step and all of it.
    pub fn next_wait(&mut self) -> Duration {
        self.wait_with(rand::random::<f64>())
    }

    /// `jitter` lies in `0.0..1.0`.
    fn wait_with(&mut self, jitter: f64) -> Duration {
        let step = self.next.min(self.limit);
        self.next = step.saturating_mul(2).min(self.limit);
        step.mul_f64(0.5 + jitter / 2.0)
    }
}

impl Default for Backoff {
    /// From 100 ms to 5 s: quick while a daemon starts, calm while a machine does.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
        let waits: Vec<_> = (0..4).map(|_| backoff.wait_with(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 3]);
    }

    #[test]
    fn jitter_keeps_at_least_half_of_a_step() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            let step = backoff.next;
            let wait = backoff.next_wait();
            assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
        }
    }
}
