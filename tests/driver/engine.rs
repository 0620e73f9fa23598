//! The Docker Engine API as guests get it, over a scripted engine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bkhost::docker::{EngineSettings, Engines};
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{Cancel, DialRequest, DriverError, DriverErrorKind, Node, NodeConfig};
use bkhost::progress::event::Sink;
use bkhost::store::docker::DockerEnvironment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::fixture::{catalog_with, collect, request};

const PONG: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nContent-Length: 0\r\n\r\n";
/// The first frame of a server of HTTP/2.
const SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";

/// An engine that answers each request by its first line; what it does not know gets no answer.
struct Scripted {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Scripted {
    fn new(answers: &'static [(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("d.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heads = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers, Arc::clone(&heads)));
            }
        });
        Self {
            socket,
            asked,
            _folder: folder,
        }
    }

    /// What it was asked, in order.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    async fn node(&self, ask: &str) -> Box<dyn Node> {
        open(HostEnvironment::default(), &self.address(), ask).await
    }

    async fn status(&self, ask: &str) -> Result<String, DriverError> {
        Ok(self.node(ask).await.status().await?.detail)
    }
}

async fn serve(
    mut stream: UnixStream,
    answers: &'static [(&'static str, &'static str)],
    asked: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let mut text = Vec::new();
        while !text.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                asked.lock().unwrap().push("end".to_owned());
                return;
            }
        }
        let head = String::from_utf8_lossy(&text).into_owned();
        let found = answers.iter().find(|(line, _)| head.starts_with(line));
        asked.lock().unwrap().push(head.clone());
        if let Some((_, answer)) = found {
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains("Connection: close") {
                return;
            }
        }
    }
}

async fn open(environment: HostEnvironment, endpoint: &str, ask: &str) -> Box<dyn Node> {
    let config = NodeConfig {
        builder: "b".to_owned(),
        node: "b0".to_owned(),
        endpoint: endpoint.to_owned(),
        options: [("ask".to_owned(), ask.to_owned())].into(),
        ..NodeConfig::default()
    };
    let catalog = catalog_with("engine-client", "engine-client", environment);
    bkhost::driver::node::Drivers::open(&catalog, "engine-client", config)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_no_rule_allows_is_refused_before_anything_is_sent() {
    let engine = Scripted::new(&[]);
    for (ask, message) in [
        (
            "POST /containers/prune",
            "`POST /containers/prune` is not granted: no rule of the driver's manifest allows this method and path",
        ),
        (
            "POST /containers/other/exec",
            "`POST /containers/other/exec` is not granted: no rule of the driver's manifest allows this method and path",
        ),
        (
            "POST /containers/create?name=other",
            "`POST /containers/create` is not granted: the rule `POST /containers/create` does not allow",
        ),
        (
            "GET /info?all=true",
            "`GET /info` is not granted: the rule `GET /info` does not allow",
        ),
        (
            "body",
            "`POST /containers/create` is not granted: the rule `POST /containers/create` does not allow the body's \
             field `/HostConfig/Privileged`",
        ),
        (
            "form",
            "`POST /containers/create` is not granted: a body of the type `application/x-www-form-urlencoded` may say what \
             the query may not",
        ),
    ] {
        let error = engine.status(ask).await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Denied, "{error}");
        assert!(error.message.starts_with(message), "{error}");
    }
    assert_eq!(engine.asked(), [""; 0]);
}

#[tokio::test]
async fn an_answer_comes_whole_and_the_version_is_agreed_on() {
    let engine = Scripted::new(&[
        ("HEAD /_ping ", PONG),
        (
            "GET /v1.47/info ",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}",
        ),
    ]);
    // A status of 400 and above is an answer, not an error.
    assert_eq!(
        engine.status("GET /info").await.unwrap(),
        "503 {\"message\":\"x\"}"
    );
    assert_eq!(engine.status("version").await.unwrap(), "1.47");
    let before = engine.asked().len();
    assert_eq!(engine.status("url").await.unwrap(), engine.address());
    assert_eq!(engine.asked().len(), before, "the address asks nobody");
}

#[tokio::test]
async fn a_silent_engine_is_waited_for_as_long_as_was_said() {
    let engine = Scripted::new(&[]);
    let error = engine.status("impatient").await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::TimedOut);
    assert_eq!(
        error.message,
        format!("`HEAD /_ping` at {} took longer than 100 ms", engine.address())
    );
}

#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let engine = Scripted::new(&[("HEAD /_ping ", PONG)]);
    let node = engine.node("grpc").await;
    let cancel = Cancel::new();
    let request = DialRequest {
        cancel: cancel.clone(),
        ..request()
    };
    let dial = async { node.dial("i", request).await.map(drop).unwrap_err() };
    let stop = async {
        while engine.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (error, ()) = tokio::join!(dial, stop);
    assert_eq!(error.kind, DriverErrorKind::Cancelled);
    for _ in 0..200 {
        if engine.asked().last().unwrap() == "end" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the connection is open: {:?}", engine.asked());
}

#[tokio::test]
async fn a_guest_cannot_write_on_the_engines_own_socket() {
    let engine = Scripted::new(&[("PRI * HTTP/2.0", SETTINGS)]);
    let error = engine.status("sealed").await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Denied);
    assert!(error.message.starts_with("`write` is not granted on"), "{error}");
    // The host reads what the engine said first.
    let mut pipe = engine.node("http2").await.dial("i", request()).await.unwrap();
    let mut frame = [0; 9];
    pipe.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, SETTINGS.as_bytes());
    assert!(engine.asked().iter().all(|head| !head.contains("/info")));
}

