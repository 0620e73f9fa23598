//! Grammars of flag values that many commands share: booleans, durations, one CSV record, words as a shell splits
//! them. Texts of refusals are those of the Go programs whose users match on them.

pub use crate::nearest::nearest;
use std::time::Duration;

/// Parses a boolean as Go's flag parser does.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// A time limit: a Go duration, of which zero and less mean "no limit".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl Limit {
    /// The moment when it is over, counted from now.
    pub fn deadline(self) -> Option<std::time::Instant> {
        self.0
            .and_then(|limit| std::time::Instant::now().checked_add(limit))
    }
}

/// Parses a time limit.
pub fn limit(text: &str) -> Result<Limit, String> {
    let nanoseconds = duration(text)?;
    let limit = u64::try_from(nanoseconds).ok().filter(|n| *n > 0);
    Ok(Limit(limit.map(Duration::from_nanos)))
}

/// Parses a Go duration such as `1h30m` to nanoseconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..).unwrap_or_default()),
        [b'+', ..] => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(invalid());
    }
    let mut rest = unsigned;
    let mut total = 0f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total += number * unit_length(unit, text)?;
        rest = tail;
    }
    if total > i64::MAX as f64 {
        return Err(invalid());
    }
    let nanoseconds = total as i64;
    Ok(if negative { -nanoseconds } else { nanoseconds })
}

fn unit_length(unit: &str, text: &str) -> Result<f64, String> {
    match unit {
        "ns" => Ok(1.0),
        "us" | "µs" | "μs" => Ok(1e3),
        "ms" => Ok(1e6),
        "s" => Ok(1e9),
        "m" => Ok(60e9),
        "h" => Ok(3600e9),
        "" => Err(format!("time: missing unit in duration {text:?}")),
        _ => Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
    }
}

/// Prints nanoseconds in Go's form: `48h0m0s`, `1.5s`, `300ms`.
pub fn duration_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |unit: u64| decimal(total as f64 / unit as f64);
    let text = match total {
        0 => "0s".to_owned(),
        1..=999 => format!("{total}ns"),
        1_000..=999_999 => format!("{}µs", fraction(1_000)),
        1_000_000..=999_999_999 => format!("{}ms", fraction(1_000_000)),
        _ => {
            let (hours, minutes) = (total / 3_600_000_000_000, total / 60_000_000_000 % 60);
            let seconds = decimal((total % 60_000_000_000) as f64 / 1e9);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

fn decimal(number: f64) -> String {
    let text = format!("{number:.9}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Splits one CSV record, as Go's CSV reader does with a single line.
pub fn csv_record(text: &str) -> Result<Vec<String>, String> {
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(field) = rest {
        let offset = line.len() - field.len();
        let (value, tail) = if field.starts_with('"') {
            quoted_field(field, offset)?
        } else {
            bare_field(field, offset)?
        };
        fields.push(value);
        rest = tail;
    }
    Ok(fields)
}

fn bare_field(text: &str, offset: usize) -> Result<(String, Option<&str>), String> {
    let (field, tail) = match text.split_once(',') {
        Some((field, tail)) => (field, Some(tail)),
        None => (text, None),
    };
    match field.find('"') {
        Some(at) => Err(format!(
            "parse error on line 1, column {}: bare \" in non-quoted-field",
            offset + at + 1
        )),
        None => Ok((field.to_owned(), tail)),
    }
}

fn quoted_field(text: &str, offset: usize) -> Result<(String, Option<&str>), String> {
    let refused = |at: usize| {
        Err(format!(
            "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
            offset + at + 1
        ))
    };
    let mut value = String::new();
    let mut rest = text.strip_prefix('"').unwrap_or(text);
    loop {
        let Some((part, tail)) = rest.split_once('"') else {
            return refused(text.len() - rest.len());
        };
        value.push_str(part);
        let quote = text.len() - tail.len() - 1;
        if let Some(tail) = tail.strip_prefix('"') {
            value.push('"');
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix(',') {
            return Ok((value, Some(tail)));
        } else if tail.is_empty() {
            return Ok((value, None));
        } else {
            return refused(quote);
        }
    }
}

/// Splits a command line into words as a POSIX shell does, without variables and globs.
pub fn shell_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                chars.by_ref().find(|c| *c == '\n');
            }
            '\'' => quoted(&mut chars, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut chars, '"', word.get_or_insert_default())?,
            '\\' => {
                let escaped = chars.next().ok_or("EOF found after escape character")?;
                word.get_or_insert_default().push(escaped);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next().ok_or("EOF found when expecting closing quote")? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => word.push(chars.next().ok_or("EOF found after escape character")?),
            c => word.push(c),
        }
    }
}

/// Quotes a text as Go's `%q` does.
pub fn go_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        assert_eq!(duration("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(duration("-1.5s"), Ok(-1_500_000_000));
        assert_eq!(duration("0"), Ok(0));
        assert_eq!(duration("x").unwrap_err(), "time: invalid duration \"x\"");
        assert_eq!(duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(
            duration("5x").unwrap_err(),
            "time: unknown unit \"x\" in duration \"5x\""
        );
        for text in [
            "48h0m0s",
            "1.5s",
            "300ms",
            "1m0s",
            "0s",
            "-2s",
            "1.000000001s",
            "7ns",
            "1.5µs",
        ] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
        assert_eq!(limit("-1s"), Ok(Limit(None)));
        assert_eq!(limit("0"), Ok(Limit(None)));
        assert_eq!(limit("2s"), Ok(Limit(Some(Duration::from_secs(2)))));
    }

    #[test]
    fn words_split_as_in_a_shell() {
        assert_eq!(
            shell_words("--a 'b c' \"d\\\"e\" f\\ g # rest").unwrap(),
            ["--a", "b c", "d\"e", "f g"]
        );
        assert_eq!(shell_words("''").unwrap(), [""]);
        assert_eq!(
            shell_words("'a").unwrap_err(),
            "EOF found when expecting closing quote"
        );
        assert_eq!(
            shell_words("a\\").unwrap_err(),
            "EOF found after escape character"
        );
    }

    #[test]
    fn booleans_are_those_of_go() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(
            boolean("yes").unwrap_err(),
            "strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
    }
}
