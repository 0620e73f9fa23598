//! Drivers for Docker Engines that want more than they are for: their manifests hold them, whatever their code does.

use std::time::Duration;

use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{DriverErrorKind, Drivers, NodeConfig};
use tokio::net::UnixListener;

use crate::fixture::altered;

/// What is asked, and how the refusal ends.
const FORBIDDEN: &[(&str, &str)] = &[
    ("POST /containers/prune", NO_RULE),
    ("POST /volumes/prune", NO_RULE),
    ("GET /containers/json", NO_RULE),
    ("GET /containers/other/json", NO_RULE),
    ("GET /images/json", NO_RULE),
    ("POST /build", NO_RULE),
    (
        "POST /containers/other/exec {\"Cmd\":[\"buildctl\",\"dial-stdio\"]}",
        NO_RULE,
    ),
    ("POST /exec/0123456789abcdef/start {\"Detach\":false}", NO_RULE),
    ("DELETE /containers/other?force=1", NO_RULE),
    ("DELETE /containers/buildx_buildkit_b00?force=1", NO_RULE),
    ("DELETE /volumes/other", NO_RULE),
    ("PUT /containers/other/archive?path=/etc", NO_RULE),
    (
        "POST /containers/create?name=other {\"Image\":\"moby/buildkit:buildx-stable-1\"}",
        "does not allow `name=other` in the query",
    ),
    (
        "POST /containers/create {\"Image\":\"moby/buildkit:buildx-stable-1\",\"HostConfig\":{\"Privileged\":true}}",
        "requires `name` in the query",
    ),
    // The throw-away container has no powers, and runs nothing but `true`.
    (
        "PROBE {\"Image\":\"moby/buildkit:buildx-stable-1\",\"HostConfig\":{\"Privileged\":true}}",
        "does not allow the body's field `/HostConfig/Privileged`",
    ),
    (
        "PROBE {\"Image\":\"moby/buildkit:buildx-stable-1\",\"HostConfig\":{\"NetworkMode\":\"none\",\"AutoRemove\":true}}",
        "requires the body's field `/Entrypoint/0`",
    ),
    (
        "CREATE {\"Image\":\"evil\"}",
        "does not allow the body's field `/Image`",
    ),
    (
        "CREATE {\"HostConfig\":{\"Binds\":[\"/:/host\"]}}",
        "does not allow the body's field `/HostConfig/Binds/0`",
    ),
    (
        "CREATE {\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/\",\"Target\":\"/host\"}]}}",
        "does not allow the body's field `/HostConfig/Mounts/0/Type`",
    ),
    (
        "CREATE {\"HostConfig\":{\"Mounts\":[null,{\"Type\":\"bind\",\"Source\":\"/\",\"Target\":\"/usr/lib/wsl\"}]}}",
        "does not allow the body's field `/HostConfig/Mounts/1/Source`",
    ),
    (
        "CREATE {\"HostConfig\":{\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"other_state\",\"Target\":\"/var/lib/buildkit\"}]}}",
        "does not allow the body's field `/HostConfig/Mounts/0/Source`",
    ),
    (
        "CREATE {\"HostConfig\":{\"VolumesFrom\":[\"other\"]}}",
        "does not allow the body's field `/HostConfig/VolumesFrom/0`",
    ),
    (
        "CREATE {\"HostConfig\":{\"PidMode\":\"host\"}}",
        "does not allow the body's field `/HostConfig/PidMode`",
    ),
    (
        "CREATE {\"HostConfig\":{\"NetworkMode\":\"host\"}}",
        "does not allow the body's field `/HostConfig/NetworkMode`",
    ),
    (
        "CREATE {\"HostConfig\":{\"NetworkMode\":\"container:other\"}}",
        "does not allow the body's field `/HostConfig/NetworkMode`",
    ),
    (
        "CREATE {\"hostconfig\":{\"binds\":[\"/:/host\"]}}",
        "does not allow the body's field `/hostconfig/binds/0`",
    ),
    // Names are maps' keys in places, and an empty value under one says a lot.
    (
        "CREATE {\"HostConfig\":{\"PortBindings\":{\"1234\":[{}]}}}",
        "does not allow the body's field `/HostConfig/PortBindings/1234/0`",
    ),
    (
        "CREATE {\"NetworkingConfig\":{\"EndpointsConfig\":{\"other\":{}}}}",
        "does not allow the body's field `/NetworkingConfig/EndpointsConfig/other`",
    ),
    (
        "CREATE {\"Entrypoint\":[],\"Cmd\":[\"sh\",\"-c\",\"id\"]}",
        "does not allow the body's field `/Entrypoint`",
    ),
    (
        "PROBE {\"Entrypoint\":[\"/bin/true\"],\"HostConfig\":{\"NetworkMode\":\"none\",\"AutoRemove\":true},\"HoſtConfig\":null}",
        "wants a JSON body whose objects name each field once",
    ),
    (
        "PROBE {\"Volumes\":{\"/x\":null}}",
        "does not allow the body's field `/Volumes//x`",
    ),
    (
        "POST /containers/create?name=buildx_buildkit_b0&name=other {}",
        "does not allow `name=other` in the query",
    ),
    ("POST /v1.44/containers/prune", NO_RULE),
    ("GET /containers/buildx_buildkit_b0/../other/json", NO_RULE),
    ("GET /containers/buildx_buildkit_b0%2F..%2Fother/json", NO_RULE),
    ("GET /events?since=0&until=9#&filters=x", NO_RULE),
    (
        "GET /events?since=0&until=9;filters=%7B%7D&filters=x",
        "a query may have no `;`, unless as `%3B`",
    ),
    (
        "POST /containers/buildx_buildkit_b0/exec {\"Cmd\":[\"sh\",\"-c\",\"id\"]}",
        "does not allow the body's field `/Cmd/0`",
    ),
    (
        "POST /containers/buildx_buildkit_b0/exec {\"Cmd\":[\"buildctl\",\"prune\"]}",
        "does not allow the body's field `/Cmd/1`",
    ),
    ("PUT /containers/buildx_buildkit_b0/archive?path=/", NO_RULE),
    ("GET /events", "requires `filters` in the query"),
    ("GET /events?until=1&filters={}", "in the query"),
    ("POST /images/create?fromImage=evil", NO_RULE),
];
const NO_RULE: &str = "no rule of the driver's manifest allows this method and path";
/// The node's throw-away container.
const PROBE: &str = "POST /containers/create?name=bkhost_probe_b0 ";
/// The container of the node `b0`.
const CREATE: &str = "POST /containers/create?name=buildx_buildkit_b0 ";

