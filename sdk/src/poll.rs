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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Connection;
    use crate::testing::{Host, Listener, Script};

    #[test]
    fn the_first_of_several_ends_the_waiting() {
        let host = Host::new();
        host.cancel_in(Duration::from_secs(2));
        let step = host.step("x");
        let late = timer(Duration::from_secs(9));
        assert_eq!(wait_any(&[&late, &step.cancellation()]), [1]);
        assert_eq!(host.elapsed(), Duration::from_secs(2));
        assert!(!late.is_ready());
        late.wait();
        assert_eq!(host.elapsed(), Duration::from_secs(9));
        assert_eq!(wait_any(&[]), [0_usize; 0]);
    }

    #[test]
    fn a_connection_is_readable_when_something_is_there() {
        let host = Host::new();
        host.unix("/x", Listener::new().accept(Script::new().expect("a").say("b")));
        let mut connection = Connection::open_unix("/x", Duration::from_secs(1)).unwrap();
        assert!(!connection.readable().is_ready());
        connection.send(b"a").unwrap();
        assert!(connection.readable().is_ready());
    }
}
