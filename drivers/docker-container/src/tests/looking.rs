//! Options, status, connections, and the way down.

use serde_json::json;

use super::*;

#[test]
fn options_that_cannot_be_meant_are_refused_in_buildx_words() {
    let cases = [
        (
            "memroy",
            "1g",
            "invalid driver option memroy for docker-container driver",
        ),
        ("env.", "x", "invalid env option \"env.\", expecting env.FOO=bar"),
        (
            "cpu-quota",
            "x",
            "invalid value for driver option cpu-quota: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "cpu-shares",
            "9223372036854775808",
            "invalid value for driver option cpu-shares: strconv.ParseInt: parsing \"9223372036854775808\": value out of range",
        ),
        (
            "memory",
            "-1",
            "invalid value for driver option memory: invalid size: '-1'",
        ),
        (
            "memory-swap",
            "-2",
            "invalid value for driver option memory-swap: invalid size: '-2'",
        ),
        (
            "restart-policy",
            ":3",
            "invalid value for driver option restart-policy: invalid restart policy format: no policy provided before colon",
        ),
        (
            "restart-policy",
            "on-failure:x",
            "invalid value for driver option restart-policy: invalid restart policy format: maximum retry count must be an integer",
        ),
        (
            "default-load",
            "maybe",
            "invalid value for driver option default-load: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
    ];
    for (name, value, words) in cases {
        let host = Host::new().option(name, value);
        let error = DockerContainer::open(host.config()).err().unwrap();
        assert_eq!((error.kind(), error.message()), (ErrorKind::InvalidConfig, words));
    }
}

#[test]
fn every_option_is_described() {
    let info = DockerContainer::describe();
    let mut host = Host::new();
    for option in &info.options {
        let name = option.name.replace("env.", "env.X");
        let value = match option.kind.as_str() {
            "bool" => "true",
            "int" | "bytes" => "4",
            _ => "x",
        };
        host = host.option(&name, value);
    }
    open(&host);
    assert_eq!((info.options.len(), info.endpoint.kind.as_str()), (15, "engine"));
}

#[test]
fn the_endpoint_is_what_was_typed_or_the_active_context() {
    let host = Host::new().fact("docker-context", "desktop");
    let driver = open(&host);
    assert_eq!(driver.endpoint("ssh://far"), Ok("ssh://far".to_owned()));
    assert_eq!(driver.endpoint(""), Ok("desktop".to_owned()));
    let nowhere = open(&Host::new()).endpoint("").unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn files_must_have_names_that_files_can_have() {
    let cases = [
        ("../x", "invalid config file path \"../x\""),
        ("/x", "invalid config file path \"/x\""),
        ("a//b", "invalid config file path \"a//b\""),
    ];
    for (name, words) in cases {
        let host = Host::new().file(name, "");
        let error = DockerContainer::open(host.config()).err().unwrap();
        assert_eq!(error.message(), words);
    }
    let host = Host::new().file("certs", "").file("certs/ca.pem", "");
    let error = DockerContainer::open(host.config()).err().unwrap();
    assert_eq!(
        error.message(),
        "config file path \"certs\" conflicts with directory"
    );
}

#[test]
fn facts_of_a_github_job_are_files_unless_they_are_not_wanted() {
    let host = Host::new().file("provenance.d/github_actions_context.json", "{}");
    assert_eq!(open(&host).files.len(), 1);
    // They differ from job to job, and a container is not renewed for them.
    assert_eq!(
        archive::fingerprint(&open(&host).files),
        archive::fingerprint(&[])
    );
    let host = host.option("provenance-add-gha", "false");
    assert_eq!(open(&host).files, []);
}

#[test]
fn an_archive_has_folders_first_and_long_names_whole() {
    let long = format!("certs/{}/ca.pem", "x".repeat(120));
    let files = [
        ("b.toml".to_owned(), vec![7; 513]),
        (long.clone(), b"PEM".to_vec()),
    ];
    let archive = archive::pack(&files);
    assert_eq!(archive.len() % 512, 0);
    let names = names_in(&archive);
    let expected = [
        "buildkit/".to_owned(),
        "buildkit/certs/".to_owned(),
        format!("buildkit/certs/{}/", "x".repeat(120)),
        "buildkit/b.toml".to_owned(),
        format!("buildkit/{long}"),
    ];
    assert_eq!(names, expected);
}

/// Names in a tar archive, checking sums on the way.
fn names_in(archive: &[u8]) -> Vec<String> {
    let (mut names, mut at, mut long) = (Vec::new(), 0, None);
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
    };
    while archive[at] != 0 {
        let header = &archive[at..at + 512];
        let sum: u32 = header
            .iter()
            .enumerate()
            .map(|(index, byte)| {
                if (148..156).contains(&index) {
                    32
                } else {
                    u32::from(*byte)
                }
            })
            .sum();
        assert_eq!(text(&header[148..156]), format!("{sum:06o}"));
        assert_eq!(&header[257..265], b"ustar\x0000");
        let size = usize::from_str_radix(&text(&header[124..136]), 8).unwrap();
        let content = &archive[at + 512..at + 512 + size];
        match header[156] {
            b'x' => {
                let record = String::from_utf8(content.to_vec()).unwrap();
                let (length, rest) = record.split_once(' ').unwrap();
                assert_eq!(length.parse(), Ok(record.len()));
                long = Some(rest.trim_start_matches("path=").trim_end().to_owned());
            }
            _ => names.push(long.take().unwrap_or_else(|| text(&header[..100]))),
        }
        at += 512 + size.next_multiple_of(512);
    }
    names
}

#[test]
fn a_status_says_what_is_there() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    let status = |host: &Host| open(host).status();
    assert_eq!(status(&host), Ok(Status::new(State::Inactive)));
    assert_eq!(open(&host).instances(), Ok(vec![]));
    engine.with(|state| state.run_buildx(&[]));
    assert_eq!(status(&host), Ok(Status::new(State::Running)));
    assert_eq!(
        open(&host).instances(),
        Ok(vec![Instance::new(NAME, State::Running)])
    );
    engine.with(|state| state.set("Restarting", json!(true)));
    assert_eq!(
        status(&host),
        Ok(Status::new(State::Starting).with_detail("restarting after exit code 0"))
    );
    let starting = Instance::new(NAME, State::Starting);
    assert_eq!(open(&host).instances(), Ok(vec![starting]));
    engine.with(|state| {
        state.set("Restarting", json!(false));
        state.end(3);
    });
    assert_eq!(
        status(&host),
        Ok(Status::new(State::Stopped).with_detail("exit code 3"))
    );
    engine.leave();
    assert_eq!(status(&host).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(changes(&host), Vec::<String>::new());
}

#[test]
fn what_differs_from_a_container_of_buildx_is_named() {
    let host = Host::new()
        .option("image", "example.com/bk:2")
        .option("memory", "1g")
        .option("env.A", "1");
    let host = host
        .option("network", "host")
        .option("restart-policy", "always")
        .daemon_flag("--debug");
    let engine = Engine::serving(&host);
    engine.with(|state| state.run_buildx(&[]));
    let status = open(&host).status().unwrap();
    let names = "buildkitd-flags, env, image, memory, network, restart-policy";
    assert_eq!(status.attributes, [("drift".to_owned(), names.to_owned())]);
}

#[test]
fn what_differs_from_a_container_of_ours_is_named_also_where_something_was_taken_away() {
    let host = Host::new()
        .option("env.A", "1")
        .file("buildkitd.toml", "a = 1")
        .option("memory", "1g");
    let engine = Engine::serving(&host);
    let body = open(&host).plan().body(IMAGE, &creation::Surroundings::default());
    engine.with(|state| state.make(NAME, &body));
    assert_eq!(open(&host).status().unwrap().attributes, []);
    let host = Host::new()
        .file("buildkitd.toml", "a = 2")
        .option("memory", "1024m");
    Engine::serving(&host).with(|state| state.make(NAME, &body));
    assert_eq!(
        open(&host).status().unwrap().attributes,
        [("drift".to_owned(), "env, files".to_owned())]
    );
}

#[test]
fn a_connection_is_the_standard_streams_of_buildctl() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.run_buildx(&[]));
    let greeting = Listener::new().accept(Script::new().say("HTTP/2"));
    // The first command asks for the version.
    host.listen("engine:POST /exec/1/start", greeting.clone());
    host.listen("engine:POST /exec/2/start", greeting);
    let driver = open(&host);
    let mut connection = driver.dial(NAME, &host.dial_request()).unwrap();
    assert_eq!(connection.receive(16).unwrap(), b"HTTP/2");
    driver.dial(NAME, &host.dial_request()).unwrap();
    let requests = host.engine_requests();
    let commands: Vec<String> = requests
        .iter()
        .filter(|(request, _)| request.ends_with(&format!("{NAME}/exec")))
        .map(|(_, body)| String::from_utf8(body.clone()).unwrap())
        .collect();
    let question = r#"{"AttachStderr":true,"AttachStdout":true,"Cmd":["buildkitd","--version"]}"#;
    let stream =
        r#"{"AttachStderr":true,"AttachStdin":true,"AttachStdout":true,"Cmd":["buildctl","dial-stdio"]}"#;
    assert_eq!(commands, [question, stream, stream]);
    let start = requests
        .iter()
        .rev()
        .find(|(request, _)| request.starts_with("POST /exec"))
        .unwrap();
    assert_eq!(start.1, br#"{"Detach":false,"Tty":false}"#);
    assert_eq!(
        driver.dial("other", &host.dial_request()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn the_version_of_a_container_that_somebody_made_anew_is_asked_for_again() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    let shown = |version: &'static str| {
        engine.with(|state| {
            state.run_buildx(&[]);
            state.version = version;
        });
        // Only what it leaves behind counts.
        let _ = open(&host).dial(NAME, &host.dial_request());
        let attributes = open(&host).status().unwrap().attributes;
        attributes.into_iter().find(|(key, _)| key == "version")
    };
    let version = |version: &str| Some(("version".to_owned(), version.to_owned()));
    assert_eq!(
        shown("buildkitd github.com/x/y v0.8.3 81c2cbd"),
        version("v0.8.3")
    );
    assert_eq!(
        shown("buildkitd github.com/x/y v0.9.0 81c2cbd"),
        version("v0.9.0")
    );
}

#[test]
fn a_container_that_does_not_run_may_come() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    let driver = open(&host);
    assert_eq!(
        driver.dial(NAME, &host.dial_request()).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    engine.with(|state| {
        state.run_buildx(&[]);
        state.end(0);
    });
    let error = driver.dial(NAME, &host.dial_request()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.message(),
        "Error response from daemon: container is not running"
    );
}

#[test]
fn what_does_not_run_is_not_stopped() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    let driver = open(&host);
    driver.stop(&host.step("stop")).unwrap();
    engine.with(|state| state.run_buildx(&[]));
    driver.stop(&host.step("stop")).unwrap();
    driver.stop(&host.step("stop")).unwrap();
    assert_eq!(changes(&host), [format!("POST /containers/{NAME}/stop")]);
}

