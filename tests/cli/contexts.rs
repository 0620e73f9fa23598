//! Docker contexts are builders too; ours come from the same files as the docker client's.

use crate::scripted::Scripted;
use crate::sealed::Sealed;

/// A context whose folder is named as the docker client names it.
fn add(sealed: &Sealed, folder: &str, text: &str) {
    let folder = sealed.home().join(".docker/contexts/meta").join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("meta.json"), text).unwrap();
}

/// The SHA-256 of `prod`.
const PROD: &str = "6754af9632a2745e85c293e5aac0863370d9bd3330b9938c00cadfd215227d77";

fn with_prod() -> (Sealed, Scripted) {
    let sealed = Sealed::new();
    add(
        &sealed,
        PROD,
        r#"{"Name":"prod","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://prod.example","SkipTLSVerify":false}}}"#,
    );
    (sealed, Scripted::default())
}

#[test]
fn contexts_are_listed_and_protected() {
    let (sealed, drivers) = with_prod();
    let listed = sealed
        .run(&drivers, "ls --format {{.Name}}:{{.DriverEndpoint}}")
        .ok();
    insta::assert_snapshot!(listed, @r"
    local:process
    local:unix:///run/bkhost/local/down
    default:docker
    prod:docker
    ");
    let refused = |line: &str| sealed.run(&drivers, line).refused();
    insta::assert_snapshot!(refused("create --name prod"), @r#"ERROR: instance name "prod" already exists as context builder"#);
    insta::assert_snapshot!(refused("use prod"), @r"
    ERROR: run `docker context use prod` to switch to context prod
    hint: `--builder prod` uses it for one command
    ");
    insta::assert_snapshot!(refused("rm prod"), @r"
    failed to remove prod: context builder cannot be removed, run `docker context rm prod` to remove this context
    ERROR: failed to remove one or more builders
    ");
}

#[test]
fn a_selection_belongs_to_its_context() {
    let (sealed, drivers) = with_prod();
    sealed.run(&drivers, "create --name ci --use tcp://a:1/down").ok();
    let chosen = |sealed: &Sealed| sealed.run(&drivers, "inspect --format {{.Name}}").ok();
    assert_eq!(chosen(&sealed), "ci\n");
    let sealed = sealed.with("DOCKER_CONTEXT", "prod");
    assert_eq!(chosen(&sealed), "local\n");
    sealed.run(&drivers, "use --global ci").ok();
    assert_eq!(chosen(&sealed), "ci\n");
    let current = std::fs::read_to_string(sealed.store().join("current")).unwrap();
    assert_eq!(current, r#"{"Key":"prod","Name":"ci","Global":true}"#);
}

#[test]
fn a_broken_context_does_not_hide_the_builders() {
    let (sealed, drivers) = with_prod();
    sealed.run(&drivers, "create --name ci --use tcp://a:1/down").ok();
    add(&sealed, "broken", "{");
    let listed = sealed.run(&drivers, "ls --format {{.Name}}");
    assert!(
        listed
            .err
            .contains("WARNING: Docker context file `HOME/.docker/contexts/meta/broken/meta.json` is broken"),
        "{listed:?}"
    );
    assert!(listed.ok().starts_with("ci\nci0\n"));
    assert_eq!(sealed.run(&drivers, "inspect --format {{.Name}}").ok(), "ci\n");
}

#[test]
fn a_broken_configuration_is_a_warning() {
    let (sealed, drivers) = with_prod();
    std::fs::write(sealed.home().join(".docker/config.json"), "{").unwrap();
    let listed = sealed.run(&drivers, "ls --format {{.Name}}");
    assert!(
        listed
            .err
            .starts_with("WARNING: Error parsing config file (HOME/.docker/config.json): "),
        "{listed:?}"
    );
    assert!(listed.ok().contains("prod\n"));
}
