//! Brings the screen from one block of lines to the next with as little output as possible.

use std::io::Write;

use unicode_width::UnicodeWidthStr;

use crate::progress::terminal::Size;

/// Clears from the cursor to the end of the line.
const CLEAR_LINE: &str = "\u{1b}[K";
/// Clears from the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\u{1b}[J";

/// A line ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Text with its colour codes.
    pub styled: String,
    /// Columns it takes.
    pub width: usize,
}

impl Line {
    pub fn new(text: &str, on: &str, off: &str) -> Self {
        Self {
            styled: format!("{on}{text}{off}"),
            width: text.width(),
        }
    }
}

/// Knows what is on the screen; the cursor stays at the beginning of the row below the block.
#[derive(Debug, Default)]
pub(super) struct Painter {
    shown: Vec<Line>,
    size: Option<Size>,
}

impl Painter {
    /// The bytes that turn the block into `lines`; nothing if it is the same. They are meant to be written at once.
    pub fn paint(&mut self, lines: Vec<Line>, size: Size) -> Vec<u8> {
        let resized = self.size.replace(size).is_some_and(|before| before != size);
        let same = if resized { 0 } else { self.common(&lines) };
        let mut out = Vec::new();
        if resized {
            up(&mut out, self.rows_after_resize(size));
            out.extend_from_slice(CLEAR_BELOW.as_bytes());
            self.shown.clear();
        } else if same == lines.len() && same == self.shown.len() {
            return out;
        } else {
            up(&mut out, self.shown.len() - same);
        }
        for (index, line) in lines.iter().enumerate().skip(same) {
            self.line(&mut out, index, line);
        }
        if lines.len() < self.shown.len() {
            out.extend_from_slice(CLEAR_BELOW.as_bytes());
        }
        self.shown = lines;
        out
    }

    /// How many lines at the top are the same.
    fn common(&self, lines: &[Line]) -> usize {
        let pairs = self.shown.iter().zip(lines);
        pairs.take_while(|(old, new)| old == new).count()
    }

    fn line(&self, out: &mut Vec<u8>, index: usize, line: &Line) {
        let old = self.shown.get(index);
        if old != Some(line) {
            out.extend_from_slice(line.styled.as_bytes());
            if old.is_some_and(|old| old.width > line.width) {
                out.extend_from_slice(CLEAR_LINE.as_bytes());
            }
        }
        out.push(b'\n');
    }

    /// Terminals break lines that have become too long for them: how many rows the block takes now.
    fn rows_after_resize(&self, size: Size) -> usize {
        let width = size.width.max(1);
        let rows = self.shown.iter().map(|line| line.width.div_ceil(width).max(1));
        rows.sum::<usize>().min(size.height.saturating_sub(1))
    }
}

fn up(out: &mut Vec<u8>, rows: usize) {
    if rows > 0 {
        let _ = write!(out, "\u{1b}[{rows}A\r");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts.iter().map(|text| Line::new(text, "", "")).collect()
    }

    fn paint(painter: &mut Painter, texts: &[&str], width: usize) -> String {
        let size = Size { width, height: 10 };
        String::from_utf8(painter.paint(lines(texts), size)).unwrap()
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut painter = Painter::default();
        assert_eq!(
            paint(&mut painter, &["one", "two", "three"], 80),
            "one\ntwo\nthree\n"
        );
        assert_eq!(paint(&mut painter, &["one", "two", "three"], 80), "");
        assert_eq!(
            paint(&mut painter, &["one", "2", "three"], 80),
            "\u{1b}[2A\r2\u{1b}[K\n\n"
        );
        assert_eq!(paint(&mut painter, &["one", "2", "three", "four"], 80), "four\n");
    }

    #[test]
    fn what_is_gone_is_cleared() {
        let mut painter = Painter::default();
        paint(&mut painter, &["one", "two", "three"], 80);
        assert_eq!(paint(&mut painter, &["one"], 80), "\u{1b}[2A\r\u{1b}[J");
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines() {
        let mut painter = Painter::default();
        paint(&mut painter, &["a line of 22 columns..", "two"], 80);
        assert_eq!(paint(&mut painter, &["short"], 10), "\u{1b}[4A\r\u{1b}[Jshort\n");
    }

    #[test]
    fn a_lower_terminal_is_never_left_at_the_top() {
        let mut painter = Painter::default();
        paint(&mut painter, &["1", "2", "3", "4", "5", "6"], 80);
        let size = Size { width: 80, height: 4 };
        let out = String::from_utf8(painter.paint(lines(&["1"]), size)).unwrap();
        assert_eq!(out, "\u{1b}[3A\r\u{1b}[J1\n");
    }
}
