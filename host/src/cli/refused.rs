//! Command lines that are refused: in the words that users of buildx know, or handed to a plugin that may know better.

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};

use super::env_vars::Environment;
use super::flags::{self, Refusal};
use super::plugin::{Called, handover, lacking};
use super::print;
use crate::error::{CommandError, EXIT_PLUGIN_USAGE, ErrorKind, Result};
use crate::ui::Ui;

/// What becomes of a command line that is refused: as plugin, what another one may know is handed to that one.
pub fn refused(
    root: &clap::Command,
    environment: &Environment,
    ui: &Ui,
    refusal: Refusal,
) -> Result<CommandError> {
    let called = &environment.called;
    if called.hands_over
        && let Some(lack) = lacking::possible(&refusal)
        && (lacking::known(&refusal).is_some() || handover::search(environment).next().is_some())
    {
        return Ok(handover::hand_over(environment, &lack));
    }
    if let Some(lack) = lacking::known(&refusal) {
        let advice = handover::advice(environment, &lack);
        return Ok(refusal.without_guess().into_error().with_hint(advice));
    }
    if let Refusal::UnknownCommand { path, .. } = &refusal {
        print(ui, help_of(root, path))?;
    }
    let of_flag = match &refusal {
        Refusal::Flag { path, .. } => Some(path.clone()),
        _ => None,
    };
    let error = refusal.into_error();
    Ok(match of_flag {
        Some(path) => flag_error(root, &path, error, called),
        None => error,
    })
}

/// A wrong flag in the form of buildx: docker's plugins say how the command is used, and have an exit code for it.
fn flag_error(root: &clap::Command, path: &[String], error: CommandError, called: &Called) -> CommandError {
    if !called.is_plugin {
        return error;
    }
    let usage = flags::usage_of(command_at(root, path), &path.join(" "));
    error.followed_by(&usage).bare().with_exit_code(EXIT_PLUGIN_USAGE)
}

fn command_at<'a>(root: &'a clap::Command, path: &[String]) -> &'a clap::Command {
    let names = path.iter().skip(1);
    names.fold(root, |command, name| {
        command.find_subcommand(name).unwrap_or(command)
    })
}

fn help_of(root: &clap::Command, path: &[String]) -> String {
    let mut root = root.clone();
    root.build();
    command_at(&root, path).clone().render_help().to_string()
}

/// A refusal of clap in the words that users of buildx know.
pub fn usage_error(
    root: &clap::Command,
    path: &[String],
    error: &clap::Error,
    called: &Called,
) -> CommandError {
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
    let command = command_at(root, path);
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
        _ if known.is_some() => flag_error(root, path, refused, called),
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            refused.with_hint(format!("It can be {}", values.join(", ")))
        }
        _ => refused,
    }
}
