//! Waiting by moving the clock.

use super::{World, give_up, with};

/// Something to wait for.
#[derive(Debug)]
pub(crate) struct Pollable(What);

#[derive(Debug)]
pub(crate) enum What {
    /// A point in time.
    Time(u64),
    /// The cancellation of the operation.
    Cancellation,
    /// Something to read on a connection.
    Readable(usize),
    /// The end of a daemon.
    DaemonEnded(usize),
    /// What is always ready.
    Now,
}

impl Pollable {
    pub(crate) fn new(what: What) -> Self {
        Self(what)
    }

    pub(crate) fn ready(&self) -> bool {
        with(|world| self.ready_at(world).is_some_and(|at| at <= world.now))
    }

    pub(crate) fn block(&self) {
        poll(&[self]);
    }

    /// When it becomes ready, as far as the script tells; absent when it never does.
    fn ready_at(&self, world: &World) -> Option<u64> {
        match self.0 {
            What::Time(at) => Some(at),
            What::Cancellation => world.cancelled_at,
            What::Readable(connection) => world.network.readable(connection).then_some(world.now),
            What::DaemonEnded(daemon) => world.processes.ends_at(daemon),
            What::Now => Some(world.now),
        }
    }
}

pub(crate) fn poll(pollables: &[&Pollable]) -> Vec<u32> {
    with(|world| {
        let times: Vec<_> = pollables
            .iter()
            .map(|pollable| pollable.ready_at(world))
            .collect();
        let Some(first) = times.iter().flatten().min() else {
            give_up("the driver would wait for ever: nothing it waits for is in the script");
        };
        world.now = world.now.max(*first);
        let ready = times
            .iter()
            .enumerate()
            .filter(|(_, at)| at.is_some_and(|at| at <= world.now));
        ready.map(|(position, _)| position as u32).collect()
    })
}
