//! Whose turn it is in the text log: few changes, but nobody waits for long.

/// A vertex that has news and waits longer than this gets its turn.
const MAX_WAIT: f64 = 10.0;
/// How long a vertex keeps its turn if it makes no use of it; the more of all events are its own, the longer it may
/// stay.
const ANTI_FLICKER: f64 = 5.0;
/// A vertex with so much output waiting gets its turn at once, since the output is kept in memory until then.
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// A running vertex.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    pub index: usize,
    /// It has its turn.
    pub current: bool,
    /// It has something to print.
    pub changed: bool,
    /// Seconds since it got its turn, or lost it, or was first seen.
    pub waited: f64,
    /// Events in that time.
    pub events: u64,
    /// Output that waits to be printed.
    pub bytes: usize,
}

impl Rival {
    /// Events per second.
    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "only compared")]
        let events = self.events as f64;
        events / self.waited.max(0.001)
    }
}

/// The vertex to change to, if any. `shown` says that one has its turn.
pub(super) fn next(rivals: &[Rival], shown: bool) -> Option<usize> {
    let waiting: Vec<&Rival> = rivals
        .iter()
        .filter(|rival| rival.changed && !rival.current)
        .collect();
    let busiest = waiting.iter().max_by(|one, other| {
        let order = one.rate().total_cmp(&other.rate());
        order.then(other.index.cmp(&one.index))
    });
    if !shown {
        return busiest.map(|rival| rival.index).or_else(|| any(rivals));
    }
    let pressing = waiting
        .iter()
        .filter(|rival| rival.waited > MAX_WAIT || rival.bytes > MAX_WAITING_BYTES)
        .max_by(|one, other| one.waited.total_cmp(&other.waited));
    let changes = pressing.or_else(|| busiest.filter(|_| is_used_up(rivals, &waiting)));
    changes.map(|rival| rival.index)
}

/// With nothing new, whatever runs is shown, so that a reader sees what the build waits for.
fn any(rivals: &[Rival]) -> Option<usize> {
    rivals.first().map(|rival| rival.index)
}

/// Whether the vertex that has its turn has had it long enough for its share of all events.
fn is_used_up(rivals: &[Rival], waiting: &[&Rival]) -> bool {
    let Some(current) = rivals.iter().find(|rival| rival.current) else {
        return true;
    };
    let others: f64 = waiting.iter().map(|rival| rival.rate()).sum();
    let all = others + current.rate();
    all > 0.0 && current.waited > ANTI_FLICKER * all / others
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rival(index: usize, waited: f64, events: u64) -> Rival {
        Rival {
            index,
            current: false,
            changed: true,
            waited,
            events,
            bytes: 0,
        }
    }

    fn current(index: usize, waited: f64, events: u64) -> Rival {
        Rival {
            current: true,
            changed: false,
            ..rival(index, waited, events)
        }
    }

    #[test]
    fn without_a_turn_the_busiest_gets_it() {
        assert_eq!(next(&[rival(0, 1.0, 2), rival(1, 1.0, 9)], false), Some(1));
        assert_eq!(next(&[rival(0, 1.0, 2), rival(1, 1.0, 2)], false), Some(0));
    }

    #[test]
    fn without_news_anything_that_runs_is_shown() {
        let quiet = Rival {
            changed: false,
            ..rival(3, 1.0, 0)
        };
        assert_eq!(next(&[quiet], false), Some(3));
        assert_eq!(next(&[], false), None);
    }

    #[test]
    fn a_turn_lasts_longer_for_those_who_use_it() {
        // Half of all events: 5 s ÷ (1 − ½).
        assert_eq!(next(&[current(0, 9.9, 99), rival(1, 1.0, 10)], true), None);
        assert_eq!(next(&[current(0, 10.1, 101), rival(1, 1.0, 10)], true), Some(1));
        // None of them: 5 s.
        assert_eq!(next(&[current(0, 4.9, 0), rival(1, 1.0, 10)], true), None);
        assert_eq!(next(&[current(0, 5.1, 0), rival(1, 1.0, 10)], true), Some(1));
    }

    #[test]
    fn nobody_waits_longer_than_the_limit() {
        let lively = current(0, 1.0, 1000);
        assert_eq!(next(&[lively, rival(1, 9.9, 1)], true), None);
        assert_eq!(
            next(&[lively, rival(1, 10.1, 1), rival(2, 11.0, 1)], true),
            Some(2)
        );
    }

    #[test]
    fn much_waiting_output_gets_its_turn_at_once() {
        let loud = Rival {
            bytes: MAX_WAITING_BYTES + 1,
            ..rival(1, 0.1, 1)
        };
        assert_eq!(next(&[current(0, 0.1, 1000), loud], true), Some(1));
    }

    #[test]
    fn a_turn_is_kept_when_nobody_else_has_news() {
        assert_eq!(next(&[current(0, 100.0, 0)], true), None);
    }
}
