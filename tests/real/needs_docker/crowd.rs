//! Many clients of one new builder, and clients that are killed while they boot it.

use std::time::Duration;

use bkhost_test_support::call::Running;
use bkhost_test_support::docker::Release;
use bkhost_test_support::provided;
use rustix::process::Signal;

use super::gate::Gate;
use super::own::{Own, RELEASES};
use crate::harness::eventually;

/// Notes every container that the engine makes for a builder. It forgets its own events soon.
fn watch(own: &Own) -> Running {
    let events = [
        "events",
        "--since=0",
        "--format={{.Action}}",
        "--filter=type=container",
    ];
    let events = own.context.call(provided::docker(), events);
    let of_it = format!("--filter=container={}", own.container());
    let watch = events.args(["--filter=event=create", "--filter=event=exec_die", &of_it]);
    watch.limit(Duration::from_secs(300)).start()
}

/// How often one was made.
fn made(watch: &Running) -> usize {
    watch.stdout().lines().filter(|line| *line == "create").count()
}

/// No container is left that was made to look for GPUs.
fn left_no_probe(own: &Own) -> bool {
    own.engine
        .container(&format!("bkhost_probe_{}", own.node))
        .is_none()
}

#[test]
fn of_32_clients_at_once_each_builds_in_the_one_container() {
    for release in RELEASES {
        let own = Own::new(release);
        own.create(&[]);
        let watch = watch(&own);
        let folder = own.quick();
        let clients: Vec<_> = (0..32)
            .map(|_| own.build(&folder).limit(Duration::from_secs(120)).start())
            .collect();
        for client in clients {
            client.wait().succeeds();
        }
        // What was done inside comes after the making.
        eventually("the engine's events", Duration::from_secs(20), || {
            watch.stdout().contains("exec_die")
        });
        assert_eq!(made(&watch), 1, "{release:?}: {}", watch.stdout());
        assert!(left_no_probe(&own), "{release:?}");
    }
}

/// Requests of a boot in their order, by words of their first lines.
const STEPS: [&[&str]; 8] = [
    &["/images/create?"],
    &["/containers/create?name=bkhost_probe_"],
    &["/containers/bkhost_probe_", "/start"],
    &["/containers/create?name=buildx_buildkit_"],
    &["/archive?"],
    &["/containers/", "/start"],
    &["/containers/", "/exec"],
    &["/exec/", "/start"],
];

/// Kills a client at each step of a boot, after the engine has done its part.
fn kill_at_each_step(release: Release) {
    for (number, words) in STEPS.into_iter().enumerate() {
        let mut own = Own::new(release);
        let gate = Gate::open(&own.engine, own.context.path().join("engine.sock"));
        own.context.set("DOCKER_HOST", gate.address());
        own.create(&["--buildkitd-flags", "--debug"]);
        let of_probe = words.iter().any(|word| word.contains("probe"));
        gate.hold(move |line| {
            words.iter().all(|word| line.contains(word)) && of_probe == line.contains("probe")
        });
        let client = own.context.bkhost(["inspect", "--bootstrap", "b"]).start();
        gate.until_held();
        client.signal(Signal::KILL);
        assert_eq!(client.wait().code(), None, "{words:?}");
        let made = (number >= 3).then(|| own.id());
        own.boot();
        // What it has made before it died is used.
        assert!(made.is_none_or(|made| made == own.id()), "{words:?}");
        assert!(left_no_probe(&own), "{words:?}");
        assert_eq!(own.inspect()["Args"][0], "--debug");
        own.context.bkhost(["rm", "b"]).run().succeeds().says("b removed");
        assert!(own.state().is_none() && !own.has_volume(), "{words:?}");
    }
}

#[test]
fn what_a_killed_client_has_begun_the_next_one_finishes() {
    kill_at_each_step(Release::Current);
}

#[test]
fn what_a_killed_client_has_begun_the_next_one_finishes_on_an_old_engine() {
    kill_at_each_step(Release::Old);
}
