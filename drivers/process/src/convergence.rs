//! Many clients, one daemon: who finds one uses it, who finds none starts it, and everybody waits for the same socket.

use std::time::Duration;

use bkhost_driver::process::{self, Daemon, Lock};
use bkhost_driver::{Connection, Deadline, Error, ErrorKind, Result, Step, timer, wait_any};

use crate::{GLANCE, Process, diagnosis, launch};

/// Lock of everybody who starts or ends the node's daemon.
const LOCK: &str = "boot";
/// A wait for the lock that needs no words.
const SILENT_WAIT: Duration = Duration::from_secs(1);
/// First and longest pause between two looks at a socket that is to come.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// The node's daemon, if its process runs.
pub fn running() -> Result<Option<Daemon>> {
    Ok(process::current()?.filter(Daemon::is_running))
}

/// Whether a socket that fails so may be there a little later.
pub fn may_come(error: &Error) -> bool {
    error.is_transient() || error.kind() == ErrorKind::NotFound
}

/// Takes the lock; says so when that takes long.
pub fn lock(step: &Step<'_>, deadline: Deadline) -> Result<Lock> {
    match process::lock(LOCK, deadline.timeout(SILENT_WAIT)) {
        Err(error) if error.kind() == ErrorKind::TimedOut && !deadline.is_over() => {
            step.ensure_running()?;
            step.message("Another client starts or stops the daemon; waiting for it");
            let left = deadline.time_left().unwrap_or(Duration::MAX);
            process::lock(LOCK, left)
        }
        other => other,
    }
}

impl Process {
    /// A connection to the daemon, which is started if there is none. The lease is taken first, so that the daemon found
    /// afterwards stays, and goes with the connection.
    pub fn reach(&self, step: &Step<'_>) -> Result<(Daemon, Connection)> {
        let deadline = self.deadline(step);
        // It comes late where a keeper is just stopping an idle daemon.
        let lease = process::lease(deadline.timeout(self.settings.timeout))?;
        let found = match running()? {
            Some(daemon) => Connection::open_unix(&daemon.socket(), deadline.timeout(GLANCE))
                .ok()
                .map(|c| (daemon, c)),
            None => None,
        };
        let (daemon, connection) = match found {
            Some(found) => found,
            None => self.converge(step, deadline)?,
        };
        lease.attach(&connection);
        Ok((daemon, connection))
    }

    /// Under the lock: a daemon that somebody else started meanwhile is used; one that is on its way down is replaced.
    fn converge(&self, step: &Step<'_>, deadline: Deadline) -> Result<(Daemon, Connection)> {
        let _lock = lock(step, deadline)?;
        if let Some(daemon) = running()? {
            match wait_for_socket(&daemon, step, deadline) {
                Err(_) if !daemon.is_running() => step.message("The daemon ended; starting another one"),
                other => return other.map(|connection| (daemon, connection)),
            }
        }
        let daemon = self.start(step)?;
        let connection = wait_for_socket(&daemon, step, deadline)?;
        Ok((daemon, connection))
    }

    /// Somebody who does not hold the lock may still be faster: then there is a daemon to use.
    fn start(&self, step: &Step<'_>) -> Result<Daemon> {
        let launch = launch::prepare(&self.settings, &self.config)?;
        match launch.start(step) {
            Err(error) if error.kind() == ErrorKind::Conflict => running()?.ok_or(error),
            other => other,
        }
    }
}

/// Waits until the daemon accepts, ends, or the time is over.
fn wait_for_socket(daemon: &Daemon, step: &Step<'_>, deadline: Deadline) -> Result<Connection> {
    let (mut pause, longest) = PAUSES;
    loop {
        match Connection::open_unix(&daemon.socket(), deadline.timeout(GLANCE)) {
            Err(error) if may_come(&error) => {}
            other => return other,
        }
        if !daemon.is_running() {
            return Err(diagnosis::early_end(daemon));
        }
        if step.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "Cancelled"));
        }
        if deadline.is_over() {
            return Err(diagnosis::too_slow(daemon));
        }
        let next = timer(deadline.timeout(pause));
        wait_any(&[&daemon.ended(), &next, &step.cancellation()]);
        pause = pause.saturating_mul(2).min(longest);
    }
}
