//! Long work at an engine: it is given up when the engine does not answer any more, and never because it takes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::error::EngineError;
use super::transport::{Engine, Request};

/// Silence after which the engine is asked whether it lives: unpacking a large layer takes longer than this.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an engine may take for an answer that needs no work. One that hangs is given up within 30 s, with the silence
/// before the question.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// How often the signs of life are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often an engine was heard; clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// The engine has said something.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has.
    pub fn times(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of an engine that says nothing.
pub(super) fn silent(engine: &Engine) -> EngineError {
    EngineError::Silent {
        url: engine.url().to_owned(),
        limit: ANSWER,
    }
}

/// Does `work` at `engine` as long as that lives. `activity` is a number that changes with everything that goes out or
/// comes back.
pub(super) async fn while_alive<T>(
    engine: &Engine,
    activity: impl Fn() -> u64 + Send,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::select! {
        biased;
        outcome = work => outcome,
        error = death(engine, activity) => Err(error),
    }
}

/// Ends when the engine does not answer any more.
async fn death(engine: &Engine, activity: impl Fn() -> u64) -> EngineError {
    let mut alive = (activity(), Instant::now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = activity();
        if now != alive.0 {
            alive = (now, Instant::now());
        }
        if alive.1.elapsed() >= SILENCE {
            let ping = Request::new("GET", "/_ping");
            match tokio::time::timeout(ANSWER, engine.send(&ping)).await {
                Ok(Ok(_)) => alive.1 = Instant::now(),
                Ok(Err(error)) => return error,
                Err(_) => return silent(engine),
            }
        }
    }
}

#[cfg(test)]
mod tests;
