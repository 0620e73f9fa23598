//! Ctrl-C: the first asks the work to end, the second ends it at once.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::driver::node::Cancel;
use crate::error::{CommandError, EXIT_CANCELLED, ErrorKind, Result};

/// How long work may take to end after it was asked to. A build needs 1.3 s for the last words of its steps and then
/// ends its display; with the end of the process it stays below 2 s, which is what a user waits before a second Ctrl-C.
const GRACE: Duration = Duration::from_millis(1750);

/// How work ended that a signal may interrupt.
#[derive(Debug)]
pub enum Ended<T> {
    /// By itself, or in time after the signal.
    Orderly(Result<T>),
    /// It was dropped: it took too long, or there was a second signal.
    Abandoned,
}

/// Runs `work`; after a signal it is cancelled, and dropped when it has not ended soon or at a second signal.
pub async fn until_interrupted<T>(cancel: &Cancel, work: impl Future<Output = Result<T>>) -> Ended<T> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Ended::Orderly(work.await);
    };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return Ended::Orderly(done),
        () = either(&mut interrupt, &mut terminate) => cancel.cancel(),
    }
    tokio::select! {
        done = work => Ended::Orderly(match done {
            Ok(_) => Err(cancelled()),
            Err(error) => Err(error.with_exit_code(EXIT_CANCELLED)),
        }),
        () = either(&mut interrupt, &mut terminate) => Ended::Abandoned,
        () = tokio::time::sleep(GRACE) => Ended::Abandoned,
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// What interrupted work ends with.
pub fn cancelled() -> CommandError {
    CommandError::new(ErrorKind::Cancelled, "Cancelled")
}
