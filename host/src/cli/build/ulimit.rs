//! `--ulimit name=soft[:hard]`.

use std::collections::BTreeMap;

use super::value::ValueError;

/// Limits that the kernel knows, in docker's words.
const NAMES: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Limits by name; −1 is unlimited.
pub type Ulimits = BTreeMap<String, (i64, i64)>;

/// Parses all values of the flag; the last of one name wins.
///
/// # Errors
///
/// The words of the flag with docker's reason.
pub fn parse(values: &[String]) -> Result<Ulimits, ValueError> {
    values
        .iter()
        .map(|value| parse_one(value).map_err(|error| error.of_flag("--ulimit", value)))
        .collect()
}

/// The value of attribute `ulimit`.
pub fn attribute(ulimits: &Ulimits) -> String {
    let list: Vec<String> = ulimits
        .iter()
        .map(|(name, (soft, hard))| format!("{name}={soft}:{hard}"))
        .collect();
    list.join(",")
}

fn parse_one(text: &str) -> Result<(String, (i64, i64)), ValueError> {
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| ValueError::new(format!("invalid ulimit argument: {text}")))?;
    if !NAMES.contains(&name) {
        return Err(ValueError::new(format!("invalid ulimit type: {name}"))
            .hint(format!("Known limits: {}", NAMES.join(", "))));
    }
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match *parts.as_slice() {
        [soft] => (number(soft)?, number(soft)?),
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            return Err(ValueError::new(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            )));
        }
    };
    check_order(soft, hard)?;
    Ok((name.to_owned(), (soft, hard)))
}

fn check_order(soft: i64, hard: i64) -> Result<(), ValueError> {
    const RULE: &str = "ulimit soft limit must be less than or equal to hard limit";
    match (soft, hard) {
        (_, -1) => Ok(()),
        (-1, hard) => Err(ValueError::new(format!(
            "{RULE}: soft: -1 (unlimited), hard: {hard}"
        ))),
        (soft, hard) if soft > hard => Err(ValueError::new(format!("{RULE}: {soft} > {hard}"))),
        _ => Ok(()),
    }
}

fn number(text: &str) -> Result<i64, ValueError> {
    text.parse()
        .map_err(|_| ValueError::new(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&str]) -> Result<String, String> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        parse(&values)
            .map(|limits| attribute(&limits))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_sent_in_order_of_name() {
        assert_eq!(
            sent(&["nofile=1024", "cpu=1:-1", "nofile=5:6"]).unwrap(),
            "cpu=1:-1,nofile=5:6"
        );
    }

    #[test]
    fn refusals_have_dockers_words() {
        for (bad, reason) in [
            ("x", "invalid ulimit argument: x"),
            ("x=1", "invalid ulimit type: x"),
            ("cpu=a", "strconv.ParseInt: parsing \"a\": invalid syntax"),
            (
                "cpu=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (
                "cpu=3:2",
                "ulimit soft limit must be less than or equal to hard limit: 3 > 2",
            ),
            (
                "cpu=-1:2",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 2",
            ),
        ] {
            let expected = format!("invalid argument \"{bad}\" for \"--ulimit\" flag: {reason}");
            assert_eq!(sent(&[bad]).unwrap_err(), expected);
        }
    }
}
