//! Results that cannot be kept: the client's own words for it, at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bkhost::buildkit::error::SolveError;
use bkhost::buildkit::session::SessionFailure;
use bkhost::buildkit::spec::{ExportTarget, Exporter};
use bkhost_test_support::daemon::Daemon;

use crate::build::{connect, context, solve, spec, to_folder};

/// A build of one file of 1 MiB to `exporter`, which must fail soon.
async fn failure_of(exporter: Exporter) -> SessionFailure {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context("FROM scratch\nCOPY data /data\n");
    std::fs::write(context.path().join("data"), vec![7; 1 << 20]).unwrap();
    let mut spec = spec(context.path());
    spec.exporters = vec![exporter];
    let start = Instant::now();
    let error = solve(&client, spec).await.0.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    match error {
        SolveError::Session { failure, .. } => failure,
        other => panic!("{other:?}"),
    }
}

fn oci(target: ExportTarget, tar: bool) -> Exporter {
    Exporter {
        kind: "oci".into(),
        attributes: BTreeMap::from([("tar".to_owned(), tar.to_string())]),
        target,
    }
}

#[tokio::test]
async fn a_folder_below_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let failure = failure_of(to_folder(&file.join("out"))).await;
    let begin = format!("failed to create {}: File exists", file.display());
    assert!(failure.message.starts_with(&begin), "{failure:?}");
    assert!(failure.hint.unwrap().contains("A file is in the way"));
}

#[tokio::test]
async fn a_full_disk_below_an_archive() {
    let full = Path::new("/dev/full");
    let failure = failure_of(oci(ExportTarget::File(full.to_owned()), true)).await;
    let begin = "failed to write /dev/full: No space left on device";
    assert!(failure.message.starts_with(begin), "{failure:?}");
    assert!(failure.hint.unwrap().contains("no space left"));
}

#[tokio::test]
async fn a_layout_below_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let failure = failure_of(oci(ExportTarget::Layout(file.join("layout")), false)).await;
    assert!(failure.message.contains("Not a directory"), "{failure:?}");
    assert!(
        failure.message.contains(&file.display().to_string()),
        "{failure:?}"
    );
}
