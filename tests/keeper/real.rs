//! A real buildkitd under the keeper, as root and as an ordinary user.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bkhost::connect::pipe::Pipe;
use bkhost::connect::tls::{self, OptionFile, TlsError, TlsFiles};
use bkhost::keeper::daemon::Daemon;
use bkhost::keeper::launch::Launch;
use bkhost::keeper::paths::{Owner, Surroundings};
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

fn buildkitd(site: &Site, bin: &Path, state: &Path) -> Launch {
    let socket = site.folder().join("buildkitd.sock");
    let mut launch = Launch::new(bin.join("buildkitd"));
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
async fn buildkitd_as_root_is_kept_stopped_killed_and_removed() {
    if !Surroundings::of_process().is_root() {
        return;
    }
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
            authority: file("cacert", "ca.pem"),
            identity: identity.then(|| (file("cert", "client.pem"), file("key", "client.key"))),
        }
    }
}

#[tokio::test]
async fn buildkitd_over_mutual_tls() {
    if !Surroundings::of_process().is_root() {
        return;
    }
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

const USER: &str = "bkhost-keeper";
const PLACE: &str = "BKHOST_TEST_ROOTLESS";

/// An ordinary user of this machine with mapped ids, for one test.
struct User {
    uid: u32,
}

impl User {
    fn create() -> Self {
        let _ = command("userdel", &["--remove", "--force", USER]).output();
        let added = command("useradd", &["--create-home", "--shell", "/bin/sh", USER])
            .output()
            .unwrap();
        assert!(
            added.status.success(),
            "{}",
            String::from_utf8_lossy(&added.stderr)
        );
        let id = command("id", &["-u", USER]).output().unwrap();
        let uid = String::from_utf8(id.stdout).unwrap().trim().parse().unwrap();
        Self { uid }
    }

    /// Runs one test of this binary as the user.
    fn run(&self, binary: &Path, test: &str, place: &Path) -> std::process::Output {
        let uid = self.uid.to_string();
        let args = [
            "--reuid",
            &uid,
            "--regid",
            &uid,
            "--init-groups",
            "--reset-env",
            "--",
        ];
        let mut run = command("setpriv", &args);
        run.arg("env").arg(format!("{PLACE}={}", place.display()));
        run.arg(binary).args(["--exact", test, "--nocapture"]);
        run.output().unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = command("userdel", &["--remove", "--force", USER]).output();
    }
}

fn command(program: &str, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.args(args).current_dir("/");
    command
}

/// The part of the test below that runs as the ordinary user; without its folder there is nothing to do.
#[tokio::test]
async fn rootless_part() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return;
    };
    assert_ne!(Surroundings::of_process().uid, 0);
    let bin = place.join("bin");
    let base = bkhost::keeper::paths::Variables::of_process().runtime_folder(Surroundings::of_process().uid);
    let owner = Owner::of(&place);
    let site = Site::new(Surroundings::of_process(), owner, &base).with_host_program(bin.join("bkhost"));
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let state = home.join(".local/share/bkhost/node0");
    site.create_folder().unwrap();
    site.create_state(&state).unwrap();
    let launch = rootless(&site, &bin, &state);
    let daemon = site.start(&launch).await.unwrap();
    until_listening(&daemon).await;
    build(&bin, daemon.socket(), &home);
    site.stop(LONG).await.unwrap();
    let end = daemon.end().await.unwrap();
    assert_eq!(end.reason, Reason::Stopped, "{end:?}");

    let daemon = site.start(&launch).await.unwrap();
    until_listening(&daemon).await;
    kill(daemon.pid(), rustix::process::Signal::KILL);
    daemon.ended().await;
    assert_eq!(daemon.end().await.unwrap().signal, Some(9));
    site.remove(Some(&state), LONG).await.unwrap();
    assert!(!state.exists() && !site.folder().exists());
    println!("rootless part done");
}

fn rootless(site: &Site, bin: &Path, state: &Path) -> Launch {
    let inner = buildkitd(site, bin, state);
    let mut launch = Launch::new(bin.join("rootlesskit"));
    launch.args = vec![
        "--net=host".to_owned(),
        "--copy-up=/etc".to_owned(),
        "--copy-up=/run".to_owned(),
        format!("--state-dir={}", site.folder().join("rootlesskit").display()),
        bin.join("buildkitd").display().to_string(),
        "--rootless".to_owned(),
    ];
    launch.args.extend(inner.args);
    launch.path_first = inner.path_first;
    launch.env = vec![("XDG_RUNTIME_DIR".to_owned(), site.folder().display().to_string())];
    launch.socket = inner.socket;
    launch.state = inner.state;
    launch
}

/// One build whose step runs as a mapped user and leaves files of that user in the cache.
fn build(bin: &Path, socket: &Path, home: &Path) {
    let context = home.join("context");
    std::fs::create_dir_all(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
    let dockerfile = "FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n\
        RUN /bin/busybox mkdir -p /deep/er && /bin/busybox touch /deep/er/x && /bin/busybox chown -R 1000:1000 /deep && \
        /bin/busybox chmod 0500 /deep/er\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let local = format!("context={}", context.display());
    let file = format!("dockerfile={}", context.display());
    let addr = format!("unix://{}", socket.display());
    let args = [
        "--addr",
        &addr,
        "build",
        "--frontend",
        "dockerfile.v0",
        "--local",
        &local,
        "--local",
        &file,
    ];
    let built = command(bin.join("buildctl").to_str().unwrap(), &args)
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
}

#[tokio::test]
async fn buildkitd_as_an_ordinary_user_leaves_nothing_behind() {
    if !Surroundings::of_process().is_root() {
        return;
    }
    let dir = tempfile::Builder::new()
        .prefix("bkhost-rootless")
        .tempdir()
        .unwrap();
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["buildkitd", "buildctl", "runc", "rootlesskit"] {
        std::fs::copy(engines().join(name), bin.join(name))
            .unwrap_or_else(|error| panic!("no {name}: {error}"));
    }
    std::fs::copy(env!("CARGO_BIN_EXE_bkhost"), bin.join("bkhost")).unwrap();
    let tests = bin.join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();

    let user = User::create();
    let output = user.run(&tests, "real::rootless_part", dir.path());
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("rootless part done"),
        "{text}{errors}"
    );
    let left = format!("/tmp/bkhost-{}", user.uid);
    assert!(!Path::new(&left).exists());
}
