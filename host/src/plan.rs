//! Who builds what: platforms × nodes → assignments, with a reason for each. Pure.

pub mod instances;
mod nodes;

pub use nodes::{Assignment, Choice, NodePlatforms, PlacementError, Plan, Reason, place, place_on_stored};
