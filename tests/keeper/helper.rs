//! Helper programs in a session that this program makes for them.

use std::path::Path;

use bkhost::connect::helper_program::HelperCommand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A stand-in for `podman` that says its session and arguments, and then what it is told.
const STAND_IN: &str = "#!/bin/sh\necho $(cut -d' ' -f6 /proc/$$/stat) \"$@\"\nexec cat\n";

#[tokio::test]
async fn a_helper_has_a_session_of_its_own_and_its_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("podman");
    std::fs::write(&path, STAND_IN).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    let command = HelperCommand::podman_exec("c").unwrap();
    let mut program = command
        .start(&path, Path::new(env!("CARGO_BIN_EXE_bkhost")))
        .unwrap();
    program.write_all(b"told").await.unwrap();
    program.shutdown().await.unwrap();
    let mut text = String::new();
    program.read_to_string(&mut text).await.unwrap();
    let (session, rest) = text.split_once(' ').unwrap();
    assert_eq!(rest, "exec -i c buildctl dial-stdio\ntold");
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own = own
        .rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(3)
        .unwrap()
        .to_owned();
    assert_ne!(session, own);
    assert_eq!(program.last_words().exit_status(), Some(0));
}
