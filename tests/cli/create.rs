//! `create`: names, endpoints, nodes, refusals, rollback.

use crate::scripted::Scripted;
use crate::sealed::Sealed;

fn refused(line: &str) -> String {
    let sealed = Sealed::new();
    sealed.run(&Scripted::default(), line).refused()
}

#[test]
fn a_builder_is_stored_as_buildx_stores_it() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let made = sealed.run(
        &drivers,
        "create --name CI --driver remote --platform linux/arm64,linux/amd64/v1 --driver-opt default-load=true tcp://h:1/down",
    );
    assert_eq!(made.ok(), "CI\n");
    let text = std::fs::read_to_string(sealed.store().join("instances/ci")).unwrap();
    assert_eq!(
        text,
        r#"{"Name":"CI","Driver":"remote","Nodes":[{"Name":"ci0","Endpoint":"tcp://h:1/down","Platforms":[{"architecture":"arm64","os":"linux"},{"architecture":"amd64","os":"linux"}],"DriverOpts":{"default-load":"true"},"Flags":null,"Files":null}],"Dynamic":false}"#
    );
}

#[test]
fn nodes_are_appended_changed_and_left() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name ci tcp://a:1/down").ok();
    sealed
        .run(
            &drivers,
            "create --name ci --append --platform linux/arm64 tcp://b:1/down",
        )
        .ok();
    let changed = sealed.run(
        &drivers,
        "create --name ci --node ci1 --driver-opt default-load=true",
    );
    assert_eq!(
        changed.err,
        "WARNING: new settings may not be used until builder is restarted\n"
    );
    assert_eq!(changed.ok(), "ci\n");
    let twice = sealed
        .run(&drivers, "create --name ci --append tcp://a:1/down")
        .refused();
    assert_eq!(twice, "ERROR: invalid duplicate endpoint tcp://a:1/down\n");
    assert_eq!(
        sealed.run(&drivers, "create --name ci --leave --node ci0").ok(),
        ""
    );
    let last = sealed
        .run(&drivers, "create --name ci --leave --node ci1")
        .refused();
    assert_eq!(
        last,
        "ERROR: can not leave last node, do you want to rm instance instead?\n"
    );
    let nodes = sealed.run(&drivers, "ls --format {{range\u{a0}.Builder.Nodes}}x{{end}}");
    assert_eq!(nodes.code, 1, "a template with a wrong blank is refused");
}

/// What buildx made for a driver that is not here keeps every field that it has.
#[test]
fn leaving_a_builder_of_another_driver_damages_nothing_else() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let folder = sealed.store().join("instances");
    std::fs::create_dir_all(&folder).unwrap();
    let node = |name: &str| {
        format!(
            r#"{{"Name":"{name}","Endpoint":"kubernetes:///k?deployment={name}\u0026kubeconfig=%2Fk","Platforms":[{{"architecture":"arm64","os":"linux"}}],"DriverOpts":{{"nodeselector":"a=b,c=d","replicas":"2"}},"Flags":["--allow-insecure-entitlement=network.host"],"Files":null}}"#
        )
    };
    let record = |nodes: &[&str]| {
        let nodes: Vec<String> = nodes.iter().map(|name| node(name)).collect();
        format!(
            r#"{{"Name":"k","Driver":"kubernetes","Nodes":[{}],"Dynamic":false}}"#,
            nodes.join(",")
        )
    };
    std::fs::write(folder.join("k"), record(&["k0", "k1"])).unwrap();
    sealed.run(&drivers, "create --name k --leave --node k1").ok();
    let stored = || std::fs::read_to_string(folder.join("k")).unwrap();
    assert_eq!(stored(), record(&["k0"]));
    let refused = sealed
        .run(&drivers, "create --name k --append tcp://h:1")
        .refused();
    assert!(
        refused.starts_with("ERROR: failed to find driver \"kubernetes\"\n"),
        "{refused}"
    );
    assert_eq!(stored(), record(&["k0"]));
}

#[test]
fn the_driver_follows_from_the_endpoint_or_the_environment() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let driver = |name: &str| {
        let listed = sealed
            .run(&drivers, "ls --format {{.Builder.Name}}={{.Builder.Driver}}")
            .ok();
        let line = listed
            .lines()
            .find(|line| line.starts_with(&format!("{name}=")))
            .unwrap();
        line.split('=').nth(1).unwrap().to_owned()
    };
    sealed.run(&drivers, "create --name a tcp://a:1/down").ok();
    sealed.run(&drivers, "create --name b").ok();
    assert_eq!(
        (driver("a").as_str(), driver("b").as_str()),
        ("remote", "process")
    );
    let sealed = Sealed::new().with("BUILDKIT_HOST", "unix:///x/down");
    sealed.run(&drivers, "create --name c").ok();
    let stored = std::fs::read_to_string(sealed.store().join("instances/c")).unwrap();
    assert!(
        stored.contains(r#""Driver":"remote","Nodes":[{"Name":"c0","Endpoint":"unix:///x/down""#),
        "{stored}"
    );
}

