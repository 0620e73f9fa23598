//! Builders in containers of an engine that cannot be reached: what is said wherever a person looks.

use std::os::unix::fs::PermissionsExt as _;

use bkhost_test_support::certificates::Certificates;
use bkhost_test_support::docker::DockerEngine;
use bkhost_test_support::source::bare;
use bkhost_test_support::user::OrdinaryUser;

use super::docker;
use super::engine::{certificates_folder, tls_before};
use super::gate::Gate;
use super::own::{Own, RELEASES};
use crate::harness::{build, context_of, unique};

/// A builder `b` exists already, its engine cannot be reached: every command that needs it says these words, and `ls` and
/// `inspect` show the rest.
fn is_said(own: &Own, words: &str, hint: &str) {
    let folder = bare(&own.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    for failing in [
        own.build(&folder).args(["--builder", "b"]),
        own.context.bkhost(["stop", "b"]),
    ] {
        failing.run().fails(1).says(words).says(hint);
    }
    // Like buildx, it boots what can be looked at.
    for inspect in [["inspect", "b"].as_slice(), &["inspect", "--bootstrap", "b"]] {
        own.context.bkhost(inspect).run().succeeds().prints(words);
    }
    let listed = own.context.bkhost(["ls"]).run().succeeds();
    listed.prints("error").says(words);
}

/// Making one is refused, and nothing of it is stored.
fn is_not_made(own: &Own, endpoint: &str, words: &str, hint: &str) {
    let create = [
        "create",
        "--driver",
        "docker-container",
        "--name",
        "other",
        endpoint,
    ];
    let refused = own.context.bkhost(create).run().fails(1);
    refused
        .says("failed to initialize builder other")
        .says(words)
        .says(hint);
    assert!(!own.context.store().join("instances/other").exists());
}

#[test]
fn a_socket_that_a_user_may_not_use() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let mut context = context_of(&OrdinaryUser::new());
        // In front of the engine's own, which belongs to everybody here.
        let socket = context.path().join("engine.sock");
        let gate = Gate::open(&engine, socket.clone());
        let mode = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&socket, permissions).unwrap();
        };
        mode(0o666);
        context.set("DOCKER_HOST", gate.address());
        let own = Own {
            engine,
            context,
            node: format!("n{}", unique()),
        };
        own.create(&[]);
        mode(0o600);
        let words = format!(
            "permission denied while trying to connect to the docker API at {}",
            gate.address()
        );
        is_said(&own, &words, "usermod");
        is_not_made(&own, "default", &words, "usermod");
        // What the user may do again works again, and only the command line ever asked.
        mode(0o666);
        own.boot();
    }
}

#[test]
fn an_engine_that_is_not_there() {
    for release in RELEASES {
        let mut own = Own::new(release);
        let socket = own.context.path().join("engine.sock");
        let gate = Gate::open(&own.engine, socket.clone());
        own.context.set("DOCKER_HOST", gate.address());
        own.create(&[]);
        std::fs::remove_file(&socket).unwrap();
        let address = gate.address();
        let words = format!("failed to connect to the docker API at {address}; check if the path is correct");
        is_said(&own, &words, "hint: Start the engine");
        is_not_made(&own, "default", &words, "hint: Start the engine");

        // The builder's engine is there, and another one is asked for.
        own.context.set("DOCKER_HOST", "tcp://127.0.0.1:1");
        is_not_made(
            &own,
            "default",
            "Cannot connect to the Docker daemon at tcp://127.0.0.1:1",
            "hint: ",
        );
        // A builder whose engine is gone for good is forgotten, and what is left behind is named.
        let removed = own.context.bkhost(["rm", "b"]).run().fails(1);
        removed
            .says(&words)
            .says("b is forgotten all the same")
            .says(&own.node);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_tls_whose_certificates_do_not_fit() {
    for release in RELEASES {
        let own = Own::new(release);
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let address = tls_before(&own.engine, &certificates).await;
        let wrong = certificates_folder(&certificates, &others, true);
        let nameless = certificates_folder(&certificates, &certificates, false);
        let right = certificates_folder(&certificates, &certificates, true);
        let context = |verb: &str, name: &str, folder: &tempfile::TempDir, keys: bool| {
            let file = |name: &str| folder.path().join(name).display().to_string();
            let mut made = format!("host={address},ca={}", file("ca.pem"));
            if keys {
                made.push_str(&format!(",cert={},key={}", file("cert.pem"), file("key.pem")));
            }
            docker(&own.context, ["context", verb, name, "--docker", &made]);
        };
        context("create", "right", &right, true);
        context("create", "wrong", &wrong, true);
        context("create", "nameless", &nameless, false);
        is_not_made(&own, "wrong", "was refused: it was not issued by", "hint: ");
        is_not_made(&own, "nameless", "refused the client certificate", "hint: ");
        own.create(&["right"]);
        build(&own.context, &own.quick())
            .run()
            .succeeds()
            .says("finished");
        // A builder of a context has that context's certificates.
        context("update", "right", &wrong, true);
        is_said(&own, "was refused: it was not issued by", "hint: ");
    }
}

#[test]
fn a_missing_credential_helper() {
    for release in RELEASES {
        let own = Own::new(release);
        let folder = own.context.home().join(".docker");
        own.create(&[]);
        std::fs::write(folder.join("config.json"), r#"{"credsStore": "nope"}"#).unwrap();
        // The engine has the image: a line says what was in the way of a newer one.
        let booted = own
            .context
            .bkhost(["inspect", "--bootstrap", "b"])
            .run()
            .succeeds();
        booted
            .prints("running")
            .says("docker-credential-nope")
            .says("using local image");
        own.context.bkhost(["rm", "b"]).run().succeeds();
        own.create(&["--driver-opt", "image=registry.invalid/none:1"]);
        let failed = own.build(&own.quick()).run().fails(1);
        failed
            .says("cannot be pulled, and the engine has none of its own")
            .says("docker-credential-nope")
            .says("hint: ");
    }
}
