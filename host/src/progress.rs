//! What the user watches: one stream of events, many renderings.

pub mod event;
pub mod mode;
pub mod step;
