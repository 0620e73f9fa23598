//! A clock that jumps.

use super::poll::{Pollable, What};
use super::with;

/// Longest sleep in one call, as the contract says.
const LONGEST_SLEEP: u64 = 60_000_000_000;
/// When tests begin: 2024-01-01.
const BEGIN: u64 = 1_704_067_200_000_000_000;

pub(crate) fn monotonic() -> u64 {
    with(|world| world.now)
}

pub(crate) fn wall() -> u64 {
    with(|world| BEGIN + world.now)
}

pub(crate) fn sleep(nanoseconds: u64) {
    with(|world| {
        let end = world.now.saturating_add(nanoseconds.min(LONGEST_SLEEP));
        let cancelled = world.cancelled_at.map_or(end, |at| at.max(world.now));
        world.now = end.min(cancelled);
    });
}

pub(crate) fn timer(nanoseconds: u64) -> Pollable {
    with(|world| Pollable::new(What::Time(world.now.saturating_add(nanoseconds))))
}

/// When tests begin, on the clock on the wall.
pub(crate) fn begin() -> u64 {
    BEGIN
}
