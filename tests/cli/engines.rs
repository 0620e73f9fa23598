//! Docker Engines as builders: which one is used, and what is said when it cannot be.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::scripted::Scripted;
use crate::sealed::Sealed;

/// An engine with BuildKit says so in a header.
const WITH_BUILDKIT: &str = "Builder-Version: 2\r\n";
const WITHOUT: &str = "Builder-Version:\r\n";

/// Listens at `path`, and answers each connection once: to a request for a sign of life as an engine does, to all others
/// as one that does not know them. It goes with the process.
fn engine(path: &Path, builder: &'static str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                head.extend(byte);
            }
            let status = if head.starts_with(b"HEAD /_ping") {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\n{builder}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
}

/// An environment whose engine is at `d.sock` in its home. It need not be there.
fn at_engine() -> (Sealed, Scripted) {
    let sealed = Sealed::new();
    let host = format!("unix://{}/d.sock", sealed.home().display());
    (sealed.with("DOCKER_HOST", &host), Scripted::with_docker())
}

fn add_context(sealed: &Sealed, name: &str, host: &str) {
    let folder = sealed.home().join(".docker/contexts/meta").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
    std::fs::write(folder.join("meta.json"), text).unwrap();
}

const CHOICE: &str = "inspect --format {{.Name}}:{{.Driver}}";
const BUILD: &str = "build --progress plain .";

