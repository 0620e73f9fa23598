//! What can be typed after `build`: the grammar of every value, and the plain request that they make together.
//!
//! Texts of refusals are kept to the letter where users of buildx match on them.

pub mod annotation;
pub mod args;
pub mod attestation;
pub mod cache;
pub mod context;
pub mod csv;
pub mod entitlement;
pub mod git_reference;
pub mod hosts;
pub mod inputs;
pub mod key_value;
pub mod named_context;
pub mod output;
pub mod reference;
pub mod request;
pub mod retired;
pub mod secret;
pub mod size;
pub mod solve_spec;
pub mod source_control;
pub mod ulimit;
pub mod value;
