//! What tests share: a sealed environment around the real program, real servers, another user, another network.

pub mod call;
pub mod certificates;
pub mod context;
pub mod control_groups;
pub mod daemon;
pub mod docker;
pub mod namespace;
pub mod podman;
pub mod processes;
pub mod provided;
pub mod registry;
pub mod server;
pub mod source;
pub mod space;
pub mod terminal;
pub mod user;
