//! The Docker Engine API as guests get it, on real engines: requests, streams, connections, TLS, ssh.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bkhost::buildkit::client::Client;
use bkhost::docker::{EngineSettings, Engines};
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{DriverError, DriverErrorKind, Drivers, Node, NodeConfig};
use bkhost::store::docker::DockerEnvironment;
use bkhost_test_support::certificates::Certificates;
use bkhost_test_support::docker::{DockerEngine, Release};
use bkhost_test_support::provided;
use bkhost_test_support::user::OrdinaryUser;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

use super::{context_at, docker};
use crate::fixture::{catalog_with, request};
use crate::harness::unique;

const RELEASES: [Release; 2] = [Release::Current, Release::Old];

/// A node of the guest that asks an engine.
pub async fn open(settings: EngineSettings, endpoint: &str, node: &str, ask: &str) -> Box<dyn Node> {
    let environment = HostEnvironment {
        engines: Arc::new(Engines::new(settings)),
        ..HostEnvironment::default()
    };
    let config = NodeConfig {
        builder: "b".to_owned(),
        node: node.to_owned(),
        endpoint: endpoint.to_owned(),
        options: [("ask".to_owned(), ask.to_owned())].into(),
        ..NodeConfig::default()
    };
    let catalog = catalog_with("engine-client", "engine-client", environment);
    catalog.open("engine-client", config).await.unwrap()
}

async fn at(engine: &DockerEngine, ask: &str) -> Box<dyn Node> {
    open(EngineSettings::default(), &engine.address(), &unique(), ask).await
}

async fn said(settings: EngineSettings, endpoint: &str, ask: &str) -> Result<String, DriverError> {
    let node = open(settings, endpoint, "n", ask).await;
    Ok(node.status().await?.detail)
}

#[tokio::test]
async fn the_version_is_the_newest_that_both_speak() {
    // The current engine speaks one that is newer than ours.
    for (release, version) in [(Release::Current, "1.55"), (Release::Old, "1.41")] {
        let engine = DockerEngine::shared(release);
        let agreed = at(&engine, "version").await.status().await.unwrap().detail;
        assert_eq!(agreed, version);
        let info = at(&engine, "GET /info").await.status().await.unwrap().detail;
        assert!(info.starts_with("200 {"), "{info}");
    }
}

#[tokio::test]
async fn a_container_lives_its_life_and_its_log_is_read_while_it_writes() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let detail = at(&engine, "container").await.status().await.unwrap().detail;
        assert_eq!(detail, "200 ,one,three,two 204", "{release:?}");
    }
}

#[tokio::test]
async fn an_exec_echoes_both_ways_and_its_stderr_is_kept() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let node = unique();
        let driver = open(EngineSettings::default(), &engine.address(), &node, "").await;
        let mut pipe = driver.dial("i1", request()).await.unwrap();
        let words = pipe.last_words().unwrap().clone();
        // More than fits into all buffers on the way: what stops one direction stops the test.
        let sent: Vec<u8> = (0..4u32 << 20).map(|number| (number % 251) as u8).collect();
        let (mut reader, mut writer) = tokio::io::split(&mut pipe);
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let echoed = async { tokio::join!(write, reader.read_to_end(&mut read)).1 };
        let echoed = tokio::time::timeout(Duration::from_secs(60), echoed).await;
        echoed.expect("the echo ends").unwrap();
        assert!(
            read.len() == sent.len() + 4 && read.starts_with(&sent),
            "{release:?}"
        );
        assert!(read.ends_with(b"end\n"));
        assert_eq!(words.stderr(), "of i1\n");
        let name = format!("bk_{node}");
        docker(&context_at(&engine), ["rm", "--force", &name]);
    }
}

#[tokio::test]
async fn the_engines_buildkit_is_reached_as_the_engine_can() {
    for (release, ways) in [
        (Release::Current, ["http2", "either"]),
        (Release::Old, ["grpc", "either"]),
    ] {
        let engine = DockerEngine::shared(release);
        for way in ways {
            let pipe = at(&engine, way).await.dial("default", request()).await.unwrap();
            let client = Client::connect(pipe, None).await.unwrap();
            assert!(!client.workers().is_empty(), "{release:?} {way}");
            let version = client.version().await.unwrap();
            assert_eq!(
                version.is_some(),
                release == Release::Current,
                "{release:?} {way}"
            );
        }
    }
    let old = DockerEngine::shared(Release::Old);
    let error = at(&old, "http2")
        .await
        .dial("default", request())
        .await
        .unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unsupported, "{error}");
    assert!(
        error.message.contains("does not speak HTTP/2 on its socket"),
        "{error}"
    );
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_the_engines_word() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let node = at(&engine, "registry.invalid/none:1").await;
        let error = node.boot(request()).await.unwrap_err();
        assert!(
            !matches!(error.kind, DriverErrorKind::Defect | DriverErrorKind::TimedOut),
            "{release:?}: {error:?}"
        );
        assert!(error.message.contains("registry.invalid"), "{release:?}: {error}");
    }
}

#[test]
fn a_socket_that_a_user_may_not_use_says_what_to_do() {
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let user = OrdinaryUser::new();
        let address = engine.address();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // The guest's file may lie where the user may not read.
        let opened = runtime.block_on(open(EngineSettings::default(), &address, "n", "version"));
        let error = user
            .run(|| runtime.block_on(opened.status()).map(drop))
            .unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Denied);
        assert_eq!(
            error.message,
            format!("permission denied while trying to connect to the docker API at {address}")
        );
        assert!(error.hint.unwrap().contains("usermod"));
    }
}

