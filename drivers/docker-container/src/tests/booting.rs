//! Boot: one container, whoever comes and whatever is there.

use serde_json::{Value, json};

use super::*;

fn with_engine() -> (Host, Engine) {
    let host = Host::new();
    let engine = Engine::serving(&host);
    (host, engine)
}

/// The body of the request that made the builder's container.
fn made(host: &Host) -> Value {
    let wanted = format!("POST /containers/create?name={NAME}");
    let requests = host.engine_requests();
    let bodies: Vec<&Vec<u8>> = requests
        .iter()
        .filter(|(request, _)| *request == wanted)
        .map(|(_, body)| body)
        .collect();
    serde_json::from_slice(bodies.last().unwrap()).unwrap()
}

fn without_label(mut body: Value) -> Value {
    body.as_object_mut().unwrap().remove("Labels");
    body
}

#[test]
fn a_first_boot_makes_what_buildx_makes() {
    let (host, engine) = with_engine();
    let host = host.daemon_flag("--allow-insecure-entitlement=network.host");
    boot(&host).unwrap();
    let expected = json!({
        "Image": IMAGE,
        "Cmd": ["--allow-insecure-entitlement=network.host"],
        "HostConfig": {
            "Privileged": true,
            "Init": true,
            "RestartPolicy": { "Name": "unless-stopped", "MaximumRetryCount": 0 },
            "Mounts": [{ "Type": "volume", "Source": VOLUME, "Target": "/var/lib/buildkit" }],
        },
    });
    assert_eq!(without_label(made(&host)), expected);
    let expected = [
        format!("PULL {IMAGE}"),
        "POST /containers/create?name=bkhost_probe_node0".to_owned(),
        "POST /containers/bkhost_probe_node0/start".to_owned(),
        "DELETE /containers/bkhost_probe_node0?force=1&v=1".to_owned(),
        format!("POST /containers/create?name={NAME}"),
        "PUT /containers/c2/archive?noOverwriteDirNonDir=true&path=/etc".to_owned(),
        "POST /containers/c2/start".to_owned(),
    ];
    assert_eq!(changes(&host), expected);
    assert_eq!(engine.container()["State"]["Running"], true);
    let begun: Vec<String> = host
        .progress()
        .into_iter()
        .filter_map(|progress| match progress {
            Progress::Begun(name) => Some(name),
            _ => None,
        })
        .collect();
    let expected = [
        "boot".to_owned(),
        format!("pulling image {IMAGE}"),
        format!("creating container {NAME}"),
        format!("starting container {NAME}"),
        "waiting for buildkitd".to_owned(),
    ];
    assert_eq!(begun, expected);
}

#[test]
fn every_option_reaches_the_container() {
    let options = [
        ("image", "example.com/bk:1"),
        ("network", "host"),
        ("memory", "1g"),
        ("memory-swap", "-1"),
        ("cpu-period", "100000"),
        ("cpu-quota", "50000"),
        ("cpu-shares", "512"),
        ("cpuset-cpus", "0-1"),
        ("cpuset-mems", "0"),
        ("cgroup-parent", "/ci"),
        ("restart-policy", "on-failure:3"),
        ("env.HTTP_PROXY", "http://p:1"),
    ];
    let (host, engine) = with_engine();
    let host = options
        .into_iter()
        .fold(host, |host, (name, value)| host.option(name, value));
    let host = host.file("buildkitd.toml", "debug = true").daemon_flag("--debug");
    engine.with(|state| {
        state.info =
            json!({ "CgroupDriver": "cgroupfs", "SecurityOptions": ["name=seccomp", "name=userns"] });
        state.has_gpu = true;
    });
    boot(&host).unwrap();
    let expected = json!({
        "Image": "example.com/bk:1",
        "Cmd": ["--config", "/etc/buildkit/buildkitd.toml", "--debug"],
        "Env": ["HTTP_PROXY=http://p:1"],
        "HostConfig": {
            "Privileged": true, "Init": true, "UsernsMode": "host", "NetworkMode": "host",
            "Memory": 1_073_741_824, "MemorySwap": -1, "CpuPeriod": 100_000, "CpuQuota": 50_000, "CpuShares": 512,
            "CpusetCpus": "0-1", "CpusetMems": "0", "CgroupParent": "/ci",
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
            "DeviceRequests": [{ "Count": -1, "Capabilities": [["gpu"]] }],
            "Mounts": [{ "Type": "volume", "Source": VOLUME, "Target": "/var/lib/buildkit" }],
        },
    });
    assert_eq!(without_label(made(&host)), expected);
}

