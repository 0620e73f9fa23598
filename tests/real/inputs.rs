//! What a build is told: context, arguments, secrets, settings of its steps.

use bkhost_test_support::source::{bare, with_base};
use serde_json::Value;

use crate::harness::{Remote, unique};

#[test]
fn ignored_files_stay_at_home() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY . /\n");
    remote
        .context
        .write("source/.dockerignore", "secret\n**/*.log\n!keep.log\n");
    for name in ["secret", "a.log", "keep.log", "sub/b.log", "sub/c"] {
        remote.context.write(&format!("source/{name}"), name);
    }
    remote.build(&folder).args(["-o", "out"]).run().succeeds();
    let there = |name: &str| remote.context.work().join("out").join(name).exists();
    assert!(there("keep.log") && there("sub/c"));
    assert!(!there("secret") && !there("a.log") && !there("sub/b.log"));
}

#[test]
fn a_changed_file_is_sent_and_an_unchanged_one_is_cached() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY data /data\n");
    for content in ["one", "two", "one"] {
        remote.context.write("source/data", content);
        remote.build(&folder).args(["-o", "out"]).run().succeeds();
        assert_eq!(remote.context.read("out/data"), content);
    }
    remote.build(&folder).run().succeeds().says("CACHED");
}

#[test]
fn a_dockerfile_may_lie_elsewhere_or_come_from_standard_input() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY none /\n");
    remote.context.write("source/data", "from the context");
    let other = remote
        .context
        .write("other/Build", "FROM scratch\nCOPY data /other\n");
    remote
        .build(&folder)
        .args(["-o", "out", "-f"])
        .arg(&other)
        .run()
        .succeeds();
    assert_eq!(remote.context.read("out/other"), "from the context");
    let call = remote.build(&folder).args(["-o", "out", "-f", "-"]);
    call.stdin("FROM scratch\nCOPY data /typed\n").run().succeeds();
    assert_eq!(remote.context.read("out/typed"), "from the context");
    let archive = remote
        .context
        .call("tar", ["-C", "source", "-c", "data"])
        .run()
        .succeeds();
    remote
        .context
        .write("archive/Dockerfile", "FROM scratch\nCOPY Dockerfile /packed\n");
    drop(archive);
    let archive = remote
        .context
        .call("tar", ["-C", "archive", "-c", "Dockerfile"])
        .run()
        .succeeds();
    let call = remote.context.bkhost(["build", "-o", "out", "-"]);
    call.stdin(archive.bytes()).run().succeeds();
    assert!(remote.context.read("out/packed").contains("packed"));
    let call = remote.context.bkhost(["build", "-o", "out", "-"]);
    call.stdin("FROM scratch\nADD https://127.0.0.1:1/x /\n")
        .run()
        .fails(1)
        .says("127.0.0.1");
}

#[test]
fn secrets_reach_their_step_and_nothing_else() {
    let remote = Remote::new();
    let (file, variable) = (format!("file-{}", unique()), format!("env-{}", unique()));
    remote.context.write("token.txt", &file);
    let mount =
        "RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=GIVEN --mount=type=secret,id=BARE";
    let script = "(cat /run/secrets/file; echo; echo $GIVEN; cat /run/secrets/BARE) | sha256sum > /sum";
    let folder = with_base(&remote.context, "source", &format!("{mount} {script}\n"));
    let secrets = [
        "--secret",
        "id=file,src=token.txt",
        "--secret",
        "id=env,env=TOKEN",
        "--secret",
        "id=BARE",
    ];
    let call = remote
        .build(&folder)
        .args(secrets)
        .args(["-o", "type=oci,dest=image.tar", "-o", "out"]);
    let call = call.args(["--metadata-file", "meta.json", "--provenance=mode=max"]);
    let built = call.env("TOKEN", &variable).env("BARE", "bare").run().succeeds();
    let wanted = remote
        .context
        .call("sha256sum", [""; 0])
        .stdin(format!("{file}\n{variable}\nbare"));
    let wanted = wanted.run().succeeds().stdout();
    assert_eq!(remote.context.read("out/sum"), wanted);
    let image = std::fs::read(remote.context.work().join("image.tar")).unwrap();
    let said = [
        built.stderr().to_owned(),
        remote.context.read("meta.json"),
        String::from_utf8_lossy(&image).into(),
    ];
    for secret in [&file, &variable] {
        assert!(
            said.iter().all(|text| !text.contains(secret.as_str())),
            "a secret was kept"
        );
    }
    let buildctl = ["--addr", &remote.daemon.address(), "debug", "histories"].map(str::to_owned);
    let records = remote.context.call("buildctl", buildctl).run().succeeds();
    assert!(!records.stdout().contains(&file));
}

