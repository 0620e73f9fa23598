//! Runs other programs and turns their ends into failures with words.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::failure::{Failure, Result};

/// Runs a command with this process's output; anything but success is a failure.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|cause| not_started(command, &cause))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` failed: {status}", shown(command))))
}

/// Runs a command in silence; its output is part of the failure.
pub fn run_quietly(command: &mut Command) -> Result {
    output(command).map(drop)
}

/// Runs a command and gives its standard output without the last line break.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| not_started(command, &cause))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!(
        "`{}` failed: {}\n{}",
        shown(command),
        output.status,
        said.trim_end()
    )))
}

/// Runs a command in silence for at most `limit`. Gives whether it succeeded; one that takes longer is ended.
pub fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let Ok(mut child) = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        return false;
    };
    end_within(&mut child, limit).is_some_and(|status| status.success())
}

/// Waits at most `limit` for the end of a process; one that takes longer is killed.
pub fn end_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(50)),
            _ => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// The first executable of this name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// Whether the file is there and may be executed by somebody.
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    let mut status = String::new();
    let read = std::fs::File::open("/proc/self/status").and_then(|mut file| file.read_to_string(&mut status));
    let effective = status.lines().find_map(|line| {
        line.strip_prefix("Uid:")?
            .split_whitespace()
            .nth(1)
            .map(str::to_owned)
    });
    read.is_ok() && effective.as_deref() == Some("0")
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn not_started(command: &Command, cause: &std::io::Error) -> Failure {
    Failure::new(format!(
        "Cannot start `{}`: {cause}",
        command.get_program().to_string_lossy()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_split_are_quoted() {
        let mut command = Command::new("tar");
        command.args(["-C", "a b", "it's", ""]);
        assert_eq!(shown(&command), r"tar -C 'a b' 'it'\''s' ''");
    }

    #[test]
    fn a_process_that_does_not_end_is_killed() {
        let mut deaf = Command::new("sh")
            .args(["-c", "trap '' TERM; echo; while :; do sleep 0.1; done"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        deaf.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        run_quietly(Command::new("kill").arg(deaf.id().to_string())).unwrap();
        assert_eq!(end_within(&mut deaf, Duration::from_millis(300)), None);
        assert!(deaf.try_wait().unwrap().is_some());
        let mut quick = Command::new("true").spawn().unwrap();
        let ended = end_within(&mut quick, Duration::from_secs(20));
        assert!(ended.is_some_and(|status| status.success()));
    }

    #[test]
    fn a_command_that_takes_too_long_is_ended() {
        let started = Instant::now();
        assert!(!succeeds_within(
            Command::new("sleep").arg("30"),
            Duration::from_millis(100)
        ));
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(succeeds_within(
            &mut Command::new("true"),
            Duration::from_secs(20)
        ));
    }
}