/// A table without blanks at the ends of its lines.
fn trimmed(table: &str) -> String {
    table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[test]
fn the_active_engine_is_the_builder() {
    let (sealed, drivers) = at_engine();
    engine(&sealed.home().join("d.sock"), WITH_BUILDKIT);
    assert_eq!(sealed.run(&drivers, CHOICE).ok(), "default:docker\n");
    // Nobody needs to know of a daemon that nobody has started.
    let listed = sealed.run(&drivers, "ls");
    insta::assert_snapshot!(trimmed(&listed.out), @r"
    NAME/NODE     DRIVER/ENDPOINT   STATUS     BUILDKIT   PLATFORMS
    default*      docker
     \_ default    \_ default       inactive
    ");
    sealed.run(&drivers, "use local").ok();
    assert!(sealed.run(&drivers, "ls").ok().contains("local*"));
    sealed.run(&drivers, "use default").ok();
    assert_eq!(sealed.run(&drivers, CHOICE).ok(), "default:docker\n");
}

#[test]
fn an_engine_without_a_builder_gets_one_in_a_container() {
    let (sealed, drivers) = at_engine();
    engine(&sealed.home().join("d.sock"), WITHOUT);
    assert_eq!(sealed.run(&drivers, CHOICE).ok(), "default:docker-container\n");
    sealed.run(&drivers, "stop").ok();
    assert_eq!(drivers.done(), ["stop default"]);
}

#[test]
fn a_dead_engine_that_was_named_is_an_error_and_no_reason_to_build_elsewhere() {
    let (sealed, drivers) = at_engine();
    engine(&sealed.home().join(".colima/default/docker.sock"), WITHOUT);
    let refused = sealed.run(&drivers, BUILD).refused();
    let (words, hint) = refused.split_once("\nhint: ").unwrap();
    assert_eq!(
        words,
        "ERROR: failed to connect to the docker API at unix://HOME/d.sock; check if the path is correct and if the \
         daemon is running: dial unix HOME/d.sock: connect: no such file or directory"
    );
    let elsewhere = "Colima listens at `HOME/.colima/default/docker.sock`, which \
                     `DOCKER_HOST=unix://HOME/.colima/default/docker.sock` uses";
    assert!(hint.contains(elsewhere), "{hint}");
    assert!(!hint.contains("--builder local"), "{hint}");
    for command in ["stop", "logs", "dial-stdio"] {
        let refused = sealed.run(&drivers, command).refused();
        assert!(
            refused.contains("failed to connect to the docker API"),
            "{command}: {refused}"
        );
    }
}

#[test]
fn contexts_whose_engines_do_not_answer_are_listed_last() {
    let (sealed, drivers) = at_engine();
    engine(&sealed.home().join("d.sock"), WITH_BUILDKIT);
    add_context(&sealed, "dead", "unix:///nonexistent/d.sock");
    add_context(
        &sealed,
        "zeta",
        &format!("unix://{}/d.sock", sealed.home().display()),
    );
    let listed = sealed.run(&drivers, "ls");
    insta::assert_snapshot!(listed.err, @r"

    Cannot load builder dead: failed to connect to the docker API at unix:///nonexistent/d.sock; check if the path is correct and if the daemon is running: dial unix /nonexistent/d.sock: connect: no such file or directory
    ");
    insta::assert_snapshot!(trimmed(&listed.ok()), @r"
    NAME/NODE     DRIVER/ENDPOINT   STATUS     BUILDKIT   PLATFORMS
    default*      docker
     \_ default    \_ default       inactive
    zeta          docker
     \_ zeta       \_ zeta          inactive
    dead                            error
    ");
    let json = sealed.run(&drivers, "ls --format json").ok();
    let dead = json.lines().last().unwrap();
    assert!(
        dead.contains(r#""Driver":"""#) && dead.contains(r#""Name":"dead""#),
        "{dead}"
    );
    let inspected = sealed.run(&drivers, "inspect dead").ok();
    assert!(
        inspected.contains("Error:") && inspected.contains("hint: Start the engine"),
        "{inspected}"
    );
    // A context that is not the active one builds all the same.
    assert_eq!(
        sealed.run(&drivers, &format!("--builder zeta {CHOICE}")).ok(),
        "zeta:docker\n"
    );
}

#[test]
fn a_context_that_does_not_exist_is_named_with_who_chose_it() {
    let sealed = Sealed::new().with("DOCKER_CONTEXT", "prod");
    add_context(&sealed, "prodd", "unix:///nonexistent/d.sock");
    let drivers = Scripted::with_docker();
    insta::assert_snapshot!(sealed.run(&drivers, BUILD).refused(), @r#"
    ERROR: no builder "prod" found
    hint: The docker context `prod`, which DOCKER_CONTEXT names, does not exist. Did you mean `prodd`?
    "#);
    insta::assert_snapshot!(sealed.run(&drivers, "create --name x").refused(), @r#"
    ERROR: unable to resolve docker endpoint: context "prod": context not found
    hint: The docker context `prod`, which DOCKER_CONTEXT names, does not exist. Did you mean `prodd`?
    "#);
    // The others are shown all the same; a builder that is selected needs no context.
    let listed = sealed.run_by_docker(&drivers, "--context nope buildx ls --format {{.Name}}");
    assert_eq!(listed.out, "local\nlocal\ndefault\nprodd\n");
    insta::assert_snapshot!(listed.refused(), @r#"
    ERROR: no builder "nope" found
    hint: The docker context `nope`, which `--context` names, does not exist; `docker context ls` lists those that do
    "#);
    sealed.run(&drivers, "create --name b tcp://a:1/down").ok();
    sealed.run(&drivers, "use --global b").ok();
    sealed.run_by_docker(&drivers, "--context nope buildx ls").ok();
    let sealed = Sealed::new();
    std::fs::create_dir_all(sealed.home().join(".docker")).unwrap();
    std::fs::write(
        sealed.home().join(".docker/config.json"),
        r#"{"currentContext":"gone"}"#,
    )
    .unwrap();
    insta::assert_snapshot!(sealed.run(&drivers, BUILD).refused(), @r#"
    ERROR: no builder "gone" found
    hint: The docker context `gone`, which `currentContext` in the docker client's `config.json` names, does not exist; `docker context ls` lists those that do
    "#);
}

#[test]
fn an_address_that_is_none_names_its_variable() {
    let refused = |variables: &[(&str, &str)]| {
        let sealed = variables
            .iter()
            .fold(Sealed::new(), |sealed, (name, value)| sealed.with(name, value));
        sealed.run(&Scripted::with_docker(), BUILD).refused()
    };
    insta::assert_snapshot!(refused(&[("DOCKER_HOST", "foo://x")]), @r#"
    ERROR: docker endpoint for "default" not found: invalid bind address format: foo://x
    hint: Correct DOCKER_HOST: it is written `unix:///PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`
    "#);
    insta::assert_snapshot!(refused(&[("DOCKER_HOST", "tcp://h:port")]), @r"
    ERROR: unable to parse docker host `tcp://h:port`
    hint: `docker context ls` lists the contexts there are; an engine's address is written `unix:///PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`
    ");
    insta::assert_snapshot!(refused(&[("DOCKER_HOST", "/nonexistent/d.sock")]), @r"
    ERROR: Cannot connect to the Docker daemon at tcp://localhost:2375/nonexistent/d.sock. Is the docker daemon running?
    hint: A socket's address is written `unix:///nonexistent/d.sock`
    ");
    insta::assert_snapshot!(refused(&[("DOCKER_HOST", "ssh://u:p@h")]), @r"
    ERROR: ssh host connection is not valid: invalid SSH URL: plain-text password is not supported
    hint: An engine behind ssh is written `ssh://[USER@]HOST[:PORT][/SOCKET]`; keys take the place of passwords
    ");
    let tls = [("DOCKER_HOST", "tcp://127.0.0.1:1"), ("DOCKER_TLS_VERIFY", "1")];
    insta::assert_snapshot!(refused(&tls), @r#"
    ERROR: docker endpoint for "default" not found: Failed to open `HOME/.docker/ca.pem`: No such file or directory (os error 2)
    hint: DOCKER_TLS_VERIFY is set, so `HOME/.docker` must have `ca.pem`, and `cert.pem` and `key.pem` where the engine asks for them; DOCKER_CERT_PATH names another folder. Without TLS, unset DOCKER_TLS_VERIFY
    "#);
    let proxy = [
        ("DOCKER_HOST", "tcp://h.example:1"),
        ("http_proxy", "socks5://u:secret@p:1"),
    ];
    insta::assert_snapshot!(refused(&proxy), @r"
    ERROR: failed to connect to the docker API at tcp://h.example:1: HTTP_PROXY is no address of an HTTP proxy
    hint: HTTP_PROXY is written `http://[USER:PASSWORD@]HOST:PORT`
    ");
}

#[test]
fn builders_are_made_of_contexts_and_addresses() {
    let (sealed, drivers) = at_engine();
    add_context(&sealed, "there", "unix:///run/there.sock");
    let stored = |name: &str| std::fs::read_to_string(sealed.store().join("instances").join(name)).unwrap();
    let node = |name: &str, endpoint: &str| {
        format!(r#""Driver":"docker-container","Nodes":[{{"Name":"{name}","Endpoint":"{endpoint}""#)
    };
    let active = format!("unix://{}/d.sock", sealed.home().display());
    for (line, name, endpoint) in [
        ("create --name a", "a", active.as_str()),
        ("create --name b there", "b", "there"),
        ("create --name c default", "c", &active),
        ("create --name d fd://x", "d", "fd://x"),
        (
            "create --name e --driver docker-container tcp://h",
            "e",
            "tcp://h:2375",
        ),
        (
            "create --name f --driver docker-container ssh://u@h",
            "f",
            "ssh://u@h",
        ),
        ("create --name g --node Other there", "g", "there"),
    ] {
        sealed.run(&drivers, line).ok();
        let first = if name == "g" {
            "other".to_owned()
        } else {
            format!("{name}0")
        };
        assert!(
            stored(name).contains(&node(&first, endpoint)),
            "{line}: {}",
            stored(name)
        );
    }
    let refused = |line: &str| sealed.run(&drivers, line).refused();
    insta::assert_snapshot!(refused("create --name b --append there"), @"ERROR: invalid duplicate endpoint there");
    sealed.run(&drivers, "create --name b --append").ok();
    assert!(
        stored("b").contains(&format!(r#"{{"Name":"b1","Endpoint":"{active}""#)),
        "{}",
        stored("b")
    );
    insta::assert_snapshot!(refused("create --name b --append"), @"ERROR: invalid duplicate endpoint unix://HOME/d.sock");
    // Changing a node without naming an endpoint keeps it.
    sealed
        .run(&drivers, "create --name b --node b0 --platform linux/arm64")
        .ok();
    assert!(
        stored("b").contains(r#"{"Name":"b0","Endpoint":"there","Platforms":[{"#),
        "{}",
        stored("b")
    );
    sealed.run(&drivers, "create --name b --leave --node b0").ok();
    assert!(!stored("b").contains("b0"));
    insta::assert_snapshot!(refused("create --name b --append --driver remote tcp://h:1"), @r#"ERROR: existing instance for "b" but has mismatched driver "docker-container""#);
    insta::assert_snapshot!(refused("create --name x --driver docker"), @r#"ERROR: additional instances of driver "docker" cannot be created"#);
    insta::assert_snapshot!(refused("create --name there"), @r#"ERROR: instance name "there" already exists as context builder"#);
    insta::assert_snapshot!(refused("create --name x --driver docker-container foo://x"), @"ERROR: failed to parse endpoint foo://x: invalid bind address format: foo://x");
}

#[test]
fn a_builder_with_tls_from_the_environment_needs_a_context() {
    let (sealed, drivers) = at_engine();
    let sealed = sealed.with("DOCKER_TLS_VERIFY", "1");
    insta::assert_snapshot!(sealed.run(&drivers, "create --name x").refused(), @"ERROR: could not create a builder instance with TLS data loaded from environment. Please use `docker context create <context-name>` to create a context for current environment and then create a builder instance with context set to <context-name>");
}

#[test]
fn an_engine_that_cannot_be_reached_makes_no_builder() {
    let (sealed, drivers) = at_engine();
    add_context(&sealed, "broken", "unix:///run/there.sock");
    let refused = |line: &str| sealed.run(&drivers, line).refused();
    // The scripted driver fails where its endpoint says so.
    insta::assert_snapshot!(refused("create --name a --driver docker-container brokn/broken"), @r"
    ERROR: failed to initialize builder a (a0): The daemon is broken
    hint: There is no docker context `brokn/broken`, so it was taken for a host's name
    ");
    assert!(!sealed.store().join("instances/a").exists());
    let sealed = Sealed::new().with("DOCKER_HOST", "unix:///nonexistent/broken");
    insta::assert_snapshot!(sealed.run(&drivers, "create --name a").refused(), @r"
    ERROR: failed to initialize builder a (a0): The daemon is broken
    hint: `--driver process` makes a builder that needs no engine
    ");
}
