//! Who builds what: platforms × nodes → assignments, with a reason for each. Pure.

pub mod instances;
mod nodes;

pub use nodes::{Assignment, Choice, PlacementError, Plan, Reason, WorkerPlatforms, place, place_on_stored};
