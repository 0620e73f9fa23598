//! The program with its own `process` driver and a real daemon: logs, and a connection on standard input and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use bkhost_test_support::provided;
use rustix::process::{Pid, Signal, kill_process};

use crate::sealed::Sealed;

/// A home with a booted builder `here` of two nodes.
struct Booted(Sealed);

impl Booted {
    fn new() -> Self {
        let booted = Self(Sealed::new());
        // Root's default folder belongs to the machine, and other tests use it too.
        let root = booted.0.home().join("state");
        let node = |rest: &str, name: &str| {
            format!(
                "create --driver process --name here {rest} --driver-opt root={}/{name}",
                root.display()
            )
        };
        booted.ok(&node("--use", "here0"));
        booted.ok(&node("--append --node second", "second"));
        booted.ok("inspect --bootstrap");
        booted
    }

    fn command(&self, line: &str) -> Command {
        let mut path = provided::engines().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_bkhost"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .envs(self.0.variables())
            .env("XDG_DATA_HOME", self.0.home().join("data"))
            .env("XDG_CACHE_HOME", self.0.home().join("cache"))
            .env("PATH", path);
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &str) -> (String, String) {
        let output = self.run(line);
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {err}");
        (String::from_utf8(output.stdout).unwrap(), err)
    }

    fn start(&self, line: &str) -> Child {
        self.command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let removed = self.run("rm here");
        if !std::thread::panicking() {
            assert!(removed.status.success(), "{removed:?}");
        }
    }
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

fn assert_interrupted(child: Child) {
    interrupt(&child);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "ERROR: Cancelled\n");
}

#[test]
fn logs_are_shown_cut_and_followed() {
    let booted = Booted::new();
    let (all, _) = booted.ok("logs --node second");
    assert!(all.contains("running server on"), "{all}");
    let (last, _) = booted.ok("logs --node second --tail 1");
    assert_eq!(last.lines().count(), 1, "{last}");
    assert!(all.ends_with(&last), "{last:?} does not end {all:?}");
    let (both, heads) = booted.ok("logs -n 1");
    assert_eq!(both.lines().count(), 2, "{both}");
    assert_eq!(heads, "==> here0 local <==\n==> second local <==\n");

    let refused = booted.run("logs --follow");
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "ERROR: Only one node can be followed at a time\nhint: Choose one with `--node`: here0, second\n"
    );
    let refused = booted.run("logs --node third");
    assert_eq!(
        String::from_utf8(refused.stderr).unwrap(),
        "ERROR: node \"third\" not found for here\nhint: It has here0, second\n"
    );

    let mut following = booted.start("logs --follow --tail 1 --node second");
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap() + "\n", last);
    // The last line that a daemon writes when it is asked to end comes while the log is followed.
    booted.ok("stop here");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(!rest.is_empty());
    let ended = following.wait().unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn ctrl_c_ends_a_followed_log_and_a_connection() {
    let booted = Booted::new();
    let mut following = booted.start("logs --follow --tail 1 --node here0");
    let mut first = [0; 1];
    following.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_interrupted(following);

    let mut connected = booted.start("dial-stdio");
    connected.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_interrupted(connected);
}

#[test]
fn standard_streams_become_a_connection_to_the_daemon() {
    let booted = Booted::new();
    let mut child = booted.start("dial-stdio --progress plain");
    // The preface of HTTP/2 and empty settings; the daemon answers with settings of its own.
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut input = child.stdin.take().unwrap();
    input.write_all(greeting).unwrap();
    let mut header = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut header).unwrap();
    assert_eq!(header[3], 4, "no settings frame: {header:?}");
    drop(input);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(
        err.starts_with("#0 builder: here\n\n#1 Proxying to builder\n#1 Dialing builder"),
        "{err}"
    );

    let json = booted.run("dial-stdio --progress rawjson");
    let err = String::from_utf8(json.stderr).unwrap();
    let first = err.lines().next().unwrap();
    let update: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(update["vertexes"][0]["name"], "Proxying to builder");

    let foreign = booted.run("dial-stdio --progress plain --platform linux/s390x");
    let err = String::from_utf8(foreign.stderr).unwrap();
    assert!(
        err.contains("no node lists linux/s390x: `here0` builds it"),
        "{err}"
    );
}
