//! Durations as messages write them.

use std::time::Duration;

/// A duration as a person would say it: milliseconds below a second, one decimal below ten, then whole seconds. What is
/// left of a bound after some work (4.999 s) reads as the bound.
pub fn shown(duration: Duration) -> String {
    let milliseconds = (duration.as_secs_f64() * 1000.0).round();
    if milliseconds < 1000.0 {
        return format!("{milliseconds} ms");
    }
    let seconds = duration.as_secs_f64();
    let seconds = match seconds < 9.95 {
        true => (seconds * 10.0).round() / 10.0,
        false => seconds.round(),
    };
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_said_by_a_person() {
        for (microseconds, text) in [
            (0, "0 ms"),
            (400, "0 ms"),
            (250_000, "250 ms"),
            (999_400, "999 ms"),
            (999_600, "1 s"),
            (1_500_000, "1.5 s"),
            (4_999_000, "5 s"),
            (5_000_900, "5 s"),
            (9_940_000, "9.9 s"),
            (9_990_000, "10 s"),
            (58_432_000, "58 s"),
            (60_000_000, "60 s"),
        ] {
            assert_eq!(shown(Duration::from_micros(microseconds)), text);
        }
    }
}
