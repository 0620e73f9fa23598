//! Finds the processes that a test's commands left running, daemons above all.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon has for its own end.
const GRACE: Duration = Duration::from_secs(10);

/// Processes that have `folder` in their arguments or their environment, as id and command line.
pub fn of(folder: &Path) -> Vec<(u32, String)> {
    let ids = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| *id != std::process::id())
        .filter_map(|id| Some((id, command_line_with(id, folder)?)))
        .collect()
}

fn command_line_with(id: u32, folder: &Path) -> Option<String> {
    // The process may end while it is looked at.
    let read = |name| fs::read(format!("/proc/{id}/{name}")).unwrap_or_default();
    let arguments = read("cmdline");
    if arguments.is_empty() {
        return None;
    }
    let wanted = folder.as_os_str().as_bytes();
    let found = [&arguments, &read("environ")]
        .iter()
        .any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted));
    found.then(|| String::from_utf8_lossy(&arguments).replace('\0', " "))
}

/// Every process that `pid` started, and theirs.
pub fn descendants(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|child| Some((child, parent(child)?)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        let children = parents.iter().filter(|(_, parent)| *parent == ancestor);
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// The fourth field of `/proc/PID/stat`; the second, a name in brackets, may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether there is a process of this id.
pub fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Sends a signal to one process; one that is gone is no error.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends all that [`of`] finds.
pub fn end(folder: &Path) {
    let start = Instant::now();
    loop {
        let running = of(folder);
        if running.is_empty() {
            return;
        }
        let signal = if start.elapsed() < GRACE {
            Signal::TERM
        } else {
            Signal::KILL
        };
        for (id, _) in running {
            send(id, signal);
        }
        if start.elapsed() > 2 * GRACE {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