#[tokio::test]
async fn an_engine_without_http2_is_reached_by_an_upgrade() {
    let engine = Scripted::new(&[
        (
            "PRI * HTTP/2.0",
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        ),
        (
            "POST /grpc HTTP/1.1",
            "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nfirst",
        ),
    ]);
    let mut pipe = engine.node("either").await.dial("i", request()).await.unwrap();
    let mut first = [0; 5];
    pipe.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"first");
    let error = engine.node("http2").await.dial("i", request()).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unsupported);
    assert_eq!(
        error.message,
        format!(
            "The engine at {} does not speak HTTP/2 on its socket: it answered HTTP/1 (`HTTP/1.1 400 Bad Request`)",
            engine.address()
        )
    );
}

#[tokio::test]
async fn a_pull_shows_its_bytes_under_the_step() {
    let engine = Scripted::new(&[
        ("HEAD /_ping ", PONG),
        (
            "POST /v1.47/images/create?fromImage=docker.io%2Flibrary%2Fb&tag=1&platform=linux%2Famd64 ",
            concat!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
                "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":5,\"total\":10},\"id\":\"1\"}\r\n",
                "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":1,\"total\":20},\"id\":\"2\"}\r\n"
            ),
        ),
    ]);
    let (sink, updates) = Sink::channel();
    let watcher = tokio::spawn(collect(updates));
    let request = DialRequest { sink, ..request() };
    let node = engine.node("b:1 linux/amd64").await;
    node.boot(request).await.unwrap();
    drop(node);
    let all = watcher.await.unwrap();
    let shown: Vec<_> = all
        .statuses
        .iter()
        .map(|status| (status.current, status.total))
        .collect();
    assert!(shown.contains(&(5, 10)) && shown.contains(&(6, 30)), "{shown:?}");
    let asked = engine.asked();
    let head = asked.iter().find(|head| head.starts_with("POST ")).unwrap();
    assert!(head.contains("x-registry-auth: e30="), "{head}");
}

/// An engine whose pull gets on twice a second, `messages` times, and then ends or says nothing more.
fn trickling(folder: &Path, messages: u64, ends: bool) -> String {
    let socket = folder.join(format!("{messages}.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while let Ok(1..) = stream.read(&mut asked).await {
                    if asked.starts_with(b"HEAD ") {
                        let _ = stream.write_all(PONG.as_bytes()).await;
                        continue;
                    }
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                    let _ = stream.write_all(head.as_bytes()).await;
                    for current in 0..messages {
                        let layer = format!(
                            "{{\"status\":\"Downloading\",\"progressDetail\":{{\"current\":{current},\"total\":99}},\"id\":\"1\"}}\r\n"
                        );
                        let _ = stream.write_all(layer.as_bytes()).await;
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                    if ends {
                        return;
                    }
                }
            });
        }
    });
    format!("unix://{}", socket.display())
}

/// A person with a slow connection gets the image, too.
#[tokio::test]
async fn a_pull_that_gets_on_may_last_longer_than_the_operation() {
    let folder = tempfile::tempdir().unwrap();
    let limit = Duration::from_secs(2);
    let boot = async |address: &str| {
        let node = open(HostEnvironment::default(), address, "b:1").await;
        let deadline = (Instant::now() + limit).into();
        node.boot(DialRequest {
            deadline,
            ..request()
        })
        .await
    };
    let begun = Instant::now();
    boot(&trickling(folder.path(), 10, true)).await.unwrap();
    assert!(begun.elapsed() > 2 * limit);
    let error = boot(&trickling(folder.path(), 1, false)).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::TimedOut);
    assert!(
        error.message.starts_with("Pulling `b:1` took longer than"),
        "{error}"
    );
}

#[tokio::test]
async fn a_pull_that_needs_a_policy_or_credentials_that_are_not_there_fails() {
    let environment = |settings: EngineSettings| HostEnvironment {
        engines: Arc::new(Engines::new(settings)),
        ..HostEnvironment::default()
    };
    let engine = Scripted::new(&[]);
    let policy = environment(EngineSettings {
        needs_policy: true,
        ..EngineSettings::default()
    });
    let node = open(policy, &engine.address(), "moby/buildkit:buildx-stable-1").await;
    let error = node.boot(request()).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unsupported);
    assert!(
        error.message.starts_with("failed to verify image moby/buildkit"),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"credsStore":"gone"}"#).unwrap();
    let helperless = environment(EngineSettings {
        docker: DockerEnvironment {
            folder: folder.path().to_owned(),
            ..DockerEnvironment::default()
        },
        ..EngineSettings::default()
    });
    let node = open(helperless, &engine.address(), "r.test/b").await;
    let error = node.boot(request()).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unauthenticated);
    assert!(error.message.contains("docker-credential-gone"), "{error}");
    let hint = error.hint.unwrap();
    assert!(hint.starts_with("Install `docker-credential-gone`"), "{hint}");
    assert_eq!(engine.asked(), [""; 0]);
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_in_the_docker_clients_words() {
    let node = open(
        HostEnvironment::default(),
        "unix:///nonexistent/d.sock",
        "version",
    )
    .await;
    let error = node.status().await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::NotFound);
    assert!(
        error.message.starts_with(
            "failed to connect to the docker API at unix:///nonexistent/d.sock; check if the path is"
        ),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("DOCKER_HOST"));
    let node = open(HostEnvironment::default(), "gone", "url").await;
    let error = node.status().await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::InvalidConfig);
    assert_eq!(error.message, "unable to parse docker host `gone`");
}
