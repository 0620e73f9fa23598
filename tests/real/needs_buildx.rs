//! One builder store, two programs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::with_base;

use crate::harness::{Remote, context, unique};
use crate::process::daemons;

fn buildx<const N: usize>(context: &TestContext, arguments: [&str; N]) -> Call {
    context.call("buildx", arguments)
}

fn names(call: Call) -> Vec<String> {
    let said = call.run().succeeds();
    said.stdout().lines().map(str::to_owned).collect()
}

#[test]
fn a_builder_of_either_is_built_with_by_the_other() {
    let daemon = Daemon::shared();
    let source =
        |context: &TestContext| with_base(context, "source", &format!("RUN echo ran-{}\n", unique()));
    // Made by bkhost.
    let remote = Remote::at(daemon.clone());
    let folder = source(&remote.context);
    let built = |call: Call, folder: &Path| call.args(["--progress", "plain"]).arg(folder).run().succeeds();
    built(buildx(&remote.context, ["build"]), &folder).says("ran-");
    built(remote.context.bkhost(["build"]), &folder).says("CACHED");
    // Made by buildx.
    let context = context();
    let create = ["create", "--driver", "remote", "--name", "theirs", "--use"];
    buildx(&context, create).arg(daemon.address()).run().succeeds();
    let folder = source(&context);
    built(context.bkhost(["build"]), &folder)
        .says("ran-")
        .says("\"theirs\" instance using remote driver");
    built(buildx(&context, ["build"]), &folder).says("CACHED");
    context
        .bkhost(["inspect"])
        .run()
        .succeeds()
        .prints("theirs")
        .prints("running");
    context.bkhost(["rm", "theirs"]).run().succeeds();
    let left = names(buildx(&context, ["ls", "--format", "{{.Name}}"]));
    assert!(!left.contains(&"theirs".to_owned()), "{left:?}");
}

#[test]
fn what_one_removes_or_selects_the_other_sees() {
    let context = context();
    for name in ["one", "two"] {
        let create = [
            "create",
            "--driver",
            "remote",
            "--name",
            name,
            "unix:///nonexistent/s.sock",
        ];
        context.bkhost(create).run().succeeds();
    }
    buildx(&context, ["use", "two"]).run().succeeds();
    context.bkhost(["ls"]).run().succeeds().prints("two*");
    context.bkhost(["use", "one"]).run().succeeds();
    buildx(&context, ["ls"]).run().succeeds().prints("one*");
    buildx(&context, ["rm", "one"]).run().succeeds();
    let left = names(context.bkhost(["ls", "--format", "{{.Name}}"]));
    assert!(
        !left.contains(&"one".to_owned()) && left.contains(&"two".to_owned()),
        "{left:?}"
    );
}

#[test]
fn builders_of_all_drivers_of_buildx_are_listed_used_and_forgotten() {
    let mut context = context();
    let engine = empty_engine(&context);
    context.set("KUBECONFIG", context.write("kubeconfig", CLUSTER));
    let options = ["--driver-opt", "image=moby/buildkit:v0.33.0,\"env.A=b,c\""];
    let create = ["create", "--driver", "docker-container", "--name", "container"];
    buildx(&context, create)
        .args(options)
        .arg(engine)
        .run()
        .succeeds();
    let options = ["--driver-opt", "replicas=2,namespace=builders"];
    let create = ["create", "--driver", "kubernetes", "--name", "cloud"];
    buildx(&context, create).args(options).run().succeeds();
    let create = [
        "create",
        "--driver",
        "remote",
        "--name",
        "far",
        "unix:///nonexistent/s.sock",
    ];
    buildx(&context, create).run().succeeds();
    let format = ["ls", "--format", "{{.Name}} {{.DriverEndpoint}}"];
    let ours = names(context.bkhost(format));
    for wanted in ["container docker-container", "cloud kubernetes", "far remote"] {
        assert!(
            ours.iter().any(|line| line == wanted),
            "{wanted:?} is not among {ours:?}"
        );
    }
    context.bkhost(["use", "cloud"]).run().succeeds();
    buildx(&context, ["ls"]).run().succeeds().prints("cloud*");
    let inspected = context.bkhost(["inspect", "cloud"]).run().succeeds();
    inspected
        .prints("Driver:        kubernetes")
        .prints("failed to find driver");
    let inspected = context.bkhost(["inspect", "container"]).run().succeeds();
    inspected
        .prints("Driver:        docker-container")
        .prints("image=\"moby/buildkit:v0.33.0\"")
        .prints("Status:                inactive");
    let forget = ["rm", "--keep-daemon", "container", "cloud", "far"];
    context.bkhost(forget).run().succeeds();
    let theirs = names(buildx(&context, format));
    assert!(
        theirs.iter().all(|line| line.starts_with("default")),
        "{theirs:?}"
    );
}

