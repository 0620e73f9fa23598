//! The driver against a scripted host.

use bkhost_driver::testing::{DaemonPlan, Host, LaunchRecord, Progress};

use super::*;

/// A host is the thread's world, so each case makes its own when its turn comes.
type MakeHost = fn() -> Host;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A machine of root with everything installed.
fn machine() -> Host {
    let host = Host::new().fact("privileged", "true");
    let host = host
        .program("buildkitd", "/usr/bin/buildkitd")
        .program("runc", "/usr/sbin/runc");
    host.program("rootlesskit", "/usr/bin/rootlesskit")
}

fn open(host: &Host) -> Process {
    Process::open(host.config()).unwrap()
}

fn boot(host: &Host) -> Result<()> {
    open(host).boot(&host.step("boot"))
}

fn launched(host: &Host) -> LaunchRecord {
    boot(host).unwrap();
    let mut launches = host.launches();
    assert_eq!(launches.len(), 1);
    launches.remove(0)
}

fn refusal(host: Host) -> String {
    let error = Process::open(host.config()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    error.message().to_owned()
}

fn own_fingerprint(host: &Host) -> String {
    let process = open(host);
    fingerprint::of(&process.settings, &process.config)
}

#[test]
fn root_runs_buildkitd_itself() {
    let host = machine().daemon_flag("--debug");
    let launch = launched(&host);
    assert_eq!(launch.program, "/usr/bin/buildkitd");
    let socket = format!("{}/buildkitd.sock", host.runtime_folder());
    let expected = [
        "--root",
        "/home/ada/.local/share/bkhost/node0",
        "--addr",
        &format!("unix://{socket}"),
        "--oci-worker-binary",
        "/usr/sbin/runc",
        "--oci-worker-net",
        "host",
        "--containerd-worker=false",
        "--debug",
    ];
    assert_eq!(launch.args, expected);
    assert_eq!(launch.socket, socket);
    assert_eq!(launch.folders, ["/home/ada/.local/share/bkhost/node0"]);
    assert_eq!(launch.path_of, ["/usr/sbin/runc", "/usr/bin/buildkitd"]);
    assert_eq!(launch.idle_timeout, seconds(600));
    assert_eq!(launch.env, []);
}

#[test]
fn an_ordinary_user_runs_it_in_rootlesskit() {
    let host = machine()
        .fact("privileged", "false")
        .option("env.HTTP_PROXY", "p");
    let launch = launched(&host);
    let runtime = host.runtime_folder();
    assert_eq!(launch.program, "/usr/bin/rootlesskit");
    let expected = [
        "--net=host",
        "--copy-up=/etc",
        "--copy-up=/run",
        &format!("--state-dir={runtime}/rootlesskit"),
        "/usr/bin/buildkitd",
        "--rootless",
        "--root",
        "/home/ada/.local/share/bkhost/node0",
        "--addr",
        &format!("unix://{runtime}/buildkitd.sock"),
        "--oci-worker-binary",
        "/usr/sbin/runc",
        "--oci-worker-net",
        "host",
        "--containerd-worker=false",
    ];
    assert_eq!(launch.args, expected);
    let env = [
        ("XDG_RUNTIME_DIR".to_owned(), runtime.to_owned()),
        ("HTTP_PROXY".to_owned(), "p".to_owned()),
    ];
    assert_eq!(launch.env, env);
}

#[test]
fn options_choose_programs_folder_and_mode() {
    let host = machine()
        .program("other", "/opt/buildkitd")
        .option("binary", "/opt/buildkitd");
    let host = host
        .option("rootless", "true")
        .option("root", "/data/x")
        .option("idle-timeout", "0");
    let launch = launched(&host);
    assert_eq!(launch.program, "/usr/bin/rootlesskit");
    assert_eq!(launch.args.get(4).map(String::as_str), Some("/opt/buildkitd"));
    assert!(launch.args.contains(&"/data/x".to_owned()));
    assert_eq!(launch.idle_timeout, Duration::ZERO);
}

#[test]
fn files_lie_where_the_configuration_says() {
    let toml = "[registry.\"r\"]\nca = [\"/etc/buildkit/certs/r/ca.pem\"]\n";
    let host = machine()
        .file("buildkitd.toml", toml)
        .file("certs/r/ca.pem", "PEM");
    let launch = launched(&host);
    let folder = format!("{}/config", host.runtime_folder());
    let config = format!("{folder}/buildkitd.toml");
    assert!(
        launch
            .args
            .windows(2)
            .any(|pair| pair == ["--config".to_owned(), config.clone()])
    );
    let written = String::from_utf8(launch.files["buildkitd.toml"].clone()).unwrap();
    assert_eq!(
        written,
        format!("[registry.\"r\"]\nca = [\"{folder}/certs/r/ca.pem\"]\n")
    );
    assert_eq!(launch.files["certs/r/ca.pem"], b"PEM");
}

#[test]
fn provenance_of_the_machine_is_found_without_a_configuration() {
    let host = machine().file("provenance.d/github_actions_context.json", "{}");
    let launch = launched(&host);
    let line = format!(
        "provenanceEnvDir = \"{}/config/provenance.d/\"\n",
        host.runtime_folder()
    );
    assert_eq!(launch.files["buildkitd.toml"], line.as_bytes());
    assert!(launch.args.contains(&"--config".to_owned()));

    let own = "provenanceEnvDir = \"/p\"\n";
    let host = machine()
        .file("provenance.d/x.json", "{}")
        .file("buildkitd.toml", own);
    assert_eq!(launched(&host).files["buildkitd.toml"], own.as_bytes());
}

#[test]
fn options_that_cannot_be_meant_are_refused() {
    let cases: [(MakeHost, &str); 8] = [
        (
            || machine().option("rootles", "1"),
            "invalid driver option rootles for process driver",
        ),
        (
            || machine().option("rootless", "maybe"),
            "invalid value for driver option rootless: `maybe` is none of `auto`, `true` and `false`",
        ),
        (
            || Host::new().option("rootless", "false"),
            "rootless=false needs root: an ordinary user cannot run buildkitd otherwise",
        ),
        (
            || machine().option("root", "x"),
            "non-absolute path 'x' provided for root",
        ),
        (
            || machine().option("env.", "x"),
            "invalid driver option env.: no variable has this name",
        ),
        (
            || machine().option("timeout", "1x"),
            "invalid value for driver option timeout: time: unknown unit \"x\" in duration \"1x\"",
        ),
        (
            || machine().daemon_flag("--root=/x"),
            "The buildkitd argument `--root=/x` is set by the driver process",
        ),
        (
            || machine().endpoint("tcp://h:1"),
            "The driver process makes its own endpoint; `tcp://h:1` cannot be used",
        ),
    ];
    for (host, expected) in cases {
        assert_eq!(refusal(host()), expected);
    }
}

#[test]
fn a_relative_root_is_told_how_to_become_whole() {
    let host = machine().option("root", "./cache");
    let error = Process::open(host.config()).err().unwrap();
    assert_eq!(
        error.hint(),
        Some("Give the whole path, such as `--driver-opt root=\"$PWD/cache\"`")
    );
}

#[test]
fn the_endpoint_is_derived_and_comes_back() {
    let host = machine();
    let endpoint = open(&host).endpoint("").unwrap();
    assert_eq!(
        endpoint,
        format!("unix://{}/buildkitd.sock", host.runtime_folder())
    );
    let host = machine().endpoint(&endpoint);
    assert_eq!(open(&host).endpoint(&endpoint), Ok(endpoint));
}

#[test]
fn a_missing_program_says_how_to_get_it() {
    let host = Host::new().fact("privileged", "true").program("buildkitd", "/b");
    let error = boot(&host).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::NotFound, "`runc` was not found")
    );
    let host = Host::new();
    let error = boot(&host).unwrap_err();
    assert_eq!(error.message(), "`buildkitd` was not found");
    assert!(error.hint().unwrap().contains("`--driver-opt binary=PATH`"));
}

