//! A process that is known by more than its id, because ids are used again.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What tells one process from all others that ever had its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine booted (field 22 of `/proc/PID/stat`).
    pub ticks: u64,
    /// Which boot of the machine that was.
    pub boot: String,
}

impl Identity {
    /// The identity of the process that has this id now.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            ticks: start_ticks(pid)?,
            boot: boot_id(),
        })
    }

    /// Opens the process if it still is the same one; `None` once it has ended.
    ///
    /// The start time is compared after the process was opened: what is held then cannot become another one.
    pub fn open(&self) -> io::Result<Option<Process>> {
        if self.boot != boot_id() {
            return Ok(None);
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match start_ticks(self.pid) {
            Ok(ticks) if ticks == self.ticks => Ok(Some(Process { fd })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An open process (a pidfd): signals reach it and no other.
#[derive(Debug)]
pub struct Process {
    fd: OwnedFd,
}

impl Process {
    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(n) if n > 0)
    }

    /// Sends a signal; one that has ended already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended.
    #[expect(
        deprecated,
        reason = "the replacement is unsafe; an owned file, as here, is what makes this one sound"
    )]
    pub async fn ended(&self) -> io::Result<()> {
        let watched = AsyncFd::with_interest(self.fd.try_clone()?, Interest::READABLE)?;
        watched.readable().await.map(drop)
    }

    /// Waits at most `limit`; returns whether it has ended.
    pub async fn ends_within(&self, limit: Duration) -> bool {
        matches!(tokio::time::timeout(limit, self.ended()).await, Ok(Ok(()))) || self.has_ended()
    }
}

fn start_ticks(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| {
        // A process that ends while it is read answers ESRCH.
        match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::SRCH.raw_os_error() => {
                io::Error::from(io::ErrorKind::NotFound)
            }
            _ => error,
        }
    })?;
    parse_start_ticks(&stat)
        .ok_or_else(|| io::Error::other(format!("`/proc/{pid}/stat` is of an unknown form")))
}

/// Field 22; fields are counted after the last `)`, because a program's name may contain anything.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "7 (a ) b (c) S 1 7 7 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 1 0 4711 1000 10";
        assert_eq!(parse_start_ticks(stat), Some(4711));
    }

    #[test]
    fn this_process_is_itself() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(!me.open().unwrap().unwrap().has_ended());
    }

    #[test]
    fn a_process_that_only_has_the_same_id_is_not_believed() {
        let mut other = Identity::of(std::process::id()).unwrap();
        other.ticks += 1;
        assert!(other.open().unwrap().is_none());
        let mut before_boot = Identity::of(std::process::id()).unwrap();
        before_boot.boot = "another".to_owned();
        assert!(before_boot.open().unwrap().is_none());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let process = Identity::of(child.id()).unwrap().open().unwrap().unwrap();
        assert!(!process.ends_within(Duration::from_millis(20)).await);
        process.signal(Signal::KILL).unwrap();
        assert!(process.ends_within(Duration::from_secs(5)).await);
        child.wait().unwrap();
        process.signal(Signal::KILL).unwrap();
    }
}
