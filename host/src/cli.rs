//! What can be typed: arguments become plain requests, one file per command.

pub mod args;
pub mod boot;
pub mod build;
pub mod builders;
pub mod commands;
mod complete;
mod debug_log;
mod display;
pub mod engine;
pub mod env_vars;
mod flags;
pub mod machine;
mod platform_summary;
pub mod settings;
mod show;
mod signals;
pub mod status;
mod table;
mod template;
pub mod values;

use std::future::Future;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use clap::{CommandFactory, FromArgMatches};

use crate::driver::node::Drivers;
use crate::error::{CommandError, ErrorKind, Result};
use crate::progress::terminal;
use crate::ui::Ui;
use args::{Command, Root};
use env_vars::Environment;
use flags::Refusal;
use settings::Context;

/// Runs the command line `arguments` (without the program's name) and returns the exit code. What goes wrong has been
/// said on stderr.
pub fn run(arguments: &[String], environment: &Environment, ui: &Ui, drivers: &dyn Drivers) -> u8 {
    match try_run(arguments, environment, ui, drivers) {
        Ok(()) => 0,
        Err(error) => {
            error.report(ui);
            error.exit_code()
        }
    }
}

fn try_run(arguments: &[String], environment: &Environment, ui: &Ui, drivers: &dyn Drivers) -> Result<()> {
    let Some(root) = parse(arguments, ui)? else {
        return Ok(());
    };
    let Some(command) = root.command else {
        return print(ui, Root::command().render_help().to_string());
    };
    let debug = root.global.debug || environment.get(env_vars::DEBUG).is_some();
    let ui = &ui.with_debug(debug);
    if debug {
        debug_log::start(ui);
    }
    let context = || Context::new(environment, ui, drivers, root.global.builder);
    match command {
        Command::Version(args) => commands::version::run(ui, &args),
        Command::Completion(args) => commands::completion::run(ui, &args),
        Command::Complete(args) => complete::run(&context(), &args),
        Command::Man(args) => commands::man::run(&args),
        command => dispatch(&context(), command),
    }
}

fn dispatch(context: &Context<'_>, command: Command) -> Result<()> {
    use commands::{build, create, dial_stdio, driver, inspect, logs, ls, renew, rm, stop, use_builder};
    match command {
        Command::Build(args) => block_on_threads(context, build::run(context, *args)),
        Command::Create(args) => block_on(context, create::run(context, args)),
        Command::Use(args) => block_on(context, use_builder::run(context, &args)),
        Command::Ls(args) => block_on(context, ls::run(context, &args)),
        Command::Inspect(args) => block_on(context, inspect::run(context, &args)),
        Command::Stop(args) => block_on(context, stop::run(context, &args)),
        Command::Renew(args) => block_on(context, renew::run(context, &args)),
        Command::Rm(args) => block_on(context, rm::run(context, args)),
        Command::DialStdio(args) => block_on(context, dial_stdio::run(context, &args)),
        Command::Logs(args) => block_on(context, logs::run(context, &args)),
        Command::Driver(args) => block_on(context, driver::run(context, args)),
        Command::Version(_) | Command::Completion(_) | Command::Complete(_) | Command::Man(_) => Ok(()),
    }
}

/// Runs a command on one thread: it waits for others nearly all the time, and waking other threads takes longer than
/// what they could do meanwhile.
fn block_on(context: &Context<'_>, work: impl Future<Output = Result<()>>) -> Result<()> {
    drive(context, tokio::runtime::Builder::new_current_thread(), work)
}

fn drive(
    context: &Context<'_>,
    mut runtime: tokio::runtime::Builder,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| CommandError::internal("Cannot start the runtime").with_source(error))?;
    let ended = runtime.block_on(signals::until_interrupted(&context.cancel, work));
    // Drops what still runs, such as a display that holds talk back. A blocked read of standard input must not keep the
    // process alive.
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    match ended {
        signals::Ended::Orderly(outcome) => outcome,
        signals::Ended::Abandoned => {
            terminal::restore(context.ui);
            Err(signals::cancelled())
        }
    }
}

/// How long tasks may take to be dropped when a command ends.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(50);

/// Runs a build: its display may wait for a slow terminal, which must not keep the daemon waiting for its files.
fn block_on_threads(context: &Context<'_>, work: impl Future<Output = Result<()>>) -> Result<()> {
    drive(context, tokio::runtime::Builder::new_multi_thread(), work)
}

/// Parses the command line; `None` when it was answered already (help).
fn parse(arguments: &[String], ui: &Ui) -> Result<Option<Root>> {
    let command = args::command();
    let normal = match flags::normalise(&command, arguments) {
        Ok(normal) => normal,
        Err(Refusal::Usage(error)) => return Err(error),
        Err(Refusal::UnknownCommand(word, path)) => return unknown_command(ui, &word, &path),
    };
    let parsed = command.clone().try_get_matches_from(&normal.arguments);
    match parsed.and_then(|matches| Root::from_arg_matches(&matches)) {
        Ok(root) => Ok(Some(root)),
        Err(error)
            if matches!(
                error.kind(),
                ClapKind::DisplayHelp | ClapKind::DisplayHelpOnMissingArgumentOrSubcommand
            ) =>
        {
            print(ui, error.render().to_string())?;
            Ok(None)
        }
        Err(error) => Err(usage_error(&command, &normal.path, &error)),
    }
}

fn unknown_command(ui: &Ui, word: &str, path: &[String]) -> Result<Option<Root>> {
    let mut root = args::command();
    root.build();
    let mut command = &mut root;
    for name in path.iter().skip(1) {
        if command.find_subcommand(name).is_none() {
            break;
        }
        command = match command.find_subcommand_mut(name) {
            Some(found) => found,
            None => return Ok(None),
        };
    }
    print(ui, command.render_help().to_string())?;
    let error = CommandError::new(ErrorKind::Usage, format!("unknown command: {word:?}"));
    let known = command.get_subcommands().filter(|known| !known.is_hide_set());
    Err(match values::nearest(word, known.map(clap::Command::get_name)) {
        Some(near) => error.with_hint(format!("Did you mean `{near}`?")),
        None => error,
    })
}

/// A refusal of clap in the words that users of buildx know.
fn usage_error(root: &clap::Command, path: &[String], error: &clap::Error) -> CommandError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    let name = flag
        .split([' ', '='])
        .next()
        .unwrap_or_default()
        .trim_start_matches("--");
    let mut command = root;
    for part in path.iter().skip(1) {
        command = command.find_subcommand(part).unwrap_or(command);
    }
    let known = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    let message = match known {
        Some(arg) if error.kind() == ClapKind::ValueValidation => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            flags::invalid_argument(arg, &text(ContextKind::InvalidValue), &cause.unwrap_or_default())
        }
        Some(arg) if error.kind() == ClapKind::InvalidValue => {
            let values: Vec<String> = arg
                .get_possible_values()
                .iter()
                .map(|value| value.get_name().to_owned())
                .collect();
            let cause = format!("must be one of {}", values.join(", "));
            flags::invalid_argument(arg, &text(ContextKind::InvalidValue), &cause)
        }
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    };
    let refused = CommandError::new(ErrorKind::Usage, message);
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if known.is_none() && !values.is_empty() => {
            refused.with_hint(format!("It can be {}", values.join(", ")))
        }
        _ => refused,
    }
}

/// Writes data to stdout; a reader that has gone is a quiet end.
fn print(ui: &Ui, data: impl AsRef<[u8]>) -> Result<()> {
    match ui.out(data) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::user("Cannot write to standard output").with_source(error))
        }
        _ => Ok(()),
    }
}
