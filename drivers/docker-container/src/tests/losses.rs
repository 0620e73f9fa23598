//! Why a connection was lost.

use bkhost_driver::STEP_KILLED;
use serde_json::json;

use super::*;

const DIE: &str =
    r#"{"Action":"die","Actor":{"Attributes":{"exitCode":"CODE"}},"timeNano":1800000000000000000}"#;

fn die(code: i64) -> String {
    DIE.replace("CODE", &code.to_string())
}

/// The finding with a running container whose engine tells these events.
fn finding(events: &str) -> Finding {
    let host = Host::new().option("memory", "512m");
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.events = events.to_owned();
        state.log = "last words".to_owned();
        state.containers.get_mut(NAME).unwrap()["HostConfig"]["Memory"] = json!(512 << 20);
    });
    open(&host).explain(&host.loss(NAME)).unwrap()
}

fn detail<'a>(finding: &'a Finding, key: &str) -> Option<&'a str> {
    let found = finding.details.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn events_tell_the_end_of_a_container_that_runs_again() {
    let kill =
        |signal: i64| format!(r#"{{"Action":"kill","Actor":{{"Attributes":{{"signal":"{signal}"}}}}}}"#);
    let cases = [
        (
            die(137),
            "killed",
            "The container `buildx_buildkit_node0` was killed by SIGKILL",
        ),
        (
            kill(9) + "\n" + &die(137),
            "killed",
            "The container `buildx_buildkit_node0` was killed by SIGKILL",
        ),
        (
            die(139),
            "killed",
            "The container `buildx_buildkit_node0` was killed by SIGSEGV",
        ),
        (
            String::from(r#"{"Action":"oom"}"#) + "\n" + &die(137),
            "oom-killed",
            "The container `buildx_buildkit_node0` was killed: it ran out of memory, its limit is 512 MiB",
        ),
        (
            die(1),
            "exited",
            "`buildkitd` in the container `buildx_buildkit_node0` exited with code 1",
        ),
        (
            kill(15) + "\n" + &die(0) + "\n" + r#"{"Action":"stop"}"#,
            "stopped",
            "The container `buildx_buildkit_node0` was stopped",
        ),
        // Stopped, and not told yet; killed for not ending in time.
        (
            kill(15) + "\n" + &kill(9) + "\n" + &die(137),
            "stopped",
            "The container `buildx_buildkit_node0` was stopped",
        ),
        (
            kill(9) + "\n" + &die(137) + "\n" + r#"{"Action":"destroy"}"#,
            "removed",
            "The container `buildx_buildkit_node0` was removed",
        ),
        (
            String::from(r#"{"Action":"oom"}"#) + "\n" + &kill(9) + "\n" + &die(137),
            "killed",
            "The container `buildx_buildkit_node0` was killed by SIGKILL",
        ),
        // The run after the one that was lost fails, too.
        (
            die(2) + "\n" + &die(1),
            "exited",
            "`buildkitd` in the container `buildx_buildkit_node0` exited with code 2",
        ),
    ];
    for (events, word, message) in cases {
        let finding = finding(&events);
        assert_eq!((finding.word.as_str(), finding.message.as_str()), (word, message));
        // Only what came before the end is of the run that ended.
        assert_eq!(detail(&finding, "log"), Some("last words until"));
        assert!(detail(&finding, "exit-code").is_some());
    }
}

#[test]
fn only_a_kill_from_outside_the_engine_may_be_the_machines() {
    assert!(finding(&die(137)).hint.unwrap().contains("dmesg"));
    let signal = r#"{"Action":"kill","Actor":{"Attributes":{"signal":"9"}}}"#;
    assert_eq!(finding(&format!("{signal}\n{}", die(137))).hint, None);
}

#[test]
fn the_state_tells_where_events_are_forgotten() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.end(137);
        state.set("OOMKilled", json!(true));
    });
    let finding = open(&host).explain(&host.loss(NAME)).unwrap();
    assert_eq!(finding.word, "oom-killed");
    assert!(finding.message.contains("its machine ran out of memory"));
    assert_eq!(detail(&finding, "exit-code"), Some("137"));
}

