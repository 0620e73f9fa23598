//! A docker-container driver that wants what is not its own, on real engines: everything is as it was before.

use std::sync::Arc;

use bkhost::docker::{EngineSettings, Engines};
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{DriverErrorKind, Drivers, NodeConfig};
use bkhost_test_support::docker::{DockerEngine, Release};

use super::{context_at, docker};
use crate::fixture::altered;
use crate::harness::unique;

#[tokio::test]
async fn an_altered_driver_leaves_what_is_others_alone() {
    for release in [Release::Current, Release::Old] {
        let engine = DockerEngine::shared(release);
        let (victim, volume, node) = (unique(), unique(), unique());
        let context = context_at(&engine);
        docker(&context, ["volume", "create", &volume]);
        docker(
            &context,
            [
                "run",
                "-d",
                "--network=none",
                "--name",
                &victim,
                "busybox",
                "sleep",
                "1000",
            ],
        );
        let before = engine.get(&format!("/containers/{victim}/json"));
        let own = format!("buildx_buildkit_{node}");
        let image = r#""Image":"moby/buildkit:buildx-stable-1""#;
        for ask in [
            "POST /containers/prune".to_owned(),
            format!(
                r#"POST /containers/{victim}/exec {{"Cmd":["buildctl","debug","workers"],"AttachStdout":true}}"#
            ),
            format!("DELETE /containers/{victim}?force=1"),
            format!("DELETE /volumes/{volume}"),
            format!(r#"POST /containers/create?name={victim}2 {{{image}}}"#),
            format!(r#"POST /containers/create?name={own} {{{image},"HostConfig":{{"Binds":["/:/host"]}}}}"#),
            format!(
                r#"POST /containers/create?name={own} {{{image},"HostConfig":{{"Mounts":[{{"Type":"volume","Source":"{volume}","Target":"/var/lib/buildkit"}}]}}}}"#
            ),
            // What another container's id leads to was never learned from an answer of its own.
            format!(
                "GET /containers/{own}/json\nPOST /containers/{}/start",
                before["Id"].as_str().unwrap()
            ),
        ] {
            let environment = HostEnvironment {
                engines: Arc::new(Engines::new(EngineSettings::default())),
                ..HostEnvironment::default()
            };
            let config = NodeConfig {
                builder: "b".to_owned(),
                node: node.clone(),
                endpoint: engine.address(),
                options: [("ask".to_owned(), ask.clone())].into(),
                ..NodeConfig::default()
            };
            let catalog = altered("docker-container", environment);
            let opened = catalog.open("docker-container", config).await.unwrap();
            let error = opened.status().await.unwrap_err();
            assert_eq!(error.kind, DriverErrorKind::Denied, "{ask}: {error}");
        }
        let after = engine.get(&format!("/containers/{victim}/json"));
        assert_eq!(after["State"], before["State"]);
        assert!(after["ExecIDs"].is_null(), "{}", after["ExecIDs"]);
        assert_eq!(engine.get(&format!("/volumes/{volume}"))["Name"], volume.as_str());
        assert_eq!(engine.container(&own), None);
        docker(&context, ["rm", "-f", &victim]);
        docker(&context, ["volume", "rm", &volume]);
    }
}
