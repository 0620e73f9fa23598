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

/// A builder of a driver that is not there.
fn write_foreign(sealed: &Sealed, name: &str, nodes: &str) {
    let text = format!(r#"{{"Name":"{name}","Driver":"kubernetes","Nodes":{nodes}}}"#);
    std::fs::write(sealed.store().join("instances").join(name), text).unwrap();
}

#[test]
fn rm_goes_on_after_a_failure() {
    let (sealed, drivers) = with_builders();
    write_foreign(&sealed, "cloud", "null");
    let removed = sealed.run(&drivers, "rm cloud default nothere down");
    insta::assert_snapshot!(removed.err, @r#"
    failed to remove cloud: failed to find driver "kubernetes"
    hint: Drivers that are there: `process`, `remote`
    WARNING: cloud is forgotten all the same; without its driver nothing is removed, and its daemons may still be there
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
fn what_may_be_left_of_a_forgotten_builder_is_said_before_and_after() {
    let (sealed, drivers) = with_builders();
    let nodes = r#"[{"Name":"cloud0","Endpoint":"kubernetes:///cloud"},{"Name":"cloud1","Endpoint":"e"}]"#;
    write_foreign(&sealed, "cloud", nodes);
    let planned = sealed.run(&drivers, "rm --dry-run cloud");
    insta::assert_snapshot!(planned.err, @r#"Would only forget builder cloud, and fail: failed to find driver "kubernetes"; without its driver nothing is removed, and its daemons may still be there: cloud0 (`kubernetes:///cloud`), cloud1 (`e`)"#);
    assert_eq!((planned.code, stored(&sealed).len()), (0, 3));
    let removed = sealed.run(&drivers, "rm cloud");
    insta::assert_snapshot!(removed.err, @r#"
    failed to remove cloud: failed to find driver "kubernetes"
    hint: Drivers that are there: `process`, `remote`
    WARNING: cloud is forgotten all the same; without its driver nothing is removed, and its daemons may still be there: cloud0 (`kubernetes:///cloud`), cloud1 (`e`)
    ERROR: failed to remove one or more builders
    "#);
    assert_eq!(
        (removed.code, stored(&sealed)),
        (1, vec!["down".to_owned(), "up".to_owned()])
    );

    sealed.run(&drivers, "create --name ci tcp://c:1/down").ok();
    let text = std::fs::read_to_string(sealed.store().join("instances/ci")).unwrap();
    std::fs::write(
        sealed.store().join("instances/ci"),
        text.replace("/down", "/broken"),
    )
    .unwrap();
    let removed = sealed.run(&drivers, "rm ci");
    insta::assert_snapshot!(removed.err, @r"
    failed to remove ci: failed to remove node ci0: The daemon is broken
    WARNING: ci is forgotten all the same; its daemons may still be there: ci0 (`tcp://c:1/broken`)
    ERROR: failed to remove one or more builders
    ");
    assert_eq!((removed.code, stored(&sealed).len()), (1, 2));
}

#[test]
fn forgetting_needs_no_driver_and_no_readable_file() {
    let (sealed, drivers) = with_builders();
    write_foreign(&sealed, "cloud", "null");
    std::fs::write(sealed.store().join("instances/half"), "{").unwrap();
    let planned = sealed.run(&drivers, "rm --keep-daemon --dry-run cloud half");
    assert_eq!(
        (planned.code, planned.err.as_str()),
        (0, "Would forget builder cloud\nWould forget builder half\n")
    );
    assert_eq!(stored(&sealed).len(), 4);
    let removed = sealed.run(&drivers, "rm --keep-daemon cloud half");
    assert_eq!(
        (removed.code, removed.err.as_str()),
        (0, "cloud removed\nhalf removed\n")
    );
    assert_eq!(stored(&sealed), ["down", "up"]);
}

#[test]
fn all_inactive_removes_the_others_when_one_cannot_be_told() {
    let (sealed, drivers) = with_builders();
    write_foreign(&sealed, "cloud", "null");
    let folder = sealed.store().join("instances");
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    std::fs::write(folder.join("Odd"), "").unwrap();
    let before = stored(&sealed);
    let planned = sealed.run(&drivers, "rm --all-inactive --dry-run");
    insta::assert_snapshot!(planned.err, @r#"
    WARNING: `HOME/.docker/buildx/instances/Odd` is no builder, because its name is not in lower case: rename it to `odd`, or remove it
    Would leave as it is: Cannot read builder `empty` from `HOME/.docker/buildx/instances/empty`: The file is empty
    hint: `bkhost rm --keep-daemon empty` forgets the builder, whatever is in its file
    Would leave as it is: Cannot read builder `folder`: Failed to read `HOME/.docker/buildx/instances/folder`: Is a directory (os error 21)
    hint: A folder is no builder: move it to another place
    Would leave as it is: cannot load cloud: failed to find driver "kubernetes"
    hint: Drivers that are there: `process`, `remote`
    hint: `bkhost rm --keep-daemon cloud` forgets the builder and leaves its daemons as they are
    Would forget builder down
    Would stop and remove down (down0) and delete its state; it is now: inactive
    "#);
    assert_eq!((planned.code, stored(&sealed)), (0, before));
    let removed = sealed.run(&drivers, "rm --all-inactive -f");
    insta::assert_snapshot!(removed.err, @r#"
    WARNING: `HOME/.docker/buildx/instances/Odd` is no builder, because its name is not in lower case: rename it to `odd`, or remove it
    Cannot read builder `empty` from `HOME/.docker/buildx/instances/empty`: The file is empty
    hint: `bkhost rm --keep-daemon empty` forgets the builder, whatever is in its file
    Cannot read builder `folder`: Failed to read `HOME/.docker/buildx/instances/folder`: Is a directory (os error 21)
    hint: A folder is no builder: move it to another place
    cannot load cloud: failed to find driver "kubernetes"
    hint: Drivers that are there: `process`, `remote`
    hint: `bkhost rm --keep-daemon cloud` forgets the builder and leaves its daemons as they are
    down removed
    ERROR: failed to remove one or more builders
    "#);
    assert_eq!(removed.code, 1);
    assert_eq!(drivers.done(), ["stop down0", "remove down0"]);
    assert_eq!(stored(&sealed), ["Odd", "cloud", "empty", "folder", "up"]);
    let folder = sealed.run(&drivers, "rm folder").refused();
    assert!(
        folder.contains("hint: A folder is no builder: move it"),
        "{folder}"
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