#[test]
fn boot_waits_until_the_socket_accepts() {
    let host = machine();
    host.plan_daemon(DaemonPlan::new().listens_after(seconds(4)));
    boot(&host).unwrap();
    assert!(host.elapsed() >= seconds(4) && host.elapsed() < seconds(5));
    assert!(!host.is_locked("boot"));
    assert_eq!(host.leases(), 0);
    boot(&host).unwrap();
    assert_eq!(host.launches().len(), 1);
}

#[test]
fn a_daemon_that_another_client_starts_is_used() {
    let host = machine();
    host.daemon_elsewhere(seconds(3), DaemonPlan::new().listens_after(seconds(2)));
    boot(&host).unwrap();
    assert_eq!(host.launches(), []);
    assert!(host.elapsed() >= seconds(5));
    let waiting = |progress: &Progress| matches!(progress, Progress::Message(_, text) if text.contains("Another client"));
    assert!(host.progress().iter().any(waiting));
}

#[test]
fn a_daemon_on_its_way_down_is_replaced() {
    let host = machine();
    let going = DaemonPlan::new()
        .never_listens()
        .ends_after(seconds(2), &[("reason", "idle")]);
    host.running_daemon(going);
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    assert_eq!(host.launches().len(), 1);
    assert_eq!(host.connection(&connection).leases, 1);
}

