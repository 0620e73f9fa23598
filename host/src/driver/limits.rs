//! How much a guest may use, each bound with its reason.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Linear memory of one operation, all memories together. Rust guests use 2 MiB, C ones with their toolchain's
/// defaults 17 MiB, JavaScript and Python ones 13 MiB; an answer of 16 MiB must fit beside that, twice.
pub(crate) const GUEST_MEMORY: usize = 64 << 20;

/// Entries of one table. Tables hold functions; the largest scripting runtime that was tried has a tenth of that.
pub(crate) const TABLE_ENTRIES: usize = 20_000;

/// Core instances of one component: Rust and C need under 10, Python's toolchain 17.
pub(crate) const CORE_INSTANCES: usize = 256;

/// Memories of one component; toolchains make one for each core module that has data.
pub(crate) const MEMORIES: usize = 16;

/// Handles to host resources that a guest may hold. A boot needs a dozen; each costs the host a few hundred bytes.
pub(crate) const HANDLES: usize = 4096;

/// Bytes that may be copied from the guest to the host in one call: a body of 16 MiB, and its surroundings.
pub(crate) const COPIED_TO_HOST: usize = 20 << 20;

/// Bytes of a guest that the host keeps for its handles in one operation: arguments and files of a daemon, bytes that were
/// put back, names. The largest of these may have 16 MiB; a guest has no more than its own memory to say more with.
pub(crate) const KEPT: usize = 32 << 20;

/// Epoch ticks (of 10 ms) that a guest may compute between two waits. Five seconds are fifty times what the most
/// wasteful sensible driver needs, and short enough to be noticed as a defect of the driver, not of the machine.
pub(crate) const COMPUTING_TICKS: u64 = 500;

/// How long a guest may neither wait for something nor report progress. It catches what ticks cannot count, such as a
/// guest that is never scheduled.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// How long a guest has to undo what it must after its operation was cancelled.
pub(crate) const CANCELLATION_GRACE: Duration = Duration::from_secs(1);

/// How far past its deadline an operation may get: enough to report the last cause and to undo something small.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// Whole time of calls that have no deadline of their own because they only look: status, instances, and all that
/// touches nothing.
pub(crate) const LOOKING: Duration = Duration::from_secs(60);

/// Bytes of one text from a guest that are shown: an error's message, a step's name.
pub(crate) const SHOWN_TEXT: usize = 4 << 10;

/// Bytes of a guest's path or name within a message of ours.
pub(crate) const SHOWN_PATH: usize = 256;

/// Bytes of one detail of an error, which may be the end of a daemon's log.
pub(crate) const SHOWN_DETAIL: usize = 64 << 10;

/// Bytes of the name of a detail: a word.
pub(crate) const SHOWN_KEY: usize = 128;

/// Bytes of all details of one error: the end of one log beside a few facts.
pub(crate) const SHOWN_DETAILS: usize = 2 * SHOWN_DETAIL;

/// Details of one error, attributes of one status, labels of one instance.
pub(crate) const PAIRS: usize = 64;

/// Elements of a list that a driver answers: instances, options.
pub(crate) const LISTED: usize = 10_000;

/// Bytes of one log line; what is longer is no line.
pub(crate) const LOG_LINE: usize = 8 << 10;

/// Log lines in one second; more cannot be read, and would only slow the operation down.
pub(crate) const LOG_LINES_PER_SECOND: u32 = 1000;

/// Warnings of one operation that are kept for the user.
pub(crate) const WARNINGS: usize = 20;

/// Lines shown under a step in one second. A rendering shows six at a time.
pub(crate) const STEP_LINES_PER_SECOND: u32 = 200;

/// Parts of a step in one operation: layers of a large image, ten times over.
pub(crate) const STEP_PARTS: u32 = 2000;

/// Bytes of one read on a guest's behalf; larger wishes are cut to it.
pub(crate) const READ: usize = 1 << 20;

/// Longest sleep in one call.
pub(crate) const SLEEP: Duration = Duration::from_secs(60);

/// Random bytes in one call.
pub(crate) const RANDOM_BYTES: u32 = 4096;

/// The limiter of one store. Refusals are errors, not failed growths: a guest whose allocation fails traps without a
/// word, while an error carries ours.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    memory: usize,
}

