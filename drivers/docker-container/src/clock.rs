//! The engine's clock: its times as text, and how far it is from ours.

use std::time::Duration;

/// A time as the engine writes it (`2026-03-01T12:00:00.5Z`, `…+01:00`), since 1970. Absent for anything else, and for
/// the year 1, which stands for never.
pub fn parse(text: &str) -> Option<Duration> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or("", |rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    let zone = rest
        .trim_start_matches('.')
        .trim_start_matches(|c: char| c.is_ascii_digit());
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    let nanos: u32 = format!("{digits:0<9}").get(..9)?.parse().ok()?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

/// Seconds by which a zone is ahead: `Z`, `+01:00`, `-05:30`.
fn offset(zone: &str) -> Option<i64> {
    let (sign, clock) = match zone.chars().next()? {
        'Z' => return Some(0),
        '+' => (1, zone.get(1..)?),
        '-' => (-1, zone.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is a
/// year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        ..=2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// How far the engine's clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    ahead: Duration,
    behind: Duration,
}

impl Skew {
    /// From what the engine said when it was asked for its time, and when we asked and had the answer. Whatever the
    /// question's own time may account for is no difference: nearly always both are one clock.
    pub fn between(engine: Duration, asked: Duration, answered: Duration) -> Self {
        Self {
            ahead: engine.saturating_sub(answered),
            behind: asked.saturating_sub(engine),
        }
    }

    /// A time of ours on the engine's clock.
    pub fn on_engine(self, ours: Duration) -> Duration {
        (ours + self.ahead).saturating_sub(self.behind)
    }
}

/// `SECONDS.NANOSECONDS`, as the engine takes times in queries.
pub fn query(time: Duration) -> String {
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_engine_are_read() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("2000-02-29T23:59:59.5Z", Some((951_868_799, 500_000_000))),
            ("2026-03-01T01:00:00.000000001+01:00", Some((1_772_323_200, 1))),
            ("2025-12-31T18:30:00-05:30", Some((1_767_225_600, 0))),
            ("0001-01-01T00:00:00Z", None),
            ("soon", None),
            ("2026-03-01T01:00:00", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(seconds, nanos)| Duration::new(seconds, nanos));
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_allowed_for() {
        let seconds = Duration::from_secs;
        assert_eq!(
            Skew::between(seconds(50), seconds(19), seconds(20)).on_engine(seconds(30)),
            seconds(60)
        );
        assert_eq!(
            Skew::between(seconds(20), seconds(50), seconds(51)).on_engine(seconds(40)),
            seconds(10)
        );
        assert_eq!(
            Skew::between(seconds(20), seconds(19), seconds(21)).on_engine(seconds(40)),
            seconds(40)
        );
        assert_eq!(query(Duration::new(7, 5)), "7.000000005");
    }
}
