//! The documented way to a BuildKit in a container, by its port and mutual TLS: the lines of the remote driver's guide, as a
//! person types them. Only the image's tag and the TLS server name are filled in, and the certificates are made by a build of
//! ours where the guide has a bake definition fetched.

use std::time::Duration;

use bkhost_test_support::call::Said;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::provided::rootfs_archive;
use bkhost_test_support::{provided, server};

use super::context_at;
use crate::harness::eventually;

const CERTIFICATES: &str = r#"FROM scratch AS tools
ADD rootfs.tar /
COPY create-certs /bin/
ARG SAN
RUN sh -e /bin/create-certs
FROM scratch
COPY --from=tools /certs /
"#;

/// An authority, and a pair for each side: names and addresses of the daemon are in its certificate.
const CREATE_CERTS: &str = r#"
for name in $SAN; do
    case $name in
        *[!0-9.]*) names=$names,DNS:$name ;;
        *) names=$names,IP:$name ;;
    esac
done
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
mkdir -p /certs/daemon /certs/client /tmp
openssl req -x509 $key -keyout /tmp/ca-key.pem -out /tmp/ca.pem -days 2 -subj /CN=authority
issue() {
    openssl req $key -keyout /certs/$1/key.pem -out /tmp/$1.csr -subj /CN=$1
    printf '%s\n' "$2" > /tmp/$1.ext
    openssl x509 -req -in /tmp/$1.csr -CA /tmp/ca.pem -CAkey /tmp/ca-key.pem -CAcreateserial -days 2 \
        -extfile /tmp/$1.ext -out /certs/$1/cert.pem
    cp /tmp/ca.pem /certs/$1/
}
issue daemon "subjectAltName=${names#,}"
issue client "extendedKeyUsage=clientAuth"
"#;

const GENERATE: &str =
    r#"SAN="localhost 127.0.0.1" bkhost build --build-arg SAN --output .certs create-certs"#;

const RUN: &str = r#"docker run -d --rm \
  --name=remote-buildkitd \
  --privileged \
  -p 1234:1234 \
  -v $PWD/.certs:/etc/buildkit/certs \
  moby/buildkit:buildx-stable-1 \
  --addr tcp://0.0.0.0:1234 \
  --tlscacert /etc/buildkit/certs/daemon/ca.pem \
  --tlscert /etc/buildkit/certs/daemon/cert.pem \
  --tlskey /etc/buildkit/certs/daemon/key.pem"#;

const CREATE: &str = r#"bkhost create \
  --name remote-container \
  --driver remote \
  --driver-opt cacert=${PWD}/.certs/client/ca.pem,cert=${PWD}/.certs/client/cert.pem,key=${PWD}/.certs/client/key.pem,servername=localhost \
  tcp://localhost:1234"#;

const CREATE_WITHOUT_A_PORT: &str = r#"bkhost create \
  --name remote-container \
  --driver remote \
  docker-container://remote-buildkitd"#;

/// A shell in the engine's network, where its ports are published.
fn context(engine: &DockerEngine) -> TestContext {
    let mut context = context_at(engine).near(engine);
    let programs = context.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    for program in [provided::docker(), env!("CARGO_BIN_EXE_bkhost").into()] {
        let link = programs.join(program.file_name().unwrap());
        std::os::unix::fs::symlink(program, link).unwrap();
    }
    context.set("PATH", server::path_from(programs));
    context
}

fn type_in(context: &TestContext, line: &str) -> Said {
    context.call("sh", ["-ec", line]).run().succeeds()
}

fn builds(context: &TestContext, greeting: &str) {
    context.write(
        "app/Dockerfile",
        format!("FROM scratch AS tools\nADD rootfs.tar /\nRUN echo {greeting} > /greeting\nFROM scratch\nCOPY --from=tools /greeting /\n"),
    );
    let base = std::fs::read(rootfs_archive("busybox")).unwrap();
    context.write("app/rootfs.tar", base);
    let built = type_in(
        context,
        "cd app && bkhost build --builder=remote-container -t test --output out .",
    );
    built.says("building with \"remote-container\" instance using remote driver");
    assert_eq!(context.read("app/out/greeting"), format!("{greeting}\n"));
}

#[test]
fn buildkit_in_a_container_is_reached_as_the_guide_says() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let context = context(&engine);
        context.write("create-certs/Dockerfile", CERTIFICATES);
        context.write("create-certs/create-certs", CREATE_CERTS);
        let tools = std::fs::read(rootfs_archive("openssl")).unwrap();
        context.write("create-certs/rootfs.tar", tools);
        type_in(&context, GENERATE);
        type_in(&context, RUN);
        let created = type_in(&context, CREATE);
        assert_eq!(created.stdout(), "remote-container\n");
        builds(&context, "by-its-port");
        let listed = type_in(&context, "bkhost ls");
        listed.prints("tcp://localhost:1234").prints("running");
        a_stranger_is_refused(&context);
        type_in(&context, "bkhost rm remote-container");
        // Told only of a port, the daemon does not listen where `buildctl` looks in the container.
        let hurried = format!("{CREATE_WITHOUT_A_PORT} --driver-opt timeout=5s");
        refuses(
            &context,
            &format!("{hurried} && bkhost build --builder=remote-container app"),
        )
        .says("/run/buildkit/buildkitd.sock")
        .says("hint: Check that the daemon listens on its default socket there");
        type_in(&context, "bkhost rm remote-container");
        stop(&engine, &context);
        type_in(
            &context,
            &format!("{RUN} --addr unix:///run/buildkit/buildkitd.sock"),
        );
        type_in(&context, CREATE_WITHOUT_A_PORT);
        builds(&context, "without-a-port");
        stop(&engine, &context);
    }
}

/// The container goes with its end, as it was asked to.
fn stop(engine: &DockerEngine, context: &TestContext) {
    type_in(context, "docker stop remote-buildkitd");
    eventually("the container is gone", Duration::from_secs(20), || {
        engine.container("remote-buildkitd").is_none()
    });
}

fn refuses(context: &TestContext, line: &str) -> Said {
    context.call("sh", ["-ec", line]).run().fails(1)
}

/// Who has no certificate of the authority does not get in.
fn a_stranger_is_refused(context: &TestContext) {
    let line = "bkhost create --name stranger --driver remote --driver-opt \
                cacert=${PWD}/.certs/client/ca.pem,servername=localhost tcp://localhost:1234 && \
                bkhost build --builder stranger app";
    refuses(context, line).says("ertificate").says("hint: ");
}