#[test]
fn a_look_for_gpus_that_was_not_finished_is_finished_by_the_next() {
    for has_gpu in [true, false] {
        let (host, engine) = with_engine();
        engine.with(|state| {
            state.has_gpu = has_gpu;
            state.make("bkhost_probe_node0", &json!({}));
        });
        boot(&host).unwrap();
        assert_eq!(made(&host)["HostConfig"]["DeviceRequests"].is_array(), has_gpu);
        engine.with(|state| assert!(!state.containers.contains_key("bkhost_probe_node0")));
    }
}

#[test]
fn nothing_given_is_nothing_asked_for() {
    let (host, engine) = with_engine();
    let host = host
        .option("restart-policy", "")
        .option("memory", "0")
        .option("image", "");
    engine.with(|state| state.info = json!({ "CgroupDriver": "cgroupfs" }));
    boot(&host).unwrap();
    let body = made(&host);
    assert_eq!((&body["Cmd"], &body["Env"]), (&Value::Null, &Value::Null));
    let config = body["HostConfig"].as_object().unwrap();
    let keys: Vec<&str> = config.keys().map(String::as_str).collect();
    assert_eq!(keys, ["CgroupParent", "Init", "Mounts", "Privileged"]);
    assert_eq!(config["CgroupParent"], "/docker/buildx");
}

#[test]
fn libraries_of_wsl_are_mounted_where_the_engine_is_in_it() {
    let (host, engine) = with_engine();
    let host = host.fact("wsl", "Debian").fact("wsl-lib", "true");
    engine.with(|state| {
        state.images.insert(IMAGE.to_owned());
    });
    let driver = open(&host);
    // The fake asks for the address with a request of one word.
    host.engine_answers(200, "unix:///var/run/docker.sock");
    assert!(creation::is_in_wsl(&driver.config));
    host.engine_answers(200, "ssh://far");
    assert!(!creation::is_in_wsl(&driver.config));
    let surroundings = creation::Surroundings {
        wsl: true,
        ..Default::default()
    };
    let body = driver.plan().body(IMAGE, &surroundings);
    let expected =
        json!({ "Type": "bind", "Source": "/usr/lib/wsl", "Target": "/usr/lib/wsl", "ReadOnly": true });
    assert_eq!(body["HostConfig"]["Mounts"][1], expected);
}

#[test]
fn a_container_of_buildx_is_adopted_as_it_is() {
    let (host, engine) = with_engine();
    let host = host.daemon_flag("--debug");
    engine.with(|state| state.run_buildx(&["--debug"]));
    boot(&host).unwrap();
    assert_eq!(changes(&host), Vec::<String>::new());
    engine.with(|state| state.end(0));
    boot(&host).unwrap();
    assert_eq!(changes(&host), ["POST /containers/c1/start"]);
    assert_eq!(
        open(&host).status().unwrap().attributes,
        [("version".to_owned(), "v0.8.3".to_owned())]
    );
}

#[test]
fn a_name_that_is_taken_meanwhile_is_somebody_elses_container_to_use() {
    let (host, engine) = with_engine();
    engine.before(&format!("POST /containers/create?name={NAME}"), |state| {
        state.run_buildx(&[]);
    });
    boot(&host).unwrap();
    assert_eq!(engine.container()["Id"], "c2");
    assert!(!changes(&host).iter().any(|request| request.contains("c2")));
}

#[test]
fn whoever_comes_while_the_image_comes_does_not_make_another() {
    let (host, engine) = with_engine();
    engine.before("PULL", |state| state.run_buildx(&[]));
    boot(&host).unwrap();
    assert_eq!(changes(&host), [format!("PULL {IMAGE}")]);
}

#[test]
fn a_client_that_was_killed_between_create_and_start_is_finished_by_the_next() {
    let (host, engine) = with_engine();
    let host = host.file("buildkitd.toml", "debug = true");
    let body = open(&host).plan().body(IMAGE, &creation::Surroundings::default());
    engine.with(|state| state.make(NAME, &body));
    boot(&host).unwrap();
    assert_eq!(changes(&host).last().unwrap(), "POST /containers/c1/start");
    let archives = engine.with(|state| state.archives.clone());
    let expected = archive::pack(&[("buildkitd.toml".to_owned(), b"debug = true".to_vec())]);
    assert_eq!(archives, [("c1".to_owned(), expected)]);
}

