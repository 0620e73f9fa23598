//! What bkhost lacks, handed to the real buildx behind the real docker command.

use std::collections::BTreeSet;

use bkhost::cli::args;
use bkhost::cli::plugin::lacking::{BUILD_FLAGS, COMMANDS};
use bkhost_test_support::docker::Release;
use bkhost_test_support::provided;

use super::RELEASES;
use crate::plugin::Docker;

/// Names nothing and builds nothing.
const TARGETS: &str = r#"{"target": {"default": {"dockerfile-inline": "FROM scratch"}}}"#;

/// A docker with buildx, which bkhost has replaced.
fn replaced() -> Docker {
    let docker = Docker::new();
    std::fs::create_dir_all(docker.plugin().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(provided::program("buildx"), docker.plugin()).unwrap();
    let said = docker.context.bkhost(["install"]).run().succeeds();
    said.says("(v0.37.1): `bake`").says_no("WARNING");
    docker
}

/// What bkhost says in the same places is said in these words.
#[test]
fn a_missing_context_and_the_default_one_are_what_they_are_to_buildx() {
    let docker = Docker::new();
    std::fs::create_dir_all(docker.plugin().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(provided::program("buildx"), docker.plugin()).unwrap();
    let list = docker.docker(Release::Current, ["--context", "nobody", "buildx", "ls"]);
    list.run().fails(1).says("ERROR: no builder \"nobody\" found\n");
    docker.create(Release::Current, &["tcp://127.0.0.1:9"]);
    let key = docker.key(Release::Current, &["--context", "default"]);
    assert_eq!(key, "unix:///nonexistent/docker.sock");
}

/// Those from before BuildKit come first.
#[test]
fn flags_without_effect_are_warned_of_alike() {
    let warnings = |program: &std::path::Path| {
        let docker = Docker::new();
        let flags = [
            "build",
            "--rm",
            "--compress",
            "--force-rm",
            "--squash",
            "--isolation=x",
        ];
        let call = docker.on_bare_machine(program).args(flags);
        let refused = call.args(["--security-opt", "a,b", "."]).run().fails(1);
        let said = refused.stderr().to_owned();
        let warnings = said.lines().filter(|line| line.starts_with("WARNING: "));
        warnings.map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = warnings(std::path::Path::new(env!("CARGO_BIN_EXE_bkhost")));
    assert_eq!(ours.len(), 3, "{ours:?}");
    assert_eq!(ours, warnings(&provided::program("buildx")));
}

#[test]
fn bake_gets_its_file_from_stdin_or_a_folder_and_keeps_its_exit_code() {
    let docker = replaced();
    docker.context.write("docker-bake.json", TARGETS);
    for release in RELEASES {
        let bake = docker
            .docker(release, ["buildx", "bake", "--print"])
            .run()
            .succeeds();
        bake.prints("\"dockerfile-inline\": \"FROM scratch\"");
        let bake = docker.docker(release, ["buildx", "bake", "--print", "-f", "-"]);
        let bake = bake.stdin(TARGETS.replace("scratch", "typed")).run().succeeds();
        bake.prints("\"dockerfile-inline\": \"FROM typed\"");
        let refused = docker
            .docker(release, ["buildx", "bake", "--print", "nobody"])
            .run()
            .fails(1);
        refused.says("ERROR: failed to find target nobody");
        let refused = docker
            .docker(release, ["buildx", "bake", "--nobody"])
            .run()
            .fails(125);
        refused
            .says("unknown flag: --nobody")
            .says("docker buildx bake --help");
        let help = docker
            .docker(release, ["buildx", "bake", "--help"])
            .run()
            .succeeds();
        help.prints("Usage:  docker buildx bake");
    }
    // Docker of today has a command of its own for it.
    let bake = docker
        .docker(Release::Current, ["bake", "--print"])
        .run()
        .succeeds();
    bake.prints("FROM scratch");
    let offered = ["__complete", "buildx", "bake", "--pri"];
    let offered = docker.docker(Release::Current, offered).run().succeeds();
    offered.prints("--print");
    let offered = ["__complete", "buildx", "ba"];
    let offered = docker.docker(Release::Current, offered).run().succeeds();
    offered.prints("bake\t");
}

#[test]
fn after_uninstall_buildx_is_dockers_plugin_again() {
    let docker = replaced();
    docker
        .context
        .bkhost(["uninstall"])
        .run()
        .succeeds()
        .says("back as");
    for release in RELEASES {
        let version = docker.docker(release, ["buildx", "version"]).run().succeeds();
        version.prints("github.com/docker/buildx v0.37.1");
    }
    assert!(docker.plugin().is_symlink());
    assert!(!docker.config().exists());
}

/// What buildx's own help names is here, or is known not to be.
#[test]
fn the_list_of_what_is_lacking_is_whole() {
    let docker = Docker::new();
    let named = |arguments: &[&str], heading: &str, begins: &str| -> BTreeSet<String> {
        let help = docker
            .context
            .call(provided::program("buildx"), arguments)
            .arg("--help");
        let help = help.env("BUILDX_EXPERIMENTAL", "1").run().succeeds().stdout();
        let section = help.split(heading).nth(1).unwrap().split("\n\n").next().unwrap();
        let lines = section.lines().filter_map(|line| {
            line.split_whitespace()
                .find(|word| word.starts_with(begins))
                .map(str::to_owned)
        });
        lines.collect()
    };
    let root = args::command();
    let lacking: BTreeSet<String> = COMMANDS.iter().map(|command| command.name.to_owned()).collect();
    let commands = named(&[], "Available Commands:\n", "");
    assert!(commands.len() > 15, "{commands:?}");
    let missing = commands
        .iter()
        .filter(|name| root.find_subcommand(name).is_none() && *name != "help");
    assert_eq!(missing.cloned().collect::<BTreeSet<_>>(), lacking);
    for command in root
        .get_subcommands()
        .filter(|command| commands.contains(command.get_name()))
    {
        let flags = named(&[command.get_name()], "Flags:\n", "--");
        let has = |flag: &str| {
            let mut all = command.get_arguments().chain(root.get_arguments());
            all.any(|arg| arg.get_long() == Some(flag.trim_start_matches("--"))) || flag == "--help"
        };
        let missing: BTreeSet<String> = flags.into_iter().filter(|flag| !has(flag)).collect();
        let lacking = BUILD_FLAGS.iter().filter(|_| command.get_name() == "build");
        let lacking: BTreeSet<String> = lacking.map(|(flag, _)| (*flag).to_owned()).collect();
        assert_eq!(missing, lacking, "{}", command.get_name());
    }
}
