//! Each failure of TLS against a server that really fails so.

use std::net::IpAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::error::certificate_words;
use super::files::is_version_one;
use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A leaf certificate with its key.
struct Leaf {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf_with(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
    let names = vec!["daemon.test".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Leaf {
        pem: certificate.pem(),
        certificate: certificate.der().clone(),
        key,
    }
}

fn leaf(authority: &Authority) -> Leaf {
    leaf_with(authority, |_| {})
}

/// A server with that certificate; one with `clients` wants certificates of that authority.
fn server(leaf: &Leaf, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    let config = builder
        .with_single_cert(vec![leaf.certificate.clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

struct Client {
    dir: tempfile::TempDir,
    files: TlsFiles,
}

impl Client {
    fn new(authority: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, authority).unwrap();
        let files = TlsFiles {
            trust: Trust::File(OptionFile::new("cacert", path)),
            identity: None,
        };
        Self { dir, files }
    }

    fn with_identity(mut self, leaf: &Leaf) -> Self {
        let certificate = self.dir.path().join("cert.pem");
        let key = self.dir.path().join("key.pem");
        std::fs::write(&certificate, &leaf.pem).unwrap();
        std::fs::write(&key, leaf.key.serialize_pem()).unwrap();
        self.files.identity = Some((OptionFile::new("cert", certificate), OptionFile::new("key", key)));
        self
    }

    /// Connects to a server that says `hello` once the handshake is done.
    async fn connect(&self, server: TlsAcceptor, name: &str) -> Result<Pipe, TlsError> {
        let (near, far) = tokio::io::duplex(16 << 10);
        tokio::spawn(async move {
            if let Ok(mut stream) = server.accept(far).await {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.read(&mut [0; 1]).await;
            }
        });
        start(Pipe::new(near), &self.files, name, "daemon.test:1234").await
    }
}

async fn hello(mut pipe: Pipe) -> String {
    let mut data = [0; 5];
    pipe.read_exact(&mut data).await.unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

fn certificate_error(error: TlsError) -> (String, String) {
    match error {
        TlsError::Certificate { why, hint, .. } => (why, hint.unwrap_or_default()),
        other => panic!("not a refused certificate: {other}"),
    }
}

#[tokio::test]
async fn a_server_of_the_given_authority_is_trusted_by_name_and_address() {
    let ca = authority();
    let leaf = leaf(&ca);
    for name in ["daemon.test", "127.0.0.1"] {
        let pipe = Client::new(&ca.pem())
            .connect(server(&leaf, None), name)
            .await
            .unwrap();
        assert!(pipe.is_write_vectored(), "as the stream below");
        assert_eq!(hello(pipe).await, "hello");
    }
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let ca = authority();
    let client = Client::new(&ca.pem()).with_identity(&leaf(&ca));
    let pipe = client
        .connect(server(&leaf(&ca), Some(&ca)), "daemon.test")
        .await
        .unwrap();
    assert_eq!(hello(pipe).await, "hello");
}

#[tokio::test]
async fn another_authority_is_refused() {
    let (ca, other) = (authority(), authority());
    let error = Client::new(&other.pem())
        .connect(server(&leaf(&ca), None), "daemon.test")
        .await;
    let (why, _) = certificate_error(error.unwrap_err());
    assert_eq!(why, "it was not issued by the given certificate authority");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = authority();
    let old = leaf_with(&ca, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let error = Client::new(&ca.pem())
        .connect(server(&old, None), "daemon.test")
        .await;
    assert_eq!(certificate_error(error.unwrap_err()).0, "it has expired");
}

#[tokio::test]
async fn another_name_is_refused_with_the_names_there_are() {
    let ca = authority();
    let leaf = leaf(&ca);
    let error = Client::new(&ca.pem())
        .connect(server(&leaf, None), "other.test")
        .await;
    let (why, _) = certificate_error(error.unwrap_err());
    assert_eq!(
        why,
        "it is for `daemon.test`, `127.0.0.1`, `other.test` was expected"
    );
    let error = Client::new(&ca.pem())
        .connect(server(&leaf, None), "127.0.0.2")
        .await;
    assert!(
        certificate_error(error.unwrap_err())
            .0
            .contains("`127.0.0.2` was expected")
    );
}

#[tokio::test]
async fn an_authority_as_server_is_refused_with_the_way_to_mend_it() {
    let ca = authority();
    let itself = leaf_with(&ca, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    });
    let error = Client::new(&ca.pem())
        .connect(server(&itself, None), "daemon.test")
        .await;
    let (why, hint) = certificate_error(error.unwrap_err());
    assert!(why.contains("certificate of an authority"), "{why}");
    assert!(hint.contains("CA:FALSE"), "{hint}");
}

#[test]
fn version_one_is_explained() {
    let unsupported = webpki::Error::UnsupportedCertVersion;
    let (why, hint) = certificate_words(&CertificateError::Other(rustls::OtherError(Arc::new(
        unsupported,
    ))));
    assert!(why.contains("version 1"), "{why}");
    // As a client's own certificate it is for the server to judge.
    assert!(is_version_one(&CertificateError::Other(rustls::OtherError(
        Arc::new(webpki::Error::UnsupportedCertVersion)
    ))));
    assert!(!is_version_one(&CertificateError::BadEncoding));
    assert!(hint.unwrap().contains("-extfile"));
}

#[tokio::test]
async fn a_missing_client_certificate_is_told_at_once() {
    let ca = authority();
    let error = Client::new(&ca.pem())
        .connect(server(&leaf(&ca), Some(&ca)), "daemon.test")
        .await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, TlsError::Identity { hint, .. } if hint.contains("Give a client certificate")),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_is_told_at_once() {
    let (ca, other) = (authority(), authority());
    let client = Client::new(&ca.pem()).with_identity(&leaf(&other));
    let error = client
        .connect(server(&leaf(&ca), Some(&ca)), "daemon.test")
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::Identity { .. }), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_never_ends_does_not_hold_everything_up() {
    let mut client = Client::new(&authority().pem());
    let pipe = client.dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    client.files.trust = Trust::File(OptionFile::new("cacert", &pipe));
    let (near, _far) = tokio::io::duplex(64);
    let starting = start(Pipe::new(near), &client.files, "a", "a:1");
    let waited = tokio::time::timeout(Duration::from_millis(100), starting).await;
    assert!(waited.is_err());
    // Lets the thread go that still waits for a writer.
    std::fs::write(&pipe, "").unwrap();
}

#[tokio::test]
async fn a_peer_without_tls_is_told_apart() {
    let client = Client::new(&authority().pem());
    for greeting in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0",
    ] {
        let (near, mut far) = tokio::io::duplex(16 << 10);
        far.write_all(greeting).await.unwrap();
        let error = start(Pipe::new(near), &client.files, "a", "a:1")
            .await
            .unwrap_err();
        assert!(matches!(error, TlsError::Protocol { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_goes_away_is_told_apart() {
    let client = Client::new(&authority().pem());
    let (near, mut far) = tokio::io::duplex(16 << 10);
    tokio::spawn(async move { far.read(&mut [0; 64]).await });
    let error = start(Pipe::new(near), &client.files, "a", "a:1")
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::Closed { .. }), "{error}");
}

#[test]
fn bad_files_name_their_option() {
    let ca = authority();
    let mut client = Client::new(&ca.pem()).with_identity(&leaf(&ca));
    let words = |client: &Client| client.files.client().unwrap_err().to_string();

    let (certificate, key) = client.files.identity.clone().unwrap();
    std::fs::write(&key.path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(
        words(&client).contains("of option `key` does not belong to the certificate"),
        "{}",
        words(&client)
    );
    std::fs::write(&key.path, "nothing").unwrap();
    assert!(words(&client).contains("of option `key` has no private key"));
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        std::fs::write(&key.path, encrypted).unwrap();
        assert!(
            words(&client).contains("of option `key` has a private key that is encrypted"),
            "{}",
            words(&client)
        );
    }
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    std::fs::write(&key.path, broken).unwrap();
    assert!(words(&client).contains("of option `key` has a private key that cannot be used: "));
    std::fs::write(&certificate.path, "nothing").unwrap();
    assert!(words(&client).contains("of option `cert` has no certificate"));
    client.files.trust = Trust::File(OptionFile::new("cacert", "/nonexistent/ca.pem"));
    assert_eq!(
        words(&client),
        "Cannot read `/nonexistent/ca.pem` of option `cacert`"
    );
    client.files.trust = Trust::File(OptionFile::new("cacert", "/dev/zero"));
    assert_eq!(
        words(&client),
        "File `/dev/zero` of option `cacert` has more than 16 MiB"
    );
}

#[test]
fn names_and_addresses_are_understood() {
    assert!(matches!(server_name("[::1]").unwrap(), ServerName::IpAddress(_)));
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(server_name("10.0.0.1").unwrap(), ServerName::from(address));
    assert!(matches!(
        server_name("a b").unwrap_err(),
        TlsError::BadName { .. }
    ));
}