fn config(endpoint: String, ask: &str) -> NodeConfig {
    NodeConfig {
        builder: "b".to_owned(),
        node: "b0".to_owned(),
        endpoint,
        options: [(
            "ask".to_owned(),
            ask.replacen("CREATE ", CREATE, 1).replacen("PROBE ", PROBE, 1),
        )]
        .into(),
        ..NodeConfig::default()
    }
}

#[tokio::test]
async fn a_container_driver_reaches_its_own_container_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.sock");
    let engine = UnixListener::bind(&path).unwrap();
    let catalog = altered("docker-container", HostEnvironment::default());
    for (ask, words) in FORBIDDEN {
        let config = config(format!("unix://{}", path.display()), ask);
        let node = catalog.open("docker-container", config).await.unwrap();
        let error = node.status().await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Denied, "{ask}: {error}");
        assert!(
            error.message.contains("is not granted") && error.message.ends_with(words),
            "{ask}: {error}"
        );
    }
    // Nobody came as far as the engine's socket.
    let came = tokio::time::timeout(Duration::ZERO, engine.accept()).await;
    assert!(came.is_err(), "{came:?}");
}

#[tokio::test]
async fn the_engines_own_buildkit_is_all_that_its_driver_reaches() {
    let catalog = altered("docker", HostEnvironment::default());
    for ask in [
        "GET /info",
        "POST /containers/create {}",
        "POST /containers/prune",
        "GET /version?x=1",
    ] {
        let node = catalog
            .open("docker", config("unix:///nowhere.sock".to_owned(), ask))
            .await
            .unwrap();
        let error = node.status().await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Denied, "{ask}: {error}");
    }
}

/// All that a builder's container and the throw-away one may be made with.
#[tokio::test]
async fn what_the_driver_itself_asks_for_is_allowed() {
    let catalog = altered("docker-container", HostEnvironment::default());
    let image = r#""Image":"moby/buildkit:buildx-stable-1""#;
    let gpu = r#""DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]"#;
    let volume = r#"{"Type":"volume","Source":"buildx_buildkit_b0_state","Target":"/var/lib/buildkit"}"#;
    let wsl = r#"{"Type":"bind","Source":"/usr/lib/wsl","Target":"/usr/lib/wsl","ReadOnly":true}"#;
    for ask in [
        format!(
            r#"PROBE {{{image},"Entrypoint":["/bin/true"],"HostConfig":{{"NetworkMode":"none","AutoRemove":true,{gpu}}}}}"#
        ),
        format!(
            r#"CREATE {{{image},"Cmd":["--debug"],"Env":["A=b"],"HostConfig":{{"Privileged":true,"Init":true,"UsernsMode":"host","RestartPolicy":{{"Name":"unless-stopped","MaximumRetryCount":0}},"Mounts":[{volume},{wsl}],{gpu}}}}}"#
        ),
        "POST /containers/bkhost_probe_b0/start".to_owned(),
        "DELETE /containers/bkhost_probe_b0?force=1&v=1".to_owned(),
    ] {
        let config = config("unix:///nowhere.sock".to_owned(), &ask);
        let node = catalog.open("docker-container", config).await.unwrap();
        let error = node.status().await.unwrap_err();
        assert_ne!(error.kind, DriverErrorKind::Denied, "{ask}: {error}");
    }
}
