//! `build` up to the moment when something would boot: what cannot work is said before.

use crate::scripted::Scripted;
use crate::sealed::Sealed;

fn with_context() -> (Sealed, Scripted) {
    let (sealed, drivers) = (Sealed::new(), Scripted::default());
    sealed.run(&drivers, "create --use --name up tcp://b:1/up").ok();
    std::fs::create_dir_all(sealed.home().join("src/empty")).unwrap();
    std::fs::write(sealed.home().join("src/Dockerfile"), "FROM scratch\n").unwrap();
    (sealed, drivers)
}

/// What is said of `bkhost build WORDS`, without the lines of the display.
fn refused(words: &str) -> String {
    let (sealed, drivers) = with_context();
    let home = sealed.home().display().to_string();
    let said = sealed
        .run(&drivers, &format!("build {}", words.replace('~', &home)))
        .refused();
    assert!(drivers.done().is_empty(), "{:?}", drivers.done());
    said
}

#[test]
fn values_are_refused_without_a_prefix() {
    insta::assert_snapshot!(refused("-o dest=x,name=y ~/src"), @r#"
    ERROR: type is required for output
    hint: For example `--output type=local,dest=FOLDER` or just `--output FOLDER`
    "#);
    insta::assert_snapshot!(refused("--progress fancy ~/src"), @r#"
    ERROR: invalid progress mode fancy
    hint: Modes are auto, none, plain, quiet, rawjson and tty
    "#);
    insta::assert_snapshot!(refused("--ulimit nofiles=1 ~/src"), @r#"
    ERROR: invalid argument "nofiles=1" for "--ulimit" flag: invalid ulimit type: nofiles
    hint: Known limits: core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack
    "#);
}

/// The words are buildx's.
#[test]
fn flags_from_before_buildkit_are_taken_and_warned_of_where_it_matters() {
    insta::assert_snapshot!(refused("--rm --force-rm=false --compress -o ~/src/Dockerfile ~/src"), @r"
    ERROR: failed to build: destination directory HOME/src/Dockerfile is a file
    hint: A file is in the way: remove it, or choose another `dest=`
    ");
    insta::assert_snapshot!(refused("--squash --isolation x --security-opt a,b --security-opt c -o ~/src/Dockerfile ~/src"), @r#"
    WARNING: isolation flag is deprecated with BuildKit.
    WARNING: security-opt flag is deprecated. "RUN --security=insecure" should be used with BuildKit.
    WARNING: experimental flag squash is removed with BuildKit. You should squash inside build using a multi-stage Dockerfile for efficiency.
    ERROR: failed to build: destination directory HOME/src/Dockerfile is a file
    hint: A file is in the way: remove it, or choose another `dest=`
    "#);
    insta::assert_snapshot!(refused("--rm=x ~/src"), @r#"ERROR: invalid argument "x" for "--rm" flag: strconv.ParseBool: parsing "x": invalid syntax"#);
    insta::assert_snapshot!(refused("--security-opt a\"b ~/src"), @r#"
    ERROR: invalid argument "a\"b" for "--security-opt" flag: parse error on line 1, column 2: bare " in non-quoted-field
    hint: Quote a whole field, as in `'"dest=a,b"'`, not a part of it
    "#);
}

#[test]
fn what_cannot_work_is_said_before_anything_boots() {
    insta::assert_snapshot!(refused("-o ~/out ~/src/empty"), @r#"
    ERROR: failed to build: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory
    hint: There is no `HOME/src/empty/Dockerfile`; name another one with `-f PATH`, or pass it with `-f -`
    "#);
    insta::assert_snapshot!(refused("-o ~/src/Dockerfile ~/src"), @r"
    ERROR: failed to build: destination directory HOME/src/Dockerfile is a file
    hint: A file is in the way: remove it, or choose another `dest=`
    ");
    insta::assert_snapshot!(refused("-o type=tar,dest=~/src ~/src"), @r"
    ERROR: failed to build: destination file HOME/src is a directory
    hint: Name a file in it: `dest=HOME/src/FILE`
    ");
    insta::assert_snapshot!(refused("-o ~/src/Dockerfile/below ~/src"), @r"
    ERROR: failed to build: invalid destination directory: HOME/src/Dockerfile/below: stat HOME/src/Dockerfile/below: not a directory
    hint: A file is in the way: remove it, or choose another `dest=`
    ");
    insta::assert_snapshot!(refused("-o ~/out --secret id=token,src=~/none ~/src"), @r#"
    ERROR: failed to build: failed to stat HOME/none: stat HOME/none: no such file or directory
    hint: Secret `token` needs a file that can be read: `--secret id=token,src=FILE`, or a variable: `--secret id=token,env=NAME`
    "#);
    insta::assert_snapshot!(refused("-o ~/out --platform linux/x86_64/v1,foo ~/src"), @r#"
    ERROR: failed to build: "foo": unknown operating system or architecture: invalid argument
    hint: A platform is written `os/architecture[/variant]`, for example `linux/arm64`
    "#);
    insta::assert_snapshot!(refused("--push ~/src"), @r#"
    ERROR: failed to build: tag is needed when pushing to registry
    hint: Name the image with `-t REGISTRY/NAME:TAG`
    "#);
    insta::assert_snapshot!(refused("-o ~/out ~/src/Dockerfile"), @r#"
    ERROR: failed to build: unable to prepare context: path "HOME/src/Dockerfile" not found
    hint: `HOME/src/Dockerfile` is a file: pass the folder, and the file with `-f`: `bkhost build -f HOME/src/Dockerfile HOME/src`
    "#);
    insta::assert_snapshot!(refused("-o ~/out ~/none"), @r#"
    ERROR: failed to build: unable to prepare context: path "HOME/none" not found
    hint: A context is a folder, an http or git address, or `-` for standard input
    "#);
}

#[test]
fn a_failed_build_leaves_no_old_image_id() {
    let (sealed, drivers) = with_context();
    let file = sealed.home().join("id");
    std::fs::write(&file, "sha256:old").unwrap();
    let home = sealed.home().display().to_string();
    sealed
        .run(&drivers, &format!("build --iidfile {home}/id {home}/none"))
        .refused();
    assert!(!file.exists());
}
