//! What a builder's options, flags and files make of its container.

use std::path::Path;

use bkhost_test_support::docker::Release;
use bkhost_test_support::provided;
use serde_json::{Value, json};

use super::own::{Own, RELEASES};

/// Every option that changes a container, and what the engine then says of it.
const OPTIONS: [(&str, &str, &str); 13] = [
    (
        "image",
        "moby/buildkit:buildx-stable-1",
        "/Config/Image \"moby/buildkit:buildx-stable-1\"",
    ),
    ("network", "host", "/HostConfig/NetworkMode \"host\""),
    ("memory", "256m", "/HostConfig/Memory 268435456"),
    ("memory-swap", "512m", "/HostConfig/MemorySwap 536870912"),
    ("cpu-period", "50000", "/HostConfig/CpuPeriod 50000"),
    ("cpu-quota", "25000", "/HostConfig/CpuQuota 25000"),
    ("cpu-shares", "512", "/HostConfig/CpuShares 512"),
    ("cpuset-cpus", "0", "/HostConfig/CpusetCpus \"0\""),
    ("cpuset-mems", "0", "/HostConfig/CpusetMems \"0\""),
    (
        "cgroup-parent",
        "/docker/own",
        "/HostConfig/CgroupParent \"/docker/own\"",
    ),
    (
        "restart-policy",
        "on-failure:3",
        "/HostConfig/RestartPolicy {\"MaximumRetryCount\":3,\"Name\":\"on-failure\"}",
    ),
    ("env.EMPTY", "", ""),
    ("env.WORDS", "a b", "/Config/Env/0 \"WORDS=a b\""),
];

/// Checks what the engine says of a container.
fn says(container: &Value, expected: &str) {
    let (path, value) = expected.split_once(' ').unwrap();
    let value: Value = serde_json::from_str(value).unwrap();
    assert_eq!(container.pointer(path), Some(&value), "{path}");
}

#[test]
fn every_option_is_seen_on_the_container() {
    for release in RELEASES {
        let own = Own::new(release);
        let options: Vec<String> = OPTIONS
            .iter()
            .map(|(name, value, _)| format!("--driver-opt={name}={value}"))
            .collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        own.create(&options);
        own.boot();
        let container = own.inspect();
        let expected = OPTIONS.iter().map(|(_, _, expected)| *expected);
        expected.filter(|text| !text.is_empty()).for_each(|text| {
            // The order of variables is nobody's promise.
            if !text.starts_with("/Config/Env") {
                says(&container, text);
            }
        });
        let env = container["Config"]["Env"].as_array().unwrap();
        for variable in ["WORDS=a b", "EMPTY="] {
            assert!(env.contains(&json!(variable)), "{env:?}");
        }
        for text in ["/HostConfig/Privileged true", "/HostConfig/Init true"] {
            says(&container, text);
        }
        let mounts = container["Mounts"].as_array().unwrap();
        assert_eq!(mounts.len(), 1, "{mounts:?}");
        assert_eq!(mounts[0]["Name"], own.volume().as_str());
        assert_eq!(mounts[0]["Destination"], "/var/lib/buildkit");
        // Nothing of it is taken for a difference, and nothing is left of the look for GPUs.
        let shown = own.context.bkhost(["inspect", "b"]).run().succeeds();
        shown.prints("running").says_no("other settings");
        assert_eq!(own.engine.container(&format!("bkhost_probe_{}", own.node)), None);
    }
}

/// Writes a configuration that names certificates of a registry.
fn configuration(own: &Own) -> std::path::PathBuf {
    let certificate = |name: &str| {
        let path = own
            .context
            .write(&format!("certificates/{name}"), format!("text of {name}\n"));
        path.display().to_string()
    };
    let [ca, key, cert] = ["ca.pem", "key.pem", "cert.pem"].map(certificate);
    let text = format!(
        "debug = true\n[registry.\"registry.example:5000\"]\n  ca = [\"{ca}\"]\n  \
         [[registry.\"registry.example:5000\".keypair]]\n    key = \"{key}\"\n    cert = \"{cert}\"\n"
    );
    own.context.write("buildkitd.toml", text)
}

/// What lies in a container's `/etc/buildkit`: an archive with owners, modes and times.
fn files(own: &Own) -> Vec<u8> {
    let copy = own.context.call(provided::docker(), ["cp"]);
    let from = format!("{}:/etc/buildkit", own.container());
    copy.arg(from).arg("-").run().succeeds().bytes().to_owned()
}

/// What differs from one container to the next although both were made alike.
fn without_identity(mut container: Value, own: &Own) -> Value {
    let mut take = |path: &str| {
        if let Some(value) = container.pointer_mut(path) {
            *value = Value::Null;
        }
    };
    [
        "/Id",
        "/Name",
        "/Created",
        "/State",
        "/ResolvConfPath",
        "/HostnamePath",
        "/HostsPath",
        "/LogPath",
        "/GraphDriver",
        "/Storage",
        "/Mounts",
        "/NetworkSettings",
        "/Config/Hostname",
        "/Config/Labels",
    ]
    .into_iter()
    .for_each(&mut take);
    let text = container.to_string().replace(&own.node, "NODE");
    serde_json::from_str(&text).unwrap()
}

