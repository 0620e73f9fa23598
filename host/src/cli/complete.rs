//! What may come next on a half-typed command line.

use clap::{Arg, Command};

use super::plugin::handover;
use super::plugin::lacking::{self, Lack};
use super::settings::Context;
use super::{args, print};
use crate::error::Result;
use crate::progress::mode::Mode;

/// Arguments of `__complete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The words after the program's name; the last one is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Files may be offered as well.
const FILES: &str = ":0";
/// No files.
const NO_FILES: &str = ":4";
/// What may stand between a flag and its value.
const EQUALS: &str = "=";
/// Commands whose arguments are builders.
const TAKES_BUILDERS: &[&str] = &["inspect", "logs", "renew", "rm", "stop", "use"];

/// A candidate and its description, which may be empty.
type Candidate = (String, String);

/// Prints one candidate per line, a tab before its description if that is wanted, and the directive. As docker's plugin,
/// what follows a command that is not here is up to the next plugin.
pub fn run(context: &Context<'_>, args: &Args, described: bool) -> Result<()> {
    let hands_over = context.environment.called.hands_over;
    let has_next = || handover::search(context.environment).next().is_some();
    if let Some(name) = lacking_command(&args.words).filter(|_| hands_over && has_next()) {
        return Err(handover::hand_over(
            context.environment,
            &Lack::Command(name.to_owned()),
        ));
    }
    let (candidates, directive) = candidates(context, &args.words);
    let mut text = String::new();
    for (name, description) in candidates {
        text.push_str(&name);
        if described && !description.is_empty() {
            text.push('\t');
            text.push_str(&description);
        }
        text.push('\n');
    }
    text.push_str(directive);
    text.push('\n');
    print(context.ui, text)
}

fn candidates(context: &Context<'_>, words: &[String]) -> (Vec<Candidate>, &'static str) {
    let split: Vec<&str> = words.iter().flat_map(|word| separated(word)).collect();
    let (typed, before) = split
        .split_last()
        .map_or(("", &[][..]), |(last, before)| (*last, before));
    let root = args::command();
    let (command, waiting) = place(&root, before);
    // Behind the sign nothing is typed yet.
    let typed = if typed == EQUALS && waiting.is_some() {
        ""
    } else {
        typed
    };
    let (mut list, directive) = match waiting {
        Some(arg) => values(context, arg),
        None if typed.starts_with('-') => {
            let mut known = flags(&root, command);
            known.extend(handed_over_flags(context, command));
            (known, NO_FILES)
        }
        None if command.has_subcommands() => {
            let mut known = commands(command);
            known.extend(handed_over_commands(context).filter(|_| command.get_name() == root.get_name()));
            (known, NO_FILES)
        }
        None => positionals(context, command),
    };
    list.retain(|(name, _)| name.starts_with(typed));
    let whole = words.last().map_or("", String::as_str);
    if let [flag, EQUALS, _] = separated(whole)[..] {
        // The shell replaces the whole word.
        list.iter_mut()
            .for_each(|(name, _)| name.insert_str(0, &format!("{flag}{EQUALS}")));
    }
    (list, directive)
}

/// The command that the words `before` lead to, and the flag among them that still wants its value.
fn place<'a>(root: &'a Command, before: &[&str]) -> (&'a Command, Option<&'a Arg>) {
    let mut command = root;
    let mut waiting: Option<&Arg> = None;
    for word in before {
        if *word == EQUALS && waiting.is_some() {
            continue;
        }
        if waiting.take().is_some() {
            continue;
        }
        if let Some(name) = word.strip_prefix("--") {
            waiting = flag(root, command, name).filter(|arg| takes_value(arg));
        } else if !word.starts_with('-') {
            command = command.find_subcommand(word).unwrap_or(command);
        }
    }
    (command, waiting)
}

/// `--flag=value` as the three words that bash makes of it; other words as they are.
fn separated(word: &str) -> Vec<&str> {
    match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => vec![flag, EQUALS, value],
        _ => vec![word],
    }
}

