//! Reading driver options: values as buildx takes them, and words for a name that nobody knows.

use std::cell::RefCell;
use std::num::{IntErrorKind, ParseIntError};
use std::time::Duration;

use crate::{Config, Error, Result};

/// Most edits between what was typed and a known name for it to be offered.
const LONGEST_DISTANCE: usize = 3;

/// Reads the options of a node. Every name that is read is known; [`Options::finish`] refuses the others.
#[derive(Debug)]
pub struct Options<'a> {
    config: &'a Config,
    known: RefCell<Vec<String>>,
}

impl<'a> Options<'a> {
    /// The options of this node.
    pub fn new(config: &'a Config) -> Self {
        Self {
            config,
            known: RefCell::new(Vec::new()),
        }
    }

    /// The value as it stands; an empty value was given empty.
    pub fn given(&self, name: &str) -> Option<String> {
        self.known.borrow_mut().push(name.to_owned());
        self.config.option(name)
    }

    /// The value; an empty one counts as not given.
    pub fn string(&self, name: &str) -> Option<String> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// A boolean, spelled as Go takes it ([`parse_bool`]). Absent when it was not given.
    pub fn bool(&self, name: &str) -> Result<Option<bool>> {
        self.parse(name, parse_bool)
    }

    /// A whole number. Absent when it was not given.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.parse(name, |text| {
            let number = text.parse();
            number.map_err(|error: ParseIntError| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                format!("strconv.Atoi: parsing {text:?}: {why}")
            })
        })
    }

    /// A size in bytes ([`parse_bytes`]). Absent when it was not given.
    pub fn bytes(&self, name: &str) -> Result<Option<u64>> {
        self.parse(name, parse_bytes)
    }

    /// A duration that is not negative ([`parse_duration`]). Absent when it was not given.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        self.parse(name, parse_duration)
    }

    /// All options that begin with this prefix, without it, sorted by name.
    pub fn prefixed(&self, prefix: &str) -> Vec<(String, String)> {
        self.known.borrow_mut().push(prefix.to_owned());
        let options = self.config.options().into_iter();
        options
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value)))
            .collect()
    }

    /// Reads a value with a parser of the driver's own; its complaint gets the option's name in front.
    pub fn parse<T>(
        &self,
        name: &str,
        parser: impl Fn(&str) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(text) = self.given(name) else {
            return Ok(None);
        };
        let wrong =
            |complaint| Error::invalid_config(format!("invalid value for driver option {name}: {complaint}"));
        parser(&text).map(Some).map_err(wrong)
    }

    /// Refuses an option that was not read. `words` makes the message from its name, such as `invalid driver option X for
    /// remote driver`; the hint offers the nearest known name.
    pub fn finish(&self, words: impl Fn(&str) -> String) -> Result<()> {
        let known = self.known.borrow();
        let unknown = |name: &String| {
            !known
                .iter()
                .any(|known| known == name || (known.ends_with('.') && name.starts_with(known.as_str())))
        };
        let Some((name, _)) = self.config.options().into_iter().find(|(name, _)| unknown(name)) else {
            return Ok(());
        };
        let hint = match nearest(&name, known.iter().map(String::as_str)) {
            Some(close) => format!("Did you mean `{close}`?"),
            None if known.is_empty() => "This driver has no options".to_owned(),
            None => format!("Known options: `{}`", sorted(&known).join("`, `")),
        };
        Err(Error::invalid_config(words(&name)).with_hint(hint))
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The known name that is nearest to what was typed, if one is near.
pub fn nearest<'n>(typed: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = LONGEST_DISTANCE.min(typed.chars().count() / 2);
    let scored = known.into_iter().map(|name| (distance(typed, name), name));
    scored
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions and replacements between two words; case counts for nothing.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.to_lowercase().chars().enumerate() {
        let mut next = vec![line + 1];
        for (diagonal, (above, other)) in row.iter().zip(row.iter().skip(1).zip(&to)) {
            let left = next.last().copied().unwrap_or_default();
            next.push(
                (diagonal + usize::from(letter != *other))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// A boolean as Go's `strconv.ParseBool` takes it.
pub fn parse_bool(text: &str) -> std::result::Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// A size as docker takes it: a decimal number, an optional space, an optional suffix `b`, or one of `k m g t p` alone or
/// followed by `b` or `ib`; powers of 1024, any case.
pub fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("invalid size: '{text}'"))?;
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix).to_lowercase();
    let factor = factor(&suffix).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    Ok((number * factor) as u64)
}

fn factor(suffix: &str) -> Option<f64> {
    if matches!(suffix, "" | "b") {
        return Some(1.0);
    }
    // Absent too where a letter of more than one byte begins the suffix.
    let (letter, rest) = suffix.split_at_checked(1)?;
    let power = ["k", "m", "g", "t", "p"]
        .iter()
        .position(|known| *known == letter)?;
    matches!(rest, "" | "b" | "ib").then(|| 1024_f64.powi(power as i32 + 1))
}

/// A duration as Go's `time.ParseDuration` takes it (`1h30m`, `1.5s`, `0`); a negative one is refused.
pub fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    if unsigned.starts_with('-') {
        return Err(format!("duration {text:?} is negative"));
    }
    let mut rest = unsigned;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let letters = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        seconds += number * unit_seconds(unit, text)?;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

fn unit_seconds(unit: &str, text: &str) -> std::result::Result<f64, String> {
    match unit {
        "ns" => Ok(1e-9),
        "us" | "µs" | "μs" => Ok(1e-6),
        "ms" => Ok(1e-3),
        "s" => Ok(1.0),
        "m" => Ok(60.0),
        "h" => Ok(3600.0),
        "" => Err(format!("time: missing unit in duration {text:?}")),
        _ => Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn booleans_are_those_of_go() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("False"), Ok(false));
        let words = "strconv.ParseBool: parsing \"yes\": invalid syntax";
        assert_eq!(parse_bool("yes"), Err(words.into()));
    }

    #[test]
    fn sizes_are_those_of_docker() {
        let good = [
            ("12", 12),
            ("1k", 1024),
            ("1.5 MB", 1_572_864),
            ("2GiB", 2 << 30),
            ("7b", 7),
        ];
        for (text, size) in good {
            assert_eq!(parse_bytes(text), Ok(size), "{text}");
        }
        assert_eq!(parse_bytes("x"), Err("invalid size: 'x'".into()));
        assert_eq!(parse_bytes("-1"), Err("invalid size: '-1'".into()));
        for (text, suffix) in [("1x", "x"), ("1bb", "bb"), ("5µ", "µ"), ("1kib2", "kib2")] {
            assert_eq!(parse_bytes(text), Err(format!("invalid suffix: '{suffix}'")));
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        let good = [("1h30m", 5_400_000), ("1.5s", 1500), ("0", 0), ("+2ms", 2)];
        for (text, milliseconds) in good {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        let bad = [
            ("x", "time: invalid duration \"x\""),
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("-5s", "duration \"-5s\" is negative"),
        ];
        for (text, words) in bad {
            assert_eq!(parse_duration(text), Err(words.into()));
        }
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let host = Host::new().option("cacrt", "/x").option("env.A", "1");
        let config = host.config();
        let options = Options::new(&config);
        assert_eq!(options.prefixed("env."), [("A".to_owned(), "1".to_owned())]);
        assert_eq!(options.string("cacert"), None);
        assert_eq!(options.bool("default-load"), Ok(None));
        let error = options
            .finish(|name| format!("invalid driver option {name} for x driver"))
            .unwrap_err();
        assert_eq!(error.message(), "invalid driver option cacrt for x driver");
        assert_eq!(error.hint(), Some("Did you mean `cacert`?"));
    }

    #[test]
    fn nothing_near_lists_what_there_is() {
        let host = Host::new().option("zzzzzz", "");
        let config = host.config();
        let options = Options::new(&config);
        assert_eq!((options.given("key"), options.given("cert")), (None, None));
        let error = options.finish(str::to_owned).unwrap_err();
        assert_eq!(error.hint(), Some("Known options: `cert`, `key`"));
    }

    #[test]
    fn a_number_that_is_too_long_is_no_mistake_of_syntax() {
        let host = Host::new().option("replicas", "99999999999999999999");
        let config = host.config();
        let error = Options::new(&config).int("replicas").unwrap_err();
        assert!(error.message().ends_with(": value out of range"), "{error}");
    }

    #[test]
    fn a_bad_value_names_its_option() {
        let host = Host::new().option("timeout", "5");
        let config = host.config();
        let error = Options::new(&config).duration("timeout").unwrap_err();
        let words = "invalid value for driver option timeout: time: missing unit in duration \"5\"";
        assert_eq!(error, Error::invalid_config(words));
    }
}
