//! `use`, and which builder a command takes when none is named.

use crate::scripted::Scripted;
use crate::sealed::Sealed;

fn chosen(sealed: &Sealed) -> String {
    let drivers = Scripted::default();
    sealed
        .run(&drivers, "inspect --format {{.Name}}")
        .ok()
        .trim()
        .to_owned()
}

#[test]
fn a_selection_is_kept_and_cleared() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name ci tcp://a:1/down").ok();
    assert_eq!(chosen(&sealed), "local");
    sealed.run(&drivers, "use ci").ok();
    assert_eq!(chosen(&sealed), "ci");
    sealed.run(&drivers, "use default").ok();
    let current = std::fs::read_to_string(sealed.store().join("current")).unwrap();
    assert_eq!(
        current,
        r#"{"Key":"unix:///var/run/docker.sock","Name":"","Global":false}"#
    );
    assert_eq!(chosen(&sealed), "local");
}

#[test]
fn a_builder_that_buildx_cannot_load_is_selected_beside_its_selection() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name ci --use tcp://a:1/down").ok();
    sealed
        .run(&drivers, "create --name here --driver process --use")
        .ok();
    let current = std::fs::read_to_string(sealed.store().join("current")).unwrap();
    assert!(current.contains(r#""Name":"ci""#), "{current}");
    assert_eq!(chosen(&sealed), "here");
    sealed.run(&drivers, "use local").ok();
    assert_eq!(chosen(&sealed), "local");
    sealed.run(&drivers, "use ci").ok();
    assert_eq!(chosen(&sealed), "ci");
}

#[test]
fn the_environment_chooses() {
    let sealed = Sealed::new().with("BUILDKIT_HOST", "tcp://h:1/down");
    assert_eq!(chosen(&sealed), "buildkit-host");
    sealed.run(&Scripted::default(), "create --name ci --use").ok();
    assert_eq!(chosen(&sealed), "ci");
    let sealed = sealed.with("BUILDX_BUILDER", "local");
    assert_eq!(chosen(&sealed), "local");
    let flag = sealed.run(&Scripted::default(), "--builder ci inspect --format {{.Name}}");
    assert_eq!(flag.ok(), "ci\n");
}

#[test]
fn refusals_say_where_to_go() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let refused = |line: &str| sealed.run(&drivers, line).refused();
    insta::assert_snapshot!(refused("use nothere"), @r#"
    ERROR: failed to find instance "nothere": open HOME/.docker/buildx/instances/nothere: no such file or directory
    hint: `bkhost ls` lists the builders, `bkhost create` makes one
    "#);
    insta::assert_snapshot!(refused("use 1x"), @r#"
    ERROR: failed to find instance "1x": invalid name 1x, name needs to start with a letter and may not contain symbols, except ._-
    hint: `bkhost ls` lists the builders, `bkhost create` makes one
    "#);
    let other = Sealed::new().with("DOCKER_CONTEXT", "other");
    let refused = other.run(&drivers, "use default").refused();
    assert_eq!(
        refused,
        "ERROR: run `docker context use default` to switch to default context\nhint: `--builder default` uses it for one command\n"
    );
}
