//! The source excerpt that shows where a warning or an error comes from.

use std::fmt::Write;

use super::event::{Range, SourceInfo};

const RULE: &str = "--------------------";
/// How much context a single affected line gets, counted as [`widen`] counts.
const ROUND_LIMIT_LINE: usize = 4;
/// The same for several affected lines.
const ROUND_LIMIT_RANGE: usize = 2;

/// Writes the lines of `source` around `ranges`, the affected ones marked with `>>>`.
///
/// Nothing without ranges, or when the first affected line lies outside the file.
pub fn excerpt(source: &SourceInfo, ranges: &[Range]) -> Option<String> {
    if source.data.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&source.data);
    // A line end at the end of the file begins one more, empty line, as it does for buildx.
    let lines: Vec<&str> = text.split('\n').collect();
    let first = ranges.iter().map(|range| range.start.line).min()?;
    let last = ranges.iter().map(last_line).max()?;
    let first = usize::try_from(first)
        .ok()
        .filter(|line| (1..=lines.len()).contains(line))?;
    let last = usize::try_from(last).map_or(first, |line| line.clamp(first, lines.len()));
    let (from, to) = widen(first, last, lines.len());

    let mut out = format!("{}:{first}\n{RULE}\n", source.filename);
    for (number, line) in (1..).zip(&lines).take(to).skip(from - 1) {
        let mark = if affected(ranges, number) { ">>>" } else { "   " };
        let line = line.strip_suffix('\r').unwrap_or(line);
        let _ = writeln!(out, " {number:>3} | {mark} {line}");
    }
    let _ = writeln!(out, "{RULE}");
    Some(out)
}

fn last_line(range: &Range) -> i32 {
    range.end.line.max(range.start.line)
}

fn affected(ranges: &[Range], number: usize) -> bool {
    ranges.iter().any(|range| {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        (range.start.line..=last_line(range)).contains(&number)
    })
}

/// Adds a line before and one after in rounds; each added line and each round count one.
fn widen(mut from: usize, mut to: usize, end: usize) -> (usize, usize) {
    let limit = if from == to {
        ROUND_LIMIT_LINE
    } else {
        ROUND_LIMIT_RANGE
    };
    let mut count = 0;
    while count < limit {
        if from > 1 {
            from -= 1;
            count += 1;
        }
        if to < end {
            to += 1;
            count += 1;
        }
        count += 1;
    }
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::event::Position;

    fn source(lines: usize) -> SourceInfo {
        let text: String = (1..=lines).map(|n| format!("line {n}\n")).collect();
        SourceInfo {
            filename: "Dockerfile".into(),
            data: text.into(),
            language: String::new(),
        }
    }

    fn range(start: i32, end: i32) -> Range {
        let at = |line| Position { line, character: 0 };
        Range {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn a_single_line_gets_two_lines_on_both_sides() {
        let text = excerpt(&source(9), &[range(5, 5)]).unwrap();
        assert_eq!(
            text,
            "Dockerfile:5\n\
             --------------------\n   \
             3 |     line 3\n   \
             4 |     line 4\n   \
             5 | >>> line 5\n   \
             6 |     line 6\n   \
             7 |     line 7\n\
             --------------------\n"
        );
    }

    #[test]
    fn a_range_gets_one_line_on_both_sides() {
        let text = excerpt(&source(9), &[range(4, 5)]).unwrap();
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "   3 |     line 3",
                "   4 | >>> line 4",
                "   5 | >>> line 5",
                "   6 |     line 6",
                "--------------------",
            ]
        );
    }

    #[test]
    fn the_edge_of_the_file_gives_its_room_to_the_other_side() {
        let text = excerpt(&source(9), &[range(1, 1)]).unwrap();
        assert_eq!(text.lines().count(), 3 + 3, "{text}");
        let text = excerpt(&source(5), &[range(5, 5)]).unwrap();
        assert!(
            text.ends_with("   5 | >>> line 5\n   6 |     \n--------------------\n"),
            "{text}"
        );
        let text = excerpt(&source(1), &[range(1, 7)]).unwrap();
        assert_eq!(text.lines().nth(2), Some("   1 | >>> line 1"));
    }

    #[test]
    fn nothing_without_a_place() {
        assert_eq!(excerpt(&source(3), &[]), None);
        assert_eq!(excerpt(&source(3), &[range(5, 5)]), None);
        assert_eq!(excerpt(&source(3), &[range(0, 1)]), None);
        assert_eq!(excerpt(&source(0), &[range(1, 1)]), None);
    }

    #[test]
    fn separate_ranges_mark_only_their_lines() {
        let text = excerpt(&source(9), &[range(6, 6), range(3, 3)]).unwrap();
        assert!(text.starts_with("Dockerfile:3\n"));
        let marked = text.lines().filter(|line| line.contains(">>>")).count();
        assert_eq!(marked, 2);
    }
}
