//! A hidden mode that sets up its own process and then becomes another program.
//!
//! What must be done between fork and exec is done after a first exec instead, in ordinary safe code.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};

use super::EXEC_MODE;

/// Exit code when the program cannot be run, as shells have it.
const CANNOT_RUN: u8 = 127;
/// Path under which a process finds its own program, even when its file was replaced.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// The program that has the hidden modes: `known` if it is there, else the one that runs now, whose file may have been
/// replaced by an update.
pub fn own_program(known: &Path) -> &Path {
    if known.is_file() {
        return known;
    }
    Path::new(OWN_PROGRAM)
}

const NEW_SESSION: &str = "--session";
const DIE_WITH: &str = "--die-with=";

/// A command that runs `program` with SIGTERM to it when this process (the one that spawns it) ends.
pub fn dying_with_parent(program: &Path) -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg(EXEC_MODE)
        .arg(format!("{DIE_WITH}{}", std::process::id()))
        .arg("--")
        .arg(program);
    command
}

/// A command that runs `program` in a session of its own: without the user's terminal, out of reach of its keys.
/// `host` is this program.
pub fn in_new_session(host: &Path, program: &Path) -> Command {
    let mut command = Command::new(host);
    command.arg(EXEC_MODE).arg(NEW_SESSION).arg("--").arg(program);
    command
}

/// Runs the mode; returns only when the program cannot be run.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    for arg in args.by_ref() {
        match arg.to_str() {
            Some("--") => break,
            Some(NEW_SESSION) => {
                // Fails only for the leader of a process group, which has no terminal to lose then.
                let _ = setsid();
            }
            Some(text) => {
                let Some(parent) = text.strip_prefix(DIE_WITH) else {
                    return ExitCode::from(CANNOT_RUN);
                };
                if !die_with(parent) {
                    return ExitCode::FAILURE;
                }
            }
            None => return ExitCode::from(CANNOT_RUN),
        }
    }
    let Some(program) = args.next() else {
        return ExitCode::from(CANNOT_RUN);
    };
    let error = Command::new(&program).args(args).exec();
    say(&format!(
        "bkhost: cannot run {}: {error}\n",
        Path::new(&program).display()
    ));
    ExitCode::from(CANNOT_RUN)
}

/// Asks for SIGTERM at the parent's death. `false` when it died before that.
fn die_with(parent: &str) -> bool {
    if set_parent_process_death_signal(Some(Signal::TERM)).is_err() {
        return false;
    }
    getppid().is_some_and(|now| now.as_raw_nonzero().to_string() == parent)
}

/// To the stderr that the program would have had: the daemon's log, or the text of a helper's failure.
fn say(line: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}
