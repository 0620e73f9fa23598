//! Ctrl-C: the first asks the work to end, the second ends it at once.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::driver::node::Cancel;
use crate::error::{CommandError, EXIT_CANCELLED, ErrorKind, Result};

/// How long work may take to end after it was asked to.
const GRACE: Duration = Duration::from_millis(1500);

/// Runs `work`; after a signal it is cancelled, and dropped when it has not ended soon or at a second signal.
pub async fn until_interrupted<T>(cancel: &Cancel, work: impl Future<Output = Result<T>>) -> Result<T> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return work.await;
    };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = either(&mut interrupt, &mut terminate) => cancel.cancel(),
    }
    tokio::select! {
        done = work => match done {
            Ok(_) => Err(cancelled()),
            Err(error) => Err(error.with_exit_code(EXIT_CANCELLED)),
        },
        () = either(&mut interrupt, &mut terminate) => Err(cancelled()),
        () = tokio::time::sleep(GRACE) => Err(cancelled()),
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn cancelled() -> CommandError {
    CommandError::new(ErrorKind::Cancelled, "Cancelled")
}
