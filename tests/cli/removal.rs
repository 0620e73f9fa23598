//! `rm` and `stop`: what goes, what stays, and what is said.

use crate::scripted::Scripted;
use crate::sealed::Sealed;

fn with_builders() -> (Sealed, Scripted) {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name down tcp://a:1/down").ok();
    sealed.run(&drivers, "create --name up tcp://b:1/up").ok();
    (sealed, drivers)
}

fn stored(sealed: &Sealed) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(sealed.store().join("instances"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn rm_removes_daemon_and_entry() {
    let (sealed, drivers) = with_builders();
    let removed = sealed.run(&drivers, "rm down");
    assert_eq!((removed.code, removed.err.as_str()), (0, "down removed\n"));
    assert_eq!(drivers.done(), ["stop down0", "remove down0"]);
    assert_eq!(stored(&sealed), ["up"]);
    let kept = sealed.run(&drivers, "rm --keep-state up");
    assert_eq!((kept.code, kept.err.as_str()), (0, "up removed\n"));
    assert_eq!(drivers.done().last().unwrap(), "remove, keeping state, up0");
}

#[test]
fn rm_forgets_without_asking_a_driver() {
    let (sealed, drivers) = with_builders();
    assert_eq!(sealed.run(&drivers, "rm --keep-daemon up").err, "up removed\n");
    assert!(drivers.done().is_empty());
    assert_eq!(stored(&sealed), ["down"]);
}

#[test]
fn rm_goes_on_after_a_failure() {
    let (sealed, drivers) = with_builders();
    std::fs::write(
        sealed.store().join("instances/cloud"),
        r#"{"Name":"cloud","Driver":"kubernetes","Nodes":null}"#,
    )
    .unwrap();
    let removed = sealed.run(&drivers, "rm cloud default nothere down");
    insta::assert_snapshot!(removed.err, @r#"
    failed to remove cloud: failed to find driver "kubernetes"
    hint: Drivers that are there: `process`, `remote`
    failed to remove default: context builder cannot be removed, run `docker context rm default` to remove this context
    failed to remove nothere: no builder "nothere" found
    hint: `bkhost ls` lists the builders, `bkhost create` makes one
    down removed
    ERROR: failed to remove one or more builders
    "#);
    assert_eq!(removed.code, 1);
    assert_eq!(
        stored(&sealed),
        ["up"],
        "the entry of an unknown driver goes as well"
    );
}

#[test]
fn all_inactive_leaves_what_runs() {
    let (sealed, drivers) = with_builders();
    let planned = sealed.run(&drivers, "rm --all-inactive --dry-run");
    insta::assert_snapshot!(planned.err, @r"
    Would forget builder down
    Would stop and remove down (down0) and delete its state; it is now: inactive
    ");
    assert_eq!(stored(&sealed), ["down", "up"]);
    let removed = sealed.run(&drivers, "rm --all-inactive -f");
    assert_eq!((removed.code, removed.err.as_str()), (0, "down removed\n"));
    assert_eq!(stored(&sealed), ["up"]);
    let named = sealed.run(&drivers, "rm --all-inactive up").refused();
    assert_eq!(
        named,
        "ERROR: cannot specify builder name when --all-inactive is set\n"
    );
}

#[test]
fn the_local_builder_keeps_its_cache_unless_asked() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    assert_eq!(sealed.run(&drivers, "rm local").err, "local removed\n");
    assert_eq!(
        sealed.run(&drivers, "rm --with-state local").err,
        "local removed\n"
    );
    assert_eq!(
        drivers.done(),
        [
            "stop local",
            "remove, keeping state, local",
            "stop local",
            "remove local"
        ]
    );
}

#[test]
fn stop_stops_and_shows_what_it_would_do() {
    let (sealed, drivers) = with_builders();
    assert_eq!(
        sealed.run(&drivers, "stop --dry-run up").err,
        "Would stop up (up0)\n"
    );
    assert_eq!(
        sealed.run(&drivers, "stop --dry-run down").err,
        "Would leave down (down0) as it is: inactive\n"
    );
    assert!(drivers.done().is_empty());
    assert_eq!(sealed.run(&drivers, "stop up").ok(), "");
    assert_eq!(drivers.done(), ["stop up0"]);
    assert_eq!(sealed.run(&drivers, "--builder down stop").ok(), "");
    assert_eq!(drivers.done(), ["stop up0", "stop down0"]);
    assert!(
        sealed
            .run(&drivers, "stop default")
            .refused()
            .contains("failed to find driver \"docker\"")
    );
}

#[test]
fn steps_are_shown_as_the_user_wants_them() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name ci tcp://a:1/down").ok();
    sealed
        .run(&drivers, "create --append --name ci tcp://b:1/down")
        .ok();
    let booted = sealed.run(&drivers, "inspect --bootstrap ci");
    assert!(
        booted.err.contains("[ci0 internal] booting buildkit\n"),
        "{booted:?}"
    );
    assert!(
        booted.err.contains("[ci1 internal] booting buildkit\n"),
        "{booted:?}"
    );

    let sealed = sealed.with("BUILDKIT_PROGRESS", "quiet");
    let booted = sealed.run(&drivers, "inspect --bootstrap ci");
    assert_eq!(booted.err, "");
    let sealed = sealed.with("BUILDKIT_PROGRESS", "fancy");
    let before = drivers.done();
    assert_eq!(
        sealed.run(&drivers, "stop ci").refused(),
        "ERROR: invalid progress mode fancy\n"
    );
    assert_eq!(drivers.done(), before);
}
