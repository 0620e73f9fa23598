//! The output of one vertex, as much of it as a display needs.

use std::collections::VecDeque;

use super::lines::Lines;
use crate::progress::duration;

/// How many lines plain output repeats below a failed vertex.
const PLAIN_TAIL: usize = 10;
/// How much output of one vertex the terminal display keeps for the block of a failed vertex: as much as a daemon
/// passes on per step unless told otherwise.
const SCREEN_BYTES: usize = 2 * 1024 * 1024;
/// What a line costs beside its text.
const LINE_COST: usize = 48;

/// Which kind of display the output is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKeeping {
    /// Everything until it has been taken, as it is, and the last few lines after that.
    Plain,
    /// As much as a bound allows, as a terminal would show it.
    Screen,
    /// The last few lines.
    Tail,
}

/// A line of output.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Seconds after the start of the vertex.
    pub seconds: f64,
    /// Its bytes without the line end.
    pub text: Vec<u8>,
}

impl Line {
    /// The text with its time stamp.
    pub fn stamped(&self) -> Vec<u8> {
        let mut out = duration::stamp(self.seconds).into_bytes();
        out.push(b' ');
        out.extend_from_slice(&self.text);
        out
    }
}

/// The output of one vertex.
#[derive(Debug)]
pub struct LogBuffer {
    keeping: LogKeeping,
    lines: Lines,
    /// Time of the line that has not ended yet.
    open_seconds: f64,
    fresh: Vec<Line>,
    fresh_bytes: usize,
    tail: VecDeque<Line>,
    tail_bytes: usize,
    dropped: usize,
    total_bytes: usize,
    total_lines: usize,
}

impl LogBuffer {
    pub(super) fn new(keeping: LogKeeping) -> Self {
        Self {
            keeping,
            lines: match keeping {
                LogKeeping::Plain => Lines::raw(),
                LogKeeping::Screen | LogKeeping::Tail => Lines::screen(),
            },
            open_seconds: 0.0,
            fresh: Vec::new(),
            fresh_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            dropped: 0,
            total_bytes: 0,
            total_lines: 0,
        }
    }

    pub(super) fn push(&mut self, data: &[u8], seconds: f64) {
        self.total_bytes = self.total_bytes.saturating_add(data.len());
        if self.lines.open().is_empty() {
            self.open_seconds = seconds;
        }
        // Taken out for the moment, so that each line can be filed as it ends.
        let mut lines = std::mem::replace(&mut self.lines, Lines::raw());
        lines.push(data, |text| {
            let begun = std::mem::replace(&mut self.open_seconds, seconds);
            self.end(Line { seconds: begun, text });
        });
        self.lines = lines;
    }

