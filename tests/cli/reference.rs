//! `docs/cli.md`, which is generated from the definition of the command line.

use std::fmt::Write;
use std::path::Path;

use bkhost::cli::{args, env_vars};
use clap::{Arg, ArgAction, Command};

/// Writes the page instead of comparing it.
const UPDATE: &str = "BKHOST_UPDATE_DOCS";

const HEAD: &str = "# Command line

Generated from the program's own help by a test; after a change of a flag,
`BKHOST_UPDATE_DOCS=1 cargo test -p bkhost --test cli reference` writes it anew.

Flags may stand before or after arguments, `--flag=false` turns a switch off, and the last one wins. `bkhost COMMAND
--help` says the same on a terminal, `bkhost completion SHELL` prints a completion script, and `bkhost man FOLDER` writes
manual pages.
";

fn reference() -> String {
    let mut root = args::command().disable_help_subcommand(true);
    root.build();
    let mut page = HEAD.to_owned();
    page.push_str("\n| command | what it does |\n|---|---|\n");
    for command in shown(&root) {
        let name = command.get_name();
        writeln!(page, "| [`{name}`](#bkhost-{name}) | {} |", about(command)).unwrap();
    }
    page.push_str("\n## Every command\n\n");
    let global: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).collect();
    table(&mut page, &global);
    for command in shown(&root) {
        section(&mut page, command, "bkhost", "##");
    }
    page.push_str("\n## Environment\n\n| variable | meaning |\n|---|---|\n");
    for (name, does) in env_vars::ALL {
        writeln!(page, "| `{name}` | {} |", cell(does.trim().trim_end_matches('.'))).unwrap();
    }
    page
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn section(page: &mut String, command: &Command, parent: &str, level: &str) {
    let name = format!("{parent} {}", command.get_name());
    let usage = command.clone().render_usage().to_string();
    write!(
        page,
        "\n{level} {name}\n\n{}.\n\n```text\n{}\n```\n",
        about(command),
        usage.trim_start_matches("Usage: ")
    )
    .unwrap();
    let aliases: Vec<String> = command
        .get_visible_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        writeln!(page, "\nAlso: {}", aliases.join(", ")).unwrap();
    }
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        page.push('\n');
        table(page, &own);
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let text = examples.strip_prefix("Examples:\n").unwrap_or(&examples);
        write!(page, "\n```text\n{}\n```\n", text.trim_end()).unwrap();
    }
    for sub in shown(command) {
        section(page, sub, &name, &format!("{level}#"));
    }
}

fn table(page: &mut String, arguments: &[&Arg]) {
    page.push_str("| argument | default | meaning |\n|---|---|---|\n");
    for arg in arguments {
        let default = match arg.get_default_values() {
            [value] if arg.get_action().takes_values() && !value.is_empty() => {
                format!("`{}`", value.to_string_lossy())
            }
            _ => String::new(),
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "| {} | {default} | {} |", spelling(arg), cell(&help)).unwrap();
    }
}

/// A text that may hold the mark between the cells of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn spelling(arg: &Arg) -> String {
    let value = match arg.get_action() {
        ArgAction::Set | ArgAction::Append => {
            let names = arg.get_value_names().unwrap_or_default();
            names.first().map(ToString::to_string).unwrap_or_default()
        }
        _ => String::new(),
    };
    let Some(long) = arg.get_long() else {
        return format!("`{}`", cell(&value));
    };
    let short = arg
        .get_short()
        .map(|short| format!("`-{short}`, "))
        .unwrap_or_default();
    format!("{short}`{}`", format!("--{long} {value}").trim_end())
}

#[test]
fn the_reference_says_what_the_program_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = reference();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = page.lines().zip(stored.lines()).find(|(now, then)| now != then);
    assert!(
        page == stored,
        "`docs/cli.md` is not current: run `{UPDATE}=1 cargo test -p bkhost --test cli reference` (first difference: {differing:?})"
    );
}