#[test]
fn a_daemon_that_ends_before_it_listens_shows_its_last_words() {
    let host = machine();
    let end = [("exit-code", "1"), ("reason", "exited"), ("ended-at", "5")];
    host.plan_daemon(
        DaemonPlan::new()
            .never_listens()
            .ends_after(seconds(1), &end)
            .log("a\nbuildkitd: bad flag"),
    );
    let error = boot(&host).unwrap_err();
    assert_eq!(
        error.message(),
        "`buildkitd` exited with code 1 before it listened"
    );
    let details = [
        ("exit-code".to_owned(), "1".to_owned()),
        ("log".to_owned(), "a\nbuildkitd: bad flag".to_owned()),
    ];
    assert_eq!(error.details(), details);
    assert!(!error.is_transient());
    assert_eq!(host.elapsed(), seconds(1));
}

#[test]
fn a_state_folder_in_use_is_a_conflict() {
    let host = machine();
    let log = "buildkitd: could not lock /x/buildkitd.lock, another instance running?";
    host.plan_daemon(
        DaemonPlan::new()
            .never_listens()
            .ends_after(seconds(1), &[("exit-code", "1")])
            .log(log),
    );
    assert_eq!(boot(&host).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn a_daemon_that_never_listens_ends_at_the_timeout() {
    let host = machine().option("timeout", "7s");
    host.plan_daemon(DaemonPlan::new().never_listens().log("waiting for disk"));
    let error = boot(&host).unwrap_err();
    assert_eq!((error.kind(), host.elapsed()), (ErrorKind::TimedOut, seconds(7)));
    assert_eq!(
        error.details(),
        [("log".to_owned(), "waiting for disk".to_owned())]
    );
}

#[test]
fn a_cancellation_ends_the_waiting() {
    let host = machine();
    host.plan_daemon(DaemonPlan::new().never_listens());
    host.cancel_in(seconds(2));
    assert_eq!(boot(&host).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(host.elapsed(), seconds(2));
    assert!(!host.is_locked("boot"));
}

#[test]
fn a_connection_keeps_its_lease_until_it_is_closed() {
    let host = machine();
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    assert_eq!((host.connection(&connection).leases, host.leases()), (1, 1));
    drop(connection);
    assert_eq!(host.leases(), 0);
}

#[test]
fn status_and_instances_tell_what_is_there() {
    let host = machine();
    let process = open(&host);
    assert_eq!(process.status().unwrap().state, State::Inactive);
    assert_eq!(process.instances().unwrap(), []);

    let plan = DaemonPlan::new()
        .fingerprint(&own_fingerprint(&host))
        .listens_after(seconds(3));
    host.running_daemon(plan.ends_after(seconds(9), &[("signal", "9"), ("signal-name", "SIGKILL")]));
    assert_eq!(process.status().unwrap().state, State::Starting);
    host.advance(seconds(4));
    let running = process.status().unwrap();
    assert_eq!((running.state, running.attributes), (State::Running, vec![]));
    assert_eq!(process.instances().unwrap().len(), 1);
    host.advance(seconds(6));
    let stopped = process.status().unwrap();
    assert_eq!(
        (stopped.state, stopped.detail.as_str()),
        (State::Stopped, "was killed by SIGKILL")
    );
    assert_eq!(process.instances().unwrap(), []);
}

#[test]
fn other_options_are_named_and_the_daemon_goes_on() {
    let before = own_fingerprint(&machine());
    let host = machine().option("idle-timeout", "1h").option("env.A", "1");
    host.running_daemon(DaemonPlan::new().fingerprint(&before));
    let drift = ("drift".to_owned(), "idle-timeout, env".to_owned());
    assert_eq!(open(&host).status().unwrap().attributes, [drift]);
    boot(&host).unwrap();
    assert_eq!((host.launches().len(), host.stops()), (0, 0));
}

#[test]
fn stop_keeps_state_and_remove_does_not() {
    let host = machine();
    boot(&host).unwrap();
    open(&host).stop(&host.step("stop")).unwrap();
    assert_eq!(open(&host).status().unwrap().detail, "was stopped");
    assert_eq!(host.removals(), []);
    let mut removal = host.removal();
    open(&host).remove(&host.step("rm"), &removal).unwrap();
    removal.keep_state = true;
    open(&host).remove(&host.step("rm"), &removal).unwrap();
    removal.keep_daemon = true;
    open(&host).remove(&host.step("rm"), &removal).unwrap();
    let folder = "/home/ada/.local/share/bkhost/node0".to_owned();
    assert_eq!(host.removals(), [(folder.clone(), false), (folder, true)]);
}

#[test]
fn a_loss_is_told_by_how_the_daemon_ended() {
    let cases: [(&[(&str, &str)], &str); 4] = [
        (
            &[("signal", "9"), ("signal-name", "SIGKILL"), ("reason", "exited")],
            "killed",
        ),
        (&[("exit-code", "2"), ("reason", "exited")], "exited"),
        (&[("exit-code", "0"), ("reason", "idle")], "idle-stopped"),
        (&[("exit-code", "0"), ("reason", "stopped")], "stopped"),
    ];
    for (end, word) in cases {
        let host = machine();
        // The process ends a little after its connections do.
        host.running_daemon(DaemonPlan::new().ends_after(seconds(1), end).log("last words"));
        let finding = open(&host).explain(&host.loss(INSTANCE)).unwrap();
        assert_eq!(finding.word, word);
        assert!(
            finding
                .details
                .contains(&("log".to_owned(), "last words".to_owned()))
        );
        assert!(
            finding
                .details
                .iter()
                .any(|(key, _)| key == "signal" || key == "exit-code")
        );
    }
}

#[test]
fn a_signal_to_the_daemon_below_rootlesskit_is_told() {
    let host = machine();
    let log = "[rootlesskit:child ] error: command [buildkitd --rootless] exited: signal: killed\n\
        [rootlesskit:parent] error: child exited: exit status 255";
    let end = [("exit-code", "255"), ("reason", "exited")];
    host.running_daemon(DaemonPlan::new().ends_after(seconds(1), &end).log(log));
    let finding = open(&host).explain(&host.loss(INSTANCE)).unwrap();
    assert_eq!(finding.word, "killed");
    assert!(
        finding.message.ends_with("was killed by SIGKILL"),
        "{}",
        finding.message
    );
    let name = ("signal-name".to_owned(), "SIGKILL".to_owned());
    assert!(finding.details.contains(&name));
    assert_eq!(open(&host).status().unwrap().detail, "was killed by SIGKILL");
}

#[test]
fn what_stands_in_the_way_of_a_daemon_is_said() {
    for (log, message) in [
        (
            "[rootlesskit:parent] error: failed to setup UID/GID map: newuidmap 1 [0 1001 1] failed: : exec: \"newuidmap\": \
             executable file not found in $PATH",
            "`newuidmap` was not found, which rootless mode needs",
        ),
        (
            "failed to compute uid/gid map: No subuid ranges found for user 1001 (\"ada\")",
            "This user has no subordinate user ids, which rootless mode needs",
        ),
    ] {
        let host = machine().fact("privileged", "false");
        let end = [("exit-code", "1"), ("reason", "exited")];
        let plan = DaemonPlan::new().never_listens().ends_after(seconds(1), &end);
        host.plan_daemon(plan.log(log));
        let error = boot(&host).unwrap_err();
        assert_eq!(error.message(), message);
        assert!(error.hint().is_some());
    }
}

#[test]
fn an_end_that_nobody_saw_is_told_as_such() {
    let host = machine();
    host.running_daemon(DaemonPlan::new().ends_after(seconds(1), &[("reason", "keeper-lost")]));
    let finding = open(&host).explain(&host.loss(INSTANCE)).unwrap();
    assert_eq!(finding.word, "keeper-lost");
    let words = "ended with its keeper, which was killed";
    assert!(finding.message.ends_with(words), "{}", finding.message);
    assert_eq!(open(&host).status().unwrap().detail, words);
}

#[test]
fn a_loss_of_a_daemon_that_runs_is_no_end() {
    let host = machine();
    host.running_daemon(DaemonPlan::new());
    assert_eq!(open(&host).explain(&host.loss(INSTANCE)).unwrap().word, "unknown");
    let mut loss = host.loss(INSTANCE);
    loss.how = "silent".to_owned();
    assert_eq!(open(&host).explain(&loss).unwrap().word, "node-silent");
    loss.opened_at = Duration::ZERO;
    assert_eq!(open(&host).explain(&loss).unwrap().word, "exited");
}

#[test]
fn the_log_is_the_keepers() {
    let host = machine();
    host.running_daemon(DaemonPlan::new().log("one\ntwo"));
    let mut request = host.log_request();
    request.tail = Some(1);
    let mut log = open(&host).open_log(INSTANCE, &request).unwrap();
    assert_eq!(log.receive(64).unwrap(), b"two");
}
