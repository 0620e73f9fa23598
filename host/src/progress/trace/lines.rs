//! Cuts output into lines: as it is, or as a terminal would show it, without a terminal's escape sequences.

/// A line longer than this is cut, so that output without line ends stays bounded.
pub const MAX_LINE: usize = 64 * 1024;
/// Distance of tab stops.
const TAB: usize = 8;

/// Collects bytes until a line is whole.
#[derive(Debug)]
pub struct Lines {
    open: Vec<u8>,
    screen: Option<Screen>,
}

/// What a terminal would remember.
#[derive(Debug, Default)]
struct Screen {
    escape: Escape,
    /// A carriage return came last: what follows replaces the line, unless it is a line end.
    returned: bool,
}

/// Where in an escape sequence we are (ECMA-48).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Started,
    /// After ESC and an intermediate byte: one final byte follows.
    Final,
    /// After `ESC [`: ends with a byte of `@` to `~`.
    Control,
    /// After `ESC ]`, `P`, `X`, `^` or `_`: ends with BEL or `ESC \`.
    String,
    /// In a string, after ESC.
    StringEnd,
}

impl Lines {
    /// Lines as they are, cut at line feeds only.
    pub fn raw() -> Self {
        Self {
            open: Vec::new(),
            screen: None,
        }
    }

    /// Lines as a terminal would show them.
    pub fn screen() -> Self {
        Self {
            open: Vec::new(),
            screen: Some(Screen::default()),
        }
    }

    /// The line that has not ended yet.
    pub fn open(&self) -> &[u8] {
        &self.open
    }

    /// Adds output and hands each line that it ends to `ended`.
    pub fn push(&mut self, data: &[u8], mut ended: impl FnMut(Vec<u8>)) {
        match &mut self.screen {
            None => push_raw(&mut self.open, data, &mut ended),
            Some(screen) => {
                for byte in data {
                    screen.byte(&mut self.open, *byte, &mut ended);
                }
            }
        }
    }
}

fn push_raw(open: &mut Vec<u8>, data: &[u8], ended: &mut impl FnMut(Vec<u8>)) {
    for piece in data.split_inclusive(|byte| *byte == b'\n') {
        let (text, ends) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        for chunk in text.chunks(MAX_LINE) {
            if open.len() + chunk.len() > MAX_LINE {
                ended(std::mem::take(open));
            }
            open.extend_from_slice(chunk);
        }
        if ends {
            ended(std::mem::take(open));
        }
    }
}

impl Screen {
    fn byte(&mut self, open: &mut Vec<u8>, byte: u8, ended: &mut impl FnMut(Vec<u8>)) {
        if self.in_escape(byte) {
            return;
        }
        match byte {
            b'\n' => {
                self.returned = false;
                ended(std::mem::take(open));
            }
            b'\r' => self.returned = true,
            0x08 => drop_character(open),
            b'\t' => {
                self.replace(open);
                let width = TAB - open.len() % TAB;
                open.resize(open.len() + width, b' ');
            }
            // Other control characters show nothing.
            0x00..=0x1f | 0x7f => {}
            _ => {
                self.replace(open);
                if open.len() >= MAX_LINE {
                    ended(std::mem::take(open));
                }
                open.push(byte);
            }
        }
    }

    /// A progress bar writes over its line from the beginning.
    fn replace(&mut self, open: &mut Vec<u8>) {
        if std::mem::take(&mut self.returned) {
            open.clear();
        }
    }

    /// Swallows the bytes of escape sequences.
    fn in_escape(&mut self, byte: u8) -> bool {
        let next = match (self.escape, byte) {
            (Escape::None, 0x1b) => Escape::Started,
            (Escape::None, _) => return false,
            // A line end inside a sequence means that it was cut off.
            (Escape::Started | Escape::Final | Escape::Control, b'\n') => {
                self.escape = Escape::None;
                return false;
            }
            (Escape::Started, b'[') => Escape::Control,
            (Escape::Started, b']' | b'P' | b'X' | b'^' | b'_') => Escape::String,
            (Escape::Started, 0x20..=0x2f) => Escape::Final,
            (Escape::Control, 0x20..=0x3f) => Escape::Control,
            (Escape::String, 0x1b) => Escape::StringEnd,
            (Escape::String, 0x07 | b'\n') => Escape::None,
            (Escape::String, _) => Escape::String,
            _ => Escape::None,
        };
        self.escape = next;
        true
    }
}

/// Removes the last character, which may be several bytes of UTF-8.
fn drop_character(open: &mut Vec<u8>) {
    while let Some(byte) = open.pop() {
        if byte & 0xc0 != 0x80 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(mut lines: Lines, chunks: &[&[u8]]) -> (Vec<String>, String) {
        let mut whole = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| {
                whole.push(String::from_utf8_lossy(&line).into_owned())
            });
        }
        (whole, String::from_utf8_lossy(lines.open()).into_owned())
    }

    #[test]
    fn chunks_are_cut_anywhere() {
        let (whole, open) = cut(Lines::raw(), &[b"one\ntw", b"o\n", b"\nth", b"ree"]);
        assert_eq!(whole, ["one", "two", ""]);
        assert_eq!(open, "three");
    }

    #[test]
    fn raw_lines_keep_every_byte() {
        let (whole, _) = cut(Lines::raw(), &[b"\x1b[31mred\x1b[0m\r\n"]);
        assert_eq!(whole, ["\u{1b}[31mred\u{1b}[0m\r"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let data = vec![b'x'; MAX_LINE * 2 + 10];
        for lines in [Lines::raw(), Lines::screen()] {
            let (whole, open) = cut(lines, &[&data]);
            assert_eq!(whole.len(), 2);
            assert_eq!(open.len(), 10);
        }
    }

    #[test]
    fn a_carriage_return_replaces_the_line() {
        let (whole, open) = cut(Lines::screen(), &[b"10%\r20%", b"\r30%\r\nnext\r"]);
        assert_eq!(whole, ["30%"]);
        assert_eq!(open, "next");
    }

    #[test]
    fn escape_sequences_vanish_even_when_cut() {
        let chunks: [&[u8]; 5] = [
            b"\x1b[1;3",
            b"1mred\x1b[0m \x1b]0;title\x07\x1b",
            b"(Bplain\x1b[2K\x1b]8;;http://x\x1b\\link",
            b"\x1b]8;;\x1b\\\tend\x00\x07",
            "\u{e4}\u{f6}\u{8}".as_bytes(),
        ];
        let (_, open) = cut(Lines::screen(), &chunks);
        assert_eq!(open, "red plainlink   end\u{e4}");
    }

    #[test]
    fn a_sequence_that_never_ends_hides_one_line_at_most() {
        let (whole, _) = cut(Lines::screen(), &[b"\x1b[\nseen\n\x1b]title\nalso\n"]);
        assert_eq!(whole, ["", "seen", "also"]);
    }
}
