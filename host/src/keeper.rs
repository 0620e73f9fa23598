//! The keeper: a hidden mode of this program that is the parent of a daemon which outlives the command that started it.
//!
//! One keeper has one daemon. It holds the daemon's process, its log and its last words, stops it when nobody uses it,
//! and ends with it. Commands talk to it through a [`site::Site`]: the folder in which everything about one node's
//! daemon lies.
//!
//! ```text
//! <runtime folder>/keeper.lock   held by the keeper as long as it lives
//!                  use.lock      shared: a lease of a user; exclusive: the keeper, while it stops an idle daemon
//!                  lock-NAME     locks among commands
//!                  keeper.json   the daemon's process and, at last, how it ended
//!                  control.sock  what a living keeper is asked through
//!                  daemon.log    stdout and stderr of the daemon; daemon.log.1 is what came before
//!                  config/       files written for the daemon
//! ```
//!
//! The daemon must not outlive its keeper: it is started through a second hidden mode that asks the kernel for a
//! SIGTERM at its parent's death and then becomes the daemon.

use std::ffi::OsString;
use std::process::ExitCode;

pub mod active;
pub mod control;
pub mod daemon;
pub mod error;
pub mod exec;
pub mod follow;
pub mod idle;
pub mod launch;
pub mod locks;
pub mod log;
pub mod login;
pub mod paths;
pub mod process;
pub mod programs;
pub mod record;
pub mod run;
pub mod site;
pub mod state;

pub use active::ActiveBuilds;

/// First argument that makes this program a keeper; the second is the runtime folder. The launch comes on stdin.
pub const KEEPER_MODE: &str = "__keeper";
/// First argument that makes this program become another one, see [`exec`].
pub const EXEC_MODE: &str = "__exec";

/// Runs the hidden mode that `args` (without the program's own name) ask for; `None` when they ask for none.
///
/// Must be called before anything else opens files or starts threads: the keeper closes every file it inherited.
/// `active` tells how many builds run on the daemon behind a socket.
pub fn main(args: impl IntoIterator<Item = OsString>, active: ActiveBuilds) -> Option<ExitCode> {
    let mut args = args.into_iter();
    let mode = args.next()?;
    match mode.to_str()? {
        KEEPER_MODE => Some(run::main(args, active)),
        EXEC_MODE => Some(exec::main(args)),
        _ => None,
    }
}
