//! Builders at a daemon that somebody else runs.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bkhost_test_support::certificates::{Certificates, SERVER_NAME};
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::{bare, with_base};

use crate::harness::{build, context, live, unique};

#[test]
fn a_builder_on_a_unix_socket_lives_its_whole_life() {
    let (context, daemon) = (context(), Daemon::start());
    live(&context, &["--driver", "remote", &daemon.address()]);
}

#[test]
fn a_builder_over_tcp_with_mutual_tls_lives_its_whole_life() {
    let certificates = Certificates::new();
    let (daemon, address) = Daemon::start_with_tls(&certificates);
    let options = options(&certificates, SERVER_NAME);
    live(
        &context(),
        &["--driver", "remote", "--driver-opt", &options, &address],
    );
    drop(daemon);
}

fn options(certificates: &Certificates, server: &str) -> String {
    let file = |name| certificates.file(name).display().to_string();
    format!(
        "cacert={},cert={},key={},servername={server}",
        file("ca.pem"),
        file("client.pem"),
        file("client-key.pem")
    )
}

#[test]
fn a_daemon_of_another_authority_or_name_is_refused_at_once() {
    let certificates = Certificates::new();
    let (_daemon, address) = Daemon::start_with_tls(&certificates);
    let strangers = Certificates::new();
    for (options, words) in [
        (options(&strangers, SERVER_NAME), "certificate authority"),
        (options(&certificates, "somebody.else"), "somebody.else"),
    ] {
        let context = context();
        let create = ["create", "--driver", "remote", "--name", "b", "--driver-opt"];
        let create = context.bkhost(create).args([&options, &address]);
        let failed = create.run().fails(1).says(words).says("hint: ");
        assert!(failed.took() < Duration::from_secs(5), "{failed:?}");
    }
}

#[test]
fn a_builder_whose_certificate_went_bad_fails_at_once() {
    let certificates = Certificates::new();
    let (_daemon, address) = Daemon::start_with_tls(&certificates);
    let context = context();
    let options = options(&certificates, SERVER_NAME);
    let create = [
        "create",
        "--driver",
        "remote",
        "--name",
        "b",
        "--use",
        "--driver-opt",
    ];
    context.bkhost(create).args([&options, &address]).run().succeeds();
    let other = Certificates::new();
    std::fs::copy(other.file("ca.pem"), certificates.file("ca.pem")).unwrap();
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let failed = build(&context, &folder)
        .run()
        .fails(1)
        .says("certificate authority");
    assert!(failed.took() < Duration::from_secs(5), "{failed:?}");
}

#[test]
fn a_daemon_that_comes_late_is_waited_for() {
    let context = context();
    let daemon = Daemon::start();
    let later = daemon.folder().join("later.sock");
    let address = format!("unix://{}", later.display());
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    context.bkhost(create).arg(&address).run().succeeds();
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let running = build(&context, &folder).start();
    std::thread::sleep(Duration::from_millis(1500));
    std::os::unix::fs::symlink(daemon.socket(), later).unwrap();
    running.wait().succeeds().says("DONE");
}

#[test]
fn a_daemon_that_never_comes_is_given_up_with_the_last_cause() {
    let context = context();
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    context
        .bkhost(create)
        .arg("unix:///nonexistent/buildkitd.sock")
        .run()
        .succeeds();
    context.bkhost(["ls"]).run().succeeds().prints("inactive");
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    build(&context, &folder)
        .run()
        .fails(1)
        .says("/nonexistent/buildkitd.sock");
}

#[test]
fn a_daemon_killed_in_a_build_ends_it_at_once() {
    let (context, mut daemon) = (context(), Daemon::start());
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    let address = daemon.address();
    context.bkhost(create).arg(&address).run().succeeds();
    let mark = unique();
    let steps = format!("RUN echo begun-{mark} && sleep 100\n");
    let mut running = build(&context, &with_base(&context, "source", &steps)).start();
    running.until_said(&format!("begun-{mark}\n"));
    daemon.kill();
    let killed = Instant::now();
    let ended = running.wait();
    assert!(killed.elapsed() < Duration::from_secs(10), "{ended:?}");
    ended
        .fails(1)
        .says("ERROR: failed to build: failed to solve: the daemon of node `b0` was lost (exited): ")
        .says(&format!("Nobody listens at `{address}` any more\n"))
        .says("hint: The daemon ended or was stopped");
}

#[test]
fn the_address_in_the_environment_is_a_builder() {
    let (mut context, daemon) = (context(), Daemon::shared());
    context.set("BUILDKIT_HOST", daemon.address());
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    build(&context, &folder).run().succeeds().says("remote driver");
}

#[test]
fn names_that_no_container_can_have_are_refused_when_a_builder_is_made() {
    let context = context();
    for name in ["-x", "--privileged", "a b", "a%20b", "a;b", "a/b"] {
        let endpoint = format!("docker-container://{name}");
        let create = ["create", "--driver", "remote", "--name", "b"];
        let refused = context.bkhost(create).arg(&endpoint).run().fails(1);
        refused
            .says(&format!(
                "failed to parse endpoint {endpoint}: unsupported container name: \"{name}\""
            ))
            .says("hint: Such an endpoint is written `docker-container://NAME[?context=CONTEXT]`");
    }
}

#[test]
fn a_helper_program_that_reaches_nothing_ends_the_build_at_once() {
    let context = context();
    let folder = bare(&context, "source", "FROM scratch\nCOPY . /\n");
    let program = context.write(
        "bin/docker",
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2\nexit 1\n",
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let failed = |endpoint: &str, path: &str| {
        let build = context.bkhost(["build"]).arg(&folder);
        let failed = build
            .env("BUILDKIT_HOST", endpoint)
            .env("PATH", path)
            .run()
            .fails(1);
        assert!(failed.took() < Duration::from_secs(5), "{failed:?}");
        failed.says_no("No output specified")
    };
    failed("docker-container://x", &path)
        .says("ERROR: failed to build: `docker-container://x` cannot be reached: `docker` ended with exit status: 1: Cannot connect")
        .says("hint: Start the Docker Engine")
        .says("`docker-container://` is reached by `docker exec`; other endpoints: ");
    failed("docker-container://x", "/nosuch")
        .says("ERROR: failed to build: The program `docker` is not on PATH")
        .says("hint: Install `docker` or put its folder on PATH. `docker-container://` is reached by `docker exec`");
    let logs = context
        .bkhost(["logs"])
        .env("BUILDKIT_HOST", "docker-container://x");
    logs.run()
        .fails(1)
        .says("ERROR: Driver `remote` shows no logs\nhint: The daemon's log is where the daemon runs");
    failed("tcp://h", &path).says("hint: Such an endpoint is written `tcp://HOST:PORT`");
}
