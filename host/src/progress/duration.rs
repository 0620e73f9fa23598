//! Durations as progress displays write them.

use super::event::Timestamp;

/// Seconds from `start` to `end`; 0 when the clocks say that it ended before it began.
pub fn seconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_secs_f64().max(0.0)
}

/// Writes a running time with one decimal: `1.9s`; below 0.05 s it is `0.0s`.
pub fn short(seconds: f64) -> String {
    let shown = if seconds < 0.05 { 0.0 } else { seconds };
    format!("{shown:.1}s")
}

/// Writes the time stamp of a log line: 3 decimals below 10 s, 2 below 100 s, else 1.
pub fn stamp(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.3}")
    } else if seconds < 100.0 {
        format!("{seconds:.2}")
    } else {
        format!("{seconds:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_lose_decimals_as_they_grow() {
        assert_eq!(stamp(0.1214), "0.121");
        assert_eq!(stamp(12.3456), "12.35");
        assert_eq!(stamp(123.456), "123.5");
    }

    #[test]
    fn time_never_runs_backwards() {
        let early = Timestamp::from_second(10).unwrap();
        let late = Timestamp::from_second(12).unwrap();
        assert_eq!(short(seconds(early, late)), "2.0s");
        assert_eq!(short(seconds(late, early)), "0.0s");
        assert_eq!(short(0.049), "0.0s");
    }
}
