//! Files in numbers, and an archive from standard input.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use bkhost::buildkit::spec::Upload;
use bkhost_test_support::daemon::Daemon;

use crate::build::{connect, solve, spec, to_folder};

/// As many as made upstream's clients hang in half of the exports.
const FILES: usize = 40_000;
const PER_FOLDER: usize = 400;

fn fill(folder: &Path) {
    for n in 0..FILES {
        let parent = folder.join(format!("d{}", n / PER_FOLDER));
        if n % PER_FOLDER == 0 {
            std::fs::create_dir(&parent).unwrap();
        }
        std::fs::write(parent.join(format!("f{n}")), n.to_string()).unwrap();
    }
}

fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| match entry.unwrap() {
            entry if entry.file_type().unwrap().is_dir() => count(&entry.path()),
            _ => 1,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_files_travel_both_ways() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = tempfile::tempdir_in(daemon.folder()).unwrap();
    std::fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    fill(context.path());
    let output = tempfile::tempdir_in(daemon.folder()).unwrap();
    let path = output.path().join("out");
    let mut spec = spec(context.path());
    spec.exporters = vec![to_folder(&path)];
    let (solved, _) = solve(&client, spec).await;
    solved.unwrap();
    assert_eq!(count(&path), FILES + 1);
    let last = std::fs::read_to_string(path.join("d99/f39999")).unwrap();
    assert_eq!(last, "39999");
}

/// Set in the process whose standard input is the archive.
const INSIDE: &str = "BKHOST_TEST_UPLOAD";
/// What that process has read of it before.
const PEEKED: usize = 700;

fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [
        ("Dockerfile", "FROM scratch\nCOPY word /word\n"),
        ("word", "from the archive"),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn a_context_comes_from_standard_input() {
    if std::env::var_os(INSIDE).is_some() {
        return build_from_standard_input();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::a_context_comes_from_standard_input"])
        .args(["--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        // Its own summary must not count as one of this binary.
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let rest = archive().split_off(PEEKED);
    child.stdin.take().unwrap().write_all(&rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn build_from_standard_input() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let daemon = Daemon::start();
        let client = connect(&daemon).await;
        let output = daemon.folder().join("out");
        let mut spec = spec(Path::new("/nowhere"));
        spec.session.mounts.clear();
        spec.session.upload = Some(Upload {
            id: "abc".into(),
            peeked: archive()[..PEEKED].to_vec().into(),
        });
        spec.attributes
            .insert("context".into(), "http://buildkit-session/abc".into());
        spec.exporters = vec![to_folder(&output)];
        let (solved, _) = solve(&client, spec).await;
        solved.unwrap();
        let word = std::fs::read_to_string(output.join("word")).unwrap();
        assert_eq!(word, "from the archive");
    });
}