#[test]
fn a_removal_takes_what_it_was_asked_to() {
    let removed = |keep_state: bool, keep_daemon: bool, there: bool| {
        let host = Host::new();
        let engine = Engine::serving(&host);
        engine.with(|state| {
            state.run_buildx(&[]);
            if !there {
                state.containers.clear();
            }
        });
        let mut removal = host.removal();
        (removal.keep_state, removal.keep_daemon) = (keep_state, keep_daemon);
        open(&host).remove(&host.step("rm"), &removal).unwrap();
        engine.with(|state| (state.containers.is_empty(), state.volumes.is_empty()))
    };
    assert_eq!(removed(false, false, true), (true, true));
    assert_eq!(removed(true, false, true), (true, false));
    assert_eq!(removed(false, true, true), (false, false));
    // buildx leaves the volume then.
    assert_eq!(removed(false, false, false), (true, true));
}

#[test]
fn a_removal_takes_what_a_killed_client_left() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.make("bkhost_probe_node0", &json!({})));
    open(&host).remove(&host.step("rm"), &host.removal()).unwrap();
    assert!(engine.with(|state| state.containers.is_empty()));
}

#[test]
fn a_volume_that_stays_in_use_is_an_error() {
    let host = Host::new();
    host.engine_answers(404, "");
    host.engine_answers(404, "");
    host.engine_serves(|_, _| (409, b"{\"message\":\"volume is in use\"}".to_vec()));
    let error = open(&host).remove(&host.step("rm"), &host.removal()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.message(), "Error response from daemon: volume is in use");
    assert_eq!(host.elapsed(), Duration::from_secs(10));
}