/// A cluster where nobody answers.
const CLUSTER: &str = r#"{"apiVersion":"v1","kind":"Config","current-context":"a",
"contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],
"clusters":[{"name":"a","cluster":{"server":"http://127.0.0.1:1"}}],
"users":[{"name":"a","user":{}}]}"#;

/// Address of an engine without a single container, as long as the test runs.
fn empty_engine(context: &TestContext) -> String {
    let socket = context.work().join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            answer(connection);
        }
    });
    format!("unix://{}", socket.display())
}

/// One answer for one connection.
fn answer(mut connection: UnixStream) {
    let mut first = String::new();
    let mut reader = BufReader::new(&connection);
    let _ = reader.read_line(&mut first);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let (status, body) = match first.contains("/containers/") {
        true => ("404 Not Found", r#"{"message":"No such container"}"#),
        false => ("200 OK", "{}"),
    };
    let head = "Api-Version: 1.44\r\nOstype: linux\r\nContent-Type: application/json\r\nConnection: close";
    let length = body.len();
    let _ = write!(
        connection,
        "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

#[test]
fn a_process_builder_disturbs_no_command_of_buildx() {
    let remote = Remote::new();
    let context = &remote.context;
    let create = ["create", "--driver", "process", "--name", "unseen", "--bootstrap"];
    let root = format!("root={}", context.path().join("state").display());
    let create = context.bkhost(create).args(["--driver-opt", &root]);
    create.run().succeeds();
    let daemon = daemons(context);
    assert_eq!(daemon.len(), 1);
    for select in [["use", "unseen"], ["use", "b"]] {
        context.bkhost(select).run().succeeds();
        every_command_of_buildx(&remote);
    }
    context.bkhost(["use", "unseen"]).run().succeeds();
    buildx(context, ["rm", "--all-inactive", "--force"])
        .run()
        .succeeds();
    let theirs = names(buildx(context, ["ls", "--format", "{{.Name}}"]));
    assert!(theirs.contains(&"b".to_owned()), "{theirs:?}");
    // Nor did they disturb it.
    assert_eq!(daemons(context), daemon);
    context
        .bkhost(["inspect"])
        .run()
        .succeeds()
        .prints("Name:          unseen\n")
        .prints("running");
    context.bkhost(["rm", "unseen"]).run().succeeds();
}

#[test]
fn a_process_builder_whose_name_buildx_took_is_not_lost() {
    let remote = Remote::new();
    let context = &remote.context;
    let root = format!("root={}", context.path().join("state").display());
    let create = ["create", "--driver", "process", "--name", "twin", "--bootstrap"];
    let create = context.bkhost(create).args(["--driver-opt", &root]);
    create.run().succeeds();
    let daemon = daemons(context);
    buildx(context, ["create", "--driver", "remote", "--name", "twin"])
        .arg(remote.daemon.address())
        .run()
        .succeeds();
    context
        .bkhost(["ls"])
        .run()
        .succeeds()
        .says("WARNING: Builder `twin` in `")
        .says("is hidden by one of the same name that buildx made");
    let driver = || context.bkhost(["inspect", "twin"]).run().succeeds();
    driver().prints(" remote\n");
    context.bkhost(["rm", "twin"]).run().succeeds();
    driver().prints(" process\n").prints("running");
    assert_eq!(daemons(context), daemon);
    context.bkhost(["rm", "twin"]).run().succeeds();
    assert!(daemons(context).is_empty() && !context.path().join("state").exists());
    context
        .bkhost(["inspect", "twin"])
        .run()
        .fails(1)
        .says("no builder");
}

/// Runs all that buildx has for builders and builds; its builder is `b`, and it never hears of `unseen`.
fn every_command_of_buildx(remote: &Remote) {
    let context = &remote.context;
    let does = |line: &str, more: &str| {
        let words = line
            .split(' ')
            .chain(more.split(' ').filter(|word| !word.is_empty()));
        let said = context.call("buildx", words).run().succeeds().says_no("unseen");
        assert!(!said.stdout().contains("unseen"), "{line}: {}", said.stdout());
        said
    };
    let listed = does("ls --format {{.Name}}", "").stdout();
    assert!(listed.lines().any(|name| name == "b"), "{listed}");
    does("ls", "").prints("b*");
    does("inspect", "").prints("Name:          b\n").prints("running");
    does("inspect --bootstrap b", "").prints("running");
    let source = with_base(context, "source", &format!("RUN echo ran-{}\n", unique()));
    let source = source.to_str().unwrap();
    does("build --progress plain", source).says("ran-");
    does("build --progress plain --builder b", source).says("CACHED");
    does("du", "").prints("Total:");
    does("history ls", "");
    does(
        "create --driver remote --name other --use",
        &remote.daemon.address(),
    );
    does(
        "create --append --name other --node second unix:///nonexistent/s.sock",
        "",
    );
    does("inspect other", "").prints("Name:          other\n");
    does("use b", "");
    does("ls", "").prints("b*").prints("other");
    does("stop b", "");
    does("rm other", "");
    does("ls", "").prints("b*");
}
