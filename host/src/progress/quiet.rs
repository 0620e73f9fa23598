//! No display at all; the events are only kept for what a build ends with.

use super::Rendering;
use super::event::Timestamp;
use super::trace::Trace;

/// The rendering that shows nothing.
#[derive(Debug)]
pub struct Quiet;

impl Rendering for Quiet {
    fn refresh(&mut self, _: &mut Trace, _: Timestamp) -> Vec<u8> {
        Vec::new()
    }

    fn finish(&mut self, _: &mut Trace, _: Timestamp) -> Vec<u8> {
        Vec::new()
    }

    fn is_animated(&self) -> bool {
        false
    }
}
