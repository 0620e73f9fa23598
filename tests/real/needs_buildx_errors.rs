//! Mistakes end with the words and the exit code that buildx has for them, and then with a way out.

use bkhost_test_support::call::{Call, Said};
use bkhost_test_support::context::TestContext;
use bkhost_test_support::source::{bare, with_base};

use crate::harness::{Remote, context, unique};

/// Ends as buildx does, and names a way out that has these words.
#[track_caller]
fn ends_alike(context: &TestContext, arguments: &[&str], way_out: &str) {
    let (theirs, ours) = both(context, arguments);
    assert_eq!(error(&ours), error(&theirs), "{arguments:?}");
    let hints: Vec<&str> = ours
        .stderr()
        .lines()
        .filter(|line| line.starts_with("hint: "))
        .collect();
    assert!(
        hints.iter().any(|hint| hint.contains(way_out)),
        "{arguments:?} names no way out with {way_out:?}: {hints:?}"
    );
}

/// Runs both, which must fail with the same exit code.
#[track_caller]
fn both(context: &TestContext, arguments: &[&str]) -> (Said, Said) {
    let theirs = context.call("buildx", arguments).run();
    let code = theirs.code().unwrap();
    assert_ne!(code, 0, "buildx has no complaint about {arguments:?}");
    let ours: Call = context.bkhost(arguments);
    (theirs.fails(code), ours.run().fails(code))
}

fn error(said: &Said) -> String {
    let line = said.stderr().lines().rfind(|line| line.starts_with("ERROR: "));
    line.unwrap_or_else(|| panic!("no error: {}", said.stderr()))
        .to_owned()
}

/// A selected builder, a context `source`, one without Dockerfile, and a file where a folder could be.
fn workplace() -> Remote {
    let remote = Remote::new();
    bare(&remote.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    remote.context.write("empty/file", "");
    remote.context.write("file", "in the way");
    remote
}

#[test]
fn values_that_are_not_well_formed() {
    let remote = workplace();
    for (flag, value, way_out) in [
        ("--platform", "foo", "`os/architecture[/variant]`"),
        (
            "--platform",
            "linux/amd64,linux/x/y/z",
            "`os/architecture[/variant]`",
        ),
        ("--output", "type=local,dest=\"x", "Quote a whole field"),
        ("--output", "type=local,\"dest=x", "Quote a whole field"),
        ("--output", "dest=x,name=y", "`--output type=local,dest=FOLDER`"),
        ("--secret", "\"id=a", "Quote a whole field"),
        ("--secret", "id=a,nosuch=b", "`id=NAME,src=FILE`"),
        ("--cache-from", "type=\"x", "Quote a whole field"),
        ("--cache-to", "type=registry", "ref=REGISTRY/IMAGE:TAG"),
        ("--add-host", "nohost", "`name:address`"),
        ("--progress", "loud", "rawjson"),
        ("--tag", "UPPER", "`[HOST[:PORT]/]PATH[:TAG]`"),
    ] {
        ends_alike(&remote.context, &["build", flag, value, "source"], way_out);
    }
}

#[test]
fn files_that_are_missing() {
    let remote = workplace();
    for (arguments, way_out) in [
        (&["build", "empty"] as &[&str], "`-f PATH`"),
        (&["build", "-f", "nosuch", "source"], "There is no `nosuch`"),
        (&["build", "nowhere"], "A context is a folder"),
        (
            &["build", "--secret", "id=key,src=nosuch.txt", "source"],
            "`--secret id=key,src=FILE`",
        ),
    ] {
        ends_alike(&remote.context, arguments, way_out);
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let remote = workplace();
    for (output, way_out) in [
        ("type=local", "dest=FOLDER"),
        ("type=local,dest=file", "A file is in the way"),
        ("type=local,dest=file/below", "A file is in the way"),
        ("type=tar,dest=source", "`dest=source/FILE`"),
        ("type=tar,dest=file/below/out.tar", "A file is in the way"),
    ] {
        ends_alike(&remote.context, &["build", "--output", output, "source"], way_out);
    }
    ends_alike(
        &remote.context,
        &["build", "--push", "source"],
        "-t REGISTRY/NAME:TAG",
    );
    assert_eq!(remote.context.read("file"), "in the way");
}

/// buildx shows what the daemon made of its own error there; the exit code is what scripts look at.
#[test]
fn a_full_disk_has_its_own_exit_code() {
    let remote = workplace();
    let full = ["build", "--output", "type=oci,dest=/dev/full", "source"];
    let (_, ours) = both(&remote.context, &full);
    ours.says("ERROR: failed to build: failed to solve: failed to write /dev/full: No space left on device")
        .says("hint: There is no space left for it");
    remote.context.bkhost(full).run().fails(102).says("/dev/full");
}

#[test]
fn builders_drivers_and_options() {
    let remote = workplace();
    let create = |more: &[&'static str]| [&["create", "--name", "new"], more].concat();
    for (arguments, way_out) in [
        (
            create(&["--driver", "remot", "unix:///x"]),
            "Did you mean `remote`?",
        ),
        (create(&["--driver-opt", "cacert", "tcp://x:1"]), "`NAME=VALUE`"),
        (
            create(&["--driver-opt", "a\"b=1", "tcp://x:1"]),
            "Quote a whole field",
        ),
        (
            create(&["--platform", "foo", "tcp://x:1"]),
            "`os/architecture[/variant]`",
        ),
        (
            create(&["--driver", "remote", "http://x:1"]),
            "Did you mean `tcp://`?",
        ),
        (vec!["build", "--builder", "nosuch", "source"], "`bkhost ls`"),
        (vec!["inspect", "nosuch"], "`bkhost ls`"),
        (vec!["stop", "nosuch"], "`bkhost ls`"),
        (vec!["use", "nosuch"], "`bkhost ls`"),
        (vec!["rm", "nosuch"], "`bkhost ls`"),
        (vec!["inspct"], "Did you mean `inspect`?"),
    ] {
        ends_alike(&remote.context, &arguments, way_out);
    }
    assert!(!remote.context.store().join("instances/new").exists());
}

/// buildx has saved the builder by then, and names it in front.
#[test]
fn an_option_that_no_driver_has() {
    let context = context();
    let option = ["create", "--name", "new", "--driver", "remote", "--driver-opt"];
    let (theirs, ours) = both(
        &context,
        &[&option as &[&str], &["servernam=x", "tcp://x:1"]].concat(),
    );
    let ours = ours.says("hint: Did you mean `servername`?");
    let words = error(&ours);
    let words = words.strip_prefix("ERROR: ").unwrap();
    assert_eq!(words, "invalid driver option servernam for remote driver");
    assert!(error(&theirs).ends_with(words), "{}", error(&theirs));
}

#[test]
fn steps_and_stages_that_fail() {
    let remote = workplace();
    let step = format!("RUN echo {}; exit 3\n", unique());
    with_base(&remote.context, "failing", &step);
    bare(&remote.context, "wrong", "FROM scratch\nNOSUCH thing\n");
    for arguments in [
        ["build", "failing", "--progress=plain"],
        ["build", "wrong", "--progress=plain"],
        ["build", "source", "--target=nosuch"],
        ["build", "source", "--output=type=nosuch"],
        ["build", "source", "--cache-to=type=nosuch"],
    ] {
        let (theirs, ours) = both(&remote.context, &arguments);
        assert_eq!(error(&ours), error(&theirs), "{arguments:?}");
    }
}
