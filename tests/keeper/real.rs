//! A real buildkitd under the keeper; rootless where the tests do not run as root.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bkhost::connect::pipe::Pipe;
use bkhost::connect::tls::{self, OptionFile, TlsError, TlsFiles, Trust};
use bkhost::keeper::daemon::Daemon;
use bkhost::keeper::launch::Launch;
use bkhost::keeper::paths::Surroundings;
use bkhost::keeper::record::Reason;
use bkhost::keeper::site::Site;
use tokio::io::AsyncReadExt;

use crate::place::{LONG, Place, kill, until_logged};

/// Where the tasks put real servers.
fn engines() -> PathBuf {
    let cache = bkhost::keeper::paths::Variables::of_process()
        .cache_folder()
        .unwrap();
    cache.join("engines").join("bin")
}

/// What runs buildkitd, up to its arguments.
fn program(site: &Site, bin: &Path) -> Launch {
    if Surroundings::of_process().is_root() {
        return Launch::new(bin.join("buildkitd"));
    }
    let mut launch = Launch::new(bin.join("rootlesskit"));
    launch.args = vec![
        "--net=host".to_owned(),
        "--copy-up=/etc".to_owned(),
        "--copy-up=/run".to_owned(),
        format!("--state-dir={}", site.folder().join("rootlesskit").display()),
        bin.join("buildkitd").display().to_string(),
        "--rootless".to_owned(),
    ];
    launch.env = vec![("XDG_RUNTIME_DIR".to_owned(), site.folder().display().to_string())];
    launch
}

fn buildkitd(site: &Site, bin: &Path, state: &Path) -> Launch {
    let socket = site.folder().join("buildkitd.sock");
    let mut launch = program(site, bin);
    for arg in ["--root", state.to_str().unwrap(), "--addr"] {
        launch.args.push(arg.to_owned());
    }
    launch.args.push(format!("unix://{}", socket.display()));
    let runc = bin.join("runc").display().to_string();
    for arg in [
        "--oci-worker-binary",
        &runc,
        "--oci-worker-net",
        "host",
        "--containerd-worker=false",
    ] {
        launch.args.push(arg.to_owned());
    }
    // Whatever the flag says, buildkitd also wants to see runc on its PATH.
    launch.path_first = vec![bin.to_owned()];
    launch.socket = Some(socket);
    launch.state = Some(state.to_owned());
    launch
}

async fn until_listening(daemon: &Daemon) {
    let begun = Instant::now();
    while tokio::net::UnixStream::connect(daemon.socket()).await.is_err() {
        let waits = begun.elapsed() < LONG && daemon.running();
        assert!(waits, "buildkitd does not listen: {}", daemon.log_tail(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn buildkitd_is_kept_stopped_killed_and_removed() {
    let place = Place::new();
    let state = place.base.with_file_name("state");
    place.site.create_state(&state).unwrap();
    let launch = buildkitd(&place.site, &engines(), &state);
    let daemon = place.site.start(&launch).await.unwrap();
    until_listening(&daemon).await;
    place.site.stop(LONG).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!(
        (end.reason, end.exit_code.is_some()),
        (Reason::Stopped, true),
        "{end:?}"
    );

    let daemon = place.site.start(&launch).await.unwrap();
    until_listening(&daemon).await;
    until_logged(&place.site, "buildkitd").await;
    kill(daemon.pid(), rustix::process::Signal::KILL);
    daemon.ended().await;
    let end = daemon.end().await.unwrap();
    assert_eq!((end.reason, end.signal), (Reason::Exited, Some(9)));
    assert!(end.log.contains("buildkitd"), "{}", end.log);
    place.site.remove(Some(&state), LONG).await.unwrap();
    assert!(!state.exists() && !place.base.exists());
}

/// Certificates of one authority, as files.
struct Certificates {
    dir: tempfile::TempDir,
    authority: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        Self { dir, authority }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Issues a certificate into `NAME.pem` and `NAME.key`.
    fn issue(&self, name: &str) {
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn files(&self, identity: bool) -> TlsFiles {
        let file = |option: &str, name: &str| OptionFile::new(option, self.path(name));
        TlsFiles {
            trust: Trust::File(file("cacert", "ca.pem")),
            identity: identity.then(|| (file("cert", "client.pem"), file("key", "client.key"))),
        }
    }
}

#[tokio::test]
async fn buildkitd_over_mutual_tls() {
    let place = Place::new();
    let state = place.base.with_file_name("state");
    place.site.create_state(&state).unwrap();
    let certificates = Certificates::new();
    certificates.issue("server");
    certificates.issue("client");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut launch = buildkitd(&place.site, &engines(), &state);
    launch.args.extend([
        "--addr".to_owned(),
        format!("tcp://{address}"),
        format!("--tlscacert={}", certificates.path("ca.pem")),
        format!("--tlscert={}", certificates.path("server.pem")),
        format!("--tlskey={}", certificates.path("server.key")),
    ]);
    let daemon = place.site.start(&launch).await.unwrap();
    until_listening(&daemon).await;

    let connect = async |identity: bool| {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let files = certificates.files(identity);
        tls::start(Pipe::new(stream), &files, "127.0.0.1", &address.to_string()).await
    };
    let mut pipe = connect(true).await.unwrap();
    // The head of an HTTP/2 frame: a server speaks first, with its settings (type 4 on stream 0).
    let mut head = [0; 9];
    pipe.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3..], [4, 0, 0, 0, 0, 0]);
    // A daemon that is told to stop waits for its connections.
    drop(pipe);
    let error = connect(false).await.unwrap_err();
    assert!(matches!(error, TlsError::Identity { .. }), "{error}");
    place.site.remove(Some(&state), LONG).await.unwrap();
}
