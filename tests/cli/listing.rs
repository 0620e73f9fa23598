//! `ls`, `inspect` and `driver`: tables, JSON, templates, and what cannot be reached.

use crate::scripted::Scripted;
use crate::sealed::Sealed;

fn filled() -> (Sealed, Scripted) {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed
        .run(
            &drivers,
            "create --name fast --platform linux/arm64 --use tcp://a:1/up",
        )
        .ok();
    sealed
        .run(&drivers, "create --name fast --append tcp://b:1/down")
        .ok();
    sealed.run(&drivers, "create --name here --driver process").ok();
    write(
        &sealed,
        "cloud",
        r#"{"Name":"cloud","Driver":"kubernetes","Nodes":[{"Name":"cloud0","Endpoint":"kubernetes:///cloud?a=1\u0026b=2"}]}"#,
    );
    (sealed, drivers)
}

fn write(sealed: &Sealed, name: &str, text: &str) {
    std::fs::write(sealed.store().join("instances").join(name), text).unwrap();
}

/// Blanks at line ends are part of the format; a snapshot shows them as dots.
fn dotted(text: &str) -> String {
    text.lines()
        .map(|line| {
            let kept = line.trim_end();
            format!("{kept}{}\n", "·".repeat(line.len() - kept.len()))
        })
        .collect()
}

#[test]
fn advice_is_spelled_as_it_is_typed() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed
        .run(&drivers, "create --name b --use tcp://a:1/drifted")
        .ok();
    for (typed, [listed, shown]) in [
        ("bkhost", ["ls", "inspect"].map(|line| sealed.run(&drivers, line))),
        (
            "docker buildx",
            ["buildx ls", "buildx inspect"].map(|line| sealed.run_by_docker(&drivers, line)),
        ),
    ] {
        let advice = format!(
            "b (b0) runs with other settings than configured: memory. Apply them with `{typed} renew b`\n"
        );
        assert!(listed.err.contains(&advice), "{listed:?}");
        let advice = format!("memory (apply with `{typed} renew b`)\n");
        assert!(shown.out.contains(&advice), "{shown:?}");
    }
}

