//! Waiting for several things at once.

use std::time::Duration;

use crate::host;
use crate::time::nanoseconds;

/// Something that can be waited for.
#[derive(Debug)]
pub struct Pollable(host::poll::Pollable);

impl Pollable {
    pub(crate) fn new(pollable: host::poll::Pollable) -> Self {
        Self(pollable)
    }

    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        self.0.ready()
    }

    /// Waits until it is ready. Wait for a [`timer`] and for [`Step::cancellation`](crate::Step::cancellation) as well
    /// where something else may never come: use [`wait_any`].
    pub fn wait(&self) {
        self.0.block();
    }
}

/// Becomes ready after that time.
pub fn timer(duration: Duration) -> Pollable {
    Pollable::new(host::time::timer(nanoseconds(duration)))
}

/// Waits until at least one is ready and returns the positions of those that are, in order. None to wait for, none
/// ready.
pub fn wait_any(pollables: &[&Pollable]) -> Vec<usize> {
    if pollables.is_empty() {
        return Vec::new();
    }
    let raw: Vec<_> = pollables.iter().map(|pollable| &pollable.0).collect();
    host::poll::poll(&raw)
        .into_iter()
        .map(|position| position as usize)
        .collect()
}
