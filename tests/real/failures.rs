//! What goes wrong, in words that name the way out.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use bkhost_test_support::daemon::Daemon;
use bkhost_test_support::source::{bare, with_base};
use bkhost_test_support::user::OrdinaryUser;

use crate::harness::{Remote, build, context, context_of, unique};

#[test]
fn a_failing_step_shows_its_log_and_its_place() {
    let remote = Remote::new();
    let mark = unique();
    let folder = with_base(
        &remote.context,
        "source",
        &format!("RUN true\nRUN echo last-{mark}; exit 3\nRUN true\n"),
    );
    let failed = remote.build(&folder).run().fails(1);
    let failed = failed
        .says("Dockerfile:4\n--------------------\n")
        .says(&format!("   4 | >>> RUN echo last-{mark}; exit 3\n"))
        .says("ERROR: failed to build: failed to solve: process \"/bin/sh -c echo last-")
        .says("did not complete successfully: exit code: 3\n");
    let blocks: Vec<&str> = failed.stderr().split("\n------\n").collect();
    assert!(
        blocks.len() >= 3 && blocks[1].starts_with(" > ["),
        "{}",
        failed.stderr()
    );
    assert!(blocks[1].contains(&format!("last-{mark}")), "{}", failed.stderr());
}

#[test]
fn a_dockerfile_that_cannot_be_parsed_shows_its_line() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nNOSUCH thing\n");
    let failed = remote.build(&folder).run().fails(1);
    failed
        .says("   2 | >>> NOSUCH thing")
        .says("unknown instruction: NOSUCH");
}

#[test]
fn an_unknown_driver_names_the_nearest() {
    let context = context();
    let failed = context
        .bkhost(["create", "--driver", "remot", "unix:///x"])
        .run()
        .fails(1);
    failed
        .says("ERROR: failed to find driver \"remot\"\n")
        .says("hint: Did you mean `remote`? Drivers that are there: `docker`, `docker-container`, `process`, `remote`\n");
}

#[test]
fn an_unknown_option_names_the_nearest() {
    let context = context();
    for (driver, option, near) in [
        ("remote", "servernam=x", "servername"),
        ("process", "idle-timout=1s", "idle-timeout"),
    ] {
        let mut call = context.bkhost([
            "create",
            "--name",
            "b",
            "--driver",
            driver,
            "--driver-opt",
            option,
        ]);
        if driver == "remote" {
            call = call.arg("unix:///x");
        }
        let failed = call.run().fails(1);
        let (name, _) = option.split_once('=').unwrap();
        failed
            .says(&format!(
                "ERROR: invalid driver option {name} for {driver} driver\n"
            ))
            .says(&format!("hint: Did you mean `{near}`?"));
    }
    assert!(
        !context.store().join("instances/b").exists(),
        "a builder with a bad option was stored"
    );
}

#[test]
fn unknown_flags_and_commands_name_the_nearest() {
    let context = context();
    context
        .bkhost(["build", "--outptu", "x", "."])
        .run()
        .fails(1)
        .says("ERROR: unknown flag: --outptu\n")
        .says("hint: Did you mean `--output`?");
    context
        .bkhost(["biuld", "."])
        .run()
        .fails(1)
        .says("ERROR: unknown command: \"biuld\"\n")
        .says("hint: Did you mean `build`?");
}

#[test]
fn values_that_are_not_well_formed_say_what_is_wrong() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    for (flag, value, words, way_out) in [
        (
            "--platform",
            "foo",
            "\"foo\": unknown operating system or architecture: invalid argument",
            "hint: A platform is written `os/architecture[/variant]`",
        ),
        (
            "--output",
            "type=local,dest=\"x",
            "bare \" in non-quoted-field",
            "hint: Quote a whole field",
        ),
        (
            "--output",
            "type=local",
            "dest is required for local exporter",
            "hint: For example `--output type=local,dest=FOLDER`",
        ),
        (
            "--secret",
            "id=a,nosuch=b",
            "unexpected key 'nosuch' in 'nosuch=b'",
            "hint: A secret is written `id=NAME,src=FILE`",
        ),
    ] {
        let failed = remote.build(&folder).args([flag, value]).run().fails(1);
        failed.says("ERROR: ").says(words).says(way_out);
    }
    for (flag, value, words) in [
        ("--ulimit", "nofile", "invalid ulimit argument"),
        ("--shm-size", "many", "invalid size: 'many'"),
        ("--add-host", "nohost", "nohost"),
        ("--network", "moon", "moon"),
        ("--progress", "loud", "invalid progress mode loud"),
        ("--build-arg", "=x", "invalid key-value pair \"=x\": empty key"),
        ("--cache-to", "type=nosuch", "nosuch"),
    ] {
        let failed = remote.build(&folder).args([flag, value]).run().fails(1);
        failed.says("ERROR: ").says(words);
    }
}

#[test]
fn flags_that_exclude_each_other_are_refused() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    for (flags, words) in [
        (
            ["--no-cache", "--no-cache-filter=x"],
            "cannot currently be used together",
        ),
        (
            ["--quiet", "--progress=plain"],
            "progress=plain and quiet cannot be used together",
        ),
        (
            ["--push", "--output=type=image"],
            "tag is needed when pushing to registry",
        ),
        (
            ["--iidfile=id", "--output=out"],
            "local and tar exporters are incompatible with image ID file",
        ),
    ] {
        remote.build(&folder).args(flags).run().fails(1).says(words);
    }
}

