//! The summary of warnings that follows a display.

use std::fmt::Write;

use super::event::Warning;
use super::excerpt::excerpt;
use super::palette::{Colour, RESET};

/// How many distinct warnings are kept; nobody reads more, and each new one is compared with all others.
const MAX_WARNINGS: usize = 1024;

/// Collects warnings; equal ones of different vertexes count once.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Vec<Warning>);

impl Warnings {
    /// Adds a warning unless an equal one is there.
    pub fn add(&mut self, warning: Warning) {
        let known = self.0.iter().any(|other| equal(other, &warning));
        if !known && self.0.len() < MAX_WARNINGS {
            self.0.push(warning);
        }
    }

    /// The distinct warnings, in the order in which they came.
    pub fn into_vec(self) -> Vec<Warning> {
        self.0
    }
}

fn equal(one: &Warning, other: &Warning) -> bool {
    one.short == other.short
        && one.level == other.level
        && one.detail == other.detail
        && one.url == other.url
        && one.ranges == other.ranges
        && one.source == other.source
}

/// Writes the summary, or nothing when there is no warning.
///
/// `expand` (debug) adds details, links and excerpts.
pub fn summary(warnings: &[Warning], expand: bool, colour: bool) -> Option<String> {
    if warnings.is_empty() {
        return None;
    }
    let mut out = String::from("\n ");
    let heading = heading(warnings.len(), expand);
    if colour {
        let _ = write!(out, "{}{heading}{RESET}", Colour::YELLOW.code());
    } else {
        out.push_str(&heading);
    }
    for warning in warnings {
        let _ = writeln!(out, " - {}", String::from_utf8_lossy(&warning.short));
        if expand {
            expanded(&mut out, warning);
        }
    }
    Some(out)
}

fn heading(count: usize, expand: bool) -> String {
    let found = match count {
        1 => "1 warning found".to_owned(),
        many => format!("{many} warnings found"),
    };
    let advice = if expand {
        ""
    } else {
        " (use docker --debug to expand)"
    };
    format!("{found}{advice}:\n")
}

fn expanded(out: &mut String, warning: &Warning) {
    for line in &warning.detail {
        let _ = writeln!(out, "{}", String::from_utf8_lossy(line));
    }
    if !warning.url.is_empty() {
        let _ = writeln!(out, "More info: {}", warning.url);
    }
    let place = warning.source.as_ref();
    if let Some(text) = place.and_then(|source| excerpt(source, &warning.ranges)) {
        out.push_str(&text);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::event::{Position, Range, SourceInfo};

    fn warning(vertex: &str, short: &str) -> Warning {
        let place = Position {
            line: 1,
            character: 0,
        };
        Warning {
            vertex: vertex.into(),
            level: 1,
            short: short.to_owned().into(),
            detail: vec!["The casing should match".into()],
            url: "https://docs.example/rule".into(),
            source: Some(SourceInfo {
                filename: "Dockerfile".into(),
                data: "from base\n".into(),
                language: String::new(),
            }),
            ranges: vec![Range {
                start: place,
                end: place,
            }],
        }
    }

    #[test]
    fn equal_warnings_of_two_vertexes_count_once() {
        let mut warnings = Warnings::default();
        warnings.add(warning("a", "FromAsCasing"));
        warnings.add(warning("b", "FromAsCasing"));
        warnings.add(warning("b", "Other"));
        assert_eq!(warnings.into_vec().len(), 2);
    }

    #[test]
    fn warnings_without_end_are_bounded() {
        let mut warnings = Warnings::default();
        for n in 0..MAX_WARNINGS + 10 {
            warnings.add(warning("a", &n.to_string()));
        }
        assert_eq!(warnings.into_vec().len(), MAX_WARNINGS);
    }

    #[test]
    fn short_form_names_the_way_to_more() {
        assert_eq!(summary(&[], false, true), None);
        assert_eq!(
            summary(&[warning("a", "One")], false, true).unwrap(),
            "\n \u{1b}[33m1 warning found (use docker --debug to expand):\n\u{1b}[0m - One\n"
        );
        let two = [warning("a", "One"), warning("a", "Two")];
        assert_eq!(
            summary(&two, false, false).unwrap(),
            "\n 2 warnings found (use docker --debug to expand):\n - One\n - Two\n"
        );
    }

    #[test]
    fn debug_expands() {
        assert_eq!(
            summary(&[warning("a", "One")], true, false).unwrap(),
            "\n 1 warning found:\n - One\nThe casing should match\nMore info: https://docs.example/rule\n\
             Dockerfile:1\n--------------------\n   1 | >>> from base\n   2 |     \n--------------------\n\n"
        );
    }
}
