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
pub mod plugin;
mod refused;
pub mod settings;
mod show;
mod signals;
pub mod status;
mod table;
mod template;
pub mod values;

use std::future::Future;
use std::time::Duration;

use clap::FromArgMatches;
use clap::error::ErrorKind as ClapKind;

use crate::driver::node::Drivers;
use crate::error::{CommandError, Result};
use crate::progress::terminal;
use crate::ui::Ui;
use args::{Command, Root};
use env_vars::Environment;
use plugin::socket::Caller;
use settings::Context;

/// Runs the command line `arguments` (without the program's name) and returns the exit code. What goes wrong has been
/// said on stderr.
pub fn run(arguments: &[String], environment: &Environment, ui: &Ui, drivers: &dyn Drivers) -> u8 {
    match try_run(arguments, environment, ui, drivers) {
        Ok(()) => 0,
        Err(error) => {
            let error = error.with_hints_in(|hint| environment.called.respelled(hint));
            error.report(ui);
            error.exit_code()
        }
    }
}

fn try_run(arguments: &[String], environment: &Environment, ui: &Ui, drivers: &dyn Drivers) -> Result<()> {
    let Some(root) = parse(arguments, environment, ui)? else {
        return Ok(());
    };
    let called = &environment.called;
    let Some(command) = root.command else {
        return print(ui, args::command_as(called).render_help().to_string());
    };
    let ui = &if called.without_warnings {
        ui.without_warnings()
    } else {
        ui.clone()
    };
    let debug = root.global.debug || environment.get(env_vars::DEBUG).is_some();
    let ui = &ui.with_debug(debug);
    if debug {
        debug_log::start(ui);
    }
    let context = || Context::new(environment, ui, drivers, root.global.builder);
    match command {
        Command::Version(args) => commands::version::run(ui, called, &args),
        Command::PluginMetadata => commands::version::describe(ui),
        Command::PluginHooks(_) => print(ui, NO_NEXT_STEPS),
        Command::Completion(args) => commands::completion::run(ui, &args),
        Command::Complete(args) => complete::run(&context(), &args, true),
        Command::CompleteBare(args) => complete::run(&context(), &args, false),
        Command::Man(args) => commands::man::run(&args),
        command => dispatch(&context(), command),
    }
}

fn dispatch(context: &Context<'_>, command: Command) -> Result<()> {
    use commands::{
        build, create, dial_stdio, driver, inspect, install, logs, ls, renew, rm, stop, uninstall,
        use_builder,
    };
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
        Command::Install(args) => block_on(context, install::run(context, &args)),
        Command::Uninstall(args) => block_on(context, uninstall::run(context, &args)),
        Command::Version(_)
        | Command::Completion(_)
        | Command::Complete(_)
        | Command::CompleteBare(_)
        | Command::PluginMetadata
        | Command::PluginHooks(_)
        | Command::Man(_) => Ok(()),
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
    let ended = runtime.block_on(async {
        let caller = Caller::connect(context.environment).await;
        signals::until_interrupted(&context.cancel, caller, work).await
    });
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

/// The answer to docker's question for hints after a command: there are none.
const NO_NEXT_STEPS: &str = "{\"type\":0,\"template\":\"\"}\n";

/// How long tasks may take to be dropped when a command ends.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(50);

/// Runs a build: its display may wait for a slow terminal, which must not keep the daemon waiting for its files.
fn block_on_threads(context: &Context<'_>, work: impl Future<Output = Result<()>>) -> Result<()> {
    drive(context, tokio::runtime::Builder::new_multi_thread(), work)
}

/// Parses the command line; `None` when it was answered already (help).
fn parse(arguments: &[String], environment: &Environment, ui: &Ui) -> Result<Option<Root>> {
    let command = args::command_as(&environment.called);
    let normal = match flags::normalise(&command, arguments) {
        Ok(normal) => normal,
        Err(refusal) => return Err(refused::refused(&command, environment, ui, refusal)?),
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
        Err(error) => Err(refused::usage_error(
            &command,
            &normal.path,
            &error,
            &environment.called,
        )),
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
