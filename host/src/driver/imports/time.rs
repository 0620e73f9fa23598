//! Clocks and sleep.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::driver::bindings::time::Host;
use crate::driver::limits::SLEEP;
use crate::driver::state::View;

/// The monotonic clock's zero: the first look at it.
fn origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Nanoseconds since 1970.
pub(crate) fn unix_nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

struct Timer {
    end: tokio::time::Instant,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        tokio::time::sleep_until(self.end).await;
    }
}

impl Host for View<'_> {
    async fn monotonic(&mut self) -> wasmtime::Result<u64> {
        // One more than nothing, so that a driver that subtracts a little from "now" at its start does not underflow.
        let since = origin().elapsed() + Duration::from_secs(1);
        Ok(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    async fn wall(&mut self) -> wasmtime::Result<u64> {
        Ok(unix_nanoseconds(SystemTime::now()))
    }

    async fn sleep(&mut self, nanoseconds: u64) -> wasmtime::Result<()> {
        let wanted = Duration::from_nanos(nanoseconds).min(SLEEP);
        let nanoseconds = u64::try_from(wanted.as_nanos()).unwrap_or(u64::MAX);
        // Both ends of the wait, time and cancellation, are what a sleep is for.
        let _ = self
            .call
            .wait(nanoseconds, "Sleeping", std::future::pending::<()>())
            .await;
        Ok(())
    }

    async fn timer(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        // A timer that would end after the longest operation never ends as far as anybody can tell.
        let wanted = Duration::from_nanos(nanoseconds).min(Duration::from_secs(1 << 30));
        let timer = self.table.push(Timer {
            end: tokio::time::Instant::now() + wanted,
        })?;
        subscribe(self.table, timer)
    }
}