    fn end(&mut self, line: Line) {
        self.total_lines += 1;
        if self.keeping == LogKeeping::Plain {
            self.fresh_bytes += line.text.len() + LINE_COST;
            self.fresh.push(line.clone());
        }
        self.tail_bytes += line.text.len() + LINE_COST;
        self.tail.push_back(line);
        while self.is_tail_full()
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_bytes -= oldest.text.len() + LINE_COST;
            self.dropped += 1;
        }
    }

    fn is_tail_full(&self) -> bool {
        match self.keeping {
            LogKeeping::Plain | LogKeeping::Tail => self.tail.len() > PLAIN_TAIL,
            LogKeeping::Screen => self.tail_bytes > SCREEN_BYTES,
        }
    }

    /// Takes the whole lines that came since the last time.
    pub fn take(&mut self) -> Vec<Line> {
        self.fresh_bytes = 0;
        std::mem::take(&mut self.fresh)
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.fresh_bytes
    }

    /// The line that has not ended yet, if it has any text.
    pub fn open(&self) -> Option<Line> {
        let text = self.lines.open();
        (!text.is_empty()).then(|| Line {
            seconds: self.open_seconds,
            text: text.to_vec(),
        })
    }

    /// How much there was in all.
    pub fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// How many lines there were in all.
    pub fn total_lines(&self) -> usize {
        self.total_lines
    }

    /// The last `count` lines with text, the one that has not ended included.
    pub fn last(&self, count: usize) -> Vec<String> {
        let open = self.lines.open();
        let whole = self.tail.iter().rev().map(|line| line.text.as_slice());
        let mut lines: Vec<String> = std::iter::once(open)
            .chain(whole)
            .filter(|text| !text.trim_ascii().is_empty())
            .take(count)
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        lines.reverse();
        lines
    }

    /// The kept lines with their time stamps, for the block of a failed vertex. Says first what is missing, where
    /// everything should be there.
    pub(super) fn tail(&self) -> Vec<String> {
        let mut out = Vec::new();
        if self.keeping == LogKeeping::Screen && self.dropped > 0 {
            out.push(format!("[{} earlier lines left out]", self.dropped));
        }
        let open = self.open();
        let whole = self.tail.len() + usize::from(open.is_some());
        let excess = match self.keeping {
            LogKeeping::Plain | LogKeeping::Tail => whole.saturating_sub(PLAIN_TAIL),
            LogKeeping::Screen => 0,
        };
        let lines = self.tail.iter().chain(open.as_ref()).skip(excess);
        out.extend(lines.map(|line| String::from_utf8_lossy(&line.stamped()).into_owned()));
        out
    }

    /// Frees what only a failure would need.
    pub(super) fn forget_tail(&mut self) {
        self.dropped += self.tail.len();
        self.tail = VecDeque::new();
        self.tail_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(keeping: LogKeeping, lines: usize, width: usize) -> LogBuffer {
        let mut log = LogBuffer::new(keeping);
        for n in 0..lines {
            let text = format!("{n:0width$}\n");
            log.push(text.as_bytes(), 0.5);
        }
        log
    }

    #[test]
    fn plain_repeats_the_last_ten_lines() {
        let mut log = buffer(LogKeeping::Plain, 25, 1);
        assert_eq!(log.take().len(), 25);
        assert_eq!(log.tail().len(), 10);
        assert_eq!(log.tail()[0], "0.500 15");
        log.push(b"open", 1.0);
        assert_eq!(log.tail().len(), 10);
        assert_eq!(log.tail()[9], "1.000 open");
        assert!(log.take().is_empty());
    }

    #[test]
    fn the_time_of_a_line_is_that_of_its_first_byte() {
        let mut log = LogBuffer::new(LogKeeping::Plain);
        log.push(b"slow ", 1.0);
        log.push(b"line\nnext", 2.0);
        log.push(b" line\n", 3.0);
        let stamps: Vec<f64> = log.take().iter().map(|line| line.seconds).collect();
        assert_eq!(stamps, [1.0, 2.0]);
    }

    #[test]
    fn endless_output_is_bounded_and_says_so() {
        let log = buffer(LogKeeping::Screen, 100_000, 100);
        assert!(log.tail_bytes <= SCREEN_BYTES);
        let tail = log.tail();
        assert!(tail[0].starts_with('['), "{}", tail[0]);
        assert!(tail[0].ends_with(" earlier lines left out]"));
        assert!(tail.last().unwrap().ends_with("99999"));
    }

    #[test]
    fn empty_lines_are_bounded_too() {
        let mut log = LogBuffer::new(LogKeeping::Screen);
        log.push(&vec![b'\n'; 4 * SCREEN_BYTES], 0.0);
        assert!(log.tail.len() <= SCREEN_BYTES / LINE_COST);
    }

    #[test]
    fn the_small_terminal_shows_lines_with_text() {
        let mut log = LogBuffer::new(LogKeeping::Screen);
        log.push(b"one\n\n  \ntwo\nthr", 0.0);
        assert_eq!(log.last(2), ["two", "thr"]);
        assert_eq!(log.last(9), ["one", "two", "thr"]);
    }
}