#[test]
fn two_who_remove_the_same_both_succeed() {
    let host = Host::new();
    host.engine_answers(
        409,
        "{\"message\":\"removal of container is already in progress\"}",
    );
    host.engine_answers(404, "");
    host.engine_answers(404, "");
    host.engine_answers(409, "{\"message\":\"volume is in use\"}");
    host.engine_answers(404, "");
    assert_eq!(open(&host).remove(&host.step("rm"), &host.removal()), Ok(()));
}

#[test]
fn a_listing_asks_the_engine_once() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| state.run_buildx(&[]));
    let driver = open(&host);
    driver.status().unwrap();
    assert_eq!(driver.instances().unwrap().len(), 1);
    assert_eq!(host.engine_requests().len(), 1);
    engine.with(|state| state.end(0));
    let ended = Instance::new(NAME, State::Stopped);
    assert_eq!(driver.instances(), Ok(vec![ended]), "its log can be had");
}

#[test]
fn the_log_is_a_stream_of_the_engine() {
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.log = "running server".to_owned();
    });
    let mut request = host.log_request();
    let mut stream = open(&host).open_log(NAME, &request).unwrap();
    assert_eq!(stream.receive(64).unwrap(), b"running server");
    (request.follow, request.tail) = (true, Some(5));
    open(&host).open_log(NAME, &request).unwrap();
    let requests: Vec<String> = host
        .engine_requests()
        .into_iter()
        .map(|(request, _)| request)
        .collect();
    let path = |rest: &str| format!("GET /containers/{NAME}/logs?stdout=1&stderr=1&{rest}");
    assert_eq!(requests, [path("follow=0&tail=all"), path("follow=1&tail=5")]);
}

#[test]
fn default_load_is_an_ability() {
    let host = Host::new().option("default-load", "1");
    assert_eq!(
        open(&host).abilities(&[]),
        [("default-load".to_owned(), "true".to_owned())]
    );
}