#[test]
fn a_container_that_vanishes_on_the_way_up_is_made_again() {
    let (host, engine) = with_engine();
    engine.before("POST /containers/c2/start", |state| {
        state.containers.clear();
    });
    boot(&host).unwrap();
    assert_eq!(engine.container()["State"]["Running"], true);
    // The image is there since the first attempt.
    assert_eq!(
        changes(&host)
            .iter()
            .filter(|request| request.starts_with("PULL"))
            .count(),
        1
    );
}

#[test]
fn other_settings_renew_a_container_that_does_not_run_and_keep_its_cache() {
    let (host, engine) = with_engine();
    boot(&host).unwrap();
    let host = host.option("memory", "1g");
    boot(&host).unwrap();
    assert_eq!(engine.container()["Id"], "c2");
    assert!(
        messages(&host)
            .iter()
            .any(|line| line.contains("(memory); `bkhost renew builder`"))
    );
    engine.with(|state| state.end(0));
    boot(&host).unwrap();
    assert_eq!(engine.container()["HostConfig"]["Memory"], 1_073_741_824);
    assert!(changes(&host).contains(&"DELETE /containers/c2?v=1".to_owned()));
    assert!(engine.with(|state| state.volumes.contains(VOLUME)));
}

#[test]
fn a_container_that_somebody_else_renewed_is_not_removed_again() {
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.run_buildx(&["--debug"]);
        state.end(0);
    });
    let host = host.daemon_flag("--trace");
    engine.before("DELETE /containers/c1", |state| {
        state.containers.clear();
        state.run_buildx(&["--trace"]);
    });
    boot(&host).unwrap();
    assert_eq!(engine.container()["Id"], "c2");
}

#[test]
fn without_the_new_image_the_old_container_stays() {
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.run_buildx(&[]);
        state.end(0);
        state.pull_failure = Some("no route to registry");
    });
    let host = host.option("image", "example.com/bk:2");
    boot(&host).unwrap();
    assert_eq!(engine.container()["Id"], "c1");
    assert_eq!(engine.container()["State"]["Running"], true);
    assert!(
        messages(&host)
            .contains(&"The new image cannot be pulled; the container is started as it is".to_owned())
    );
}

#[test]
fn an_image_that_the_engine_has_needs_no_registry() {
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.pull_failure = Some("no route to registry");
        state.images.insert(IMAGE.to_owned());
    });
    boot(&host).unwrap();
    assert_eq!(
        messages(&host),
        [
            "no route to registry".to_owned(),
            format!("using local image {IMAGE}")
        ]
    );
}

#[test]
fn without_image_and_registry_the_pull_is_the_reason() {
    let (host, engine) = with_engine();
    engine.with(|state| state.pull_failure = Some("no route to registry"));
    let missing = boot(&host).unwrap_err();
    assert_eq!(
        missing.message(),
        format!(
            "The image `{IMAGE}` cannot be pulled, and the engine has none of its own: no route to registry"
        )
    );
    assert!(missing.hint().unwrap().contains("driver option `image`"));
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.pull_failure = Some("failed to verify image x: no signature");
        state.images.insert(IMAGE.to_owned());
    });
    assert_eq!(
        boot(&host).unwrap_err().message(),
        "failed to verify image x: no signature"
    );
}

#[test]
fn another_spelling_of_the_image_changes_nothing() {
    let (host, engine) = with_engine();
    engine.with(|state| state.pulled = format!("docker.io/{IMAGE}"));
    boot(&host).unwrap();
    assert_eq!(made(&host)["Image"], IMAGE);
    let host = Host::new();
    let engine = Engine::serving(&host);
    engine.with(|state| {
        state.run_buildx(&[]);
        state.containers.get_mut(NAME).unwrap()["Config"]["Image"] =
            json!(format!("docker.io/{IMAGE}@sha256:abc"));
    });
    assert_eq!(open(&host).status(), Ok(Status::new(State::Running)));
}

