//! The drivers that are embedded in this program.

use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{DriverErrorKind, Drivers, NodeConfig};
use tokio::net::UnixListener;

use crate::fixture::request;

const COMMAND: &str = "run `cargo xtask drivers`";

#[tokio::test]
async fn every_embedded_driver_describes_itself() {
    let catalog = Catalog::new(HostEnvironment::default());
    for name in ["docker", "docker-container", "process", "remote"] {
        let info = catalog.info(name).await.expect(COMMAND);
        assert_eq!(info.name, name);
        assert!(!info.summary.is_empty() && !info.version.is_empty());
        assert_eq!(catalog.manifest(name).unwrap().name, name);
    }
}

#[tokio::test]
async fn the_remote_driver_connects_and_is_held_to_its_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("buildkitd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let config = NodeConfig {
        endpoint: format!("unix://{}", path.display()),
        ..NodeConfig::default()
    };
    let catalog = Catalog::new(HostEnvironment::default());
    let node = catalog.open("remote", config).await.expect(COMMAND);
    let instance = node.instances().await.unwrap().remove(0).id;
    let (pipe, accepted) = tokio::join!(node.dial(&instance, request()), listener.accept());
    accepted.unwrap();
    drop(pipe.unwrap());
    drop(listener);
    let error = node.dial(&instance, request()).await.unwrap_err();
    assert_eq!(error.kind, DriverErrorKind::Refused);
}
