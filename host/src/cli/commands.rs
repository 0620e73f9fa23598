//! One file per command: its arguments, whose documentation is the help, and one `run`.

pub mod build;
pub mod completion;
pub mod create;
pub mod dial_stdio;
pub mod driver;
pub mod inspect;
pub mod install;
pub mod logs;
pub mod ls;
pub mod man;
pub mod renew;
pub mod rm;
pub mod stop;
pub mod uninstall;
pub mod use_builder;
pub mod version;