fn flag<'a>(root: &'a Command, command: &'a Command, name: &str) -> Option<&'a Arg> {
    let mut all = command.get_arguments().chain(root.get_arguments());
    all.find(|arg| arg.get_long() == Some(name))
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn values(context: &Context<'_>, arg: &Arg) -> (Vec<Candidate>, &'static str) {
    match arg.get_long() {
        Some("builder" | "name") => (builders(context), NO_FILES),
        Some("driver") => (drivers(context), NO_FILES),
        Some("progress") => (progress_modes(), NO_FILES),
        _ => {
            let possible = arg.get_possible_values();
            let known: Vec<Candidate> = possible
                .iter()
                .map(|value| (value.get_name().to_owned(), String::new()))
                .collect();
            (known, FILES)
        }
    }
}

fn flags(root: &Command, command: &Command) -> Vec<Candidate> {
    let global = root.get_arguments().filter(|arg| arg.is_global_set());
    // Every command has it, though none declares it.
    let help = ("--help".to_owned(), "Show the help".to_owned());
    let declared = command
        .get_arguments()
        .chain(global.filter(|_| command.get_name() != root.get_name()))
        .filter(|arg| !arg.is_hide_set())
        .filter_map(|arg| Some((format!("--{}", arg.get_long()?), summary(arg.get_help()))));
    declared.chain([help]).collect()
}

fn commands(command: &Command) -> Vec<Candidate> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| (command.get_name().to_owned(), summary(command.get_about())))
        .collect()
}

/// The command among the words before the last one, if it is one that only another plugin has.
fn lacking_command(words: &[String]) -> Option<&str> {
    let (_, before) = words.split_last()?;
    let root = args::command();
    let split: Vec<&str> = before.iter().flat_map(|word| separated(word)).collect();
    let last = split.iter().enumerate().find(|(at, word)| {
        let (command, waiting) = place(&root, split.get(..*at).unwrap_or_default());
        waiting.is_none() && command.get_name() == root.get_name() && lacking::is_command(word)
    });
    last.map(|(_, word)| *word)
}

/// What the next plugin has and this program has not, if it is handed over.
fn handed_over_commands(context: &Context<'_>) -> impl Iterator<Item = Candidate> {
    let commands = is_handed_over(context).then_some(lacking::COMMANDS);
    let commands = commands.into_iter().flatten();
    commands.map(|command| (command.name.to_owned(), command.about.to_owned()))
}

fn handed_over_flags(context: &Context<'_>, command: &Command) -> impl Iterator<Item = Candidate> {
    let handed_over = command.get_name() == "build" && is_handed_over(context);
    let flags = handed_over.then_some(lacking::BUILD_FLAGS);
    let flags = flags.into_iter().flatten();
    flags.map(|(flag, about)| (flag.to_owned(), about.to_owned()))
}

fn is_handed_over(context: &Context<'_>) -> bool {
    context.environment.called.hands_over && handover::search(context.environment).next().is_some()
}

fn summary(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn positionals(context: &Context<'_>, command: &Command) -> (Vec<Candidate>, &'static str) {
    match command.get_name() {
        name if TAKES_BUILDERS.contains(&name) => {
            let is_driver = command.get_positionals().any(|arg| arg.get_id() == "driver");
            let list = if is_driver {
                drivers(context)
            } else {
                builders(context)
            };
            (list, NO_FILES)
        }
        "completion" => {
            let shells = command.get_positionals().flat_map(Arg::get_possible_values);
            (
                shells
                    .map(|shell| (shell.get_name().to_owned(), String::new()))
                    .collect(),
                NO_FILES,
            )
        }
        _ => (Vec::new(), FILES),
    }
}

/// Stored builders first, then docker contexts and the local one.
fn builders(context: &Context<'_>) -> Vec<Candidate> {
    let stored = context.store.list().unwrap_or_default().builders.into_iter();
    let mut list: Vec<Candidate> = stored
        .map(|stored| (stored.record.name, stored.record.driver))
        .collect();
    let contexts = context.contexts.list().unwrap_or_default().into_iter();
    list.extend(contexts.map(|found| (found.name, "docker context".to_owned())));
    list.extend(super::builders::local(context).map(|local| (local.record.name, local.record.driver)));
    list
}

fn progress_modes() -> Vec<Candidate> {
    let modes = [
        Mode::Auto,
        Mode::None,
        Mode::Plain,
        Mode::Quiet,
        Mode::RawJson,
        Mode::Tty,
    ];
    modes.map(|mode| (mode.to_string(), String::new())).into()
}

fn drivers(context: &Context<'_>) -> Vec<Candidate> {
    context
        .drivers
        .names()
        .into_iter()
        .map(|name| (name, String::new()))
        .collect()
}
