//! Why a connection was lost, as far as another attempt can tell.

use bkhost_driver::{Error, ErrorKind, Finding, Loss};

/// Judges by what happens when somebody connects again.
pub fn finding(url: &str, loss: &Loss, again: Result<(), Error>) -> Finding {
    let finding = match again {
        Ok(()) => Finding::new(
            "tunnel-cut",
            format!("The connection to `{url}` was cut; a new one is accepted"),
        )
        .with_hint("Either the network between here and there was interrupted, or the daemon was restarted"),
        Err(error) => unreachable(url, &error),
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

fn unreachable(url: &str, error: &Error) -> Finding {
    match error.kind() {
        ErrorKind::Refused | ErrorKind::NotFound => {
            let hint = "The daemon ended or was stopped; look at its log where it runs";
            Finding::new("exited", format!("Nobody listens at `{url}` any more")).with_hint(hint)
        }
        ErrorKind::TimedOut => {
            let hint = "Its machine is down, overloaded, or cut off from the network";
            Finding::new("node-silent", format!("`{url}` does not answer any more")).with_hint(hint)
        }
        _ => Finding::new(
            "unknown",
            format!("The connection to `{url}` was lost, and a new one fails"),
        )
        .with_detail("error", error.message()),
    }
}