/// An address at which TLS is spoken before the engine's socket, with clients of that authority.
pub async fn tls_before(engine: &DockerEngine, certificates: &Certificates) -> String {
    let certificate = CertificateDer::from_pem_file(certificates.file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates.file("server-key.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.file("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let socket = engine.socket();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut engine = UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut engine).await
            });
        }
    });
    address
}

/// A folder as `DOCKER_CERT_PATH` names it, with these files of a test's certificates.
pub fn certificates_folder(
    certificates: &Certificates,
    authority: &Certificates,
    client: bool,
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(authority.file("ca.pem"), folder.path().join("ca.pem")).unwrap();
    if client {
        for (from, to) in [("client.pem", "cert.pem"), ("client-key.pem", "key.pem")] {
            std::fs::copy(certificates.file(from), folder.path().join(to)).unwrap();
        }
    }
    folder
}

fn tls_settings(address: &str, folder: &Path, verify: bool) -> EngineSettings {
    EngineSettings {
        docker: DockerEnvironment {
            host: Some(address.to_owned()),
            tls: true,
            tls_verify: verify,
            cert_path: Some(folder.to_owned()),
            ..DockerEnvironment::default()
        },
        ..EngineSettings::default()
    }
}

#[tokio::test]
async fn tls_is_spoken_as_the_environment_says_and_its_failures_are_told_apart() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    for release in RELEASES {
        let engine = DockerEngine::shared(release);
        let address = tls_before(&engine, &certificates).await;
        let right = certificates_folder(&certificates, &certificates, true);
        said(tls_settings(&address, right.path(), true), "", "GET /info")
            .await
            .unwrap();

        // A context has files of its own.
        let context = context_at(&engine);
        let file = |name: &str| certificates.file(name).display().to_string();
        for (name, more) in [
            ("secured", format!("ca={}", file("ca.pem"))),
            ("trusting", "skip-tls-verify=true".to_owned()),
        ] {
            let (cert, key) = (file("client.pem"), file("client-key.pem"));
            let made = format!("host={address},cert={cert},key={key},{more}");
            docker(&context, ["context", "create", name, "--docker", &made]);
            let mut settings = EngineSettings::default();
            settings.docker.folder = context.home().join(".docker");
            said(settings.clone(), name, "GET /info").await.unwrap();
            settings.docker.context = Some(name.to_owned());
            assert_eq!(said(settings, "", "url").await.unwrap(), address);
        }

        let wrong = certificates_folder(&certificates, &other, true);
        let error = said(tls_settings(&address, wrong.path(), true), "", "version")
            .await
            .unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Certificate, "{error}");
        assert!(
            error.message.contains("was refused: it was not issued by"),
            "{error}"
        );
        // Without verification anybody's certificate will do.
        said(tls_settings(&address, wrong.path(), false), "", "version")
            .await
            .unwrap();

        let nameless = certificates_folder(&certificates, &certificates, false);
        let error = said(tls_settings(&address, nameless.path(), true), "", "version")
            .await
            .unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Certificate, "{error}");
        assert!(
            error.message.contains("refused the client certificate"),
            "{error}"
        );

        let plain = said(EngineSettings::default(), &address, "version")
            .await
            .unwrap_err();
        assert!(
            matches!(
                plain.kind,
                DriverErrorKind::Protocol | DriverErrorKind::Unavailable
            ),
            "{plain:?}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_speaks_no_tls_is_said_to() {
    let certificates = Certificates::new();
    let right = certificates_folder(&certificates, &certificates, true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = said(tls_settings(&bare, right.path(), true), "", "version")
        .await
        .unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Protocol, "{error}");
    assert!(error.hint.unwrap().contains("DOCKER_TLS_VERIFY"));
}

#[tokio::test]
async fn an_engine_is_reached_by_ssh() {
    let engine = DockerEngine::shared(Release::Current);
    let folder = tempfile::tempdir().unwrap();
    let ssh = folder.path().join("ssh");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}/asked\nexec {} --host={} system dial-stdio\n",
        folder.path().display(),
        provided::docker().display(),
        engine.address()
    );
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let settings = EngineSettings {
        docker: DockerEnvironment {
            path: folder.path().display().to_string(),
            ..DockerEnvironment::default()
        },
        executable: env!("CARGO_BIN_EXE_bkhost").into(),
        ..EngineSettings::default()
    };
    let address = "ssh://me@host:22/run/docker.sock";
    let node = open(settings.clone(), address, &unique(), "container").await;
    assert_eq!(node.status().await.unwrap().detail, "200 ,one,three,two 204");
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    // One connection served all requests but the log, which was a stream.
    let line =
        "-l me -p 22 -o ConnectTimeout=30 -T -- host docker --host=unix:///run/docker.sock system dial-stdio";
    assert!(asked.lines().all(|asked| asked == line), "{asked}");
    assert!(asked.lines().count() <= 3, "{asked}");

    let pipe = open(settings.clone(), address, "n", "http2")
        .await
        .dial("i", request())
        .await
        .unwrap();
    assert!(pipe.last_words().is_some());
    Client::connect(pipe, None).await.unwrap();

    std::fs::write(&ssh, "#!/bin/sh\necho no route to host >&2\nexit 255\n").unwrap();
    let error = said(settings, address, "version").await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unavailable);
    assert_eq!(
        error.message,
        "`ssh` ended with exit status: 255: no route to host"
    );
    assert!(error.hint.unwrap().contains("18.09"));
}
