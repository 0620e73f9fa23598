//! Components that do not fit this host are refused before they run, with all that there is to say.

use bkhost::driver::node::{DriverError, DriverErrorKind, Drivers, NodeConfig, State};

use crate::fixture::{catalog, logged, request};

async fn refusal(name: &str) -> DriverError {
    let error = catalog(name).info(name).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Unsupported);
    error
}

#[tokio::test]
async fn a_wrong_track_names_both_sides() {
    let error = refusal("wrong-track").await;
    assert_eq!(
        error.message,
        "Driver `wrong-track` (`wrong-track.wasm`, built with bkhost-driver 0.9.0) speaks bkhost:driver@0.9.0; this \
         bkhost supports bkhost:driver@0.1.0-rc.1"
    );
    assert_eq!(
        error.hint.as_deref(),
        Some("Update bkhost, or use an older version of the driver")
    );
    let exports = error.details.iter().find(|(key, _)| key == "exports").unwrap();
    assert_eq!(exports.1, "bkhost:driver/node@0.9.0");
}

#[tokio::test]
async fn all_missing_imports_are_listed_at_once() {
    let error = refusal("unknown-import").await;
    assert_eq!(
        error.message,
        "Driver `unknown-import` (`unknown-import.wasm`) speaks bkhost:driver@0.1.0-rc.1 and imports what this bkhost does not \
         offer: `bkhost:beyond/teleport@1.0.0` (`aim`, `beam`); this bkhost supports bkhost:driver@0.1.0-rc.1"
    );
}

#[tokio::test]
async fn the_cluster_comes_with_its_driver() {
    let message = refusal("uses-all-imports").await.message;
    let (_, list) = message.split_once("does not offer: ").unwrap();
    let (list, _) = list.split_once("; this bkhost").unwrap();
    assert_eq!(
        list,
        "`bkhost:host/cluster@0.1.0-rc.1` (`[method]watcher.next`, `[method]watcher.ready`, \
         `namespace`, `send`, `watch`, `open-stream`, `exec`, `port-forward`)"
    );
}

#[tokio::test]
async fn a_component_with_the_required_interface_only_is_a_driver() {
    let catalog = catalog("node-only");
    let info = catalog.info("node-only").await.unwrap();
    // It says that it has two more.
    assert!(info.optional.is_empty(), "{:?}", info.optional);
    let node = catalog.open("node-only", NodeConfig::default()).await.unwrap();
    let (logged, _guard) = logged();
    let status = node.status().await.unwrap();
    assert_eq!(status.state, State::Running);
    // What other toolchains' libraries ask for is there, and has nothing in it.
    assert_eq!(status.detail, "0 variables, 0 arguments, 4 bytes, clock true");
    let lines = logged.lock().unwrap().join("\n");
    assert!(lines.contains("a line on standard output"), "{lines}");
    let logs = bkhost::driver::node::LogRequest {
        follow: false,
        tail: None,
        timeout: std::time::Duration::from_secs(1),
    };
    assert!(node.logs("i", logs).await.unwrap().is_none());
    assert_eq!(
        node.dial("i", request()).await.unwrap_err().message,
        "This guest connects to nothing"
    );
}

#[test]
fn no_builder_is_made_with_a_component_that_says_so() {
    let sealed = crate::sealed::Sealed::new();
    let catalog = catalog("node-only");
    let listed = sealed.run(&catalog, "driver ls").ok();
    assert!(listed.contains("node-only"), "{listed}");
    for line in [
        "create --driver node-only --name x",
        "create --driver node-only --name x unix:///run/somewhere.sock",
    ] {
        assert_eq!(
            sealed.run(&catalog, line).refused(),
            "ERROR: additional instances of driver \"node-only\" cannot be created\n"
        );
    }
    // Another one takes its endpoints, as if it were not there.
    let chosen = sealed
        .run(&catalog, "create --name x unix:///run/somewhere.sock")
        .ok();
    assert_eq!(chosen, "x\n");
    let stored = std::fs::read_to_string(sealed.store().join("instances/x")).unwrap();
    assert!(stored.contains(r#""Driver":"remote""#), "{stored}");
}
