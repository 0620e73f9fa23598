//! How a daemon ended, in words.

use std::time::Duration;

use bkhost_driver::process::{Daemon, End};
use bkhost_driver::{Error, ErrorKind, Finding, Loss, Result, timer, wait_any};

/// Lines of the log that are shown.
const LINES: u32 = 20;
/// A connection ends before its daemon's process does: how long that may take.
const AFTERMATH: Duration = Duration::from_secs(2);
/// What stands in the way of a daemon: words of its log, what they mean, the way out.
const HURDLES: [(&str, ErrorKind, &str, &str); 5] = [
    (
        "could not lock",
        ErrorKind::Conflict,
        "Another buildkitd uses the same state folder",
        "Stop it, or give this builder a folder of its own with the driver option `root`",
    ),
    (
        "exec: \"newuidmap\": executable file not found",
        ErrorKind::NotFound,
        "`newuidmap` was not found, which rootless mode needs",
        "Install the package `uidmap` (Debian) or `shadow-utils` (Fedora)",
    ),
    (
        "No subuid ranges found",
        ErrorKind::Denied,
        "This user has no subordinate user ids, which rootless mode needs",
        NO_RANGES,
    ),
    (
        "No subgid ranges found",
        ErrorKind::Denied,
        "This user has no subordinate group ids, which rootless mode needs",
        NO_RANGES,
    ),
    (
        "fork/exec /proc/self/exe: operation not permitted",
        ErrorKind::Denied,
        "This machine does not let ordinary users make user namespaces, which rootless mode needs",
        "As root, allow them: `sysctl kernel.unprivileged_userns_clone=1`, or \
         `kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu",
    ),
];
const NO_RANGES: &str = "As root, give the user a range that nobody else has: \
     `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`";
/// How rootlesskit ends the line in which it tells that a signal ended buildkitd, and the signals in its words.
const CHILD_SIGNALS: [(&str, &str, &str); 6] = [
    ("exited: signal: killed", "9", "SIGKILL"),
    ("exited: signal: terminated", "15", "SIGTERM"),
    ("exited: signal: segmentation fault", "11", "SIGSEGV"),
    ("exited: signal: aborted", "6", "SIGABRT"),
    ("exited: signal: bus error", "7", "SIGBUS"),
    ("exited: signal: quit", "3", "SIGQUIT"),
];

/// How it ended: `stopped for being idle`, `was killed by SIGKILL`, `exited with code 1`.
fn end_words(end: &End) -> String {
    match end.reason() {
        "idle" => "stopped for being idle".to_owned(),
        "stopped" => "was stopped".to_owned(),
        "keeper-lost" => "ended with its keeper, which was killed".to_owned(),
        _ => end.words(),
    }
}

/// The same, also for a daemon below rootlesskit.
pub fn words_of(daemon: &Daemon, end: &End) -> String {
    match child_signal(end, &daemon.log_tail(LINES)) {
        Some((_, name)) => format!("was killed by {name}"),
        None => end_words(end),
    }
}

/// A daemon that ended before it listened.
pub fn early_end(daemon: &Daemon) -> Error {
    let log = daemon.log_tail(LINES);
    let end = daemon.end();
    let words = end.as_ref().map_or("ended".to_owned(), end_words);
    let hurdle = HURDLES.iter().find(|(known, ..)| log.contains(known));
    let error = match hurdle {
        Some((_, kind, message, hint)) => Error::new(*kind, *message).with_hint(*hint),
        None => {
            let error = Error::new(
                ErrorKind::Other,
                format!("`buildkitd` {words} before it listened"),
            );
            with_log_hint(error, daemon)
        }
    };
    let facts = end.iter().flat_map(shown_facts);
    let error = facts.fold(error, |error, (key, value)| error.with_detail(key, value));
    with_log(error, log)
}

/// A daemon that runs and does not listen.
pub fn too_slow(daemon: &Daemon) -> Error {
    let words = format!("`buildkitd` (pid {}) does not listen yet", daemon.pid());
    let error = Error::new(ErrorKind::TimedOut, words);
    let error = match daemon.attribute("log") {
        Some(path) => error.with_hint(format!(
            "Its log is `{path}`; the driver option `timeout` lets it take longer"
        )),
        None => error.with_hint("The driver option `timeout` lets it take longer"),
    };
    with_log(error, daemon.log_tail(LINES))
}

