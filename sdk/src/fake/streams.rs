//! One-way streams whose whole content is known.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::Answer;
use super::poll::{Pollable, What};

#[derive(Debug)]
pub(crate) struct ByteStream(RefCell<VecDeque<u8>>);

impl ByteStream {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(RefCell::new(content.iter().copied().collect()))
    }

    pub(crate) fn read(&self, max: u32, _timeout: u64) -> Answer<Vec<u8>> {
        let mut content = self.0.borrow_mut();
        let count = content.len().min((max as usize).max(1));
        Ok(content.drain(..count).collect())
    }

    pub(crate) fn readable(&self) -> Pollable {
        Pollable::new(What::Now)
    }
}
