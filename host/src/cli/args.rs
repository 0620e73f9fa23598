//! The root of the command line: global flags and the list of commands.

use clap::{Args, CommandFactory, Parser, Subcommand};

use super::commands::{
    build, completion, create, dial_stdio, driver, inspect, install, logs, ls, man, renew, rm, stop,
    uninstall, use_builder, version,
};
use super::complete;
use super::plugin::Called;

/// Builders for BuildKit, wherever their daemons run
#[derive(Debug, Parser)]
#[command(name = "bkhost", bin_name = "bkhost", after_help = EXAMPLES, disable_help_subcommand = false)]
pub struct Root {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command; help is shown without one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Use this builder instead of the selected one (default: $BUILDX_BUILDER)
    #[arg(long, global = true, value_name = "NAME")]
    pub builder: Option<String>,
    /// Show more of what happens
    #[arg(short = 'D', long, global = true)]
    pub debug: bool,
}

const EXAMPLES: &str = "Examples:
  bkhost ls                                          What builders are there?
  bkhost create --name ci --driver remote tcp://buildkit.example:1234
  bkhost use ci                                      Build there from now on
  bkhost inspect --bootstrap                         Start it and show what it can do

Use `bkhost COMMAND --help` for more about a command.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<build::BuildArgs>),
    /// Create a builder, or change the nodes of one
    Create(create::Args),
    /// Select the builder that commands use when none is named
    Use(use_builder::Args),
    /// List builders and their nodes
    Ls(ls::Args),
    /// Show everything about a builder
    Inspect(inspect::Args),
    /// Make the daemons of a builder run as configured, keeping their cache
    Renew(renew::Args),
    /// Stop the daemons of a builder, keeping their cache
    Stop(stop::Args),
    /// Remove builders
    Rm(rm::Args),
    /// Show the log of a builder's daemon
    Logs(logs::Args),
    /// Connect standard input and output to a builder's daemon
    DialStdio(dial_stdio::Args),
    /// Show the drivers there are
    Driver(driver::Args),
    /// Make docker use this program as its plugin `buildx`
    Install(install::Args),
    /// Give docker its earlier plugin `buildx` back
    Uninstall(uninstall::Args),
    /// Show the version of this program
    Version(version::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Complete a command line
    #[command(name = "__complete", hide = true)]
    Complete(complete::Args),
    /// Complete a command line without descriptions
    #[command(name = "__completeNoDesc", hide = true)]
    CompleteBare(complete::Args),
    /// Tell docker what this plugin is
    #[command(name = "docker-cli-plugin-metadata", hide = true)]
    PluginMetadata,
    /// Tell docker what to say after a command: nothing
    #[command(name = "docker-cli-plugin-hooks", hide = true)]
    PluginHooks(PluginHooks),
    /// Write manual pages into a folder
    #[command(hide = true)]
    Man(man::Args),
}

/// The definition of the command line, in which a flag that is given twice counts once.
pub fn command() -> clap::Command {
    fn relaxed(command: clap::Command) -> clap::Command {
        command.args_override_self(true).mut_subcommands(relaxed)
    }
    relaxed(Root::command())
}

/// The same with this program's name as it was typed, in examples, too.
pub fn command_as(called: &Called) -> clap::Command {
    let typed = called.typed();
    if typed == command().get_name() {
        return command();
    }
    respelled(command().name(typed).bin_name(typed), typed)
}

fn respelled(command: clap::Command, typed: &'static str) -> clap::Command {
    let own = format!("{} ", Root::command().get_name());
    let examples = command.get_after_help().map(ToString::to_string);
    let command = match examples {
        Some(text) => command.after_help(text.replace(&own, &format!("{typed} "))),
        None => command,
    };
    command.mut_subcommands(|command| respelled(command, typed))
}

/// Arguments of `docker-cli-plugin-hooks`.
#[derive(Debug, Args)]
pub struct PluginHooks {
    /// What docker has run, as JSON
    #[arg(value_name = "JSON")]
    event: Option<String>,
}

/// `--timeout`, which several commands have.
#[derive(Clone, Copy, Debug, Args)]
pub struct Timeout {
    /// Override the default timeout for loading builder status; 0 means none
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = super::values::limit)]
    pub timeout: super::values::Limit,
}
