//! Daemons that go away.

use std::time::{Duration, Instant};

use bkhost::buildkit::error::{RpcError, SolveError};
use bkhost::buildkit::solve::Cancel;
use bkhost_test_support::daemon::Daemon;

use crate::build::{Told, connect, context, run, solve, spec, start, to_folder, until_logged};

#[tokio::test]
async fn a_killed_daemon_ends_the_build_and_later_calls_at_once() {
    let mut daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("echo started; sleep 300"));
    let (running, mut updates) = start(&client, spec(context.path()), Cancel::new());
    until_logged(&mut updates, &mut Told::default(), "started").await;
    let begin = Instant::now();
    daemon.kill();
    let error = running.await.unwrap().unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(5));
    let SolveError::Lost { how } = error else {
        panic!("{error:?}");
    };
    assert!(["eof", "reset"].contains(&how.word()), "{how:?}");
    let later = client.version().await.unwrap_err();
    assert!(matches!(later, RpcError::Lost { how: again, .. } if again == how));
}

#[tokio::test]
async fn a_daemon_that_goes_silent_ends_the_build_within_30_s() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("echo started; sleep 300"));
    let (running, mut updates) = start(&client, spec(context.path()), Cancel::new());
    until_logged(&mut updates, &mut Told::default(), "started").await;
    let begin = Instant::now();
    daemon.freeze(true);
    let error = running.await.unwrap().unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert!(matches!(error, SolveError::Lost { how } if how.word() == "silent"));
}

/// Longer than silence may last, and longer than a session lives whose health is not answered (about 40 s); the export
/// needs the session afterwards.
#[tokio::test]
async fn a_silent_step_on_a_live_daemon_is_waited_for() {
    let daemon = Daemon::start();
    let client = connect(&daemon).await;
    let context = context(&run("sleep 45"));
    let output = daemon.folder().join("out");
    let mut spec = spec(context.path());
    spec.exporters = vec![to_folder(&output)];
    let (solved, _) = solve(&client, spec).await;
    solved.unwrap();
    assert!(output.join("bin/sh").is_file());
}
