//! The life of builders of the driver `docker-container`: what is made, kept and removed.

use std::os::unix::fs::PermissionsExt as _;

use bkhost_test_support::docker::Release;
use bkhost_test_support::provided;

use super::docker;
use super::own::{Own, RELEASES};
use crate::harness::{live, unique};

#[test]
fn a_builder_lives_its_whole_life_in_a_container() {
    for release in RELEASES {
        let own = Own::new(release);
        live(
            &own.context,
            &["--driver", "docker-container", "--node", &own.node],
        );
        assert_eq!(own.state(), None, "{release:?}");
        assert!(!own.has_volume(), "{release:?}");
    }
}

#[test]
fn what_a_removal_keeps_is_found_by_the_next_builder() {
    for release in RELEASES {
        let own = Own::new(release);
        own.create(&[]);
        assert_eq!(own.state(), None, "creating boots nothing");
        own.context.write("word", "opensesame\n");
        let step = format!(
            "RUN --mount=type=secret,id=word echo {} && sed s/^/got-/ /run/secrets/word > /out\n\
             FROM scratch\nCOPY --from=base /out /\n",
            unique()
        );
        let folder = bkhost_test_support::source::with_base(&own.context, "source", &step);
        let build = || own.build(&folder).args(["--secret", "id=word,src=word"]);
        build().args(["-o", "result"]).run().succeeds().says_no("CACHED");
        assert_eq!(own.context.read("result/out"), "got-opensesame\n");

        // Stopping keeps the container; booting it twice is the same as once.
        let first = own.id();
        own.context.bkhost(["stop", "b"]).run().succeeds();
        assert_eq!(own.state().as_deref(), Some("exited"));
        own.context.bkhost(["ls"]).run().succeeds().prints("stopped");
        own.boot();
        own.boot();
        assert_eq!(
            (own.id(), own.state().as_deref()),
            (first.clone(), Some("running"))
        );

        // With its state kept, a new container finds the cache.
        let keep = own.context.bkhost(["rm", "--keep-state", "b"]);
        keep.run().succeeds().says("b removed");
        assert_eq!((own.state(), own.has_volume()), (None, true));
        own.create(&[]);
        build().run().succeeds().says("CACHED");
        let second = own.id();
        assert_ne!(first, second);

        // With its daemon kept, the container itself is found.
        for removal in [
            ["rm", "--keep-daemon", "b"].as_slice(),
            ["rm", "--all-inactive", "--keep-daemon", "--force"].as_slice(),
        ] {
            own.context.bkhost(removal).run().succeeds().says("b removed");
            assert!(own.state().is_some(), "{removal:?}");
            own.create(&[]);
            build().run().succeeds().says("CACHED");
            assert_eq!(own.id(), second, "{removal:?}");
            own.context.bkhost(["stop", "b"]).run().succeeds();
        }

        // The volume goes also where somebody else has removed the container.
        own.docker(["rm"]);
        assert!(own.has_volume());
        own.context
            .bkhost(["rm", "--all-inactive", "--force"])
            .run()
            .succeeds()
            .says("b removed");
        assert!(!own.has_volume());
    }
}

#[test]
fn a_builder_stays_with_its_context() {
    for release in RELEASES {
        let mut own = Own::new(release);
        let host = format!("host={}", own.engine.address());
        docker(&own.context, ["context", "create", "away", "--docker", &host]);
        // From here on only the context leads to the engine.
        own.context.set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        own.create(&["away"]);
        let built = own.build(&own.quick()).run().succeeds();
        built.says("finished").says("docker-container driver");
        own.context
            .bkhost(["inspect", "b"])
            .run()
            .succeeds()
            .prints("Endpoint:              away\n")
            .prints("running");
        // Without an endpoint it is the context that is active, and the builder stays with it.
        own.context.unset("DOCKER_HOST");
        own.context.bkhost(["rm", "--keep-daemon", "b"]).run().succeeds();
        own.context.set("DOCKER_CONTEXT", "away");
        own.create(&[]);
        own.context.unset("DOCKER_CONTEXT");
        let build = || own.build(&own.quick()).args(["--builder", "b"]).run();
        build().succeeds().says("finished");

        docker(&own.context, ["context", "rm", "away"]);
        let gone = "unable to parse docker host `away`";
        let listed = own.context.bkhost(["ls"]).run().succeeds();
        listed.prints("error").says(gone);
        let inspected = own.context.bkhost(["inspect", "b"]).run().succeeds();
        inspected.prints(gone);
        build().fails(1).says(gone).says("docker context ls");
        let removed = own.context.bkhost(["rm", "b"]).run().fails(1);
        removed.says(gone).says("b is forgotten all the same");
        own.context.set("DOCKER_HOST", own.engine.address());
        assert_eq!(own.state().as_deref(), Some("running"));
    }
}

#[test]
fn an_engine_behind_ssh_has_builders_too() {
    let mut own = Own::new(Release::Current);
    let script = format!(
        "#!/bin/sh\nexec {} --host={} system dial-stdio\n",
        provided::docker().display(),
        own.engine.address()
    );
    let ssh = own.context.write("bin/ssh", script);
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = ssh.parent().unwrap().display().to_string();
    own.context.set("PATH", format!("{folder}:/usr/bin:/bin"));
    own.context.unset("DOCKER_HOST");
    own.create(&["ssh://me@far.example:22"]);
    let built = own.build(&own.quick()).args(["--builder", "b"]).run().succeeds();
    built.says("finished");
    let listed = own.context.bkhost(["ls"]).run().succeeds();
    listed.prints("ssh://me@far.example:22").prints("running");
    own.context.bkhost(["rm", "b"]).run().succeeds();
    assert_eq!((own.state(), own.has_volume()), (None, false));
}

#[test]
fn the_log_is_shown_from_its_end_and_followed() {
    for release in RELEASES {
        let own = Own::new(release);
        own.create(&["--buildkitd-flags", "--debug"]);
        let early = own.context.bkhost(["logs"]).run().fails(1);
        early.says("bkhost inspect --bootstrap b");
        own.boot();
        let whole = own.context.bkhost(["logs"]).run().succeeds();
        whole.prints("running server on");
        let end = own.context.bkhost(["logs", "--tail", "2", "b"]).run().succeeds();
        assert_eq!(end.stdout().lines().count(), 2, "{}", end.stdout());
        let nothing = own.context.bkhost(["logs", "--tail", "0"]).run().succeeds();
        assert_eq!(nothing.stdout(), "");
        let following = own.context.bkhost(["logs", "--follow", "--tail", "1"]).start();
        own.build(&own.quick()).run().succeeds();
        crate::harness::eventually(
            "the build shows in the log",
            std::time::Duration::from_secs(20),
            || following.stdout().contains("quick") || following.stdout().lines().count() > 5,
        );
        own.context.bkhost(["stop", "b"]).run().succeeds();
        // The end of the daemon is the end of its log.
        following.wait().succeeds().prints("stopping server");
        let ended = own.context.bkhost(["logs"]).run().succeeds();
        ended.prints("stopping server");
    }
    let own = Own::new(Release::Current);
    let none = own.context.bkhost(["logs", "default"]).run().fails(1);
    none.says("Driver `docker` shows no logs").says("hint: ");
}