#[test]
fn a_verified_image_is_used_by_its_digest_and_is_no_difference() {
    let (host, engine) = with_engine();
    engine.with(|state| state.pulled = format!("{IMAGE}@sha256:abc"));
    boot(&host).unwrap();
    assert_eq!(made(&host)["Image"], format!("{IMAGE}@sha256:abc"));
    assert_eq!(
        open(&host)
            .status()
            .unwrap()
            .attributes
            .iter()
            .filter(|(key, _)| key == "drift")
            .count(),
        0
    );
}

#[test]
fn a_slow_daemon_is_waited_for_with_growing_pauses() {
    let (host, engine) = with_engine();
    engine.with(|state| state.failures = 20);
    host.deadline_in(Duration::from_secs(60));
    boot(&host).unwrap();
    // 120 ms more each time, up to the 15th: 14.4 s, and five of 1.8 s.
    assert_eq!(host.elapsed(), Duration::from_millis(14_400 + 5 * 1_800));
}

#[test]
fn a_daemon_that_never_serves_ends_with_its_last_words() {
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.failures = u32::MAX;
        state.log = "level=fatal msg=x".to_owned();
    });
    host.deadline_in(Duration::from_secs(5));
    let error = boot(&host).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let expected = [
        ("cause", "`buildctl debug workers`: exit code 1"),
        ("output", "connection refused"),
        ("log", "level=fatal msg=x"),
    ];
    let details: Vec<(&str, &str)> = error
        .details()
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(details, expected);
    assert_eq!(host.elapsed(), Duration::from_secs(5));
}

#[test]
fn without_a_deadline_sixteen_failures_are_enough() {
    let (host, engine) = with_engine();
    engine.with(|state| state.failures = u32::MAX);
    assert_eq!(boot(&host).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(host.elapsed(), Duration::from_millis(14_400));
}

#[test]
fn a_daemon_that_ends_is_not_waited_for() {
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.failures = u32::MAX;
        state.log = "unknown flag: --nonsense".to_owned();
    });
    engine.before(&format!("POST /containers/{NAME}/exec"), |state| state.end(1));
    host.deadline_in(Duration::from_secs(60));
    let error = boot(&host).unwrap_err();
    assert_eq!(
        error.message(),
        format!("`buildkitd` in the container `{NAME}` exited with code 1 before it served")
    );
    assert!(
        error
            .details()
            .contains(&("log".to_owned(), "unknown flag: --nonsense".to_owned()))
    );
    assert_eq!(host.elapsed(), Duration::ZERO);
}

#[test]
fn a_daemon_without_enough_memory_says_what_to_raise() {
    let (host, engine) = with_engine();
    engine.with(|state| state.failures = u32::MAX);
    engine.before(&format!("POST /containers/{NAME}/exec"), |state| {
        state.end(137);
        state.set("OOMKilled", json!(true));
    });
    let error = boot(&host).unwrap_err();
    assert!(error.message().contains("ran out of memory before it served"));
    assert!(error.hint().unwrap().contains("`memory`"));
}

#[test]
fn one_that_is_started_again_and_again_is_given_up() {
    let (host, engine) = with_engine();
    engine.with(|state| state.failures = u32::MAX);
    for count in 1..=4 {
        engine.before("POST /exec", move |state| {
            state.containers.get_mut(NAME).unwrap()["RestartCount"] = json!(count);
        });
    }
    host.deadline_in(Duration::from_secs(600));
    let error = boot(&host).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert!(host.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_cancelled_wait_ends_within_its_pause() {
    let (host, engine) = with_engine();
    engine.with(|state| state.failures = u32::MAX);
    host.cancel_in(Duration::from_secs(1));
    assert_eq!(boot(&host).unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(host.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_the_engine_refuses_is_said_in_dockers_words() {
    let (host, _engine) = with_engine();
    host.engine_answers(500, "{\"message\":\"disk is full\\n\"}");
    let error = boot(&host).unwrap_err();
    assert_eq!(error.message(), "Error response from daemon: disk is full");
    let (host, engine) = with_engine();
    engine.leave();
    assert_eq!(boot(&host).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn a_paused_container_is_left_alone() {
    let (host, engine) = with_engine();
    engine.with(|state| {
        state.run_buildx(&[]);
        state.set("Paused", json!(true));
    });
    let error = boot(&host).unwrap_err();
    assert_eq!(
        error.hint(),
        Some("Let it go on with `docker unpause buildx_buildkit_node0`")
    );
    assert_eq!(
        open(&host).status().unwrap(),
        Status::new(State::Stopped).with_detail("paused")
    );
}
