//! Guests that want too much: each ends with its own words, and costs the host little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bkhost::driver::node::{DriverError, DriverErrorKind, Drivers, State};

use crate::fixture::{catalog, catalog_of, collect, config, logged, misbehaving, open, request};

async fn status_error(behaviour: &str) -> DriverError {
    let error = misbehaving(behaviour).await.status().await.unwrap_err();
    assert_eq!(error.driver, "misbehaving");
    error
}

async fn defect(behaviour: &str) -> String {
    let error = status_error(behaviour).await;
    assert_eq!(error.kind, DriverErrorKind::Defect, "{error:?}");
    assert!(error.hint.unwrap().contains("defect of the driver"));
    error.message
}

/// Resident memory of this process, in MiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * 4096) >> 20
}

#[tokio::test]
async fn a_well_behaved_guest_is_heard() {
    let node = misbehaving("").await;
    let status = node.status().await.unwrap();
    assert_eq!(
        (status.state, status.detail.as_str()),
        (State::Running, "all is well")
    );
    assert_eq!(node.info().version, "0.3.0");
    assert!(node.info().track.starts_with("0.1."));
    assert_eq!(node.info().optional, ["diagnose"]);
}

/// On one thread, so that a guest that never yields would stop the other one.
#[tokio::test(flavor = "current_thread")]
async fn an_endless_loop_ends_while_others_go_on() {
    let looping = misbehaving("loop").await;
    let good = misbehaving("").await;
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let others = tokio::spawn(async move {
        loop {
            good.status().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let error = looping.status().await.unwrap_err();
    others.abort();
    assert_eq!(
        error.message,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it computed for more than 5 s without waiting for \
         anything"
    );
    assert!(done.load(Ordering::Relaxed) > 20);
}

#[tokio::test]
async fn memory_is_bounded() {
    assert_eq!(
        defect("allocate").await,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it wanted more than 64 MiB of memory"
    );
}

#[tokio::test]
async fn recursion_is_bounded() {
    let message = defect("recursion").await;
    assert!(
        message.contains("out of bounds memory access") || message.contains("call stack exhausted"),
        "{message}"
    );
}

#[tokio::test]
async fn handles_are_bounded() {
    assert_eq!(
        defect("many-handles").await,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it held more than 4096 handles"
    );
}

/// What a component ends with that is made like `node-only`, with more in it.
async fn enlarged(file: &str) -> Result<(), DriverError> {
    catalog_of("node-only", file).info("node-only").await.map(|_| ())
}

#[tokio::test]
async fn core_instances_and_memories_are_bounded() {
    for (file, words) in [
        ("many-instances", "it has more than 256 core instances"),
        ("many-memories", "it has more than 16 memories"),
    ] {
        let error = enlarged(file).await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Defect);
        assert_eq!(
            error.message,
            format!("Driver `node-only` 0.1.0 was stopped in `describe`: {words}")
        );
    }
    enlarged("some-memories").await.unwrap();
}

#[tokio::test]
async fn a_guest_that_gets_nowhere_ends() {
    let limit = Duration::from_secs(1);
    let catalog = catalog("misbehaving").with_idle_limit(limit);
    let idle = catalog.open("misbehaving", config("loop")).await.unwrap();
    let error = idle.status().await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Defect);
    assert_eq!(
        error.message,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it neither waited for anything nor made progress for 1 s"
    );

    // One that waits may do so for as long as its operation has time.
    let waiting = catalog.open("misbehaving", config("deaf")).await.unwrap();
    let mut request = request();
    request.deadline = (Instant::now() + 2 * limit).into();
    let error = waiting.boot(request).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::TimedOut, "{}", error.message);
}

#[tokio::test]
async fn what_the_host_keeps_for_handles_is_bounded() {
    assert_eq!(
        defect("hoard").await,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it had the host keep more than 32 MiB"
    );
}

#[tokio::test]
async fn a_panic_is_told_with_its_message() {
    let message = defect("panic").await;
    assert!(
        message.starts_with("Driver `misbehaving` 0.3.0 panicked in `status`: "),
        "{message}"
    );
    assert!(message.ends_with("index out of everything"), "{message}");
    let Err(error) = open(config("panic-in-open")).await else {
        panic!("it opened");
    };
    assert!(error.message.contains("panicked in `open`"), "{}", error.message);
}

#[tokio::test]
async fn a_long_panic_is_cut() {
    let message = defect("long-panic").await;
    assert!(message.len() < 5000, "{} bytes", message.len());
    assert!(message.ends_with("more bytes)"), "{message}");
}

#[tokio::test]
async fn a_trap_without_a_word_is_told_as_such() {
    let message = defect("trap").await;
    assert_eq!(
        message,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: wasm trap: wasm `unreachable` instruction executed"
    );
}

#[tokio::test]
async fn an_error_as_long_as_memory_allows_is_cut() {
    let error = status_error("long-error").await;
    assert_eq!(error.kind, DriverErrorKind::Unavailable);
    assert!(error.message.len() < 5000, "{} bytes", error.message.len());
    assert_eq!(
        defect("longest-error").await,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it handed over more than 20 MiB in one call"
    );
}

