//! Many clients of one new builder, and clients that are killed while they boot it.

use std::time::Duration;

use bkhost_test_support::call::Running;
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
const BEFORE_THE_CONTAINER: [&[&str]; 3] = [
    &["/images/create?"],
    &["/containers/create?name=bkhost_probe_"],
    &["/containers/bkhost_probe_", "/start"],
];
const WITH_THE_CONTAINER: [&[&str]; 4] = [
    &["/archive?"],
    &["/containers/", "/start"],
    &["/containers/", "/exec"],
    &["/exec/", "/start"],
];

/// A client that boots the builder and is killed when the engine has done this step for it.
fn killed_after(own: &Own, gate: &Gate, words: &'static [&'static str]) {
    let of_probe = words.iter().any(|word| word.contains("probe"));
    gate.hold(move |line| words.iter().all(|word| line.contains(word)) && of_probe == line.contains("probe"));
    let client = own.context.bkhost(["inspect", "--bootstrap", "b"]).start();
    gate.until_held();
    client.signal(Signal::KILL);
    assert_eq!(client.wait().code(), None, "{words:?}");
}

#[test]
fn what_a_killed_client_has_begun_the_next_one_goes_on_with() {
    for release in RELEASES {
        let mut own = Own::new(release);
        let gate = Gate::open(&own.engine, own.context.path().join("engine.sock"));
        own.context.set("DOCKER_HOST", gate.address());
        own.create(&["--buildkitd-flags", "--debug"]);
        for words in BEFORE_THE_CONTAINER {
            killed_after(&own, &gate, words);
            assert_eq!(own.state(), None, "{words:?}");
        }
        killed_after(&own, &gate, &["/containers/create?name=buildx_buildkit_"]);
        let id = own.id();
        for words in WITH_THE_CONTAINER {
            killed_after(&own, &gate, words);
        }
        own.build(&own.quick()).run().succeeds().says("finished");
        assert_eq!(own.id(), id, "{release:?}");
        assert_eq!(own.inspect()["Args"][0], "--debug");
        assert!(left_no_probe(&own), "{release:?}");
    }
}
