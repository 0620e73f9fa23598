//! Ctrl-C and its like: the first signal asks the work to end, the second ends it at once.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::plugin::socket::Caller;
use crate::driver::node::Cancel;
use crate::error::{CommandError, EXIT_CANCELLED, ErrorKind, Result};

/// How long work may take to end after it was asked to. A build needs 1.3 s for the last words of its steps and then
/// ends its display; with the end of the process it stays below 2 s, which is what a user waits before a second Ctrl-C.
const GRACE: Duration = Duration::from_millis(1750);

/// How long after docker wanted an end a signal is taken for the same wish: a Ctrl-C may come from both, docker and the
/// terminal.
const SAME_WISH: Duration = Duration::from_millis(500);

/// How work ended that a signal may interrupt.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself, or in time after the signal.
    Orderly(Result<T>),
    /// It was dropped: it took too long, or there was a second signal.
    Abandoned,
}

/// Runs `work`; after a signal, or when `caller` wants an end, it is cancelled, and dropped when it has not ended soon or
/// at a second signal.
pub async fn until_interrupted<T>(
    cancel: &Cancel,
    mut caller: Caller,
    work: impl Future<Output = Result<T>>,
) -> Ended<T> {
    let Ok(mut signals) = Signals::listen() else {
        return Ended::Orderly(work.await);
    };
    tokio::pin!(work);
    let by_caller = tokio::select! {
        done = &mut work => return Ended::Orderly(done),
        () = signals.next() => false,
        () = caller.ended() => true,
    };
    cancel.cancel();
    tokio::select! {
        done = work => Ended::Orderly(match done {
            Ok(_) => Err(cancelled()),
            Err(error) => Err(error.with_exit_code(EXIT_CANCELLED)),
        }),
        () = signals.another(by_caller) => Ended::Abandoned,
        () = tokio::time::sleep(GRACE) => Ended::Abandoned,
    }
}

/// The signals that ask a command to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Comes when the terminal is closed. Absent when it is ignored: that is how `nohup` lets a command go on.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = match ignores_hangup(&status) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    /// One more signal than the wish for an end that was there already.
    async fn another(&mut self, was_of_caller: bool) {
        if was_of_caller {
            let _ = tokio::time::timeout(SAME_WISH, self.next()).await;
        }
        self.next().await;
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether a process with this `/proc/PID/status` ignores SIGHUP, the first signal of the mask.
fn ignores_hangup(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// What interrupted work ends with.
pub fn cancelled() -> CommandError {
    CommandError::new(ErrorKind::Cancelled, "Cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_seen() {
        assert!(ignores_hangup(
            "Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"
        ));
        assert!(!ignores_hangup("Name:\tx\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
