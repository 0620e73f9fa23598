//! A builder of two nodes that bkhost keeps itself: their logs, and a connection on standard input and output.

use std::time::Duration;

use bkhost_test_support::call::Running;
use bkhost_test_support::context::TestContext;
use rustix::process::Signal;

use crate::harness::{context, eventually};

/// The preface of HTTP/2 and empty settings.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Type of the frame that both sides of HTTP/2 send first.
const SETTINGS: u8 = 4;

/// An environment whose selected builder `b` has the booted nodes `b0` and `second`.
fn booted() -> TestContext {
    let context = context();
    for (node, more) in [("b0", "--use"), ("second", "--append")] {
        let root = format!("root={}", context.path().join(node).display());
        let create = ["create", "--driver", "process", "--name", "b", more];
        let call = context.bkhost(create).args(["--driver-opt", root.as_str()]);
        let call = if node == "b0" {
            call
        } else {
            call.args(["--node", node])
        };
        call.run().succeeds();
    }
    context
        .bkhost(["inspect", "--bootstrap"])
        .run()
        .succeeds()
        .says("[b0 internal] booting buildkit")
        .says("[second internal] booting buildkit");
    context
}

fn remove(context: &TestContext) {
    context.bkhost(["rm", "b"]).run().succeeds().says("b removed");
}

fn until_printed(running: &Running) {
    eventually("output", Duration::from_secs(20), || !running.stdout().is_empty());
}

#[test]
fn logs_are_shown_cut_and_followed() {
    let context = booted();
    let logs = |more: &[&str]| context.bkhost(["logs"]).args(more).run();
    let last = logs(&["--node", "second", "--tail", "1"]).succeeds();
    assert_eq!(last.stdout().lines().count(), 1, "{}", last.stdout());
    let both = logs(&["-n", "1"]).succeeds();
    assert_eq!(both.stdout().lines().count(), 2, "{}", both.stdout());
    both.says("==> b0 local <==\n==> second local <==\n");
    logs(&["--follow"])
        .fails(1)
        .says("ERROR: Only one node can be followed at a time\nhint: Choose one with `--node`: b0, second\n");
    logs(&["--node", "third"])
        .fails(1)
        .says("ERROR: node \"third\" not found for b\nhint: It has b0, second\n");

    let follow = ["logs", "--follow", "--tail", "1", "--node", "second"];
    let following = context.bkhost(follow).start();
    until_printed(&following);
    // What a daemon writes when it is asked to end comes while its log is followed, and its end is the log's.
    context.bkhost(["stop", "b"]).run().succeeds();
    let followed = following.wait().succeeds();
    assert!(followed.stdout().lines().count() > 1, "{}", followed.stdout());
    assert!(followed.stdout().starts_with(&last.stdout()));
    remove(&context);
}

#[test]
fn ctrl_c_ends_a_followed_log() {
    let context = booted();
    let follow = ["logs", "--follow", "--tail", "1", "--node", "b0"];
    let following = context.bkhost(follow).start();
    until_printed(&following);
    following.signal(Signal::INT);
    following.wait().fails(130).says("ERROR: Cancelled\n");
    remove(&context);
}

#[test]
fn standard_streams_become_a_connection_to_the_chosen_node() {
    let context = booted();
    let dial = |more: &[&str]| context.bkhost(["dial-stdio"]).args(more).stdin(GREETING).run();
    let plain = dial(&["--progress", "plain"]).succeeds();
    assert_eq!(plain.stdout().as_bytes().get(3), Some(&SETTINGS));
    plain.says("#0 builder: b\n\n#1 Proxying to builder\n#1 Dialing builder");
    let quiet = dial(&[]).succeeds();
    assert_eq!(quiet.stderr(), "");
    let json = dial(&["--progress", "rawjson"]).succeeds();
    let first = json.stderr().lines().next().unwrap();
    let update: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(update["vertexes"][0]["name"], "Proxying to builder");
    dial(&["--progress", "plain", "--platform", "linux/s390x"])
        .succeeds()
        .says("no node lists linux/s390x: `b0` builds it");
    dial(&["--progress", "fancy"])
        .fails(1)
        .says("ERROR: invalid progress mode fancy\n");
    remove(&context);
}
