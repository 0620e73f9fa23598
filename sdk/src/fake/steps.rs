//! Steps that are written down.

use super::poll::{Pollable, What};
use super::{on_drop, with};

/// What a user would have seen, with the name of the step or part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It began.
    Begun(String),
    /// Bytes done and their total.
    Bytes(String, u64, Option<u64>),
    /// A line of output.
    Message(String, String),
    /// It failed, with that text.
    Failed(String, String),
    /// It ended well.
    Ended(String),
}

#[derive(Debug)]
pub(crate) struct Step {
    name: String,
    failed: std::cell::Cell<bool>,
}

impl Step {
    pub(crate) fn begun(name: &str) -> Self {
        note(Progress::Begun(name.to_owned()));
        Self {
            name: name.to_owned(),
            failed: std::cell::Cell::new(false),
        }
    }

    pub(crate) fn begin(&self, name: &str) -> Self {
        Self::begun(name)
    }

    pub(crate) fn progress(&self, current: u64, total: Option<u64>) {
        self.note(Progress::Bytes(self.name.clone(), current, total));
    }

    pub(crate) fn message(&self, text: &str) {
        self.note(Progress::Message(self.name.clone(), text.to_owned()));
    }

    /// One that failed has ended: what comes later changes nothing.
    fn note(&self, progress: Progress) {
        if !self.failed.get() {
            note(progress);
        }
    }

    pub(crate) fn fail(&self, message: &str) {
        if !self.failed.replace(true) {
            note(Progress::Failed(self.name.clone(), message.to_owned()));
        }
    }

    pub(crate) fn remaining(&self) -> Option<u64> {
        with(|world| world.deadline.map(|at| at.saturating_sub(world.now)))
    }

    pub(crate) fn cancelled(&self) -> bool {
        with(|world| world.cancelled_at.is_some_and(|at| at <= world.now))
    }

    pub(crate) fn cancellation(&self) -> Pollable {
        Pollable::new(What::Cancellation)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.failed.get() {
            let name = self.name.clone();
            on_drop(|world| world.progress.push(Progress::Ended(name)));
        }
    }
}

fn note(progress: Progress) {
    with(|world| world.progress.push(progress));
}
