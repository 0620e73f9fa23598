//! `install` and `uninstall`, and the plugin as docker calls it, with a script as the plugin that was there before.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bkhost::cli::plugin::lacking;
use bkhost_test_support::call::Call;
use bkhost_test_support::context::TestContext;

/// Says how it was called, reads its input and ends with 7.
const BEFORE: &str = r#"#!/bin/sh
case "$1" in docker-cli-plugin-metadata) echo '{"SchemaVersion":"0.1.0","Vendor":"Somebody","Version":"v9"}'; exit 0;; esac
printf '<%s>' "$@"; echo; echo "in $(cat)"; echo "env $KEPT_VARIABLE, process $$" >&2; exit 7
"#;

/// Covers the machine's own plugins, then becomes what follows.
const WITHOUT_SYSTEM: &str = r#"
for folder in /usr/local/lib /usr/local/libexec /usr/lib /usr/libexec; do
    [ ! -d "$folder/docker/cli-plugins" ] || mount -t tmpfs none "$folder/docker/cli-plugins"
done
exec "$@"
"#;

/// A user of docker.
pub struct Docker {
    pub context: TestContext,
}

impl Docker {
    pub fn new() -> Self {
        let mut context = TestContext::new(env!("CARGO_BIN_EXE_bkhost"));
        context.set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        Self { context }
    }

    pub fn folder(&self) -> PathBuf {
        self.context.home().join(".docker")
    }

    pub fn config(&self) -> PathBuf {
        self.folder().join("config.json")
    }

    pub fn plugin(&self) -> PathBuf {
        self.folder().join("cli-plugins/docker-buildx")
    }

    fn kept(&self) -> PathBuf {
        self.folder().join("cli-plugins/bkhost-kept-docker-buildx")
    }

    /// Every file and link in docker's folder with its content or target, and the mode of files.
    fn all(&self) -> Vec<(PathBuf, String)> {
        let files = walkdir::WalkDir::new(self.folder())
            .sort_by_file_name()
            .into_iter();
        let files = files
            .filter_map(|entry| entry.ok())
            .filter(|entry| !entry.file_type().is_dir());
        files
            .map(|entry| {
                let path = entry.into_path();
                let content = match std::fs::read_link(&path) {
                    Ok(target) => format!("-> {}", target.display()),
                    Err(_) => {
                        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                        format!("{mode:o} {}", std::fs::read_to_string(&path).unwrap())
                    }
                };
                (path, content)
            })
            .collect()
    }

