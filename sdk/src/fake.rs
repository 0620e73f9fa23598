//! A scripted host for native tests. Its modules carry the names and signatures of the generated imports; what they do is
//! decided by one [`World`] a thread, whose clock jumps instead of waiting.

use std::cell::RefCell;

pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod engine;
pub(crate) mod log;
pub(crate) mod poll;
pub(crate) mod processes;
pub(crate) mod random;
pub(crate) mod state;
pub(crate) mod steps;
pub(crate) mod streams;
pub(crate) mod time;

use crate::host::types;
use crate::{Error, ErrorKind};

type Answer<T> = Result<T, types::Error>;

/// Everything that the scripted host knows. Times are nanoseconds since the test began.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub now: u64,
    pub deadline: Option<u64>,
    pub cancelled_at: Option<u64>,
    pub random_state: u64,
    pub progress: Vec<crate::fake::steps::Progress>,
    pub log: Vec<(String, String)>,
    pub config: config::Setup,
    pub memory: state::Memory,
    pub network: connections::Network,
    pub processes: processes::Processes,
    pub engine: engine::Script,
    pub cluster: cluster::Script,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
}

/// Runs `act` on this thread's world, after everything that time has brought.
pub(crate) fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| {
        world.settle();
        act(world)
    })
}

/// What runs when a resource is dropped: nothing any more while the thread ends.
pub(crate) fn on_drop(act: impl FnOnce(&mut World)) {
    let _ = WORLD.try_with(|world| {
        if let Ok(mut world) = world.try_borrow_mut() {
            act(&mut world);
        }
    });
}

/// Begins a new world on this thread.
pub(crate) fn reset() {
    WORLD.set(World::default());
}

impl World {
    fn settle(&mut self) {
        processes::settle(self);
    }

    pub(crate) fn advance(&mut self, nanoseconds: u64) {
        self.now = self.now.saturating_add(nanoseconds);
    }
}

fn failure(kind: ErrorKind, message: impl Into<String>) -> types::Error {
    Error::new(kind, message).into()
}

/// A scripting mistake, or a driver that would wait for ever: ends the test with words.
#[expect(clippy::panic, reason = "only tests run this, and a test ends by a panic")]
pub(crate) fn give_up(words: &str) -> ! {
    panic!("{words}")
}
