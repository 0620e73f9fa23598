//! The daemon's log: a file the daemon writes itself, so that its last words are there whatever dies, kept small by the
//! keeper.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::fs::{FileError, PRIVATE_FILE, write_beside};

/// Name of the log in the runtime folder.
pub const FILE: &str = "daemon.log";
/// What came before it.
const OLDER: &str = "daemon.log.1";
/// Size at which the log is cut: runtime folders lie in memory on most machines.
const LIMIT: u64 = 4 << 20;
/// How much of a log that is cut is kept as the older part.
const KEPT: u64 = 1 << 20;
/// Most that a tail returns which goes to a driver.
pub const TAIL_LIMIT: usize = 64 << 10;
/// Most that is looked through for the lines that a user asked for: all that is kept, with what a daemon can write until
/// the keeper cuts.
const WHOLE: usize = 4 * LIMIT as usize;

/// Path of the log in a runtime folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Opens the log of a new daemon; what an earlier one wrote becomes the older part.
pub fn begin(folder: &Path) -> Result<File, FileError> {
    let path = path(folder);
    if path.exists() {
        let older = folder.join(OLDER);
        std::fs::rename(&path, &older).map_err(FileError::io("rename", &path))?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE_FILE)
        .open(&path)
        .map_err(FileError::io("open", &path))
}

/// Cuts the log if it has grown too long. The daemon appends, so it goes on at the new end; lines that it writes between
/// copying and cutting are lost.
pub fn keep_small(folder: &Path) -> Result<(), FileError> {
    let path = path(folder);
    let Ok(metadata) = std::fs::metadata(&path) else {
        return Ok(());
    };
    if metadata.len() < LIMIT {
        return Ok(());
    }
    let kept = read_end(&path, KEPT).map_err(FileError::io("read", &path))?;
    write_beside(&folder.join(OLDER), &kept, PRIVATE_FILE)?;
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .map(drop)
        .map_err(FileError::io("cut", &path))
}

/// The last `lines` lines, at most [`TAIL_LIMIT`] bytes, the older part included when the log was just cut.
pub fn tail(folder: &Path, lines: usize) -> String {
    tail_within(folder, lines, TAIL_LIMIT).0
}

/// The last `lines` lines of all that is kept, and where in the log they end: reading on from there misses and repeats
/// nothing.
pub fn tail_and_end(folder: &Path, lines: usize) -> (String, u64) {
    tail_within(folder, lines, WHOLE)
}

fn tail_within(folder: &Path, lines: usize, most: usize) -> (String, u64) {
    let path = path(folder);
    let Ok(end) = std::fs::metadata(&path).map(|metadata| metadata.len()) else {
        return (String::new(), 0);
    };
    let mut data = read_before(&path, end, most as u64).unwrap_or_default();
    let missing = most.saturating_sub(data.len());
    if count_lines(&data) < lines && was_cut(folder) && missing > 0 {
        let mut older = read_end(&folder.join(OLDER), missing as u64).unwrap_or_default();
        older.extend_from_slice(&data);
        data = older;
    }
    (last_lines(&String::from_utf8_lossy(&data), lines).to_owned(), end)
}

/// The whole log, oldest first, as far as it was kept.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if was_cut(folder) {
        files.push(folder.join(OLDER));
    }
    files.push(path(folder));
    files
}

/// Whether the older part belongs to the same daemon: it was written after the log was begun.
fn was_cut(folder: &Path) -> bool {
    let begun = std::fs::metadata(path(folder)).and_then(|log| log.created());
    let older = std::fs::metadata(folder.join(OLDER)).and_then(|older| older.created());
    matches!((begun, older), (Ok(begun), Ok(older)) if older > begun)
}

fn count_lines(data: &[u8]) -> usize {
    data.split(|byte| *byte == b'\n').count().saturating_sub(1)
}

fn read_end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let length = std::fs::metadata(path)?.len();
    read_before(path, length, most)
}

/// What lies before `end`, at most `most` bytes of it.
fn read_before(path: &Path, end: u64, most: u64) -> io::Result<Vec<u8>> {
    let start = end.saturating_sub(most);
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut data = Vec::new();
    file.take(end - start).read_to_end(&mut data)?;
    Ok(data)
}

/// The last `lines` lines of `text`, without the line break at the end.
fn last_lines(text: &str, lines: usize) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if lines == 0 {
        return "";
    }
    let start = text
        .rmatch_indices('\n')
        .nth(lines - 1)
        .map_or(0, |(at, newline)| at + newline.len());
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_tail_has_the_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\nb\nc", 9), "a\nb\nc");
        assert_eq!(last_lines("a\n", 0), "");
        assert_eq!(last_lines("", 3), "");
    }

    #[test]
    fn a_long_log_is_cut_and_its_end_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = begin(dir.path()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let line = "x".repeat(1023) + "\n";
        for _ in 0..LIMIT / 1024 {
            log.write_all(line.as_bytes()).unwrap();
        }
        keep_small(dir.path()).unwrap();
        log.write_all(b"after\n").unwrap();
        let size = std::fs::metadata(path(dir.path())).unwrap().len();
        assert_eq!(size, 6, "the daemon goes on at the new end");
        let tail = tail(dir.path(), 2);
        assert!(
            tail.starts_with('x') && tail.ends_with("\nafter"),
            "{}",
            tail.len()
        );
        assert_eq!(files(dir.path()).len(), 2);
    }

    #[test]
    fn a_user_gets_as_many_lines_as_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let line = "x".repeat(99) + "\n";
        let mut log = begin(dir.path()).unwrap();
        log.write_all(line.repeat(20_000).as_bytes()).unwrap();
        let (text, end) = tail_and_end(dir.path(), 15_000);
        assert_eq!((text.lines().count(), end), (15_000, 2_000_000));
        assert!(tail(dir.path(), 15_000).len() <= TAIL_LIMIT);
    }

    #[test]
    fn the_log_of_an_earlier_daemon_is_not_in_the_tail() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path()).unwrap().write_all(b"earlier\n").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        begin(dir.path()).unwrap().write_all(b"now\n").unwrap();
        assert_eq!(tail(dir.path(), 10), "now");
    }
}