fn with_log_hint(error: Error, daemon: &Daemon) -> Error {
    match daemon.attribute("log") {
        Some(path) => error.with_hint(format!("Its log is `{path}`")),
        None => error,
    }
}

fn with_log(error: Error, log: String) -> Error {
    match log.is_empty() {
        true => error,
        false => error.with_detail("log", log),
    }
}

/// The facts of an end that others than this driver know what to do with.
fn shown_facts(end: &End) -> Vec<(String, String)> {
    let known = ["exit-code", "signal", "signal-name"];
    end.facts()
        .iter()
        .filter(|(key, _)| known.contains(&key.as_str()))
        .cloned()
        .collect()
}

/// Why a connection to the daemon was lost.
pub fn finding(daemon: Option<Daemon>, loss: &Loss) -> Result<Finding> {
    let Some(daemon) = daemon else {
        return Ok(Finding::new(
            "unknown",
            "Nothing is left of the daemon: the builder was removed",
        ));
    };
    if daemon.started_at() > loss.opened_at {
        let words = "The daemon was replaced by another one during the build";
        return Ok(Finding::new("exited", words));
    }
    if daemon.is_running() && loss.how != "silent" {
        let patience = timer(loss.step.time_left_or(AFTERMATH));
        wait_any(&[&daemon.ended(), &patience, &loss.step.cancellation()]);
    }
    let finding = match daemon.end() {
        Some(end) => ended(&daemon, &end),
        None => still_there(&daemon, loss),
    };
    let log = daemon.log_tail(LINES);
    Ok(match log.is_empty() {
        true => finding,
        false => finding.with_detail("log", log),
    })
}

fn ended(daemon: &Daemon, end: &End) -> Finding {
    let child = child_signal(end, &daemon.log_tail(LINES));
    let message = format!("`buildkitd` (pid {}) {}", daemon.pid(), words_of(daemon, end));
    let signal_name = child.map(|(_, name)| name).or(end.fact("signal-name"));
    let signalled = signal_name.is_some() || end.fact("signal").is_some();
    let finding = match end.reason() {
        "idle" => {
            Finding::new("idle-stopped", message).with_hint("The driver option `idle-timeout` sets when")
        }
        "stopped" => Finding::new("stopped", message).with_hint("Somebody stopped or removed the builder"),
        "keeper-lost" => Finding::new("keeper-lost", message)
            .with_hint("The keeper is the process of bkhost that is the daemon's parent; the next build starts both again"),
        _ if signalled => Finding::new("killed", message),
        _ => Finding::new("exited", message),
    };
    let finding = match signal_name {
        Some("SIGKILL") if finding.word == "killed" => {
            finding.with_hint("The kernel does this when memory runs out; its log (`dmesg`) would say so")
        }
        _ => finding,
    };
    let finding = match child {
        Some((number, name)) => finding
            .with_detail("signal", number)
            .with_detail("signal-name", name),
        None => finding,
    };
    let facts = shown_facts(end).into_iter();
    facts.fold(finding, |finding, (key, value)| finding.with_detail(key, value))
}

/// The signal that ended a rootless daemon, by number and name: its process is the one below rootlesskit, which then exits
/// with a code.
fn child_signal(end: &End, log: &str) -> Option<(&'static str, &'static str)> {
    end.fact("exit-code")?;
    if end.reason() != "exited" {
        return None;
    }
    let said = |words: &str| {
        log.lines()
            .any(|line| line.starts_with("[rootlesskit:child") && line.ends_with(words))
    };
    CHILD_SIGNALS
        .iter()
        .find(|(words, ..)| said(words))
        .map(|(_, number, name)| (*number, *name))
}

fn still_there(daemon: &Daemon, loss: &Loss) -> Finding {
    match loss.how.as_str() {
        "silent" => Finding::new(
            "node-silent",
            format!("`buildkitd` (pid {}) runs, but does not answer", daemon.pid()),
        ),
        _ => Finding::new(
            "unknown",
            format!(
                "`buildkitd` (pid {}) runs, but closed the connection",
                daemon.pid()
            ),
        ),
    }
}
