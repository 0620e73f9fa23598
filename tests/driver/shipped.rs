//! The drivers that are shipped, and the SDK's example, through the real engine.

use std::path::Path;

use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::load::Origin;
use bkhost::driver::node::{DriverErrorKind, Drivers, Node, NodeConfig, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::fixture::{catalog, request};

/// The first frame of an HTTP/2 server.
const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0";

/// A catalog with one shipped driver in it.
pub fn shipped_in(environment: HostEnvironment, name: &str) -> Catalog {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../drivers");
    let read = |file: String| {
        let path = folder.join(file);
        std::fs::read(&path)
            .unwrap_or_else(|error| panic!("`{}`: {error}; run `cargo xtask drivers`", path.display()))
    };
    let code = read(format!("{name}.cwasm"));
    let manifest = String::from_utf8(read(format!("{name}.manifest.toml"))).unwrap();
    let origin = Origin::File(format!("{name}.wasm").into());
    Catalog::new(environment).with_compiled(name, code, manifest, origin)
}

fn shipped(name: &str) -> Catalog {
    shipped_in(HostEnvironment::default(), name)
}

fn config(endpoint: String) -> NodeConfig {
    NodeConfig {
        builder: "b".to_owned(),
        node: "b0".to_owned(),
        endpoint,
        ..NodeConfig::default()
    }
}

async fn remote(socket: &Path) -> Box<dyn Node> {
    let config = config(format!("unix://{}", socket.display()));
    shipped("remote").open("remote", config).await.unwrap()
}

/// A daemon that answers greetings, and afterwards whatever it is told.
fn serve(listener: UnixListener) {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.write_all(SETTINGS).await.unwrap();
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
}

#[tokio::test]
async fn shipped_drivers_describe_themselves() {
    let remote = shipped("remote").info("remote").await.unwrap();
    assert_eq!(remote.endpoint.variable.as_deref(), Some("BUILDKIT_HOST"));
    assert_eq!(remote.optional, ["diagnose"]);
    assert_eq!(
        (remote.extra["files"].as_str(), remote.makes_builders()),
        ("false", true)
    );
    assert!(remote.options.iter().any(|option| option.name == "servername"));
    let process = shipped("process").info("process").await.unwrap();
    assert_eq!(
        (process.name.as_str(), process.endpoint.kind.as_str()),
        ("process", "derived")
    );
    assert_eq!(process.optional, ["diagnose", "logs"]);
}

/// What a driver calls, and nothing more: an import that is new here has to be meant.
#[tokio::test]
async fn the_docker_drivers_import_what_they_need() {
    for (name, functions) in [
        ("docker", DOCKER_IMPORTS),
        ("docker-container", CONTAINER_IMPORTS),
    ] {
        let imports = shipped(name).imports(name).await.unwrap();
        let lines: Vec<String> = imports
            .iter()
            .filter(|(_, functions)| !functions.is_empty())
            .map(|(interface, functions)| {
                let own = interface.strip_prefix("bkhost:host/").unwrap_or(interface);
                let name = own.split('@').next().unwrap();
                format!("{name}: {}", functions.join(", "))
            })
            // Getters of what the host hands over; they reach nothing.
            .filter(|line| !line.starts_with("requests: "))
            .collect();
        assert_eq!(lines.join("\n"), functions.trim(), "{name}");
    }
}

const DOCKER_IMPORTS: &str = "
config: [method]node-config.endpoint, [method]node-config.driver-options, [method]node-config.file-names, [method]node-config.fact
engine: send, hijack, open-http2
log: write, panicked
steps: [method]step.remaining, [method]step.cancelled
time: monotonic
";
const CONTAINER_IMPORTS: &str = "
config: [method]node-config.builder, [method]node-config.node, [method]node-config.endpoint, [method]node-config.driver-option, [method]node-config.driver-options, [method]node-config.daemon-flags, [method]node-config.file-names, [method]node-config.file, [method]node-config.fact, [method]node-config.state
engine: send, open-stream, hijack, pull, host-url
log: write, panicked
random: bytes
state: [method]node-state.get, [method]node-state.swap
steps: [method]step.begin, [method]step.message, [method]step.fail, [method]step.remaining, [method]step.cancelled, [method]step.cancellation
streams: [method]byte-stream.read
time: monotonic, wall, timer
wasi:io/poll: poll
";

#[tokio::test]
async fn remote_finds_boots_and_reaches_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.sock");
    let node = remote(&path).await;
    let status = node.status().await.unwrap();
    assert_eq!(status.state, State::Inactive);
    assert!(status.detail.contains("b.sock"), "{}", status.detail);

    let (booted, ()) = tokio::join!(node.boot(request()), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        serve(UnixListener::bind(&path).unwrap());
    });
    booted.unwrap();
    assert_eq!(node.status().await.unwrap().state, State::Running);
    let instances = node.instances().await.unwrap();
    let instance = &instances.first().unwrap().id;
    let mut pipe = node.dial(instance, request()).await.unwrap();
    assert_eq!(pipe.authority(), None);
    pipe.write_all(b"hello").await.unwrap();
    let mut answer = vec![0; SETTINGS.len() + 5];
    pipe.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [SETTINGS, b"hello"].concat());
}

#[tokio::test]
async fn remote_gives_up_on_what_speaks_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = remote(&path).await.boot(request()).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Protocol);
}

#[tokio::test]
async fn remote_refuses_options_in_the_words_of_buildx() {
    let mut config = config("tcp://127.0.0.1:1".to_owned());
    config.options.insert("cacrt".to_owned(), "/x".to_owned());
    let error = shipped("remote").open("remote", config).await.err().unwrap();
    assert_eq!(error.kind, DriverErrorKind::InvalidConfig);
    assert_eq!(error.message, "invalid driver option cacrt for remote driver");
    assert_eq!(error.hint.as_deref(), Some("Did you mean `cacert`?"));
}

#[tokio::test]
async fn the_example_speaks_its_own_protocol_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 11];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(b"OK\nrest").await.unwrap();
        greeting
    });
    let config = config(format!("unix://{}", path.display()));
    let node = catalog("minimal").open("minimal", config).await.unwrap();
    let mut pipe = node.dial("default", request()).await.unwrap();
    assert_eq!(&daemon.await.unwrap(), b"HELLO b/b0\n");
    let mut rest = String::new();
    pipe.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "rest");
}

/// A catalog whose drivers are those in the program's own file.
async fn embedded() -> (Catalog, Box<dyn Node>) {
    let catalog = Catalog::new(HostEnvironment::default());
    let config = config("unix:///nowhere/s.sock".to_owned());
    let node = catalog.open("remote", config).await.unwrap();
    (catalog, node)
}

#[tokio::test]
async fn embedded_drivers_serve_several_catalogs_at_once_and_after_each_other() {
    for _ in 0..3 {
        let (first, node) = embedded().await;
        let (_second, other) = embedded().await;
        assert_eq!(node.status().await.unwrap().state, State::Inactive);
        drop((node, first));
        // It still has the right to be executed.
        assert_eq!(other.status().await.unwrap().state, State::Inactive);
        assert_eq!(other.instances().await.unwrap().len(), 1);
    }
}
