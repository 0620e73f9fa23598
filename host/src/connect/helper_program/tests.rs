//! Argument lists, and helpers that are shell scripts.

use super::*;
use tokio::io::AsyncWriteExt;

fn line(command: Result<HelperCommand, HelperError>) -> String {
    let command = command.unwrap();
    format!("{} {}", command.program, command.args.join(" "))
}

#[test]
fn argument_lists_are_those_of_buildkits_client() {
    for (command, expected) in [
        (
            HelperCommand::ssh("host", Some("me"), Some(22), Some("/run/b.sock")),
            "ssh -l me -p 22 -- host buildctl --addr unix:///run/b.sock dial-stdio",
        ),
        (
            HelperCommand::ssh("host", None, None, None),
            "ssh -- host buildctl dial-stdio",
        ),
        (
            HelperCommand::docker_ssh("host", Some("me"), Some(22), Some("/run/d e.sock")),
            "ssh -l me -p 22 -o ConnectTimeout=30 -T -- host docker --host='unix:///run/d e.sock' system dial-stdio",
        ),
        (
            HelperCommand::docker_ssh("host", None, None, None),
            "ssh -o ConnectTimeout=30 -T -- host docker system dial-stdio",
        ),
        (
            HelperCommand::docker_exec("c", Some("ctx")),
            "docker --context=ctx exec -i c buildctl dial-stdio",
        ),
        (
            HelperCommand::podman_exec("c"),
            "podman exec -i c buildctl dial-stdio",
        ),
        (
            HelperCommand::nerdctl_exec("c", Some("ns")),
            "nerdctl exec --namespace ns -i c buildctl dial-stdio",
        ),
        (
            HelperCommand::kubectl_exec("p", Some("k"), None, Some("arn:aws:x/y")),
            "kubectl --context=arn:aws:x/y --namespace= exec --container=k -i p -- buildctl dial-stdio",
        ),
    ] {
        assert_eq!(line(command), expected);
    }
}

#[test]
fn nothing_becomes_an_option_or_a_command() {
    for refused in [
        HelperCommand::ssh("-oProxyCommand=x", None, None, None),
        HelperCommand::ssh("h", Some("-F/x"), None, None),
        HelperCommand::ssh("a b", None, None, None),
        HelperCommand::ssh("h", None, None, Some("relative")),
        HelperCommand::docker_exec("--privileged", None),
        HelperCommand::docker_exec("c", Some("a b")),
        HelperCommand::podman_exec(""),
        HelperCommand::nerdctl_exec("c", Some("--x")),
        HelperCommand::kubectl_exec("-it", None, None, None),
        HelperCommand::kubectl_exec("p", Some("UP"), None, None),
    ] {
        assert!(matches!(refused, Err(HelperError::Invalid { .. })), "{refused:?}");
    }
    let quoted = line(HelperCommand::ssh("h", None, None, Some("/a'; rm -rf b")));
    assert_eq!(
        quoted,
        "ssh -- h buildctl --addr 'unix:///a'\\''; rm -rf b' dial-stdio"
    );
}

/// A helper that is `sh` with this script; `sh` also stands in for the program that makes the session.
pub(crate) fn helper(dir: &Path, script: &str) -> HelperProgram {
    let session = dir.join("session");
    std::fs::write(&session, "#!/bin/sh\nshift 3\nexec \"$@\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&session, mode).unwrap();
    let command = HelperCommand {
        program: "sh",
        args: vec!["-c".to_owned(), script.to_owned()],
    };
    command.start(Path::new("/bin/sh"), &session).unwrap()
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = helper(dir.path(), "cat");
    program.write_all(b"hello").await.unwrap();
    program.shutdown().await.unwrap();
    let mut text = String::new();
    program.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    assert_eq!(program.last_words().exit_status(), Some(0));
}

#[tokio::test]
async fn a_failure_has_the_status_and_the_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = helper(dir.path(), "echo nobody there >&2; exit 255");
    let error = program.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`sh` ended with exit status: 255: nobody there"
    );
    assert_eq!(program.last_words().exit_status(), Some(255));
    assert_eq!(program.last_words().stderr(), "nobody there\n");
}

#[tokio::test]
async fn only_the_end_of_stderr_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = helper(
        dir.path(),
        "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done",
    );
    let _ = program.read(&mut [0; 8]).await;
    let text = program.last_words().stderr();
    assert_eq!(text.len(), STDERR_TAIL);
    assert!(text.ends_with("line 1999\n"));
}

#[tokio::test]
async fn a_program_that_runs_elsewhere_has_no_status_but_that_of_a_carrier_that_failed() {
    let limit = Duration::from_secs(600);
    let alone = LastWords::of_remote("exec", None);
    alone.add(b"no such file\n");
    let told = (alone.program(), alone.ended_within(limit).await, alone.stderr());
    assert_eq!(told, ("exec", None, "no such file\n".to_owned()));
    let dir = tempfile::tempdir().unwrap();
    for (script, told) in [
        ("echo banner >&2; exit 0", ("exec", None, "own\n".to_owned())),
        (
            "echo cut off >&2; exit 255",
            ("sh", Some(255), "own\ncut off\n".to_owned()),
        ),
    ] {
        let mut program = helper(dir.path(), script);
        let words = LastWords::of_remote("exec", Some(program.last_words()));
        words.add(b"own\n");
        let _ = program.read(&mut [0; 8]).await;
        let status = words.ended_within(limit).await;
        assert_eq!((words.program(), status, words.stderr()), told);
    }
}

#[tokio::test]
async fn a_dropped_helper_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let program = helper(dir.path(), "exec sleep 600");
    let last = program.last_words();
    drop(program);
    for _ in 0..500 {
        if last.exit_status().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(last.exit_status(), Some(128 + 15));
}
