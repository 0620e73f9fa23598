//! Whole builds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bkhost::buildkit::error::{Detail, SolveError};
use bkhost::buildkit::solve::Cancel;
use bkhost::buildkit::spec::{ExportTarget, Exporter};
use bkhost_test_support::daemon::Daemon;

use crate::build::{Told, connect, context, listen, run, solve, spec, start, to_folder, until_logged};

#[tokio::test]
async fn steps_run_and_are_cached_the_second_time() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("echo hello from a step"));
    let (solved, told) = solve(&client, spec(context.path())).await;
    assert!(solved.unwrap().metadata.contains_key("containerimage.config"));
    assert!(told.logs.contains("hello from a step\n"), "{told:#?}");
    let step = told.vertex("RUN echo");
    assert!(step.completed.is_some() && !step.cached && step.error.is_empty());
    let (solved, told) = solve(&client, spec(context.path())).await;
    solved.unwrap();
    assert!(told.vertex("RUN echo").cached);
}

#[tokio::test]
async fn a_result_comes_to_a_folder_and_to_a_file() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context("FROM scratch\nCOPY Dockerfile /copied\n");
    let output = tempfile::tempdir().unwrap();
    let (folder, file) = (output.path().join("out"), output.path().join("image.tar"));
    let mut spec = spec(context.path());
    spec.exporters = vec![
        to_folder(&folder),
        exporter("oci", ExportTarget::File(file.clone())),
    ];
    let (solved, _) = solve(&client, spec).await;
    let response = solved.unwrap().response;
    assert!(response["containerimage.digest"].starts_with("sha256:"));
    let copied = std::fs::read_to_string(folder.join("copied")).unwrap();
    assert!(copied.starts_with("FROM scratch"));
    assert!(std::fs::metadata(file).unwrap().len() > 1024);
}

fn exporter(kind: &str, target: ExportTarget) -> Exporter {
    Exporter {
        kind: kind.into(),
        attributes: BTreeMap::new(),
        target,
    }
}

#[tokio::test]
async fn builds_at_once_share_a_connection() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let contexts: Vec<_> = (0..6)
        .map(|n| context(&run(&format!("echo number {n}"))))
        .collect();
    let builds = contexts
        .iter()
        .map(|context| solve(&client, spec(context.path())));
    let ended = futures::future::join_all(builds).await;
    for (n, (solved, told)) in ended.into_iter().enumerate() {
        solved.unwrap();
        assert_eq!(told.logs, format!("number {n}\n"));
    }
}

#[tokio::test]
async fn a_secret_reaches_its_step() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let script = "--mount=type=secret,id=token echo \"<$(cat /run/secrets/token)>\"";
    let context = context(&format!(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/cat\nRUN {script}\n"
    ));
    let (solved, told) = solve(&client, spec(context.path())).await;
    solved.unwrap();
    assert!(told.logs.contains("<s3cret>"), "{told:#?}");
}

#[tokio::test]
async fn a_failing_step_tells_its_line_and_its_exit_code() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("echo going down && exit 3"));
    let (solved, told) = solve(&client, spec(context.path())).await;
    let error = solved.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to solve: process \"/bin/sh -c echo going down && exit 3\" did not complete successfully: exit code: 3"
    );
    assert_eq!(error.exit_code(), 1);
    let SolveError::Failed(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.process_exit_code(), Some(3));
    let source = error.details().iter().find_map(|detail| match detail {
        Detail::Source { info, ranges } => Some((info, ranges)),
        _ => None,
    });
    let (info, ranges) = source.unwrap();
    assert_eq!(info.filename, "Dockerfile");
    assert!(info.data.starts_with(b"FROM scratch"));
    assert_eq!(ranges[0].start.line, 4);
    assert!(told.logs.contains("going down"));
    assert!(told.vertex("exit 3").error.contains("exit code: 3"));
}

#[tokio::test]
async fn an_exporter_that_is_not_there_fails_at_once() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("true"));
    let mut spec = spec(context.path());
    spec.exporters = vec![exporter("nosuch", ExportTarget::None)];
    let start = Instant::now();
    let (solved, _) = solve(&client, spec).await;
    let text = solved.unwrap_err().to_string();
    assert!(text.contains("exporter \"nosuch\" could not be found"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_syntax_error_has_its_place() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context("FROM scratch\nNOSUCH thing\n");
    let (solved, _) = solve(&client, spec(context.path())).await;
    let error = solved.unwrap_err();
    assert!(
        error.to_string().contains("unknown instruction: NOSUCH"),
        "{error}"
    );
    let has_source =
        |detail: &Detail| matches!(detail, Detail::Source { ranges, .. } if ranges[0].start.line == 2);
    assert!(error.details().iter().any(has_source), "{error:?}");
}

#[tokio::test]
async fn a_cancelled_build_ends_here_and_on_the_daemon() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("echo started; sleep 300"));
    let cancel = Cancel::new();
    let (running, mut updates) = start(&client, spec(context.path()), cancel.clone());
    let mut told = Told::default();
    until_logged(&mut updates, &mut told, "started").await;
    assert_eq!(client.active_builds().await.unwrap(), Some(1));
    let rest = tokio::spawn(listen(updates));
    let start = Instant::now();
    cancel.cancel();
    let error = running.await.unwrap().unwrap_err();
    let took = start.elapsed();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(matches!(error, SolveError::Cancelled));
    assert_eq!(error.exit_code(), 130);
    let rest = rest.await.unwrap();
    let ended = rest.vertex("RUN echo started");
    assert!(ended.error.ends_with("context canceled"), "{ended:?}");
    // Its record stays active until the daemon has written its traces, up to 3 s later.
    while client.active_builds().await.unwrap() != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn many_patterns_fit_in_the_headers() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context("FROM scratch\nCOPY . /all\n");
    let ignored: String = (0..5000)
        .map(|n| format!("some/rather/long/folder/name/number-{n}\n"))
        .collect();
    std::fs::write(context.path().join(".dockerignore"), ignored).unwrap();
    let (solved, told) = solve(&client, spec(context.path())).await;
    solved.unwrap();
    assert!(told.vertex("COPY . /all").error.is_empty());
}