    pub fn write_program(&self, path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn write_config(&self, text: &str) {
        std::fs::create_dir_all(self.folder()).unwrap();
        std::fs::write(self.config(), text).unwrap();
    }

    fn bkhost<const N: usize>(&self, arguments: [&str; N]) -> Call {
        self.on_bare_machine(env!("CARGO_BIN_EXE_bkhost")).args(arguments)
    }

    /// A program on a machine without plugins of its own.
    pub fn on_bare_machine(&self, program: impl AsRef<Path>) -> Call {
        let unshare = [
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            WITHOUT_SYSTEM,
            "sh",
        ];
        self.context.call("unshare", unshare).arg(program.as_ref())
    }

    /// The plugin as docker calls it.
    fn by_docker<const N: usize>(&self, arguments: [&str; N]) -> Call {
        self.on_bare_machine(self.plugin())
            .args(arguments)
            .env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker")
    }
}

#[test]
fn it_comes_into_an_empty_home_and_leaves_nothing() {
    let docker = Docker::new();
    let planned = docker.bkhost(["install", "--dry-run"]).run().succeeds();
    planned.says("Would link `").says("Would set the alias `builder`");
    assert_eq!(docker.all(), []);
    let said = docker.bkhost(["install"]).run().succeeds();
    said.says("Linked `")
        .says("Set the alias `builder`")
        .says("WARNING: These fail in `docker buildx`");
    let target = std::fs::read_link(docker.plugin()).unwrap();
    assert_eq!(target, Path::new(env!("CARGO_BIN_EXE_bkhost")));
    assert_eq!(
        std::fs::read_to_string(docker.config()).unwrap(),
        "{\n\t\"aliases\": {\n\t\t\"builder\": \"buildx\"\n\t}\n}"
    );
    let before = docker.all();
    docker
        .bkhost(["install"])
        .run()
        .succeeds()
        .says("already")
        .says_no("Linked");
    assert_eq!(docker.all(), before);
    let planned = docker.bkhost(["uninstall", "--dry-run"]).run().succeeds();
    planned
        .says("Would remove `")
        .says("Would remove the alias `builder`");
    assert_eq!(docker.all(), before);
    docker
        .bkhost(["uninstall"])
        .run()
        .succeeds()
        .says("Removed the alias");
    assert_eq!(docker.all(), []);
    docker
        .bkhost(["uninstall"])
        .run()
        .succeeds()
        .says("nothing to do");
}

#[test]
fn what_was_there_comes_back_to_the_byte() {
    let docker = Docker::new();
    docker.write_config("{\n  \"auths\": {},\n  \"aliases\": {\"builder\": \"mine\", \"x\": \"y\"},\n  \"unknown\": 1.50\n}\n");
    std::fs::set_permissions(docker.config(), std::fs::Permissions::from_mode(0o640)).unwrap();
    docker.write_program(&docker.plugin(), BEFORE);
    let before = docker.all();
    let said = docker.bkhost(["install"]).run().succeeds();
    said.says("Kept `")
        .says("and handed to `")
        .says("(v9): `bake`, ")
        .says("`--ssh`")
        .says_no("WARNING");
    let config = std::fs::read_to_string(docker.config()).unwrap();
    assert!(
        config.contains("{\"builder\": \"buildx\", \"x\": \"y\"},\n  \"unknown\": 1.50\n"),
        "{config}"
    );
    // Again, and also when it was put back by hand or by an update.
    docker.bkhost(["install"]).run().succeeds().says("already");
    docker.write_program(&docker.kept(), "older");
    std::fs::remove_file(docker.plugin()).unwrap();
    docker.write_program(&docker.plugin(), BEFORE);
    docker
        .bkhost(["install"])
        .run()
        .succeeds()
        .says("Kept `")
        .says_no("alias");
    docker
        .bkhost(["uninstall"])
        .run()
        .succeeds()
        .says("back as")
        .says("to `mine`");
    assert_eq!(docker.all(), before);
}

/// `docker buildx install` sets the same alias.
#[test]
fn an_alias_that_somebody_else_has_set_stays() {
    const SET: &str = "{\"aliases\":{\"builder\":\"buildx\"}}";
    let docker = Docker::new();
    let stays = || assert_eq!(std::fs::read_to_string(docker.config()).unwrap(), SET);
    let uninstall = || docker.bkhost(["uninstall"]).run().succeeds();
    docker.write_config(SET);
    uninstall().says("nothing to do");
    stays();
    docker.bkhost(["install"]).run().succeeds().says_no("alias");
    uninstall().says("Removed `").says_no("alias");
    stays();
    uninstall().says("nothing to do");
    stays();
    docker.write_program(&docker.plugin(), BEFORE);
    uninstall().says("nothing to do");
    stays();
}

/// Both see the plugin that is there before either changes anything: it answers the first when the second asks, too.
#[test]
fn two_installations_at_once_do_not_lose_the_plugin() {
    let docker = Docker::new();
    let asked = docker.context.home().join("asked");
    let slow = format!(
        "#!/bin/sh\necho >>{asked}\nfor i in 1 2 3 4 5 6 7 8 9 10; do\n[ $(wc -l <{asked}) -ge 2 ] && break; sleep 0.2; done\n{BEFORE}",
        asked = asked.display()
    );
    docker.write_program(&docker.plugin(), &slow);
    let before = docker.all();
    let runs = [(); 2].map(|()| docker.bkhost(["install"]).start());
    let said = runs.map(|run| run.wait().succeeds().stderr().to_owned());
    let kept = said.iter().filter(|said| said.contains("Kept `"));
    assert_eq!(kept.count(), 1, "{said:?}");
    assert!(said.iter().any(|said| said.contains("already")), "{said:?}");
    assert_eq!(std::fs::read_to_string(docker.kept()).unwrap(), slow);
    docker.bkhost(["uninstall"]).run().succeeds();
    assert_eq!(docker.all(), before);
}

#[test]
fn links_stay_links() {
    let docker = Docker::new();
    let (dotfiles, tools) = (
        docker.context.home().join("dotfiles.json"),
        docker.folder().join("tools"),
    );
    docker.write_program(&tools, BEFORE);
    std::fs::write(&dotfiles, "{}").unwrap();
    std::fs::create_dir_all(docker.plugin().parent().unwrap()).unwrap();
    symlink(&dotfiles, docker.config()).unwrap();
    symlink("../tools", docker.plugin()).unwrap();
    let before = docker.all();
    docker.bkhost(["install"]).run().succeeds().says("Kept `");
    assert!(std::fs::read_to_string(&dotfiles).unwrap().contains("buildx"));
    assert!(docker.config().is_symlink());
    docker
        .by_docker(["buildx", "bake"])
        .run()
        .fails(7)
        .prints("<buildx><bake>");
    docker.bkhost(["uninstall"]).run().succeeds();
    assert_eq!(docker.all(), before);
    assert_eq!(std::fs::read_to_string(&dotfiles).unwrap(), "{}");
}

#[test]
fn a_configuration_that_is_broken_is_refused_with_its_place_and_left_alone() {
    for (text, place) in [
        (
            "{\n\t\"auths\": {},\n}",
            "It is not valid JSON: trailing comma at line 3 column 1",
        ),
        ("[]", "It is not an object"),
        ("{\"aliases\": \"x\"}", "`aliases` is not an object"),
    ] {
        let docker = Docker::new();
        docker.write_config(text);
        for command in ["install", "uninstall"] {
            let refused = docker.bkhost([command]).run().fails(1);
            refused.says(&format!("Cannot read `{}`: {place}", docker.config().display()));
        }
        assert_eq!(std::fs::read_to_string(docker.config()).unwrap(), text);
        assert!(!docker.plugin().exists());
    }
}

#[test]
fn exactly_what_is_lacking_is_warned_of() {
    let docker = Docker::new();
    let lacking = format!(" to hand them to: {}\n", lacking::told());
    docker.bkhost(["install"]).run().succeeds().says(&lacking);
}

#[test]
fn docker_config_names_the_folder() {
    let mut docker = Docker::new();
    let elsewhere = docker.context.home().join("elsewhere");
    docker.context.set("DOCKER_CONFIG", &elsewhere);
    docker.bkhost(["install"]).run().succeeds();
    assert!(elsewhere.join("cli-plugins/docker-buildx").exists());
    assert!(elsewhere.join("config.json").exists());
    assert!(!docker.folder().exists());
}

#[test]
fn others_that_come_later_are_theirs() {
    let docker = Docker::new();
    docker.bkhost(["install"]).run().succeeds();
    std::fs::remove_file(docker.plugin()).unwrap();
    docker.write_program(&docker.plugin(), BEFORE);
    docker.write_config(r#"{"aliases":{"builder":"theirs"}}"#);
    let said = docker.bkhost(["uninstall"]).run().succeeds();
    said.says("stands for `theirs` by now and stays");
    assert_eq!(std::fs::read_to_string(docker.plugin()).unwrap(), BEFORE);
    assert_eq!(
        std::fs::read_to_string(docker.config()).unwrap(),
        r#"{"aliases":{"builder":"theirs"}}"#
    );
}

/// A copy, a link to where bkhost was before, and a version that says who it is.
#[test]
fn it_knows_itself_in_other_clothes() {
    let disguises: [fn(&Docker); 3] = [
        |docker| assert!(std::fs::copy(env!("CARGO_BIN_EXE_bkhost"), docker.plugin()).unwrap() > 0),
        |docker| symlink("/nowhere/bkhost", docker.plugin()).unwrap(),
        |docker| docker.write_program(&docker.plugin(), &BEFORE.replace("Somebody", "bkhost")),
    ];
    for disguise in disguises {
        let docker = Docker::new();
        std::fs::create_dir_all(docker.plugin().parent().unwrap()).unwrap();
        disguise(&docker);
        docker
            .bkhost(["install"])
            .run()
            .succeeds()
            .says_no("Kept")
            .says("WARNING: These fail");
        let by_docker = docker.by_docker(["buildx", "version"]).run().succeeds();
        by_docker.prints("bkhost v0.37.1+bkhost.");
        docker.bkhost(["uninstall"]).run().succeeds();
        assert!(docker.plugin().symlink_metadata().is_err());
    }
}

#[test]
fn a_folder_that_comes_first_is_warned_of() {
    let docker = Docker::new();
    let extra = docker.context.home().join("extra");
    docker.write_program(&extra.join("docker-buildx"), BEFORE);
    docker.write_config(&format!(r#"{{"cliPluginsExtraDirs":["{}"]}}"#, extra.display()));
    let said = docker.bkhost(["install"]).run().succeeds();
    said.says(&format!(
        "WARNING: docker still runs `{}/docker-buildx`",
        extra.display()
    ));
}

#[test]
fn builders_that_it_cannot_use_are_warned_of() {
    let docker = Docker::new();
    let instances = docker.context.store().join("instances");
    std::fs::create_dir_all(&instances).unwrap();
    let record = r#"{"Name":"far","Driver":"kubernetes","Nodes":[{"Name":"far0"}]}"#;
    std::fs::write(instances.join("far"), record).unwrap();
    let said = docker.bkhost(["install"]).run().succeeds();
    said.says("WARNING: The builder `far` cannot be used by bkhost: it has no driver `kubernetes`");
}

#[test]
fn what_it_lacks_gets_everything_as_it_came() {
    let docker = Docker::new();
    docker.write_program(&docker.plugin(), BEFORE);
    docker.bkhost(["install"]).run().succeeds();
    for (arguments, printed) in [
        (
            &["buildx", "bake", "--print", "a b"][..],
            "<buildx><bake><--print><a b>",
        ),
        (
            &["-D", "--context", "", "buildx", "du"][..],
            "<-D><--context><><buildx><du>",
        ),
        (
            &["buildx", "--builder", "b", "prune"][..],
            "<buildx><--builder><b><prune>",
        ),
        (
            &["buildx", "b", "--ssh", "default", "."][..],
            "<buildx><b><--ssh><default><.>",
        ),
        (
            &["buildx", "build", "-m", "1g", "."][..],
            "<buildx><build><-m><1g><.>",
        ),
        (&["help", "buildx", "bake"][..], "<help><buildx><bake>"),
        (&["buildx", "help", "history"][..], "<buildx><help><history>"),
        (
            &["buildx", "learnt-since", "--x"][..],
            "<buildx><learnt-since><--x>",
        ),
        (
            &["__complete", "buildx", "bake", "--pr"][..],
            "<__complete><buildx><bake><--pr>",
        ),
    ] {
        let call = docker.by_docker([]).args(arguments);
        let call = call.env("KEPT_VARIABLE", "kept").stdin("typed").start();
        let id = call.id();
        let handed = call.wait().fails(7);
        handed
            .prints(printed)
            .prints("in typed\n")
            .says(&format!("env kept, process {id}\n"));
    }
    // As docker compose does it: the plugin's file, without the word.
    let direct = docker
        .on_bare_machine(docker.plugin())
        .args(["bake", "--file", "-"]);
    direct
        .stdin("x")
        .run()
        .fails(7)
        .prints("<bake><--file><->")
        .prints("in x");
    let bare = docker
        .by_docker(["__completeNoDesc", "buildx", "insp"])
        .run()
        .succeeds();
    assert_eq!(bare.stdout(), "inspect\n:4\n");
    let hooks = docker
        .by_docker(["buildx", "docker-cli-plugin-hooks", "{}"])
        .run()
        .succeeds();
    assert_eq!(hooks.stdout(), "{\"type\":0,\"template\":\"\"}\n");
    // Mistakes are our own.
    docker
        .by_docker(["buildx", "inspct"])
        .run()
        .fails(1)
        .says("Did you mean `inspect`?");
    docker
        .by_docker(["buildx", "ls", "--x"])
        .run()
        .fails(7)
        .prints("<buildx><ls><--x>");
    // By its own name it says what it lacks, and where that is.
    let own = docker.bkhost(["bake", "--print"]).run().fails(1);
    own.says("ERROR: unknown command: \"bake\"\nhint: bkhost has no command `bake` yet: `docker buildx` has it, from `");
    let own = docker.bkhost(["build", "--ssh", "default", "."]).run().fails(1);
    own.says("ERROR: unknown flag: --ssh\nhint: bkhost has no flag `--ssh` of `build` yet");
}

#[test]
fn without_another_plugin_it_says_what_is_missing_where_and_what_to_do() {
    let docker = Docker::new();
    docker.bkhost(["install"]).run().succeeds();
    let error = docker.by_docker(["buildx", "bake"]).run().fails(1);
    error
        .says(
            "ERROR: bkhost has no command `bake` yet, and there is no other `docker-buildx` to hand it to\n",
        )
        .says(&format!(
            "Looked for it at `{}` (bkhost itself), ",
            docker.plugin().display()
        ))
        .says("`/usr/libexec/docker/cli-plugins/docker-buildx`\n")
        .says(&format!("or save it as `{}`\n", docker.kept().display()));
    let error = docker
        .by_docker(["buildx", "build", "--check", "."])
        .run()
        .fails(1);
    error.says("ERROR: bkhost has no flag `--check` of `build` yet, and");
    // What nobody knows is a mistake, with the help of the command.
    let error = docker.by_docker(["buildx", "learnt-since"]).run().fails(1);
    error
        .says("ERROR: unknown command: \"learnt-since\"")
        .prints("Usage: docker buildx");
    docker.by_docker(["buildx", "ls", "--hermetic"]).run().fails(125);
}

/// Links, copies and scripts that lead back here.
#[test]
fn it_never_hands_over_to_itself() {
    let docker = Docker::new();
    let extra = docker.context.home().join("extra");
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", docker.plugin().display());
    let child = format!(
        "#!/bin/sh\nsh -c '{} \"$@\"' sh \"$@\"\n",
        docker.plugin().display()
    );
    docker.bkhost(["install"]).run().succeeds();
    let config = std::fs::read_to_string(docker.config()).unwrap();
    for (name, content) in [("a", script), ("b", child)] {
        docker.write_program(&extra.join(name).join("docker-buildx"), &content);
    }
    std::fs::create_dir_all(extra.join("c")).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_bkhost"), extra.join("c/docker-buildx")).unwrap();
    let folders: Vec<String> = ["a", "b", "c"]
        .map(|name| format!("{:?}", extra.join(name)))
        .into();
    let extra_dirs = format!("{{\"cliPluginsExtraDirs\": [{}],", folders.join(","));
    docker.write_config(&config.replacen('{', &extra_dirs, 1));
    let error = docker.by_docker(["buildx", "bake"]).run().fails(1);
    error
        .says("a/docker-buildx` (handed it on already)")
        .says("c/docker-buildx` (bkhost itself)");
    // A call that only happens below another one is another one.
    docker.write_program(&docker.kept(), BEFORE);
    let below = docker
        .by_docker(["buildx", "bake"])
        .env("DOCKER_CLI_PLUGIN_SOCKET", "@other");
    below.run().fails(7).prints("<buildx><bake>");
}