#[test]
fn a_driver_that_buildx_does_not_know_stays_out_of_its_folder() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --driver process --name here").ok();
    assert!(sealed.store().join("bkhost/instances/here").exists());
    assert!(!sealed.store().join("instances").exists());
    let stored = std::fs::read_to_string(sealed.store().join("bkhost/instances/here")).unwrap();
    assert!(stored.contains("unix:///run/bkhost/here0/down"), "{stored}");
}

#[test]
fn a_default_configuration_is_for_drivers_that_take_one() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    std::fs::create_dir_all(sealed.store()).unwrap();
    std::fs::write(sealed.store().join("buildkitd.default.toml"), "debug = true\n").unwrap();
    sealed.run(&drivers, "create --name far tcp://a:1/down").ok();
    sealed
        .run(&drivers, "create --name far --append tcp://b:1/down")
        .ok();
    sealed.run(&drivers, "create --name here --driver process").ok();
    let far = std::fs::read_to_string(sealed.store().join("instances/far")).unwrap();
    assert!(!far.contains("buildkitd.toml"), "{far}");
    let here = std::fs::read_to_string(sealed.store().join("bkhost/instances/here")).unwrap();
    assert!(here.contains("buildkitd.toml"), "{here}");

    let refused = |line: &str| sealed.run(&drivers, line).refused();
    let typed = "create --buildkitd-config .docker/buildx/buildkitd.default.toml";
    insta::assert_snapshot!(refused(&format!("{typed} tcp://c:1/down")), @r"
    ERROR: setting config file is not supported for remote driver
    hint: Leave out `--buildkitd-config`: `remote` uses daemons that are configured where they run
    ");
    insta::assert_snapshot!(refused("create --buildkitd-flags --debug tcp://c:1/down"), @r"
    ERROR: setting buildkit flags is not supported for remote driver
    hint: Leave out `--buildkitd-flags`: `remote` uses daemons that are configured where they run
    ");
    sealed
        .run(&drivers, &format!("{typed} --driver process --name there"))
        .ok();
}

#[test]
fn no_builder_is_made_with_a_driver_that_serves_what_is_there() {
    let (sealed, drivers) = (Sealed::new(), Scripted::with_engine());
    let refused = |line: &str| sealed.run(&drivers, line).refused();
    insta::assert_snapshot!(refused("create --driver engine --name x"), @r#"ERROR: additional instances of driver "engine" cannot be created"#);
    insta::assert_snapshot!(refused("create --driver engine --name x unix:///run/engine"), @r#"ERROR: additional instances of driver "engine" cannot be created"#);
    assert!(!sealed.home().join(".docker").exists());
    // Nor is it chosen for an endpoint, or for none.
    insta::assert_snapshot!(refused("create --name x engine://here"), @r"
    ERROR: No driver takes the endpoint: engine://here
    hint: `bkhost driver ls` lists the drivers; choose one with `--driver`
    ");
    sealed.run(&drivers, "create --name x").ok();
    let stored = std::fs::read_to_string(sealed.store().join("bkhost/instances/x")).unwrap();
    assert!(stored.contains(r#""Driver":"process""#), "{stored}");
    assert!(sealed.run(&drivers, "driver ls").ok().contains("engine"));
}

#[test]
fn a_node_that_fails_takes_the_change_back() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let failed = sealed
        .run(&drivers, "create --name ci tcp://a:1/broken")
        .refused();
    assert_eq!(
        failed,
        "ERROR: failed to initialize builder ci (ci0): The daemon is broken\n"
    );
    assert!(!sealed.store().join("instances/ci").exists());
    assert!(!sealed.store().join("activity/ci").exists());

    sealed
        .run(&drivers, "create --name ci --platform linux/arm64 tcp://a:1/down")
        .ok();
    let before = std::fs::read(sealed.store().join("instances/ci")).unwrap();
    let failed = sealed.run(&drivers, "create --name ci --append tcp://b:1/broken");
    assert!(failed.refused().contains("(ci1): The daemon is broken"));
    assert_eq!(
        std::fs::read(sealed.store().join("instances/ci")).unwrap(),
        before
    );
}

/// As a published port does whose daemon is about to start.
#[test]
fn a_node_that_is_not_ready_is_kept_with_a_warning() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let made = sealed.run(&drivers, "create --name ci tcp://a:1/closing");
    assert_eq!(
        made.err,
        "WARNING: Failed to get status for ci (ci0): The daemon closed the connection\n"
    );
    made.ok();
    assert!(sealed.store().join("instances/ci").exists());
}

#[test]
fn a_silent_node_is_kept_with_a_warning() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let made = sealed.run(&drivers, "create --name ci --timeout 50ms tcp://a:1/silent");
    assert!(
        made.err
            .starts_with("WARNING: Failed to get status for ci (ci0): No answer within "),
        "{made:?}"
    );
    assert_eq!(made.ok(), "ci\n");
}

#[test]
fn creating_selects_and_boots_when_asked() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    let made = sealed.run(&drivers, "create --name ci --use --bootstrap tcp://a:1/down");
    assert_eq!(made.err, "#1 [internal] booting buildkit\n#1 DONE 0.0s\n");
    assert_eq!(made.ok(), "ci\n");
    assert_eq!(drivers.done(), ["boot ci0"]);
    let current = std::fs::read_to_string(sealed.store().join("current")).unwrap();
    assert_eq!(
        current,
        r#"{"Key":"unix:///var/run/docker.sock","Name":"ci","Global":false}"#
    );
}

#[test]
fn refusals_name_the_thing_and_the_way_out() {
    insta::assert_snapshot!(refused("create --driver remot --name x tcp://h"), @r#"
    ERROR: failed to find driver "remot"
    hint: Did you mean `remote`? Drivers that are there: `process`, `remote`
    "#);
    insta::assert_snapshot!(refused("create --driver kubernetes"), @r#"
    ERROR: failed to find driver "kubernetes"
    hint: Drivers that are there: `process`, `remote`
    "#);
    insta::assert_snapshot!(refused("create --driver docker"), @r#"ERROR: additional instances of driver "docker" cannot be created"#);
    insta::assert_snapshot!(refused("create --name default"), @"ERROR: default is a reserved name and cannot be used to identify builder instance");
    insta::assert_snapshot!(refused("create --append"), @r"
    ERROR: append requires a builder name
    hint: Give it with `--name`
    ");
    insta::assert_snapshot!(refused("create --append --name x"), @r#"
    ERROR: failed to find instance "x" for append
    hint: `bkhost ls` lists the builders, `bkhost create` makes one
    "#);
    insta::assert_snapshot!(refused("create --name 1x"), @"ERROR: invalid name 1x, name needs to start with a letter and may not contain symbols, except ._-");
    insta::assert_snapshot!(refused("create --driver remote"), @r"
    ERROR: no remote endpoint provided
    hint: Give one as the last argument: `tcp://…`, `unix://…`
    ");
    insta::assert_snapshot!(refused("create --driver remote http://h"), @"ERROR: unrecognized url scheme http");
    insta::assert_snapshot!(refused("create --driver process tcp://h"), @r#"ERROR: process driver does not support endpoint args "tcp://h""#);
    insta::assert_snapshot!(refused("create --driver-opt nope=1 tcp://h"), @"ERROR: invalid driver option nope for remote driver");
    insta::assert_snapshot!(refused("create --driver-opt nope tcp://h"), @r#"
    ERROR: invalid value "nope", expecting k=v
    hint: Options are written `NAME=VALUE`; one with commas is quoted as a whole: `'"labels=a=1,b=2"'`
    "#);
    insta::assert_snapshot!(refused("create --platform linux/* tcp://h"), @r#"
    ERROR: "linux/*": wildcards not yet supported: invalid argument
    hint: A platform is written `os/architecture[/variant]`, for example `linux/arm64`
    "#);
    insta::assert_snapshot!(refused("create --driver-opt a\"b tcp://h"), @r#"
    ERROR: parse error on line 1, column 2: bare " in non-quoted-field
    hint: Quote a whole field, as in `'"dest=a,b"'`, not a part of it
    "#);
    insta::assert_snapshot!(refused("create --leave"), @r"
    ERROR: leave requires instance name
    hint: Give it with `--name`
    ");
    insta::assert_snapshot!(refused("create --leave --name x --node n"), @r#"
    ERROR: failed to find instance "x" for leave
    hint: `bkhost ls` lists the builders, `bkhost create` makes one
    "#);
    insta::assert_snapshot!(refused("create --driver process --buildkitd-config none.toml"), @"ERROR: buildkit configuration file not found: HOME/none.toml: stat HOME/none.toml: no such file or directory");
    insta::assert_snapshot!(refused("create --driver process --buildkitd-flags 'a"), @"ERROR: failed to parse buildkit flags: EOF found when expecting closing quote");
}

#[test]
fn an_existing_builder_is_not_changed_by_accident() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name ci tcp://a:1/down").ok();
    let refused = |line: &str| sealed.run(&drivers, line).refused();
    insta::assert_snapshot!(refused("create --name CI tcp://b:1"), @r#"
    ERROR: existing instance for "CI" but no append mode, specify the node name to make changes for existing instances
    hint: `--append` adds a node, `--node NAME` changes one, `bkhost rm` removes the builder
    "#);
    insta::assert_snapshot!(refused("create --name ci --append --driver process"), @r#"ERROR: existing instance for "ci" but has mismatched driver "remote""#);
    insta::assert_snapshot!(refused("create --name ci --node new tcp://b:1"), @"ERROR: node new not found, did you mean to append?");
}

#[test]
fn many_appends_at_once_all_succeed() {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --name ci tcp://h0:1/down").ok();
    std::thread::scope(|scope| {
        for number in 1..=8 {
            let (sealed, drivers) = (&sealed, &drivers);
            scope.spawn(move || {
                let line = format!("create --name ci --append tcp://h{number}:1/down");
                sealed.run(drivers, &line).ok()
            });
        }
    });
    let stored = std::fs::read_to_string(sealed.store().join("instances/ci")).unwrap();
    for number in 0..=8 {
        assert!(stored.contains(&format!("tcp://h{number}:1/down")), "{stored}");
        assert!(stored.contains(&format!("\"ci{number}\"")), "{stored}");
    }
}