#[test]
fn ls_shows_builders_nodes_and_what_is_missing() {
    let (sealed, drivers) = filled();
    let listed = sealed.run(&drivers, "ls");
    insta::assert_snapshot!(dotted(&listed.out), @r"
    NAME/NODE   DRIVER/ENDPOINT                     STATUS     BUILDKIT   PLATFORMS
    fast*       remote····················································
     \_ fast0    \_ tcp://a:1/up                    running               linux/arm64*
     \_ fast1    \_ tcp://b:1/down                  inactive··············
    here        process···················································
     \_ here0    \_ unix:///run/bkhost/here0/down   inactive··············
    local       process···················································
     \_ local    \_ unix:///run/bkhost/local/down   inactive··············
    cloud       kubernetes                          error·················
    default     docker                              error·················
    ");
    insta::assert_snapshot!(listed.err, @r#"

    Cannot load builder cloud: failed to find driver "kubernetes"
    Cannot load builder default: failed to find driver "docker"
    "#);
    assert_eq!(listed.code, 0);
}

#[test]
fn ls_gives_json_and_templates() {
    let (sealed, drivers) = filled();
    std::fs::write(sealed.store().join("activity/fast"), "2026-08-01T10:11:12Z").unwrap();
    std::fs::write(sealed.store().join("activity/here"), "bad").unwrap();
    let json = sealed.run(&drivers, "ls --format json").ok();
    insta::assert_snapshot!(json, @r#"
    {"Current":true,"Driver":"remote","Dynamic":false,"LastActivity":"2026-08-01T10:11:12Z","Name":"fast","Nodes":[{"Endpoint":"tcp://a:1/up","Name":"fast0","Platforms":["linux/arm64"],"Status":"running"},{"Endpoint":"tcp://b:1/down","Name":"fast1","Status":"inactive"}]}
    {"Current":false,"Driver":"process","Dynamic":false,"LastActivity":"0001-01-01T00:00:00Z","Name":"here","Nodes":[{"Endpoint":"unix:///run/bkhost/here0/down","Name":"here0","Status":"inactive"}]}
    {"Current":false,"Driver":"process","Dynamic":false,"LastActivity":"0001-01-01T00:00:00Z","Name":"local","Nodes":[{"Endpoint":"unix:///run/bkhost/local/down","Name":"local","Status":"inactive"}]}
    {"Current":false,"Driver":"kubernetes","Dynamic":false,"Err":"failed to find driver \"kubernetes\"","LastActivity":"0001-01-01T00:00:00Z","Name":"cloud","Nodes":[{"Endpoint":"","Name":""}]}
    {"Current":false,"Driver":"docker","Dynamic":false,"Err":"failed to find driver \"docker\"","LastActivity":"0001-01-01T00:00:00Z","Name":"default","Nodes":[{"Endpoint":"","Name":""}]}
    "#);
    let template = sealed
        .run(&drivers, "ls --format {{.Name}}:{{.Status}}:{{.LastActivity}}")
        .ok();
    insta::assert_snapshot!(template, @r"
    fast::2026-08-01T10:11:12Z
    fast0:running:
    fast1:inactive:
    here::
    here0:inactive:
    local::
    local:inactive:
    cloud:error:
    default:error:
    ");
}

#[test]
fn a_silent_node_does_not_stop_the_list() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed
        .run(&drivers, "create --name ci --timeout 10ms tcp://a:1/silent")
        .ok();
    let listed = sealed.run(&drivers, "ls --timeout 50ms --format {{.Name}}={{.Status}}");
    assert!(listed.ok().contains("ci0=error\n"));
}

#[test]
fn broken_files_are_reported_and_kept() {
    let (sealed, drivers) = filled();
    write(&sealed, "empty", "");
    write(&sealed, ".tmp-left", "x");
    write(
        &sealed,
        "UPPER",
        r#"{"Name":"UPPER","Driver":"remote","Nodes":null}"#,
    );
    let listed = sealed.run(&drivers, "ls");
    assert!(listed.out.contains("fast*"));
    assert!(
        listed.err.contains("WARNING: Cannot read builder `empty` from `HOME/.docker/buildx/instances/empty`: The file is empty"),
        "{}",
        listed.err
    );
    assert!(listed.err.contains(".tmp-left` is no builder"), "{}", listed.err);
    let odd =
        "UPPER` is no builder, because its name is not in lower case: rename it to `upper`, or remove it";
    assert!(listed.err.contains(odd), "{}", listed.err);
    assert!(!listed.out.contains("UPPER"), "{}", listed.out);
    assert_eq!(listed.code, 0);
    insta::assert_snapshot!(sealed.run(&drivers, "inspect empty").refused(), @r"
    ERROR: Cannot read builder `empty` from `HOME/.docker/buildx/instances/empty`: The file is empty
    hint: `bkhost rm --keep-daemon empty` forgets the builder, whatever is in its file
    ");
    assert!(sealed.store().join("instances/empty").exists());
    assert_eq!(sealed.run(&drivers, "rm --keep-daemon empty").code, 0);
    assert!(!sealed.store().join("instances/empty").exists());
}

#[test]
fn listing_changes_nothing() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "ls").ok();
    sealed.run(&drivers, "inspect local").ok();
    assert!(!sealed.home().join(".docker").exists());
}

#[test]
fn inspect_shows_a_builder_and_boots_it_when_asked() {
    let (sealed, drivers) = filled();
    std::fs::write(sealed.store().join("activity/fast"), "2026-08-01T10:11:12Z").unwrap();
    insta::assert_snapshot!(sealed.run(&drivers, "inspect").ok(), @r"
    Name:          fast
    Driver:        remote
    Last Activity: 2026-08-01 10:11:12 +0000 UTC

    Nodes:
    Name:      fast0
    Endpoint:  tcp://a:1/up
    Status:    running
    Platforms: linux/arm64*

    Name:     fast1
    Endpoint: tcp://b:1/down
    Status:   inactive
    ");
    let booted = sealed.run(&drivers, "inspect --bootstrap fast --format {{.Name}}");
    assert_eq!(booted.ok(), "fast\n");
    assert_eq!(drivers.done(), ["boot fast1"]);
    insta::assert_snapshot!(sealed.run(&drivers, "inspect default").ok(), @r#"
    Name:   default
    Driver: docker
    Error:  failed to find driver "docker"
    hint: Drivers that are there: `process`, `remote`
    "#);
    insta::assert_snapshot!(sealed.run(&drivers, "inspect fsat").refused(), @r#"
    ERROR: no builder "fsat" found
    hint: Did you mean `fast`?
    "#);
}

#[test]
fn drivers_are_listed_and_explained() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    insta::assert_snapshot!(sealed.run(&drivers, "driver ls").ok(), @r"
    NAME      VERSION   SUMMARY
    process   0.1.0     A daemon on this machine
    remote    0.1.0     A daemon that runs already
    ");
    insta::assert_snapshot!(dotted(&sealed.run(&drivers, "driver inspect remote").ok()), @r"
    Name:     remote
    Version:  0.1.0
    Track:    0.1.0-rc.1
    Summary:  A daemon that runs already
    Endpoint: required
    Schemes:  tcp, unix
    Variable: BUILDKIT_HOST
    Imports:  connections

    Options:
    OPTION         KIND      DEFAULT   HELP
    default-load   bool      false     Load results into the engine
    cacert         path                Certificate authority
    ");
    let json = sealed.run(&drivers, "driver inspect --format json process").ok();
    assert!(
        json.contains(r#""Endpoint":{"Kind":"derived","Schemes":[],"Variable":null}"#),
        "{json}"
    );
    assert!(
        sealed
            .run(&drivers, "driver inspect remte")
            .refused()
            .contains("Did you mean `remote`?")
    );
    assert!(sealed.run(&drivers, "driver").ok().contains("List the drivers"));
}
