//! The driver against a scripted host.

use bkhost_driver::testing::{Host, Listener, Script};

use super::*;

fn open(host: &Host) -> Docker {
    Docker::open(host.config()).unwrap()
}

fn worker(host: &Host, labels: &[(&str, &str)]) -> Worker {
    let mut worker = host.worker();
    let pair = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
    worker.labels = labels.iter().map(pair).collect();
    worker
}

fn protocol() -> Listener {
    Listener::new().fail(Error::new(ErrorKind::Protocol, "It speaks HTTP/1.1"))
}

#[test]
fn an_engine_that_answers_runs() {
    let host = Host::new();
    host.engine_answers(200, r#"{"Version":"29.0.1"}"#);
    assert_eq!(open(&host).status(), Ok(Status::new(State::Running)));
    host.engine_answers(200, r#"{"Version":"20.10.24+dfsg1"}"#);
    let old = Status::new(State::Running).with_attribute("version", "v0.8+unknown");
    assert_eq!(open(&host).status(), Ok(old));
    assert_eq!(host.engine_requests()[0].0, "GET /version");
}

#[test]
fn one_that_does_not_is_not_called_inactive() {
    let host = Host::new();
    host.engine_answers(
        0,
        "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
    );
    let error = open(&host).status().unwrap_err();
    let words = "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?: driver not connecting";
    assert_eq!((error.kind(), error.message()), (ErrorKind::Refused, words));
    host.engine_answers(500, r#"{"message":"on fire"}"#);
    let error = open(&host).status().unwrap_err();
    assert_eq!(
        error.message(),
        "Error response from daemon: on fire: driver not connecting"
    );
}

#[test]
fn http2_is_spoken_where_the_engine_does() {
    let host = Host::new();
    host.listen(
        "engine:http2",
        Listener::new().accept(Script::new().say("SETTINGS")),
    );
    let mut connection = open(&host).dial("default", &host.dial_request()).unwrap();
    assert_eq!(connection.receive(16).unwrap(), b"SETTINGS");
    assert_eq!(host.engine_requests(), []);
}

#[test]
fn an_older_engine_turns_a_request_into_it() {
    let host = Host::new();
    host.listen("engine:http2", protocol());
    host.listen(
        "engine:POST /grpc",
        Listener::new().accept(Script::new().say("SETTINGS")),
    );
    let mut connection = open(&host).dial("default", &host.dial_request()).unwrap();
    assert_eq!(connection.receive(16).unwrap(), b"SETTINGS");
    assert_eq!(host.engine_requests(), [("POST /grpc".to_owned(), vec![])]);
}

#[test]
fn an_engine_that_is_not_there_is_not_asked_twice() {
    let host = Host::new();
    let error = open(&host).dial("default", &host.dial_request()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(host.engine_requests(), []);
    let error = open(&host).dial("other", &host.dial_request()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn the_image_store_decides_what_builds_can_do() {
    let host = Host::new();
    let text = |abilities: Vec<Pair>| {
        let text: Vec<String> = abilities
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        text.join(" ")
    };
    let containerd = worker(&host, &[(HOST_GATEWAY, "172.17.0.1"), (SNAPSHOTTER, "overlayfs")]);
    assert_eq!(
        text(open(&host).abilities(&[host.worker(), containerd])),
        "oci-exporter=true docker-exporter=true cache-export=true multi-platform=true direct-push=true \
         prefer-image-digest=true default-load=true exporter=moby host-gateway=172.17.0.1"
    );
    assert_eq!(
        text(open(&host).abilities(&[host.worker()])),
        "oci-exporter=false docker-exporter=false cache-export=false multi-platform=false direct-push=false \
         prefer-image-digest=false default-load=true exporter=moby host-gateway="
    );
}

#[test]
fn a_gateway_that_is_no_address_is_said_and_counts_as_unknown() {
    let host = Host::new();
    let abilities = open(&host).abilities(&[worker(&host, &[(HOST_GATEWAY, "soon")])]);
    assert!(abilities.contains(&("host-gateway".to_owned(), String::new())));
    let expected = (
        "warning".to_owned(),
        "failed to parse host-gateway IP: soon".to_owned(),
    );
    assert_eq!(host.log(), [expected]);
}

#[test]
fn it_takes_no_options_and_no_files() {
    let refusal = |host: Host| Docker::open(host.config()).err().unwrap().message().to_owned();
    assert_eq!(
        refusal(Host::new().option("image", "x")),
        "invalid driver option image for docker driver"
    );
    assert_eq!(
        refusal(Host::new().file("buildkitd.toml", "")),
        "setting config file is not supported for docker driver, use dockerd configuration file"
    );
    let extra = Docker::describe().extra;
    assert!(
        ["instances", "files", "flags"]
            .iter()
            .all(|key| extra.contains(&(key.to_string(), "false".to_owned())))
    );
}

#[test]
fn nothing_is_booted_stopped_or_removed() {
    let host = Host::new().fact("docker-context", "far");
    let driver = open(&host);
    driver.stop(&host.step("stop")).unwrap();
    driver.remove(&host.step("rm"), &host.removal()).unwrap();
    assert_eq!(host.engine_requests(), []);
    assert_eq!(driver.endpoint(""), Ok("far".to_owned()));
    assert_eq!(driver.endpoint("tcp://h:1"), Ok("tcp://h:1".to_owned()));
    host.engine_answers(200, r#"{"Version":"29.0.1"}"#);
    driver.boot(&host.step("boot")).unwrap();
}

#[test]
fn a_lost_connection_is_the_engines_or_the_ways() {
    let host = Host::new();
    host.engine_answers(200, r#"{"Version":"29.0.1"}"#);
    assert_eq!(
        open(&host).explain(&host.loss("default")).unwrap().word,
        "tunnel-cut"
    );
    host.engine_answers(0, "no socket");
    let finding = open(&host).explain(&host.loss("default")).unwrap();
    assert_eq!(finding.word, "engine-gone");
    assert_eq!(finding.details, [("error".to_owned(), "no socket".to_owned())]);
}
