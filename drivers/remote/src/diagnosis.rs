//! Why a connection was lost, as far as another attempt can tell.

use bkhost_driver::{Error, ErrorKind, Finding, Loss};

use crate::helper;
use crate::target::Target;

/// Judges by what happens when somebody connects again.
pub fn finding(target: &Target, loss: &Loss, again: Result<(), Error>) -> Finding {
    let finding = match again {
        Ok(()) => Finding::new(
            "tunnel-cut",
            format!(
                "The connection to `{}` was cut; a new one is accepted",
                target.url()
            ),
        )
        .with_hint("Either the network between here and there was interrupted, or the daemon was restarted"),
        Err(error) => unreachable(target, &error),
    };
    let finding = match loss.exit_status {
        Some(code) => finding.with_detail("exit-code", code.to_string()),
        None => finding,
    };
    match loss.stderr_tail.is_empty() {
        true => finding,
        false => finding.with_detail("log", loss.stderr_tail.clone()),
    }
}

fn unreachable(target: &Target, error: &Error) -> Finding {
    let url = target.url();
    match error.kind() {
        ErrorKind::Refused | ErrorKind::NotFound => ended(target, error),
        _ if helper::is_nobody_there(error) => ended(target, error),
        ErrorKind::TimedOut => {
            let hint = "Its machine is down, overloaded, or cut off from the network";
            Finding::new("node-silent", format!("`{url}` does not answer any more")).with_hint(hint)
        }
        _ => {
            let words = format!("The connection to `{url}` was lost, and a new one fails");
            let finding = Finding::new("unknown", words).with_detail("error", error.message());
            match error.hint() {
                Some(hint) => finding.with_hint(hint),
                None => finding,
            }
        }
    }
}

/// The daemon is gone. What a helper program says of it tells more than that nobody listens.
fn ended(target: &Target, error: &Error) -> Finding {
    let finding = Finding::new("exited", format!("Nobody listens at `{}` any more", target.url()));
    let Some(logs) = helper::log_command(target) else {
        return finding.with_hint("The daemon ended or was stopped; look at its log where it runs");
    };
    let hint = format!(
        "The daemon ended or was stopped; `{logs}` shows its last words while its container is there"
    );
    finding.with_hint(hint).with_detail("error", error.message())
}
