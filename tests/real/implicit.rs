//! A machine with no builder and no engine.

use bkhost_test_support::namespace::Namespace;
use bkhost_test_support::source::bare;

use crate::harness::{build, context};

#[test]
fn the_first_build_boots_a_local_daemon_and_says_so() {
    let namespace = Namespace::with_network();
    let context = context().inside(&namespace);
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let first = build(&context, &folder).run().succeeds();
    first
        .says("\"local\" instance using process driver")
        .says("booting");
    let status = ["ls", "--format", "{{.Name}} {{.Status}}"];
    context.bkhost(status).run().succeeds().prints("local running");
    assert!(
        !context.store().join("instances").exists(),
        "the implicit builder was stored"
    );
    context.bkhost(["stop", "local"]).run().succeeds();
    let listed = context.bkhost(status).run().succeeds().stdout();
    assert!(
        listed.contains("local") && !listed.contains("running"),
        "{listed}"
    );
    let again = build(&context, &folder).run().succeeds();
    again.says("CACHED");
    context
        .bkhost(["rm", "local"])
        .run()
        .succeeds()
        .says("local removed");
    let after = build(&context, &folder).run().succeeds();
    after.says("CACHED");
    context.bkhost(["rm", "local", "--with-state"]).run().succeeds();
    build(&context, &folder).run().succeeds().says_no("CACHED");
    context.bkhost(["rm", "local", "--with-state"]).run().succeeds();
}

#[test]
fn listing_and_looking_boot_nothing() {
    let namespace = Namespace::with_network();
    let context = context().inside(&namespace);
    context
        .bkhost(["ls"])
        .run()
        .succeeds()
        .prints("local")
        .prints("process");
    context
        .bkhost(["inspect", "local"])
        .run()
        .succeeds()
        .prints("process");
    assert!(context.running().is_empty(), "{:?}", context.running());
    let create = ["create", "--driver", "process", "--name", "stored"];
    context.bkhost(create).run().succeeds();
    context.bkhost(["inspect", "stored"]).run().succeeds();
    let made = context
        .call("ls", ["-A", "/run/bkhost", "/var/lib/bkhost"])
        .run()
        .succeeds();
    assert_eq!(
        made.stdout(),
        "/run/bkhost:\n\n/var/lib/bkhost:\n",
        "something was made by looking"
    );
    context.bkhost(["rm", "stored"]).run().succeeds();
}
