//! Exports to the client that end badly after they seemed to be whole.

use std::path::Path;

use async_trait::async_trait;
use futures::TryStreamExt;

use super::*;
use crate::buildkit::fake::Export;
use crate::buildkit::session::SessionFailure;
use crate::buildkit::spec::{Archive, ExportTarget, Exporter, ReceiveArchive, Receiver};

const CAUSE: &str = "failed to copy: unexpected status from GET request: 403 Forbidden";
const END: [u8; 1024] = [0; 1024];

async fn exported(export: Export, target: ExportTarget) -> Result<Solved, SolveError> {
    let daemon = Daemon {
        result: Ok(result()),
        export: Some(export),
        ..Default::default()
    };
    let exporter = Exporter {
        kind: "oci".to_owned(),
        attributes: BTreeMap::new(),
        target,
    };
    let spec = SolveSpec {
        exporters: vec![exporter],
        ..spec()
    };
    let solving = tokio::time::timeout(Duration::from_secs(60), solve(&daemon, spec));
    solving.await.expect("neither side waits for the other")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Reads an archive, and says this of it.
struct Says(Option<&'static str>);

#[async_trait]
impl ReceiveArchive for Says {
    async fn receive(&self, mut archive: Archive) -> Result<(), SessionFailure> {
        let failed = |message: &str| SessionFailure {
            message: message.to_owned(),
            hint: None,
            is_exhausted: false,
        };
        while archive
            .try_next()
            .await
            .map_err(|error| failed(&error.to_string()))?
            .is_some()
        {}
        self.0.map_or(Ok(()), |words| Err(failed(words)))
    }
}

fn says(words: Option<&'static str>) -> ExportTarget {
    ExportTarget::Receiver(Receiver::new(Says(words)))
}

#[tokio::test]
async fn a_file_has_its_name_when_the_solve_has_ended_well() {
    let folder = tempfile::tempdir().unwrap();
    let target = ExportTarget::File(folder.path().join("image.tar"));
    exported(Export::of(&[b"abc", &END]), target).await.unwrap();
    assert_eq!(names(folder.path()), ["image.tar"]);
    assert_eq!(
        std::fs::read(folder.path().join("image.tar")).unwrap().len(),
        1027
    );
}

#[tokio::test]
async fn half_a_file_has_none_although_its_stream_ended_well() {
    for pieces in [&[&b"abc"[..]][..], &[b"abc", &END]] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("image.tar"), "earlier").unwrap();
        let target = ExportTarget::File(folder.path().join("image.tar"));
        let error = exported(Export::of(pieces).failing(CAUSE), target).await;
        assert!(
            matches!(&error, Err(SolveError::Failed(error)) if error.message == CAUSE),
            "{error:?}"
        );
        assert_eq!(names(folder.path()), ["image.tar"]);
        assert_eq!(
            std::fs::read(folder.path().join("image.tar")).unwrap(),
            b"earlier"
        );
    }
}

/// An engine that got the end of a cut archive would complain of that, and its words would stand for the cause.
#[tokio::test]
async fn a_cut_archive_is_never_ended_and_the_daemons_cause_is_shown() {
    for words in [None, Some("unexpected EOF")] {
        let error = exported(Export::of(&[b"abc"]).failing(CAUSE), says(words)).await;
        assert!(
            matches!(&error, Err(SolveError::Failed(error)) if error.message == CAUSE),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_archive_that_ends_and_lacks_something_fails_for_the_daemons_reason() {
    let refused = says(Some("the engine did not load the image: no manifest"));
    let error = exported(Export::of(&[b"abc", &END]).failing(CAUSE), refused).await;
    assert!(
        matches!(&error, Err(SolveError::Failed(error)) if error.message == CAUSE),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_an_engine_says_of_a_whole_archive_is_the_failure() {
    const WORDS: &str = "the engine did not load the image: no space";
    let error = exported(Export::of(&[b"abc", &END]), says(Some(WORDS))).await;
    assert!(
        matches!(&error, Err(SolveError::Session { failure, .. }) if failure.message == WORDS),
        "{error:?}"
    );
    exported(Export::of(&[b"abc", &END]), says(None)).await.unwrap();
}
