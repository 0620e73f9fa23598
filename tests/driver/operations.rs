//! The life of one operation: cancellation, deadlines, state, steps.

use std::time::{Duration, Instant};

use bkhost::driver::node::{DriverErrorKind, NodeConfig, Removal, WorkerFacts};
use bkhost::progress::event::Sink;

use crate::fixture::{collect, config, misbehaving, open, request};

#[tokio::test(start_paused = true)]
async fn a_guest_that_never_ends_a_look_is_stopped() {
    let error = misbehaving("sleepy").await.status().await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::TimedOut);
    assert_eq!(
        error.message,
        "`status` of driver `misbehaving` did not end by its deadline"
    );
}

#[tokio::test]
async fn a_deaf_guest_has_a_second_after_its_cancellation() {
    let node = misbehaving("deaf").await;
    let request = request();
    let cancel = request.cancel.clone();
    let (result, cancelled) = tokio::join!(node.boot(request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
        Instant::now()
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Cancelled);
    assert_eq!(error.message, "`boot` of driver `misbehaving` was cancelled");
    assert!(cancelled.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_guest_may_undo_something_when_it_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let node = open(NodeConfig {
        state_file: Some(state.clone()),
        ..config("undo")
    })
    .await
    .unwrap();
    let request = request();
    let cancel = request.cancel.clone();
    let (result, ()) = tokio::join!(node.boot(request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    });
    assert_eq!(result.unwrap_err().message, "Undone");
    assert!(
        std::fs::read_to_string(state)
            .unwrap()
            .contains(r#""undone":"yes""#)
    );
}

#[tokio::test]
async fn an_operation_ends_soon_after_its_deadline() {
    let mut request = request();
    request.deadline = (Instant::now() + Duration::from_millis(100)).into();
    let error = misbehaving("deaf").await.boot(request).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::TimedOut);
    assert_eq!(
        error.message,
        "`boot` of driver `misbehaving` did not end by its deadline"
    );
}

#[tokio::test]
async fn state_is_shared_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let shared = NodeConfig {
        state_file: Some(dir.path().join("state.json")),
        ..config("counting")
    };
    // Two catalogs, each with an engine of its own, as two processes have them.
    let one = open(shared.clone()).await.unwrap();
    let other = open(shared.clone()).await.unwrap();
    for _ in 0..10 {
        let (first, second) = tokio::join!(one.boot(request()), other.boot(request()));
        first.unwrap();
        second.unwrap();
    }
    let text = std::fs::read_to_string(dir.path().join("state.json")).unwrap();
    assert!(text.contains(r#""count":"20""#), "{text}");
}

#[tokio::test]
async fn a_look_does_not_write() {
    let error = misbehaving("write-state").await.status().await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Denied);
    assert_eq!(error.message, "`swap` is not allowed in `status`: it only looks");
}

#[tokio::test]
async fn options_are_validated_when_a_node_is_opened() {
    let mut config = config("");
    config.options.insert("colour".to_owned(), "red".to_owned());
    let Err(error) = open(config).await else {
        panic!("it opened");
    };
    assert_eq!(error.kind, DriverErrorKind::InvalidConfig);
    assert_eq!(
        error.message,
        "invalid driver option colour for misbehaving driver"
    );
    assert_eq!(error.hint.as_deref(), Some("Only `behaviour` is known"));
}

#[tokio::test]
async fn a_step_is_shown_with_its_parts() {
    let (sink, updates) = Sink::channel();
    let watcher = tokio::spawn(collect(updates));
    let mut request = request();
    request.sink = sink;
    misbehaving("").await.boot(request).await.unwrap();
    let all = watcher.await.unwrap();
    let last = all.vertexes.last().unwrap();
    assert_eq!(last.name, "[internal] booting buildkit");
    assert!(last.completed.is_some() && last.error.is_empty());
    let status = all.statuses.last().unwrap();
    assert_eq!(status.id, "doing what is to be done");
    assert_eq!((status.current, status.total), (1, 1));
    assert!(status.completed.is_some());
    assert_eq!(all.logs[0].data, "nothing to do\n");
}

#[tokio::test]
async fn a_panic_fails_the_step_it_happened_in() {
    let (sink, updates) = Sink::channel();
    let watcher = tokio::spawn(collect(updates));
    let mut request = request();
    request.sink = sink;
    misbehaving("panic-in-step")
        .await
        .boot(request)
        .await
        .unwrap_err();
    let all = watcher.await.unwrap();
    let last = all.vertexes.last().unwrap();
    assert!(last.error.contains("in the middle of it"), "{}", last.error);
    assert!(all.statuses.last().unwrap().completed.is_some());
}

#[tokio::test]
async fn requests_reach_the_guest() {
    let node = misbehaving("").await;
    let abilities = node.abilities(vec![WorkerFacts::default(); 3]).await.unwrap();
    assert_eq!(abilities["default-load"], "3");
    let keep = Removal {
        keep_state: true,
        keep_daemon: false,
    };
    node.remove(request(), keep).await.unwrap();
    let error = node.remove(request(), Removal::default()).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unsupported);
    assert_eq!(node.endpoint().await.unwrap(), "unix:///run/nowhere.sock");
}

#[tokio::test]
async fn a_loss_is_explained() {
    let loss = bkhost::driver::node::Loss {
        instance: "i1".to_owned(),
        opened: std::time::SystemTime::now(),
        lost: std::time::SystemTime::now(),
        how: "eof".to_owned(),
        exit_status: Some(255),
        stderr_tail: "gone".to_owned(),
        request: request(),
    };
    let finding = misbehaving("").await.diagnose(loss).await.unwrap().unwrap();
    assert_eq!(finding.word, "killed");
    assert_eq!(finding.message, "The daemon of i1 is gone");
}
