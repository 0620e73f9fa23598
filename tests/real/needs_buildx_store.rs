//! One store, two programs: what buildx made is used by bkhost, and the reverse.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::process::{Command, Output};

use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::provided::program;

use crate::scripted::Scripted;
use crate::sealed::Sealed;

/// A store that both use.
struct Shared {
    sealed: Sealed,
    drivers: Scripted,
}

impl Shared {
    fn new() -> Self {
        Self {
            sealed: Sealed::new(),
            drivers: Scripted::default(),
        }
    }

    fn buildx(&self, line: &str) -> Output {
        Command::new(program("buildx"))
            .args(line.split_whitespace())
            .env_clear()
            .envs(self.sealed.variables())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn buildx_ok(&self, line: &str) -> String {
        let output = self.buildx(line);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn bkhost_ok(&self, line: &str) -> String {
        self.sealed.run(&self.drivers, line).ok()
    }

    fn instance(&self, name: &str) -> String {
        std::fs::read_to_string(self.sealed.store().join("instances").join(name)).unwrap()
    }

    /// A cluster that nobody answers for, with which buildx creates builders all the same.
    fn kubeconfig(self) -> Self {
        let path = self.sealed.home().join("kubeconfig");
        let text = r#"{"apiVersion":"v1","kind":"Config","current-context":"a",
            "contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],
            "clusters":[{"name":"a","cluster":{"server":"http://127.0.0.1:1"}}],
            "users":[{"name":"a","user":{}}]}"#;
        std::fs::write(&path, text).unwrap();
        let Self { sealed, drivers } = self;
        let sealed = sealed.with("KUBECONFIG", &path.display().to_string());
        Self { sealed, drivers }
    }
}

#[test]
fn builders_of_buildx_are_listed_used_and_removed() {
    let daemon = Daemon::start();
    let shared = Shared::new().kubeconfig();
    shared.buildx_ok(&format!(
        "create --driver remote --name There --use {}",
        daemon.address()
    ));
    shared.buildx_ok("create --driver kubernetes --name cloud --driver-opt replicas=2");
    let listed = shared.bkhost_ok("ls --format {{.Name}}={{.Status}}={{.Buildkit}}");
    assert!(listed.contains("There==\nthere0=running=v"), "{listed}");
    assert!(listed.contains("cloud=error="), "{listed}");
    assert!(shared.bkhost_ok("ls").contains("There*"));
    let inspected = shared.bkhost_ok("inspect");
    assert!(inspected.contains("Platforms: "), "{inspected}");
    assert!(inspected.contains("GC Policy rule#0:"), "{inspected}");
    shared.bkhost_ok("rm There");
    assert!(!shared.buildx_ok("ls").contains("There"));
    let gone = shared.sealed.run(&shared.drivers, "rm cloud");
    assert!(
        gone.err
            .contains("failed to remove cloud: failed to find driver \"kubernetes\"")
    );
    assert!(!shared.buildx_ok("ls").contains("cloud"));
}

#[test]
fn builders_of_bkhost_are_listed_used_and_removed_by_buildx() {
    let daemon = Daemon::start();
    let shared = Shared::new();
    shared.bkhost_ok(&format!(
        "create --name There --use --platform linux/arm64 {}",
        daemon.address()
    ));
    let listed = shared.buildx_ok("ls --format {{.Name}}={{.Status}}={{.Platforms}}");
    assert!(listed.contains("there0=running=linux/arm64*"), "{listed}");
    assert!(shared.buildx_ok("inspect").contains("Name:          There"));
    shared.buildx_ok("rm There");
    assert!(!shared.bkhost_ok("ls").contains("There"));
}

#[test]
fn both_write_the_same_bytes() {
    let (theirs, ours) = (Shared::new(), Shared::new());
    let line = "create --driver remote --name A --platform linux/arm64,linux/amd64/v1,linux/arm,windows --driver-opt cacert=/a&b,default-load=true tcp://127.0.0.1:1";
    let known = "create --driver remote --name A --platform linux/arm64,linux/amd64/v1,linux/arm,windows --driver-opt default-load=true tcp://127.0.0.1:1";
    theirs.buildx_ok(known);
    ours.bkhost_ok(known);
    assert_eq!(theirs.instance("a"), ours.instance("a"));
    let escaped = Shared::new();
    escaped.bkhost_ok(line);
    assert!(escaped.instance("a").contains(r#""cacert":"/a\u0026b""#));

    for shared in [&theirs, &ours] {
        let append = "create --append --name A --node Two --platform linux/arm64 tcp://127.0.0.1:2";
        if std::ptr::eq(shared, &theirs) {
            shared.buildx_ok(append);
            shared.buildx_ok("use --default A");
        } else {
            shared.bkhost_ok(append);
            shared.bkhost_ok("use --default A");
        }
    }
    assert_eq!(theirs.instance("a"), ours.instance("a"));
    for file in ["current", "defaults/13c4025c96f36e94b348"] {
        let read = |shared: &Shared| std::fs::read_to_string(shared.sealed.store().join(file)).unwrap();
        assert_eq!(read(&theirs), read(&ours), "{file}");
    }
}

#[test]
fn a_process_builder_disturbs_no_command_of_buildx() {
    let shared = Shared::new();
    shared.buildx_ok("create --driver remote --name theirs --use tcp://127.0.0.1:1");
    let before = shared.buildx_ok("ls --format json");
    shared.bkhost_ok("create --driver process --name here --use");
    shared.bkhost_ok("use --default here");
    assert_eq!(shared.buildx_ok("ls --format json"), before);
    assert!(shared.buildx_ok("inspect").contains("theirs"));
    assert!(shared.bkhost_ok("inspect --format {{.Name}}").contains("here"));
    shared.buildx_ok("rm --all-inactive --force");
    let left = shared.bkhost_ok("ls --format {{.Name}}");
    assert!(left.contains("here\n") && !left.contains("theirs"), "{left}");
    shared.bkhost_ok("rm here");
}

#[test]
fn the_lock_is_shared() {
    let shared = Shared::new();
    shared.bkhost_ok("create --name a tcp://127.0.0.1:1/down");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let shared = &shared;
            scope.spawn(move || {
                shared.buildx_ok(&format!(
                    "create --append --name a --node b{number} tcp://127.0.0.1:1{number}"
                ));
            });
            scope.spawn(move || {
                shared.bkhost_ok(&format!(
                    "create --append --name a --node c{number} tcp://127.0.0.1:2{number}/down"
                ));
            });
        }
    });
    let stored = shared.instance("a");
    for number in 0..4 {
        assert!(
            stored.contains(&format!("\"b{number}\"")) && stored.contains(&format!("\"c{number}\"")),
            "{stored}"
        );
    }
}