#[test]
fn an_end_that_the_engine_learns_of_later_is_waited_for() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.run_buildx(&[]));
    engine.before("GET /events", |_| {});
    engine.before("GET /events", |state| state.events = die(1));
    assert_eq!(open(&host).explain(&host.loss(NAME)).unwrap().word, "exited");
    assert!(host.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_container_that_runs_on_has_lost_the_way_to_it() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.run_buildx(&[]));
    let mut loss = host.loss(NAME);
    loss.stderr_tail = "buildctl: broken pipe".to_owned();
    let finding = open(&host).explain(&loss).unwrap();
    assert_eq!(
        (finding.word.as_str(), detail(&finding, "log")),
        ("tunnel-cut", Some("buildctl: broken pipe"))
    );
    assert!(host.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_container_that_runs_on_may_have_lost_a_process_for_want_of_memory() {
    let finding = finding(r#"{"Action":"oom"}"#);
    let words = "Something in the container `buildx_buildkit_node0` was killed: it ran out of memory, its limit is 512 MiB";
    assert_eq!(
        (finding.word.as_str(), finding.message.as_str()),
        ("oom-killed", words)
    );
    assert!(finding.hint.unwrap().contains("`memory`"));
}

/// The finding about a step, and the time until it was there, with a running container whose engine tells these events.
fn finding_of_step(limit: i64, events: &str) -> (Finding, Duration) {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.events = events.to_owned();
        // Left by an earlier step.
        state.set("OOMKilled", json!(true));
        state.containers.get_mut(NAME).unwrap()["HostConfig"]["Memory"] = json!(limit);
    });
    let mut loss = host.loss(NAME);
    loss.how = STEP_KILLED.to_owned();
    loss.exit_status = Some(137);
    let finding = open(&host).explain(&loss).unwrap();
    (finding, host.elapsed())
}

#[test]
fn a_step_ran_out_of_memory_when_the_engine_says_so() {
    let oom = r#"{"Action":"oom"}"#;
    let (finding, elapsed) = finding_of_step(512 << 20, oom);
    assert_eq!(elapsed, Duration::ZERO);
    assert_eq!(finding.word, "oom-killed");
    assert_eq!(
        finding.message,
        "Probably out of memory: while the step ran, the kernel killed a process in the container \
         `buildx_buildkit_node0`, whose limit is 512 MiB"
    );
    assert!(
        finding
            .hint
            .as_ref()
            .unwrap()
            .starts_with("Raise the driver option `memory`")
    );
    assert_eq!(detail(&finding, "limit"), Some("536870912"));
    let (finding, _) = finding_of_step(0, oom);
    assert!(finding.message.ends_with("which has no limit of its own"));
    assert!(finding.hint.unwrap().contains("give the machine more memory"));
}

#[test]
fn nothing_is_claimed_of_a_step_without_evidence() {
    let signal = r#"{"Action":"kill","Actor":{"Attributes":{"signal":"1"}}}"#;
    for events in ["", signal] {
        let (finding, elapsed) = finding_of_step(512 << 20, events);
        assert_eq!(finding.word, "unknown");
        assert!(elapsed <= Duration::from_millis(1200), "{elapsed:?}");
    }
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.leave();
    let mut loss = host.loss(NAME);
    loss.how = STEP_KILLED.to_owned();
    assert_eq!(open(&host).explain(&loss).unwrap().word, "unknown");
}

#[test]
fn an_event_of_a_step_that_comes_late_is_waited_for() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.run_buildx(&[]));
    engine.before("GET /events", |_| {});
    engine.before("GET /events", |state| {
        state.events = r#"{"Action":"oom"}"#.to_owned()
    });
    let mut loss = host.loss(NAME);
    loss.how = STEP_KILLED.to_owned();
    assert_eq!(open(&host).explain(&loss).unwrap().word, "oom-killed");
}

#[test]
fn an_engine_that_was_restarted_has_started_the_container_anew() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.set("StartedAt", json!("2100-01-01T00:00:00Z"));
    });
    let finding = open(&host).explain(&host.loss(NAME)).unwrap();
    assert_eq!(finding.word, "exited");
    assert!(finding.message.contains("was started anew"));
}

#[test]
fn what_is_gone_is_named() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    assert_eq!(open(&host).explain(&host.loss(NAME)).unwrap().word, "removed");
    engine.leave();
    let finding = open(&host).explain(&host.loss(NAME)).unwrap();
    assert_eq!(finding.word, "engine-gone");
    assert_eq!(
        detail(&finding, "error"),
        Some("Cannot connect to the Docker daemon")
    );
}

#[test]
fn events_are_asked_for_by_the_engines_clock() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.info = json!({ "SystemTime": "2100-01-01T00:00:10Z" }));
    let loss = host.loss(NAME);
    host.advance(Duration::from_secs(5));
    open(&host).explain(&loss).unwrap();
    let requests = host.engine_requests();
    let (events, _) = requests
        .iter()
        .find(|(request, _)| request.contains("/events"))
        .unwrap();
    // Opened 5 s before now.
    let expected = "GET /events?since=4102444805.000000000&until=4102444810.000000000&filters=%7B%22container%22%3A%5B%22\
        buildx_buildkit_node0%22%5D%2C%22event%22%3A%5B%22die%22%2C%22oom%22%2C%22kill%22%2C%22stop%22%2C%22destroy%22%5D\
        %2C%22type%22%3A%5B%22container%22%5D%7D";
    assert_eq!(events, expected);
}

#[test]
fn only_the_last_lines_of_a_log_are_shown() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.events = die(1);
        state.log = (0..30).map(|line| format!("line {line}\n")).collect();
    });
    let finding = open(&host).explain(&host.loss(NAME)).unwrap();
    let log = detail(&finding, "log").unwrap();
    assert_eq!((log.lines().count(), log.lines().next()), (20, Some("line 11")));
}
