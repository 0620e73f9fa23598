//! A place for one daemon in a temporary folder, ended with the test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bkhost::keeper::launch::Launch;
use bkhost::keeper::paths::{Owner, Surroundings};
use bkhost::keeper::site::Site;

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const LONG: Duration = Duration::from_secs(30);

pub struct Place {
    _dir: tempfile::TempDir,
    pub base: PathBuf,
    pub site: Site,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("run");
        let site = site_at(&base);
        Self {
            _dir: dir,
            base,
            site,
        }
    }
}

impl Drop for Place {
    /// A failed test leaves no daemon: its keeper is told to stop through the control socket.
    fn drop(&mut self) {
        let site = self.site.clone();
        let stopped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(site.stop(Duration::from_millis(200)))
        });
        let _ = stopped.join();
    }
}

pub fn site_at(base: &Path) -> Site {
    let owner = Owner::of(Path::new("/var/lib/bkhost/node0"));
    Site::new(Surroundings::of_process(), owner, base).with_host_program(env!("CARGO_BIN_EXE_bkhost"))
}

pub fn shell(script: &str) -> Launch {
    Launch::new("/bin/sh").arg("-c").arg(script)
}

pub fn sleeper() -> Launch {
    shell("echo up; exec sleep 600")
}

/// Waits until the log's tail holds `text`.
pub async fn until_logged(site: &Site, text: &str) {
    let daemon = site.current().await.unwrap().unwrap();
    for _ in 0..1000 {
        if daemon.log_tail(100).contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("`{text}` not in the log: {}", daemon.log_tail(100));
}

pub fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Parent of a process.
pub fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn is_alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    state.is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}
