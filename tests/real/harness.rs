//! What the tests of the program share: its environment, a builder at a daemon, a builder's whole life.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;
use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::with_base;
use bkhost_test_support::user::OrdinaryUser;

use crate::process::daemons;

/// The program under test in an environment of its own.
pub fn context() -> TestContext {
    TestContext::new(env!("CARGO_BIN_EXE_bkhost"))
}

/// The same as a user who is not root.
pub fn context_of(user: &OrdinaryUser) -> TestContext {
    TestContext::of_user(env!("CARGO_BIN_EXE_bkhost"), user)
}

/// Words that no earlier build had in a step: what is built with them is in no cache.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!(
        "{}-{}-{}",
        std::process::id(),
        now.as_millis(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// An environment whose selected builder `b` is a daemon that other tests may use as well.
pub struct Remote {
    pub context: TestContext,
    pub daemon: Arc<Daemon>,
}

impl Remote {
    pub fn new() -> Self {
        Self::at(Daemon::shared())
    }

    pub fn at(daemon: Arc<Daemon>) -> Self {
        let context = context();
        let create = ["create", "--driver", "remote", "--name", "b", "--use"];
        let created = context.bkhost(create).arg(daemon.address()).run().succeeds();
        assert_eq!(created.stdout(), "b\n");
        Self { context, daemon }
    }

    /// A build of `folder`; more options may follow.
    pub fn build(&self, folder: &Path) -> Call {
        build(&self.context, folder)
    }
}

/// A build of `folder` by the selected builder, shown as a plain text log.
pub fn build(context: &TestContext, folder: &Path) -> Call {
    context.bkhost(["build"]).arg(folder)
}

/// Lives a builder's whole life: it is made, builds, finds its cache, is looked at, stopped, used again and removed, and
/// leaves nothing. `create` is what follows `create --name b`.
pub fn live(context: &TestContext, create: &[&str]) {
    let created = context.bkhost(["create", "--name", "b", "--use"]).args(create);
    assert_eq!(created.run().succeeds().stdout(), "b\n");
    let step = "RUN echo hello from a step > /out && cat /out\nFROM scratch\nCOPY --from=base /out /\n";
    let folder = with_base(context, "source", step);
    let first = build(context, &folder).args(["-o", "result"]).run().succeeds();
    first.says("hello from a step").says_no("CACHED");
    assert_eq!(context.read("result/out"), "hello from a step\n");
    let finds_its_cache = || {
        let again = build(context, &folder).run().succeeds();
        again.says("CACHED").says_no("hello from a step\n");
    };
    finds_its_cache();
    is_seen_running(context);
    // A daemon that somebody else runs goes on.
    let of_its_own = !create.contains(&"remote");
    context.bkhost(["stop", "b"]).run().succeeds();
    if of_its_own {
        is_seen_stopped(context);
    }
    finds_its_cache();
    is_seen_running(context);
    context.bkhost(["rm", "b"]).run().succeeds().says("b removed");
    is_forgotten(context);
    left_nothing(context);
}

fn is_seen_running(context: &TestContext) {
    let shown = context.bkhost(["inspect", "b"]).run().succeeds();
    shown
        .prints("running")
        .prints("BuildKit version:")
        .prints("linux/");
    let listed = context.bkhost(["ls"]).run().succeeds();
    listed.prints("b*").prints("running");
}

fn is_seen_stopped(context: &TestContext) {
    assert!(daemons(context).is_empty(), "{:?}", context.running());
    let status = ["inspect", "b", "--format", "{{range .Nodes}}{{.Status}}{{end}}"];
    let shown = context.bkhost(status).run().succeeds();
    assert!(shown.stdout().contains("stopped"), "{}", shown.stdout());
}

fn is_forgotten(context: &TestContext) {
    let left = context.bkhost(["ls", "--format", "{{.Name}}"]).run().succeeds();
    assert!(
        !left.stdout().lines().any(|name| name == "b"),
        "{}",
        left.stdout()
    );
    context
        .bkhost(["inspect", "b"])
        .run()
        .fails(1)
        .says("no builder \"b\" found");
}

/// Folders in which commands may leave something.
const LIVED_IN: [&str; 3] = ["home", "run", "tmp"];

/// No process and no file of the builder `b` is left, and the user can delete whatever else there is.
fn left_nothing(context: &TestContext) {
    eventually("the keeper and the daemon end", Duration::from_secs(20), || {
        context.running().is_empty()
    });
    let find = |more: &[&str]| {
        let call = context.call("find", LIVED_IN).args(["-mindepth", "1"]).args(more);
        call.current_dir(context.path()).run().succeeds().stdout()
    };
    assert_eq!(find(&["(", "-name", "b", "-o", "-name", "b0", ")"]), "");
    find(&["-delete"]);
    assert_eq!(find(&[]), "");
}

/// Waits until `is_so`.
///
/// # Panics
///
/// When that takes longer than `limit`.
pub fn eventually(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Looks again and again whether something stays so.
///
/// # Panics
///
/// When it does not, before `limit`.
pub fn throughout(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < limit {
        assert!(is_so(), "{what}: not after {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
}
