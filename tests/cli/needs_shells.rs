//! The completion scripts in the shells that they are written for.

use std::path::Path;
use std::process::Command;

use crate::sealed::Sealed;

/// What `shell` prints for `code`, to which `$1` is the completion script; it must end well and complain of nothing.
fn run(shell: &str, arguments: &[&str], code: &str) -> String {
    let sealed = Sealed::new();
    let program = Path::new(env!("CARGO_BIN_EXE_bkhost"));
    let script = sealed.home().join("script");
    let printed = Command::new(program)
        .args(["completion", shell])
        .output()
        .unwrap();
    std::fs::write(&script, printed.stdout).unwrap();
    let folders = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
    let output = Command::new(shell)
        .args(arguments)
        .args(["-c", &code.replace("$1", &script.display().to_string())])
        .env_clear()
        .envs(sealed.variables())
        .env("PATH", folders)
        .current_dir(sealed.home())
        .output()
        .unwrap_or_else(|error| panic!("cannot start `{shell}`, which `cargo xtask test` installs: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    String::from_utf8(output.stdout).unwrap()
}

/// Stand-ins for what zsh offers from within its line editor only.
const ZSH: &str = "
    autoload -U compinit && compinit -D -u
    source $1
    print -r -- \"registered: $_comps[bkhost]\"
    _describe() { print -rl -- \"${(@P)2}\" }
    _files() { print -r -- 'files' }
    offer() { words=(bkhost \"$@\"); CURRENT=${#words}; _bkhost }
";

#[test]
fn zsh_offers_what_the_program_knows() {
    let offered = |words: &str| run("zsh", &["-f"], &format!("{ZSH}\noffer {words}"));
    assert_eq!(
        offered("insp"),
        "registered: _bkhost\ninspect:Show everything about a builder\n"
    );
    assert_eq!(offered("build --progress r"), "registered: _bkhost\nrawjson\n");
    assert_eq!(offered("build ''"), "registered: _bkhost\nfiles\n");
    // Nothing fits, and no file would.
    assert_eq!(offered("nosuch"), "registered: _bkhost\n");
}

#[test]
fn fish_offers_what_the_program_knows() {
    let offered = |line: &str| {
        run(
            "fish",
            &["--no-config"],
            &format!("source $1; complete --do-complete '{line}'"),
        )
    };
    assert_eq!(
        offered("bkhost insp"),
        "inspect\tShow everything about a builder\n"
    );
    assert_eq!(offered("bkhost build --progress r"), "rawjson\n");
    assert!(offered("bkhost build sc").starts_with("script"));
    assert_eq!(offered("bkhost nosuch"), "");
}
