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

/// Ends all of them.
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
            if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        }
        if start.elapsed() > 2 * GRACE {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
