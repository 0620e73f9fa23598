//! Which builder is used where an engine is, and what is said where none answers.

use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::namespace::Namespace;
use bkhost_test_support::source::bare;
use bkhost_test_support::user::OrdinaryUser;

use super::own::RELEASES;
use super::{context_at, docker};
use crate::harness::{build, context, context_of};

/// Builds one file into a folder; the selected builder, if there is one, does it.
fn builds(context: &TestContext, more: &[&str]) -> String {
    let folder = bare(context, "source", "FROM scratch\nCOPY Dockerfile /here\n");
    let out = context.work().join("out");
    let built = build(context, &folder).args(more).arg("--output").arg(&out).run();
    let said = built.succeeds().stderr().to_owned();
    assert!(out.join("here").is_file());
    std::fs::remove_dir_all(out).unwrap();
    said
}

#[test]
fn the_engine_builds_when_nothing_is_chosen() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let context = context_at(&engine);
        let said = builds(&context, &[]);
        let by = "building with \"default\" instance using docker driver";
        assert!(said.contains(by), "{release:?}: {said}");
        assert!(!said.contains("Using the builder"), "{said}");
        let host = format!("host={}", engine.address());
        docker(&context, ["context", "create", "other", "--docker", &host]);
        let said = builds(&context, &["--builder", "other"]);
        assert!(
            said.contains("building with \"other\" instance using docker driver"),
            "{said}"
        );
        // What was only built in has not been stored.
        let stored = context.store().join("instances");
        assert!(!stored.exists() || stored.read_dir().unwrap().next().is_none());
        let said = context
            .bkhost(["ls", "--format", "{{.Name}} {{.Status}}"])
            .run()
            .succeeds();
        said.prints("default running\n").prints("other running\n");
        context.bkhost(["stop", "other"]).run().succeeds();
    }
}

#[test]
fn the_active_context_is_the_builder_also_when_its_engine_is_dead() {
    let engine = DockerEngine::shared(Release::Current);
    let mut context = context_at(&engine);
    let host = format!("host={}", engine.address());
    docker(&context, ["context", "create", "alive", "--docker", &host]);
    docker(
        &context,
        [
            "context",
            "create",
            "dead",
            "--docker",
            "host=unix:///nonexistent/d.sock",
        ],
    );
    context.unset("DOCKER_HOST");
    docker(&context, ["context", "use", "alive"]);
    assert!(builds(&context, &[]).contains("building with \"alive\" instance"));
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /here\n");
    docker(&context, ["context", "use", "dead"]);
    let refused = build(&context, &folder).run().fails(1);
    refused
        .says("failed to connect to the docker API at unix:///nonexistent/d.sock")
        .says("hint: Start the engine")
        .says_no("`local`");
    context.set("DOCKER_CONTEXT", "alive");
    assert!(builds(&context, &[]).contains("building with \"alive\" instance"));
}

#[test]
fn a_machine_without_an_engine_says_what_listens_elsewhere() {
    let namespace = Namespace::with_network();
    let context = context().inside(&namespace);
    let colima = context.home().join(".colima/default/docker.sock");
    std::fs::create_dir_all(colima.parent().unwrap()).unwrap();
    let _colima = UnixListener::bind(&colima).unwrap();
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let socket = colima.display();
    let built = build(&context, &folder).run().succeeds();
    built.says("\"local\" instance using process driver").says(&format!(
        "Using the builder `local`, a daemon on this machine: there is no Docker Engine at `/var/run/docker.sock`. \
         Colima listens at `{socket}`, which `DOCKER_HOST=unix://{socket}` uses"
    ));
    context.bkhost(["rm", "local", "--with-state"]).run().succeeds();
    let create = context.bkhost(["create", "--name", "x"]).run().fails(1);
    create
        .says("failed to initialize builder x (x0): failed to connect to the docker API")
        .says(&format!("`DOCKER_HOST=unix://{socket}`"))
        .says("hint: `--driver process` makes a builder that needs no engine");
}

#[test]
fn an_engine_that_hangs_is_left_at_once_when_the_user_wants_it() {
    let mut context = context();
    let socket = context.path().join("d.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    context.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    let folder = bare(&context, "source", "FROM scratch\n");
    let running = build(&context, &folder).start();
    let (_stream, _) = listener.accept().unwrap();
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait().fails(130);
    assert!(
        ended.took() < std::time::Duration::from_secs(10),
        "{:?}",
        ended.took()
    );
    let listed = context.bkhost(["ls", "--timeout", "300ms"]).run().succeeds();
    listed
        .says("Cannot load builder default: The Docker Engine at unix://")
        .says("did not answer");
}

#[test]
fn a_user_who_may_not_use_the_engine_is_told_what_to_do() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let user = OrdinaryUser::new();
        let mut context = context_of(&user);
        context.set("DOCKER_HOST", engine.address());
        let folder = context.write("source/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        let folder = folder.parent().unwrap();
        let words = format!(
            "permission denied while trying to connect to the docker API at {}",
            engine.address()
        );
        let refused = build(&context, folder).run().fails(1);
        refused
            .says(&format!("ERROR: {words}\n"))
            .says("usermod -aG docker")
            .says("rootless");
        let refused = context.bkhost(["create", "--name", "x"]).run().fails(1);
        refused
            .says(&words)
            .says("usermod -aG docker")
            .says("--driver process");
        context
            .bkhost(["ls"])
            .run()
            .succeeds()
            .says(&format!("Cannot load builder default: {words}"));
    }
}

/// A proxy that leads to an engine's socket, whatever it is asked for. It tells the first lines of what it was asked, and
/// goes with the process.
fn proxy_to(socket: PathBuf) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, socket, all) = (client.unwrap(), socket.clone(), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() > 0 {
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap();
                all.lock()
                    .unwrap()
                    .push(head.lines().next().unwrap_or_default().to_owned());
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .unwrap();
                carry(&client, &UnixStream::connect(socket).unwrap());
            });
        }
    });
    (address, asked)
}

fn carry(client: &TcpStream, engine: &UnixStream) {
    let (mut from_client, mut to_engine) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_engine);
        let _ = to_engine.shutdown(std::net::Shutdown::Write);
    });
    let (mut from_engine, mut to_client) = (engine, client);
    let _ = std::io::copy(&mut from_engine, &mut to_client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

#[test]
fn an_engine_behind_a_proxy_builds() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let (proxy, asked) = proxy_to(engine.socket());
        let mut context = context();
        // Nobody knows the name: only the proxy leads there.
        context.set("DOCKER_HOST", "tcp://engine.invalid:2375");
        context.set("http_proxy", &proxy);
        assert!(builds(&context, &[]).contains("\"default\" instance using docker driver"));
        let asked = asked.lock().unwrap().clone();
        assert!(!asked.is_empty());
        assert!(
            asked
                .iter()
                .all(|line| line == "CONNECT engine.invalid:2375 HTTP/1.1"),
            "{asked:?}"
        );
        context.set("NO_PROXY", "engine.invalid");
        let refused = context.bkhost(["stop"]).run().fails(1);
        refused.says("lookup engine.invalid");
    }
}
