//! `version`: nothing is read, no engine is started.

use crate::cli::plugin::{Called, metadata};
use crate::cli::print;
use crate::error::{CommandError, Result};
use crate::ui::Ui;

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost version")]
pub struct Args {}

/// Where the program comes from, without the scheme.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// Revision of the source, given by the release task.
const REVISION: Option<&str> = option_env!("BKHOST_REVISION");

/// Prints repository, version and revision on one line. Programs that call docker's plugin read the version of buildx
/// from there.
pub fn run(ui: &Ui, called: &Called, _args: &Args) -> Result<()> {
    let repository = REPOSITORY.trim_start_matches("https://");
    let version = if called.hands_over {
        metadata::version()
    } else {
        format!("v{}", env!("CARGO_PKG_VERSION"))
    };
    let revision = REVISION
        .map(|revision| format!(" {revision}"))
        .unwrap_or_default();
    print(ui, format!("{repository} {version}{revision}\n"))
}

/// Prints what docker wants to know of its plugin.
pub fn describe(ui: &Ui) -> Result<()> {
    let text = serde_json::to_string_pretty(&metadata::Metadata::own())
        .map_err(|error| CommandError::internal("Cannot describe the plugin").with_source(error))?;
    print(ui, format!("{text}\n"))
}