/// The same as a builder of buildx's makes.
fn made_by_buildx(own: &Own, more: &[&str]) -> Own {
    let other = Own::on(own.engine.clone());
    let create = [
        "create",
        "--driver",
        "docker-container",
        "--name",
        "b",
        "--bootstrap",
    ];
    let create = other.context.call("buildx", create).args(["--node", &other.node]);
    create.args(more).run().succeeds();
    other
}

mod needs_buildx {
    use super::*;

    #[test]
    fn containers_and_their_files_are_those_that_buildx_makes() {
        for release in RELEASES {
            let own = Own::new(release);
            let file = configuration(&own).display().to_string();
            let more = [
                "--driver-opt=memory=256m,network=host,\"env.A=b,c\"",
                "--buildkitd-flags=--debug --oci-worker-gc=false",
                "--buildkitd-config",
                &file,
            ];
            own.create(&more);
            own.boot();
            let theirs = made_by_buildx(&own, &more);
            assert!(files(&own) == files(&theirs), "{release:?}");
            let listed = own.inside("cd /etc/buildkit && find . -type f | sort | xargs tail -n +1");
            assert!(
                listed.contains("certs/registry.example_5000/ca.pem") && listed.contains("text of key.pem"),
                "{listed}"
            );
            let [ours, theirs] = [&own, &theirs].map(|own| without_identity(own.inspect(), own));
            assert_eq!(ours, theirs, "{release:?}");
        }
    }

    /// Variables of a job; one group is complete.
    fn job(own: &mut Own, event: &Path) {
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_ACTOR", "ann"),
            ("GITHUB_ACTOR_ID", "1"),
            ("GITHUB_TRIGGERING_ACTOR", "ann"),
            ("GITHUB_REF", "refs/heads/main"),
        ] {
            own.context.set(name, value);
        }
        own.context.set("GITHUB_EVENT_PATH", event);
    }

    const FACTS: &str = "cat /etc/buildkit/provenance.d/github_actions_context.json";

    #[test]
    fn facts_of_a_github_job_are_added_as_buildx_adds_them() {
        let mut own = Own::new(Release::Current);
        let event = own
            .context
            .write("event.json", r#"{"b": [1, "<é>"], "a": {"n": 12345678}}"#);
        job(&mut own, &event);
        own.create(&[]);
        own.boot();
        let mut other = Own::on(own.engine.clone());
        job(&mut other, &event);
        let create = [
            "create",
            "--driver",
            "docker-container",
            "--name",
            "b",
            "--bootstrap",
        ];
        let create = other.context.call("buildx", create).args(["--node", &other.node]);
        create.run().succeeds();
        let facts = [&own, &other].map(|own| serde_json::from_str::<Value>(&own.inside(FACTS)).unwrap());
        assert_eq!(facts[0], facts[1]);
        assert_eq!(facts[0]["github_event_payload"]["a"]["n"], 12_345_678);
        assert_eq!(facts[0]["github_actor"], "ann");
        assert_eq!(facts[0].get("github_ref"), None, "a group is told whole");
        // They are nowhere stored, and the next job's are no change of the builder.
        let record = std::fs::read_to_string(own.context.store().join("instances/b")).unwrap();
        assert!(!record.contains("provenance"), "{record}");
        own.context.set("GITHUB_ACTOR", "bob");
        let shown = own.context.bkhost(["inspect", "b"]).run().succeeds();
        shown.prints("running").says_no("other settings");

        // Other drivers take no files, and are not disturbed by them.
        let listed = own.context.bkhost(["inspect", "default"]).run().succeeds();
        listed.prints("running");
        own.context.bkhost(["rm", "b"]).run().succeeds();
        own.create(&["--driver-opt", "provenance-add-gha=false"]);
        own.boot();
        assert_eq!(own.inside("ls /etc/buildkit"), "");
    }
}

#[test]
fn an_image_whose_signature_a_policy_wants_is_refused_unless_it_is_allowed() {
    let mut own = Own::new(Release::Current);
    own.context.set("BUILDX_DEFAULT_POLICY", "1");
    own.create(&[]);
    let refused = own.build(&own.quick()).run().fails(1);
    refused
        .says("failed to verify image moby/buildkit:buildx-stable-1")
        .says("allow-untrusted-image=true");
    assert_eq!(own.state(), None);
    own.context.bkhost(["rm", "b"]).run().succeeds();
    own.create(&["--driver-opt", "allow-untrusted-image=true"]);
    own.build(&own.quick()).run().succeeds().says("finished");
}

#[test]
fn an_image_that_is_nowhere_is_named_with_the_way_out() {
    for release in RELEASES {
        let own = Own::new(release);
        let image = "registry.invalid/none:1";
        own.create(&["--driver-opt", &format!("image={image}")]);
        let words = format!("The image `{image}` cannot be pulled, and the engine has none of its own");
        let failed = own.build(&own.quick()).run().fails(1);
        failed
            .says(&words)
            .says("registry.invalid")
            .says("driver option `image`")
            .says("docker pull registry.invalid/none:1");
        let booted = own.context.bkhost(["inspect", "--bootstrap", "b"]).run();
        booted.fails(1).says(&words);
        assert_eq!(own.state(), None);
    }
}