/// A limit that a guest went past; found again in the trap's causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    /// [`GUEST_MEMORY`].
    #[error("it wanted more than {} MiB of memory", GUEST_MEMORY >> 20)]
    Memory,
    /// [`TABLE_ENTRIES`].
    #[error("it wanted a table of more than {TABLE_ENTRIES} entries")]
    Table,
    /// [`CORE_INSTANCES`].
    #[error("it has more than {CORE_INSTANCES} core instances")]
    Instances,
    /// [`MEMORIES`].
    #[error("it has more than {MEMORIES} memories")]
    Memories,
    /// As many tables as core instances may be.
    #[error("it has more than {CORE_INSTANCES} tables")]
    Tables,
    /// [`HANDLES`].
    #[error("it held more than {HANDLES} handles")]
    Handles,
    /// [`KEPT`].
    #[error("it had the host keep more than {} MiB", KEPT >> 20)]
    Kept,
    /// [`COPIED_TO_HOST`].
    #[error("it handed over more than {} MiB in one call", COPIED_TO_HOST >> 20)]
    Copied,
    /// [`COMPUTING_TICKS`].
    #[error("it computed for more than {} s without waiting for anything", COMPUTING_TICKS / 100)]
    Computing,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let all = self.memory.saturating_add(desired.saturating_sub(current));
        if all > GUEST_MEMORY {
            return Err(wasmtime::Error::new(Exceeded::Memory));
        }
        self.memory = all;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ENTRIES {
            return Err(wasmtime::Error::new(Exceeded::Table));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// A text of a guest as it may be shown: one line, without control characters, cut at `limit` bytes with the cut
/// shown.
pub(crate) fn clean_line(text: &str, limit: usize) -> String {
    clean(text, limit, |c| if c.is_control() { ' ' } else { c })
}

/// Like [`clean_line`], but line ends and tabs stay.
pub(crate) fn clean_text(text: &str, limit: usize) -> String {
    clean(text, limit, |c| match c {
        '\n' | '\t' => c,
        _ if c.is_control() => ' ',
        _ => c,
    })
}

fn clean(text: &str, limit: usize, replace: impl Fn(char) -> char) -> String {
    let kept = text.floor_char_boundary(limit);
    let (head, rest) = text.split_at(kept);
    let mut clean: String = head.chars().filter(|c| !is_invisible(*c)).map(replace).collect();
    clean.truncate(clean.trim_end().len());
    if !rest.is_empty() {
        clean.push_str(&format!(" … ({} more bytes)", rest.len()));
    }
    clean
}

/// Characters that change how their neighbours are shown (direction overrides and the like).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Lets a number of things through each second and counts the rest.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u32,
    window: std::time::Instant,
    used: u32,
    dropped: u64,
}

impl Rate {
    /// A rate of so many a second.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second,
            window: std::time::Instant::now(),
            used: 0,
            dropped: 0,
        }
    }

    /// Whether one more may pass. With it come the number of those that were dropped before it.
    pub fn pass(&mut self) -> Option<u64> {
        if self.window.elapsed() >= Duration::from_secs(1) {
            self.window = std::time::Instant::now();
            self.used = 0;
        }
        if self.used >= self.per_second {
            self.dropped += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.dropped))
    }

    /// How many were dropped since the last one that passed.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_guide_has_the_same_numbers() {
        let guide = include_str!("../../../docs/DRIVERS.md");
        let (_, limits) = guide.split_once("## Limits").unwrap();
        let (limits, _) = limits.split_once("\n## ").unwrap();
        let numbers: Vec<&str> = limits
            .lines()
            .filter_map(|row| {
                row.strip_suffix(" |")?
                    .rsplit_once("| ")
                    .map(|(_, number)| number)
            })
            .skip(1)
            .collect();
        let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
        let kib = |bytes: usize| format!("{} KiB", bytes >> 10);
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        assert_eq!(CANCELLATION_GRACE, DEADLINE_GRACE);
        let expected = [
            mib(GUEST_MEMORY),
            format!("{} s", COMPUTING_TICKS / 100),
            seconds(IDLE),
            seconds(LOOKING),
            seconds(DEADLINE_GRACE),
            HANDLES.to_string(),
            mib(COPIED_TO_HOST),
            mib(KEPT),
            mib(READ),
            seconds(SLEEP),
            RANDOM_BYTES.to_string(),
            kib(SHOWN_TEXT),
            format!("{}, {}", kib(SHOWN_DETAIL), kib(SHOWN_DETAILS)),
            PAIRS.to_string(),
            format!("{}; {LOG_LINES_PER_SECOND}; {WARNINGS}", kib(LOG_LINE)),
            format!("{STEP_LINES_PER_SECOND}; {STEP_PARTS}"),
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut bounds = Bounds::default();
        assert!(bounds.memory_growing(0, GUEST_MEMORY / 2, None).unwrap());
        assert!(bounds.memory_growing(0, GUEST_MEMORY / 2, None).unwrap());
        let error = bounds.memory_growing(0, 1 << 16, None).unwrap_err();
        assert_eq!(error.downcast_ref::<Exceeded>(), Some(&Exceeded::Memory));
        assert_eq!(error.to_string(), "it wanted more than 64 MiB of memory");
    }

    #[test]
    fn tables_are_bounded() {
        let mut bounds = Bounds::default();
        assert!(bounds.table_growing(0, TABLE_ENTRIES, None).unwrap());
        assert!(bounds.table_growing(0, TABLE_ENTRIES + 1, None).is_err());
    }

    #[test]
    fn shown_text_has_no_power_over_the_terminal() {
        assert_eq!(clean_line("a\x1b[31mb\r\nc\u{202e}d", 100), "a [31mb  cd");
        assert_eq!(clean_text("one\n\ttwo\x07\n", 100), "one\n\ttwo");
        assert_eq!(clean_line("äöü", 3), "ä … (4 more bytes)");
    }

    #[test]
    fn a_flood_is_counted() {
        let mut rate = Rate::new(2);
        assert_eq!(rate.pass(), Some(0));
        assert_eq!(rate.pass(), Some(0));
        assert_eq!(rate.pass(), None);
        assert_eq!(rate.dropped(), 1);
        rate.window = std::time::Instant::now() - Duration::from_secs(2);
        assert_eq!(rate.pass(), Some(1));
    }
}
