//! The real program, where no driver is needed: help, usage errors, version, completion, manual pages.

use std::process::{Command, Output};

use crate::sealed::Sealed;

fn run(sealed: &Sealed, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bkhost"))
        .args(arguments)
        .env_clear()
        .envs(sealed.variables())
        .output()
        .unwrap()
}

fn shown(arguments: &[&str]) -> String {
    let output = run(&Sealed::new(), arguments);
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    format!("{}\n--- out\n{out}--- err\n{err}", output.status)
}

#[test]
fn usage_errors_have_the_known_words() {
    insta::assert_snapshot!(shown(&["ls", "--x"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: unknown flag: --x
    ");
    insta::assert_snapshot!(shown(&["create", "--platfrom", "x"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: unknown flag: --platfrom
    hint: Did you mean `--platform`?
    ");
    insta::assert_snapshot!(shown(&["rm", "-x"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: unknown shorthand flag: 'x' in -x
    ");
    insta::assert_snapshot!(shown(&["create", "--name"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: flag needs an argument: --name
    ");
    insta::assert_snapshot!(shown(&["ls", "--timeout", "5x"]), @r#"
    exit status: 1
    --- out
    --- err
    ERROR: invalid argument "5x" for "--timeout" flag: time: unknown unit "x" in duration "5x"
    "#);
    insta::assert_snapshot!(shown(&["ls", "x"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: bkhost: 'bkhost ls' requires 0 arguments

    Usage:  bkhost ls [OPTIONS]

    Run 'bkhost ls --help' for more information
    ");
    insta::assert_snapshot!(shown(&["inspect", "a", "b"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: bkhost: 'bkhost inspect' requires at most 1 argument

    Usage:  bkhost inspect [OPTIONS] [NAME]

    Run 'bkhost inspect --help' for more information
    ");
    insta::assert_snapshot!(shown(&["completion", "tcsh"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: invalid value 'tcsh' for '<SHELL>'
    hint: It can be bash, zsh, fish, powershell
    ");
}

#[test]
fn an_unknown_command_shows_the_help() {
    let text = shown(&["inspct"]);
    assert!(text.contains("Usage: bkhost"), "{text}");
    assert!(
        text.ends_with("--- err\nERROR: unknown command: \"inspct\"\nhint: Did you mean `inspect`?\n"),
        "{text}"
    );
}

#[test]
fn the_help_of_every_command_has_examples() {
    let root = shown(&["help"]);
    assert!(root.contains("Create a builder"), "{root}");
    for command in [
        "create",
        "use",
        "ls",
        "inspect",
        "renew",
        "stop",
        "rm",
        "logs",
        "build",
        "dial-stdio",
        "driver",
        "install",
        "uninstall",
        "version",
        "completion",
    ] {
        let help = shown(&[command, "--help"]);
        assert!(help.starts_with("exit status: 0"), "{help}");
        assert!(help.contains("Examples:\n"), "{help}");
        insta::assert_snapshot!(format!("help-{command}"), help);
    }
}

#[test]
fn no_arguments_show_the_help() {
    insta::assert_snapshot!("help", shown(&[]));
}

#[test]
fn the_version_is_one_line() {
    assert_eq!(
        shown(&["version"]),
        format!(
            "exit status: 0\n--- out\ngithub.com/bkhost/bkhost v{}\n--- err\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn completion_knows_commands_flags_and_builders() {
    let sealed = Sealed::new();
    std::fs::create_dir_all(sealed.store().join("instances")).unwrap();
    std::fs::write(
        sealed.store().join("instances/ci"),
        r#"{"Name":"CI","Driver":"remote","Nodes":null}"#,
    )
    .unwrap();
    let complete = |words: &[&str]| {
        let output = run(&sealed, &[&["__complete", "--"], words].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        complete(&["insp"]),
        "inspect\tShow everything about a builder\n:4\n"
    );
    assert_eq!(
        complete(&["ls", "--no"]),
        "--no-trunc\tShow all platforms in a table\n:4\n"
    );
    assert!(complete(&["inspect", ""]).starts_with("CI\tremote\ndefault\tdocker context\n"));
    assert!(complete(&["--builder", "C"]).starts_with("CI\tremote\n"));
    assert_eq!(complete(&["completion", "z"]), "zsh\n:4\n");
    assert_eq!(complete(&["build", "--progress", "r"]), "rawjson\n:4\n");
    // As one word, and as the three that bash makes of it.
    assert!(complete(&["ls", "--builder=C"]).starts_with("--builder=CI\tremote\n"));
    assert!(complete(&["ls", "--builder", "=", "C"]).starts_with("CI\tremote\n"));
    assert!(complete(&["ls", "--builder", "="]).starts_with("CI\tremote\n"));
    assert_eq!(
        complete(&["--builder=CI", "insp"]),
        "inspect\tShow everything about a builder\n:4\n"
    );
    assert_eq!(complete(&["create", ""]), ":0\n");
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(shown(&["completion", shell]).contains("__complete"), "{shell}");
    }
}

#[test]
fn bash_can_load_its_script() {
    let script = run(&Sealed::new(), &["completion", "bash"]).stdout;
    let script = String::from_utf8(script).unwrap();
    let program = env!("CARGO_BIN_EXE_bkhost");
    let offered = |words: &str, index: usize| {
        let check = format!(
            "{script}\nCOMP_WORDS=({program} {words})\nCOMP_CWORD={index}\n_bkhost\nprintf '%s|' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &check]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(offered("insp", 1), "inspect|");
    // Nothing of ours: readline's files.
    assert_eq!(offered("build ''", 2), "|");
    assert!(script.contains("complete -o default"), "{script}");
}

/// Every pair of brackets closes in order, strings and comments aside; PowerShell itself is on few machines.
#[test]
fn the_script_for_powershell_is_whole() {
    let script = String::from_utf8(run(&Sealed::new(), &["completion", "powershell"]).stdout).unwrap();
    let mut open = Vec::new();
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        let mut quote = None;
        for letter in line.chars() {
            match (quote, letter) {
                (Some(begun), _) if begun == letter => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(letter),
                (None, '(') => open.push(')'),
                (None, '[') => open.push(']'),
                (None, '{') => open.push('}'),
                (None, ')' | ']' | '}') => assert_eq!(open.pop(), Some(letter), "{line}"),
                (None, _) => {}
            }
        }
        assert_eq!(quote, None, "{line}");
    }
    assert!(open.is_empty(), "{open:?}");
    for part in [
        "Register-ArgumentCompleter -Native -CommandName bkhost",
        "& bkhost __complete -- @words",
        "[System.Management.Automation.CompletionResult]::new(",
    ] {
        assert!(script.contains(part), "{script}");
    }
}

/// The scripts ask `__complete`, so what it names is what every shell offers.
#[test]
fn completion_names_every_command_and_flag_of_the_help() {
    let sealed = Sealed::new();
    let first_words = |text: &str| -> Vec<String> {
        let offered = text.lines().filter(|line| !line.starts_with(':'));
        offered
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect()
    };
    let complete = |words: &[&str]| {
        let output = run(&sealed, &[&["__complete", "--"], words].concat());
        first_words(&String::from_utf8(output.stdout).unwrap())
    };
    let listed = |command: &[&str], heading: &str| -> Vec<String> {
        let help = String::from_utf8(run(&sealed, &[command, &["--help"]].concat()).stdout).unwrap();
        let section = help.split(heading).nth(1).unwrap_or_default();
        let section = section.split("\n\n").next().unwrap_or_default();
        section.lines().map(str::to_owned).collect()
    };
    let commands = complete(&[""]);
    for line in listed(&[], "Commands:\n") {
        let name = line.split_whitespace().next().unwrap().to_owned();
        assert!(commands.contains(&name) || name == "help", "{name}: {commands:?}");
    }
    assert!(commands.len() > 10, "{commands:?}");
    for command in &commands {
        let offered = complete(&[command, "--"]);
        let flags: Vec<String> = listed(&[command], "Options:\n")
            .iter()
            .filter_map(|line| {
                line.split_whitespace()
                    .find(|word| word.starts_with("--"))
                    .map(str::to_owned)
            })
            .collect();
        assert!(flags.contains(&"--help".to_owned()), "{command}: {flags:?}");
        for flag in flags {
            assert!(offered.contains(&flag), "{command}: {flag} of {offered:?}");
        }
    }
}

#[test]
fn manual_pages_are_written() {
    let sealed = Sealed::new();
    let folder = sealed.home().join("man");
    let output = run(&sealed, &["man", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let page = std::fs::read_to_string(folder.join("bkhost-create.1")).unwrap();
    assert!(page.contains("driver\\-opt"), "{page}");
    assert!(folder.join("bkhost-driver-inspect.1").exists());
    assert!(
        !folder.join("bkhost-man.1").exists(),
        "hidden commands have no page"
    );
}

#[test]
fn a_program_without_drivers_says_how_to_get_them() {
    let text = shown(&["create", "--driver", "nomad"]);
    assert!(
        text.contains("ERROR: failed to find driver \"nomad\"\nhint: "),
        "{text}"
    );
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let output = Command::new("bash")
        .args([
            "-c",
            &format!(
                "{} help | true; echo ${{PIPESTATUS[0]}}",
                env!("CARGO_BIN_EXE_bkhost")
            ),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// The store's lock is held by somebody else: the user is told after a while, and Ctrl-C works.
#[test]
fn waiting_for_the_store_is_announced_and_can_be_interrupted() {
    use std::io::{BufRead, BufReader};
    let sealed = Sealed::new();
    std::fs::create_dir_all(sealed.store()).unwrap();
    let held = std::fs::File::create(sealed.store().join(".lock")).unwrap();
    held.lock().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bkhost"))
        .args(["use", "default"])
        .env_clear()
        .envs(sealed.variables())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    talk.read_line(&mut line).unwrap();
    assert!(
        line.starts_with("Waiting for another process to finish with the builder store: "),
        "{line}"
    );
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(held);
    assert_eq!(run(&sealed, &["use", "default"]).status.code(), Some(0));
}

#[test]
fn a_store_that_is_no_folder_names_the_way_out() {
    let sealed = Sealed::new();
    let file = sealed.home().join("file");
    std::fs::write(&file, "").unwrap();
    let sealed = sealed.with("BUILDX_CONFIG", &file.display().to_string());
    for line in ["ls", "inspect", "stop"] {
        let refused = run(&sealed, &[line]);
        let err = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{err}");
        assert!(
            err.ends_with(
                "Not a directory (os error 20)\nhint: A part of the path is no folder\nhint: `BUILDX_CONFIG` names the folder that builders are kept in\n"
            ),
            "{err}"
        );
    }
}

#[test]
fn templates_say_what_is_wrong_with_them() {
    insta::assert_snapshot!(shown(&["ls", "--format", "{{.Name"]), @r"
    exit status: 1
    --- out
    --- err
    ERROR: template parsing error: template: :1: unclosed action
    hint: `}}` is missing after `{{.Name` (line 1, character 1)
    hint: `--format json` shows the fields; a template looks like `{{.Name}}`
    ");
    insta::assert_snapshot!(shown(&["ls", "--format", "{{.Nam}}"]), @r#"
    exit status: 1
    --- out
    --- err
    ERROR: template parsing error: template: :1: executing "" at <.Nam>: can't evaluate field Nam
    hint: Did you mean `.Name`? Fields of a row: Builder, Buildkit, DriverEndpoint, Error, LastActivity, Name, Platforms, Status
    "#);
    insta::assert_snapshot!(shown(&["logs", "--tail", "all"]), @r#"
    exit status: 1
    --- out
    --- err
    ERROR: invalid argument "all" for "-n, --tail" flag: must be a number of lines, 0 or more
    "#);
}