#[tokio::test]
async fn an_errors_text_has_no_power_over_the_terminal() {
    let error = status_error("ugly-error").await;
    assert_eq!(error.message, "red  [31m  and more");
    assert_eq!(error.hint.as_deref(), Some("bell"));
    assert_eq!(error.details, [("log".to_owned(), "one\n [2Jtwo".to_owned())]);
    assert_eq!(status_error("many-details").await.details.len(), 64);
}

#[tokio::test]
async fn the_host_does_not_grow_with_its_guests() {
    let node = misbehaving("long-error").await;
    node.status().await.unwrap_err();
    let before = resident();
    for _ in 0..30 {
        node.status().await.unwrap_err();
    }
    let growth = resident().saturating_sub(before);
    // Thirty texts of 12 MiB passed; two stores' memory is what may be about.
    assert!(growth < 160, "grew by {growth} MiB");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut() {
    let (logged, _guard) = logged();
    let began = std::time::Instant::now();
    let status = misbehaving("log-flood").await.status().await.unwrap();
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert_eq!(status.detail, "said all");
    let lines = logged.lock().unwrap();
    let count = lines.len();
    assert!(count >= 1000 && count <= seconds * 1000 + 100, "{count} lines");
    assert!(lines.iter().all(|line| line.len() < 10_000));
}

#[tokio::test]
async fn warnings_reach_the_user_in_number() {
    let (sink, updates) = bkhost::progress::event::Sink::channel();
    let watcher = tokio::spawn(collect(updates));
    let mut request = request();
    request.sink = sink;
    misbehaving("warnings").await.boot(request).await.unwrap();
    let all = watcher.await.unwrap();
    assert_eq!(all.warnings.len(), 20);
    assert_eq!(all.warnings[0].short, "Driver `misbehaving`: odd thing 0");
}

#[tokio::test]
async fn a_flood_of_steps_is_cut_and_the_cut_is_shown() {
    let (sink, updates) = bkhost::progress::event::Sink::channel();
    let watcher = tokio::spawn(collect(updates));
    let mut request = request();
    request.sink = sink;
    misbehaving("step-flood").await.boot(request).await.unwrap();
    let all = watcher.await.unwrap();
    assert!(all.logs.len() < 2000, "{} lines", all.logs.len());
    assert!(all.statuses.len() <= 4000, "{} statuses", all.statuses.len());
    let text: String = all
        .logs
        .iter()
        .map(|log| String::from_utf8_lossy(&log.data).into_owned())
        .collect();
    assert!(text.contains("lines were not shown]"));
}

#[tokio::test]
async fn endless_log_lines_end() {
    let (logged, _guard) = logged();
    let began = std::time::Instant::now();
    assert_eq!(
        defect("endless-log").await,
        "Driver `misbehaving` 0.3.0 was stopped in `status`: it computed for more than 5 s without waiting for anything"
    );
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert!(logged.lock().unwrap().len() <= seconds * 1000 + 100);
}

#[tokio::test]
async fn endless_steps_end() {
    let (sink, updates) = bkhost::progress::event::Sink::channel();
    let watcher = tokio::spawn(collect(updates));
    let mut request = request();
    request.sink = sink;
    let error = misbehaving("endless-steps")
        .await
        .boot(request)
        .await
        .unwrap_err();
    assert_eq!(
        error.message,
        "Driver `misbehaving` 0.3.0 was stopped in `boot`: it computed for more than 5 s without waiting for anything"
    );
    let all = watcher.await.unwrap();
    assert_eq!(all.vertexes.last().unwrap().error, error.message);
    assert!(all.statuses.len() <= 6000, "{} statuses", all.statuses.len());
    assert!(all.logs.len() < 20_000, "{} lines", all.logs.len());
}

#[tokio::test]
async fn all_details_together_are_bounded() {
    let error = status_error("long-details").await;
    let bytes: usize = error
        .details
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert!(bytes < 140_000, "{bytes} bytes");
    assert!(error.details[0].1.starts_with("000"));
}

/// All of them at once on one thread beside one that behaves: it is served, and the host stays small.
#[tokio::test(flavor = "current_thread")]
async fn bad_guests_do_not_hold_up_a_good_one() {
    const BAD: [&str; 6] = [
        "loop",
        "allocate",
        "panic",
        "long-error",
        "endless-log",
        "many-handles",
    ];
    let good = misbehaving("").await;
    good.status().await.unwrap();
    let before = resident();
    let bad = futures::future::join_all(BAD.map(status_error));
    tokio::pin!(bad);
    let mut slowest = std::time::Duration::ZERO;
    let mut looks = 0;
    loop {
        let began = std::time::Instant::now();
        tokio::select! {
            biased;
            ended = &mut bad => {
                assert_eq!(ended.len(), BAD.len());
                break;
            }
            status = good.status() => assert_eq!(status.unwrap().state, State::Running),
        }
        slowest = slowest.max(began.elapsed());
        looks += 1;
        tokio::task::yield_now().await;
    }
    // Two of them compute for five seconds each.
    assert!(looks > 20, "{looks} looks, the slowest in {slowest:?}");
    assert!(slowest.as_secs() < 3, "{slowest:?}");
    let growth = resident().saturating_sub(before);
    assert!(growth < 300, "grew by {growth} MiB");
}