#[test]
fn arguments_labels_and_targets() {
    let remote = Remote::new();
    let stages = "ARG WHO=nobody\nRUN echo $WHO > /who\nFROM base AS other\nRUN echo other > /who\n";
    let folder = with_base(&remote.context, "source", stages);
    let label = ["--label", "org.test.kind=small", "--label", "bare"];
    let image = [
        "-o",
        "type=oci,dest=image,tar=false",
        "--provenance=false",
        "-o",
        "out",
    ];
    let call = remote
        .build(&folder)
        .args(["--target", "base", "--build-arg", "WHO"])
        .args(label)
        .args(image);
    call.env("WHO", "somebody").run().succeeds();
    assert_eq!(remote.context.read("out/who"), "somebody\n");
    assert_eq!(config(&remote)["config"]["Labels"]["org.test.kind"], "small");
    assert_eq!(config(&remote)["config"]["Labels"]["bare"], "");
    remote.build(&folder).args(["-o", "out"]).run().succeeds();
    assert_eq!(remote.context.read("out/who"), "other\n");
    let missing = remote.build(&folder).args(["--target", "nosuch"]).run().fails(1);
    missing.says("nosuch");
}

/// The configuration of the one image in the layout `image`.
fn config(remote: &Remote) -> Value {
    let read = |name: &str| -> Value { serde_json::from_str(&remote.context.read(name)).unwrap() };
    let blob = |digest: &Value| {
        read(&format!(
            "image/blobs/{}",
            digest.as_str().unwrap().replace(':', "/")
        ))
    };
    let manifest = blob(&read("image/index.json")["manifests"][0]["digest"]);
    blob(&manifest["config"]["digest"])
}

#[test]
fn a_foreign_platform_that_runs_nothing_is_built() {
    let remote = Remote::new();
    let folder = bare(
        &remote.context,
        "source",
        "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n",
    );
    let image = [
        "-o",
        "type=oci,dest=image,tar=false",
        "--provenance=false",
        "--platform",
        "linux/arm64",
    ];
    remote.build(&folder).args(image).run().succeeds();
    assert_eq!(config(&remote)["architecture"], "arm64");
    let both = [
        "-o",
        "type=local,dest=out",
        "--platform",
        "linux/amd64,linux/arm64",
    ];
    remote.build(&folder).args(both).run().succeeds();
    assert!(remote.context.work().join("out/linux_arm64/arm64").exists());
    assert!(remote.context.work().join("out/linux_amd64/amd64").exists());
}

#[test]
fn the_cache_can_be_left_out_as_a_whole_or_by_stage() {
    let remote = Remote::new();
    let mark = unique();
    let stages = format!("RUN echo first-{mark}\nFROM base AS second\nRUN echo second-{mark}\n");
    let folder = with_base(&remote.context, "source", &stages);
    let ran = |flags: &[&str]| {
        let said = remote.build(&folder).args(flags).run().succeeds();
        let log = said.stderr().to_owned();
        let echoed = |word: &str| {
            log.lines()
                .any(|line| line.ends_with(&format!(" {word}-{mark}")) && !line.contains("RUN"))
        };
        (echoed("first"), echoed("second"))
    };
    assert_eq!(ran(&[]), (true, true));
    assert_eq!(ran(&[]), (false, false));
    assert_eq!(ran(&["--no-cache-filter", "second"]), (false, true));
    assert_eq!(ran(&["--no-cache"]), (true, true));
}

#[test]
fn steps_get_hosts_limits_memory_and_network_as_asked() {
    let remote = Remote::new();
    let script = "RUN grep -h somewhere /etc/hosts; ulimit -n; df -k /dev/shm | tail -1; ls /sys/class/net | wc -l; echo ";
    let folder = with_base(&remote.context, "source", &format!("{script}{}\n", unique()));
    let flags = [
        "--add-host",
        "somewhere:192.0.2.7",
        "--ulimit",
        "nofile=1234:2345",
        "--shm-size",
        "16m",
    ];
    let said = remote
        .build(&folder)
        .args(flags)
        .args(["--network", "none"])
        .run()
        .succeeds();
    said.says("192.0.2.7\tsomewhere")
        .says(" 1234\n")
        .says(" 16384 ")
        .says(" 1\n");
}

#[test]
fn named_contexts_are_sent_as_well() {
    let remote = Remote::new();
    let folder = bare(
        &remote.context,
        "source",
        "FROM scratch\nCOPY --from=more data /data\n",
    );
    remote.context.write("elsewhere/data", "from elsewhere");
    let more = ["--build-context", "more=elsewhere", "-o", "out"];
    remote.build(&folder).args(more).run().succeeds();
    assert_eq!(remote.context.read("out/data"), "from elsewhere");
}
