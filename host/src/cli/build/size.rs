//! Sizes as docker writes them: `64m`, `1.5GiB`.

use super::value::ValueError;

/// Parses a size in bytes; every unit is a power of 1024.
///
/// # Errors
///
/// `invalid size: 'X'` without a number or below zero, `invalid suffix: 'X'` for an unknown unit.
pub fn parse_bytes(text: &str) -> Result<u64, ValueError> {
    let invalid = || ValueError::new(format!("invalid size: '{text}'"));
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let value: f64 = number
        .parse()
        .map_err(|_| ValueError::new(format!("strconv.ParseFloat: parsing {number:?}: invalid syntax")))?;
    if value < 0.0 || !value.is_finite() {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "fractions of a byte are dropped, as docker does"
    )]
    Ok((value * factor(suffix)?) as u64)
}

fn factor(suffix: &str) -> Result<f64, ValueError> {
    let lower = suffix.to_ascii_lowercase();
    let (unit, rest) = match lower.chars().next() {
        None => return Ok(1.0),
        Some(first) => (first, lower.get(first.len_utf8()..).unwrap_or_default()),
    };
    let power = match (unit, rest) {
        ('b', "") => 0,
        ('k', "" | "b" | "ib") => 1,
        ('m', "" | "b" | "ib") => 2,
        ('g', "" | "b" | "ib") => 3,
        ('t', "" | "b" | "ib") => 4,
        ('p', "" | "b" | "ib") => 5,
        _ => return Err(ValueError::new(format!("invalid suffix: '{suffix}'"))),
    };
    Ok(1024_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("1k", 1024),
            ("1 KB", 1024),
            ("1KiB", 1024),
            ("1.5m", 1_572_864),
            ("2g", 2_147_483_648),
            ("0.3", 0),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refusals_have_dockers_words() {
        for (text, refusal) in [
            ("", "invalid size: ''"),
            ("abc", "invalid size: 'abc'"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1bb", "invalid suffix: 'bb'"),
            ("1kibi", "invalid suffix: 'kibi'"),
            ("1.2.3", "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax"),
        ] {
            assert_eq!(parse_bytes(text).unwrap_err().to_string(), refusal);
        }
    }
}
