//! When a vertex ran; it may run more than once, and the members of a group run side by side.

use crate::progress::duration;
use crate::progress::event::Timestamp;

/// The runs of a vertex.
#[derive(Debug, Default)]
pub struct Intervals {
    runs: Vec<Interval>,
    /// Kept apart, since every line of output asks for it.
    last_start: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Interval {
    member: usize,
    start: Timestamp,
    end: Option<Timestamp>,
}

impl Intervals {
    /// Notes the run of a member that began at `start`: a new one, or one that is known and has ended now. Says
    /// whether that was news.
    pub fn set(&mut self, member: usize, start: Timestamp, end: Option<Timestamp>) -> bool {
        let mut latest = self.runs.iter_mut().rev();
        match latest.find(|known| known.member == member && known.start == start) {
            Some(known) => std::mem::replace(&mut known.end, end) != end,
            None => {
                self.runs.push(Interval { member, start, end });
                self.last_start = self.last_start.max(Some(start));
                true
            }
        }
    }

    /// Whether there has been any run.
    pub fn is_started(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Whether there have been runs and all have ended.
    pub fn is_completed(&self) -> bool {
        self.is_started() && self.runs.iter().all(|run| run.end.is_some())
    }

    /// When the first run began.
    pub fn first_start(&self) -> Option<Timestamp> {
        self.runs.iter().map(|run| run.start).min()
    }

    /// When the current run began.
    pub fn last_start(&self) -> Option<Timestamp> {
        self.last_start
    }

    /// When the last run ended; `None` while one goes on.
    pub fn completed(&self) -> Option<Timestamp> {
        let ends: Option<Vec<Timestamp>> = self.runs.iter().map(|run| run.end).collect();
        ends?.into_iter().max()
    }

    /// Seconds in which something ran, runs side by side counted once.
    pub fn elapsed(&self, now: Timestamp) -> f64 {
        let mut runs: Vec<(Timestamp, Timestamp)> = self
            .runs
            .iter()
            .map(|run| (run.start, run.end.unwrap_or(now)))
            .collect();
        runs.sort_unstable();
        let mut sum = 0.0;
        let mut reached = Timestamp::MIN;
        for (start, end) in runs {
            sum += duration::seconds(start.max(reached), end);
            reached = reached.max(end);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::sample::at;

    #[test]
    fn overlapping_runs_count_once() {
        let mut runs = Intervals::default();
        assert_eq!(runs.completed(), None);
        runs.set(0, at(0), Some(at(2000)));
        runs.set(1, at(1000), Some(at(1500)));
        runs.set(1, at(5000), None);
        assert!((runs.elapsed(at(6000)) - 3.0).abs() < 1e-6);
        assert!(!runs.is_completed());
        runs.set(1, at(5000), Some(at(5500)));
        assert!((runs.elapsed(at(9000)) - 2.5).abs() < 1e-6);
        assert_eq!(runs.completed(), Some(at(5500)));
        assert_eq!(runs.first_start(), Some(at(0)));
        assert_eq!(runs.last_start(), Some(at(5000)));
    }
}
