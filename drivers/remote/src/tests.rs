//! The driver against a scripted host.

use bkhost_driver::testing::{Host, Listener, Script};

use super::*;

/// A host is the thread's world, so each case makes its own when its turn comes.
type MakeHost = fn() -> Host;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn open(host: &Host) -> Remote {
    Remote::open(host.config()).unwrap()
}

fn refusal(host: Host) -> String {
    let host = match host.config().endpoint().is_empty() {
        true => host.endpoint("tcp://h:1"),
        false => host,
    };
    let error = Remote::open(host.config()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    error.message().to_owned()
}

/// The first frame of a server: SETTINGS with one entry.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0";

fn daemon() -> Script {
    Script::new().say(SETTINGS)
}

fn accepting() -> Listener {
    Listener::new().accept(daemon())
}

#[test]
fn options_are_refused_in_the_words_of_buildx() {
    let cases: [(MakeHost, &str); 9] = [
        (
            || Host::new().option("cacert", "a.pem"),
            "non-absolute path 'a.pem' provided for cacert",
        ),
        (
            || Host::new().option("key", ""),
            "non-absolute path '' provided for key",
        ),
        (
            || Host::new().option("cert", "/c"),
            "tls enabled, but missing keys cacert, key",
        ),
        (
            || Host::new().option("key", "/k"),
            "tls enabled, but missing keys cacert, cert",
        ),
        (
            || Host::new().option("servername", "s"),
            "tls enabled, but missing keys cacert",
        ),
        (
            || Host::new().option("foo", "1"),
            "invalid driver option foo for remote driver",
        ),
        (
            || Host::new().file("buildkitd.toml", ""),
            "setting config file is not supported for remote driver",
        ),
        (
            || Host::new().daemon_flag("--debug"),
            "setting buildkit flags is not supported for remote driver",
        ),
        (
            || Host::new().endpoint("unix:///x").option("cacert", "/a"),
            "TLS over `unix:///x` needs the driver option `servername`",
        ),
    ];
    for (host, expected) in cases {
        assert_eq!(refusal(host()), expected);
    }
}

#[test]
fn mutual_tls_names_options_and_the_endpoints_host() {
    let host = Host::new().endpoint("tcp://b.example:1234");
    let host = host
        .option("cacert", "/a")
        .option("cert", "/c")
        .option("key", "/k");
    host.tcp("b.example", 1234, accepting());
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    let record = host.connection(&connection);
    let tls = record.tls.unwrap();
    assert_eq!(tls.authority_option, "cacert");
    assert_eq!(tls.identity_options, Some(("cert".into(), "key".into())));
    assert_eq!(tls.server_name.as_deref(), Some("b.example"));
    assert_eq!(record.authority.as_deref(), Some("b.example:1234"));
}

#[test]
fn a_server_name_is_verified_and_is_the_authority() {
    let host = Host::new()
        .endpoint("tcp://[::1]:1")
        .option("cacert", "/a")
        .option("servername", "s");
    host.tcp("::1", 1, accepting());
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    let record = host.connection(&connection);
    assert_eq!(record.tls.unwrap().server_name.as_deref(), Some("s"));
    assert_eq!(record.authority.as_deref(), Some("s"));
}

#[test]
fn a_socket_has_no_authority_and_helpers_no_tls() {
    let host = Host::new().endpoint("unix:///x");
    host.unix("/x", accepting());
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    assert_eq!(host.connection(&connection).authority, None);

    let host = Host::new()
        .endpoint("docker-container://b?context=c")
        .option("cacert", "/a");
    host.listen("docker-exec:b:c", accepting());
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    let record = host.connection(&connection);
    assert_eq!((record.tls, record.authority.as_deref()), (None, Some("b")));
    assert_eq!(host.log().len(), 1);
}

#[test]
fn status_tells_three_answers_apart() {
    let host = Host::new().endpoint("unix:///x");
    let remote = open(&host);
    host.unix("/x", Listener::new().missing().refuse().accept(daemon()));
    assert_eq!(remote.status().unwrap().state, State::Inactive);
    let inactive = remote.status().unwrap();
    assert_eq!(
        (inactive.state, inactive.detail.is_empty()),
        (State::Inactive, false)
    );
    assert_eq!(remote.status().unwrap().state, State::Running);
    for error in [ErrorKind::Certificate, ErrorKind::Protocol, ErrorKind::Denied] {
        host.unix("/x", Listener::new().fail(Error::new(error, "x")));
        assert_eq!(remote.status().unwrap_err().kind(), error);
    }
    host.unix("/x", Listener::new().silent());
    assert_eq!(remote.status().unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn boot_waits_for_a_daemon_that_comes_up() {
    let host = Host::new().endpoint("unix:///x");
    host.unix("/x", Listener::new().after(seconds(7)).accept(daemon()));
    open(&host).boot(&host.step("boot")).unwrap();
    assert!(host.elapsed() < seconds(9), "{:?}", host.elapsed());
}

#[test]
fn boot_ends_after_its_timeout_with_the_last_cause() {
    for (answer, kind) in [
        (Listener::new().refuse(), ErrorKind::Refused),
        (Listener::new().silent(), ErrorKind::TimedOut),
        // Somebody accepts, and says nothing or hangs up: a proxy whose daemon is not there.
        (Listener::new().accept(Script::new()), ErrorKind::TimedOut),
        (
            Listener::new().accept(Script::new().close()),
            ErrorKind::Unavailable,
        ),
        (
            Listener::new().fail(Error::new(ErrorKind::Unavailable, "x")),
            ErrorKind::Unavailable,
        ),
    ] {
        let host = Host::new().endpoint("tcp://h:1");
        host.tcp("h", 1, answer);
        let error = open(&host).boot(&host.step("boot")).unwrap_err();
        assert_eq!((error.kind(), host.elapsed()), (kind, seconds(20)));
        let hint = error.hint().unwrap();
        assert!(hint.contains("`timeout` (20s)"), "{hint}");
    }
    let host = Host::new().endpoint("tcp://h:1").option("timeout", "3s");
    assert!(open(&host).boot(&host.step("boot")).is_err());
    assert_eq!(host.elapsed(), seconds(3));
}

#[test]
fn boot_ends_at_once_where_waiting_is_of_no_use() {
    let kinds = [
        ErrorKind::Certificate,
        ErrorKind::NotFound,
        ErrorKind::Protocol,
        ErrorKind::InvalidConfig,
        ErrorKind::Unsupported,
    ];
    for kind in kinds {
        let host = Host::new().endpoint("tcp://h:1").option("cacert", "/a");
        host.tcp("h", 1, accepting().fail_tls(Error::new(kind, "x")));
        let error = open(&host).boot(&host.step("boot")).unwrap_err();
        assert_eq!((error.kind(), host.elapsed()), (kind, Duration::ZERO));
        assert_eq!(error.hint(), None);
    }
}

#[test]
fn a_pipe_has_its_own_words() {
    let host = Host::new().endpoint("npipe:////./pipe/x");
    let error = open(&host).dial(INSTANCE, &host.dial_request()).unwrap_err();
    assert_eq!(
        error,
        Error::unsupported("npipe connections are only supported on windows")
    );
}

#[test]
fn another_instance_is_not_there() {
    let host = Host::new().endpoint("unix:///x");
    let error = open(&host).dial("x", &host.dial_request()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn abilities_say_what_the_option_says() {
    let host = Host::new().endpoint("unix:///x").option("default-load", "T");
    assert_eq!(
        open(&host).abilities(&[]),
        [("default-load".to_owned(), "true".to_owned())]
    );
}

#[test]
fn a_loss_is_judged_by_another_attempt() {
    let host = Host::new().endpoint("tcp://h:1");
    let remote = open(&host);
    for (answer, word) in [
        (accepting(), "tunnel-cut"),
        (Listener::new().refuse(), "exited"),
        (Listener::new().silent(), "node-silent"),
        // It is on its way out.
        (
            Listener::new()
                .fail(Error::new(ErrorKind::Unavailable, "connection reset"))
                .refuse(),
            "exited",
        ),
        (
            Listener::new().fail(Error::new(ErrorKind::Certificate, "x")),
            "unknown",
        ),
    ] {
        host.tcp("h", 1, answer);
        let mut loss = host.loss(INSTANCE);
        loss.exit_status = Some(255);
        let finding = remote.explain(&loss).unwrap();
        assert_eq!(finding.word, word);
        assert!(
            finding
                .details
                .contains(&("exit-code".to_owned(), "255".to_owned()))
        );
    }
}

#[test]
fn every_option_is_described() {
    let described: Vec<String> = Remote::describe()
        .options
        .into_iter()
        .map(|option| option.name)
        .collect();
    assert_eq!(
        described,
        ["cacert", "cert", "key", "servername", "default-load", "timeout"]
    );
}

#[test]
fn what_speaks_something_else_ends_at_once() {
    let cases: [(&[u8], &str); 4] = [
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            "Is this the address of a BuildKit daemon?",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n",
            "Is this the address of a BuildKit daemon?",
        ),
        (
            b"\x15\x03\x01\0\x02\x02\x16",
            "It speaks TLS: set the driver option `cacert`",
        ),
        (
            b"\0\0\x06\x01\0\0\0\0\0",
            "Is this the address of a BuildKit daemon?",
        ),
    ];
    for (words, hint) in cases {
        let host = Host::new().endpoint("tcp://h:1");
        host.tcp("h", 1, Listener::new().accept(Script::new().say(words)));
        let error = open(&host).boot(&host.step("boot")).unwrap_err();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Protocol, Some(hint)));
        assert_eq!(host.elapsed(), Duration::ZERO);
    }
}

#[test]
fn a_greeting_may_come_in_pieces_and_a_farewell_is_none() {
    let host = Host::new().endpoint("tcp://h:1");
    let remote = open(&host);
    let script = SETTINGS
        .chunks(2)
        .fold(Script::new(), |script, piece| script.say(piece));
    host.tcp("h", 1, Listener::new().accept(script));
    assert_eq!(remote.status().unwrap().state, State::Running);
    assert!(host.connections().iter().all(|connection| !connection.open));
    host.tcp(
        "h",
        1,
        Listener::new().accept(Script::new().say(b"\0\0\x08\x07\0\0\0\0\0")),
    );
    assert_eq!(remote.status().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn nothing_is_written_on_a_connection_that_is_handed_over() {
    let host = Host::new().endpoint("tcp://h:1");
    host.tcp("h", 1, accepting());
    let connection = open(&host).dial(INSTANCE, &host.dial_request()).unwrap();
    let record = host.connection(&connection);
    assert_eq!((record.written, record.pending), (vec![], SETTINGS.to_vec()));
}

/// What the host makes of a helper program that ended.
fn ended(program: &str, status: i32, log: &str) -> Error {
    let last = log.lines().last().unwrap_or_default();
    let words = format!("`{program}` ended with exit status: {status}: {last}");
    Error::new(ErrorKind::Unavailable, words)
        .with_detail("exit-status", format!("exit status: {status}"))
        .with_detail("log", log)
}

fn boot_through(endpoint: &str, listener: &str, answer: Listener) -> (Error, Duration) {
    let host = Host::new().endpoint(endpoint);
    host.listen(listener, answer);
    let error = open(&host).boot(&host.step("boot")).unwrap_err();
    (error, host.elapsed())
}

#[test]
fn a_helper_that_cannot_reach_anything_ends_the_boot_at_once() {
    let cases = [
        (
            "docker-container://x",
            "docker-exec:x:-",
            ended(
                "docker",
                1,
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            ),
            "Start the Docker Engine",
        ),
        (
            "docker-container://x",
            "docker-exec:x:-",
            ended("docker", 1, "Error response from daemon: No such container: x"),
            "`docker ps`",
        ),
        (
            "docker-container://x",
            "docker-exec:x:-",
            ended(
                "docker",
                127,
                "OCI runtime exec failed: exec: \"buildctl\": executable file not found in $PATH",
            ),
            "Use an image that has `buildctl`",
        ),
        (
            "podman-container://x",
            "podman-exec:x",
            ended(
                "podman",
                127,
                "Error: crun: executable file `buildctl` not found in $PATH: No such file or directory",
            ),
            "Use an image that has `buildctl`",
        ),
        (
            "docker-container://x",
            "docker-exec:x:-",
            ended(
                "docker",
                1,
                "Error response from daemon: Container x is paused, unpause the container before exec",
            ),
            "`docker unpause`",
        ),
        (
            "podman-container://x",
            "podman-exec:x",
            ended(
                "podman",
                125,
                "Error: no container with name or ID \"x\" found: no such container",
            ),
            "`podman ps`",
        ),
        (
            "nerdctl-container://x",
            "nerdctl-exec:x:-",
            ended(
                "nerdctl",
                1,
                "level=fatal msg=\"rootless containerd not running? (hint: use `containerd-rootless-setuptool.sh install`)\"",
            ),
            "Start containerd",
        ),
        (
            "kube-pod://x",
            "kubectl-exec:x:-:-:-",
            ended(
                "kubectl",
                1,
                "E1 memcache.go:265]\nThe connection to the server localhost:8080 was refused - did you specify the right host or port?",
            ),
            "Choose a cluster",
        ),
        (
            "ssh://x",
            "ssh:x:-:-:-",
            ended(
                "ssh",
                255,
                "ssh: Could not resolve hostname x: Name or service not known",
            ),
            "Check the spelling of the host",
        ),
        (
            "ssh://x",
            "ssh:x:-:-:-",
            ended("ssh", 127, "bash: line 1: buildctl: command not found"),
            "`buildctl` must be on the PATH there",
        ),
    ];
    for (endpoint, listener, cause, way_out) in cases {
        let answer = Listener::new().accept(Script::new().fail(cause.clone()));
        let (error, elapsed) = boot_through(endpoint, listener, answer);
        assert_eq!(elapsed, Duration::ZERO, "{error}");
        assert!(!helper::is_nobody_there(&error));
        assert_eq!(
            error.message(),
            format!("`{endpoint}` cannot be reached: {}", cause.message())
        );
        let hint = error.hint().unwrap();
        assert!(hint.starts_with(way_out), "{hint}");
        let scheme = endpoint.split_once("://").unwrap().0;
        let program = cause.message().split('`').nth(1).unwrap();
        assert!(
            hint.contains(&format!("`{scheme}://` is reached by `{program}")),
            "{hint}"
        );
        assert!(hint.contains("`tcp://`, `unix://`"), "{hint}");
        // One line of log is the end of the message already.
        assert_eq!(error.details().len(), usize::from(program == "kubectl"));
    }
}

#[test]
fn a_helper_whose_daemon_is_about_to_start_is_tried_again() {
    for (endpoint, listener, cause) in [
        (
            "docker-container://x",
            "docker-exec:x:-",
            ended(
                "docker",
                1,
                "Error response from daemon: container x is not running",
            ),
        ),
        (
            "docker-container://x",
            "docker-exec:x:-",
            // It is being killed: the engine's runtime finds no process to join any more.
            ended(
                "docker",
                126,
                "OCI runtime exec failed: exec failed: error executing setns process: exit status 1: unknown",
            ),
        ),
        (
            "podman-container://x",
            "podman-exec:x",
            ended(
                "podman",
                255,
                "Error: can only create exec sessions on running containers: container state improper",
            ),
        ),
        (
            "nerdctl-container://x",
            "nerdctl-exec:x:-",
            ended(
                "nerdctl",
                1,
                "level=fatal msg=\"cannot exec in a stopped state: unknown\"",
            ),
        ),
        (
            "docker-container://x",
            "docker-exec:x:-",
            ended(
                "docker",
                1,
                "error: dial unix /run/buildkit/buildkitd.sock: connect: no such file or directory",
            ),
        ),
        (
            "ssh://x",
            "ssh:x:-:-:-",
            ended("ssh", 255, "ssh: connect to host x port 22: Connection refused"),
        ),
        (
            "ssh://x",
            "ssh:x:-:-:-",
            ended(
                "ssh",
                255,
                "ssh: Could not resolve hostname x: Temporary failure in name resolution",
            ),
        ),
    ] {
        let host = Host::new().endpoint(endpoint);
        let failing = Script::new().fail(cause.clone());
        host.listen(listener, Listener::new().accept(failing.clone()));
        match cause.message().contains("Temporary") || cause.message().contains("setns") {
            true => assert_eq!(open(&host).status().unwrap_err(), cause),
            false => {
                let status = open(&host).status().unwrap();
                assert_eq!(
                    (status.state, status.detail.as_str()),
                    (State::Inactive, cause.message())
                );
            }
        }
        host.listen(
            listener,
            Listener::new()
                .accept(failing.clone())
                .accept(failing)
                .accept(daemon()),
        );
        open(&host).boot(&host.step("boot")).unwrap();
        assert!(host.elapsed() > Duration::ZERO);
    }
}

#[test]
fn a_daemon_with_other_addresses_only_is_thought_of() {
    let words = "error: dial unix /run/buildkit/buildkitd.sock: connect: no such file or directory";
    let failing = Script::new().fail(ended("docker", 1, words));
    let answers = (0..50).fold(Listener::new(), |listener, _| listener.accept(failing.clone()));
    let (error, elapsed) = boot_through("docker-container://x", "docker-exec:x:-", answers);
    assert_eq!(elapsed, seconds(20));
    let hint = error.hint().unwrap();
    assert!(
        hint.starts_with("Check that the daemon listens on its default socket there"),
        "{hint}"
    );
}

#[test]
fn what_a_helper_says_on_its_standard_output_counts() {
    let words = "OCI runtime exec failed: exec: \"buildctl\": executable file not found in $PATH\n";
    let silent = Error::new(ErrorKind::Unavailable, "`docker` ended with exit status: 127")
        .with_detail("exit-status", "exit status: 127")
        .with_detail("log", "");
    let script = Script::new().say(words).fail(silent);
    let (error, elapsed) = boot_through(
        "docker-container://x",
        "docker-exec:x:-",
        Listener::new().accept(script),
    );
    assert_eq!((error.kind(), elapsed), (ErrorKind::NotFound, Duration::ZERO));
    assert_eq!(
        error.message(),
        format!(
            "`docker-container://x` cannot be reached: `docker` ended with exit status: 127: {}",
            words.trim()
        )
    );
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("Use an image that has `buildctl`")
    );
    let strange = Script::new().say("Welcome!\n").close();
    let listener = Listener::new().accept(strange);
    let (error, _) = boot_through("docker-container://x", "docker-exec:x:-", listener);
    assert_eq!(
        error.message(),
        "`docker-container://x` does not speak BuildKit's protocol"
    );
}

#[test]
fn a_container_that_ended_is_told_from_words_that_are_not_known() {
    let words = "Error response from daemon: container x is not running";
    for (cause, word, hint) in [
        (
            words,
            "exited",
            "The daemon ended or was stopped; `docker --context c logs x` shows its last words",
        ),
        (
            "Error response from daemon: No such container: x",
            "exited",
            "The daemon ended or was stopped; `docker --context c logs x` shows",
        ),
        (
            "Error response from daemon: Container x is paused, unpause the container before exec",
            "unknown",
            "`docker unpause` lets the container go on",
        ),
    ] {
        let host = Host::new().endpoint("docker-container://x?context=c");
        let failing = Script::new().fail(ended("docker", 1, cause));
        let answers = (0..20).fold(Listener::new(), |listener, _| listener.accept(failing.clone()));
        host.listen("docker-exec:x:c", answers);
        let finding = open(&host).explain(&host.loss(INSTANCE)).unwrap();
        assert_eq!(finding.word, word);
        assert!(finding.hint.unwrap().starts_with(hint));
        let told = finding.details.iter().find(|(key, _)| key == "error").unwrap();
        assert!(told.1.contains(cause), "{}", told.1);
    }
}

#[test]
fn a_program_that_is_not_there_says_which_endpoints_need_it() {
    let missing = Error::new(ErrorKind::NotFound, "The program `podman` is not on PATH");
    let (error, elapsed) = boot_through(
        "podman-container://x",
        "podman-exec:x",
        Listener::new().fail(missing),
    );
    assert_eq!((error.kind(), elapsed), (ErrorKind::NotFound, Duration::ZERO));
    assert_eq!(
        error.hint(),
        Some(
            "Install `podman` or put its folder on PATH. `podman-container://` is reached by `podman exec`; other \
             endpoints: `docker-container://`, `kube-pod://`, `nerdctl-container://`, `ssh://`, `tcp://`, `unix://`"
        )
    );
}
