//! What the user watches: one stream of events, many renderings.

pub mod event;
pub mod step;

pub mod mode;
pub mod settings;
pub mod palette;
pub mod terminal;

pub mod duration;
pub mod excerpt;
pub mod size;
pub mod warnings;

pub mod mux;
pub mod trace;

#[cfg(test)]
mod sample;