#[test]
fn files_that_are_missing_are_named() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let empty = remote
        .context
        .write("empty/file", "")
        .parent()
        .unwrap()
        .to_owned();
    let missing = remote.build(&empty).run().fails(1);
    missing
        .says("failed to read dockerfile: open Dockerfile: no such file or directory\n")
        .says("hint: There is no `")
        .says("name another one with `-f PATH`");
    let other = remote
        .build(&folder)
        .args(["-f", "other/Dockerfile"])
        .run()
        .fails(1);
    other.says("hint: There is no `other/Dockerfile`");
    let nowhere = remote.context.work().join("nowhere");
    let nowhere = remote.build(&nowhere).run().fails(1);
    nowhere
        .says("nowhere\" not found")
        .says("hint: A context is a folder");
    let secret = remote
        .build(&folder)
        .args(["--secret", "id=key,src=nosuch.txt"])
        .run()
        .fails(1);
    secret
        .says("stat nosuch.txt: no such file or directory\n")
        .says("hint: Secret `key` needs a file that can be read");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    remote.context.write("file", "in the way");
    let in_the_way = "hint: A file is in the way: remove it, or choose another `dest=`\n";
    for (output, words, way_out) in [
        (
            "type=local,dest=file",
            "destination directory file is a file\n",
            in_the_way,
        ),
        (
            "type=tar,dest=source",
            "destination file source is a directory\n",
            "hint: Name a file in it: `dest=source/FILE`\n",
        ),
        (
            "type=tar,dest=file/below/out.tar",
            "file/below/out.tar: not a directory\n",
            in_the_way,
        ),
        (
            "type=local,dest=/proc/nosuch/out",
            "failed to create /proc/nosuch: No such file or directory",
            "",
        ),
    ] {
        let failed = remote.build(&folder).args(["--output", output]).run().fails(1);
        failed.says(words).says(way_out);
    }
    assert_eq!(remote.context.read("file"), "in the way");
}

#[test]
fn an_output_where_a_user_may_not_write_is_named_before_anything_is_built() {
    let user = OrdinaryUser::new();
    let context = context_of(&user);
    let daemon = Daemon::start();
    // Everybody may use this one.
    fs::set_permissions(daemon.folder(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(daemon.socket(), Permissions::from_mode(0o666)).unwrap();
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    context.bkhost(create).arg(daemon.address()).run().succeeds();
    let folder = bare(&context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    // Root's, as the test is.
    fs::create_dir(context.work().join("locked")).unwrap();
    for (output, wanted) in [
        ("type=local,dest=locked", "locked"),
        ("type=local,dest=locked/out", "locked/out"),
        ("type=tar,dest=locked/out.tar", "locked/out.tar"),
        ("type=oci,dest=locked/image.tar", "locked/image.tar"),
    ] {
        let failed = build(&context, &folder).args(["--output", output]).run().fails(1);
        failed
            .says(&format!(
                "ERROR: failed to build: Cannot write output `{wanted}`: "
            ))
            .says("locked` cannot be written: permission denied\n")
            .says("hint: Choose another `dest=`, or change the owner or mode of the folder\n")
            .says_no("#1 ");
    }
    assert_eq!(fs::read_dir(context.work().join("locked")).unwrap().count(), 0);
}

#[test]
fn a_secret_that_a_step_requires_is_named_with_its_flag() {
    let remote = Remote::new();
    let folder = with_base(
        &remote.context,
        "source",
        "RUN --mount=type=secret,id=tok,required=true true\n",
    );
    let failed = remote.build(&folder).run().fails(1);
    failed
        .says("secret tok: not found\n")
        .says("hint: The build needs a secret `tok` that was not given: `--secret id=tok,src=FILE`")
        .says_no("No output specified");
}

#[test]
fn a_result_is_not_written_to_a_terminal() {
    let remote = Remote::new();
    let folder = bare(&remote.context, "source", "FROM scratch\nCOPY Dockerfile /\n");
    let mut terminal = remote.build(&folder).args(["--output", "-"]).on_terminal(30, 120);
    let failed = terminal.wait().fails(1);
    failed.says("dest file is required for tar exporter. refusing to write to console");
}

#[test]
fn a_builder_that_is_not_there_is_named() {
    let context = context();
    let folder = bare(&context, "source", "FROM scratch\n");
    let failed = context
        .bkhost(["build", "--builder", "nosuch"])
        .arg(&folder)
        .run()
        .fails(1);
    failed.says("no builder \"nosuch\" found");
}

#[test]
fn more_than_one_node_is_refused_before_anything_boots() {
    let context = context();
    let create = ["create", "--driver", "remote", "--name", "b", "--use"];
    let amd = ["--platform", "linux/amd64", "unix:///nonexistent/a"];
    context.bkhost(create).args(amd).run().succeeds();
    let arm = ["--append", "--platform", "linux/arm64", "unix:///nonexistent/b"];
    context.bkhost(create).args(arm).run().succeeds();
    let folder = bare(&context, "source", "FROM scratch\n");
    let both = ["build", "--platform", "linux/amd64,linux/arm64"];
    let failed = context.bkhost(both).arg(&folder).run().fails(1);
    assert!(failed.took().as_secs() < 5, "it waited for a daemon");
    failed.says("linux/arm64");
}
