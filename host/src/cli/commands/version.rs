//! `version`: nothing is read, no engine is started.

use crate::cli::print;
use crate::error::Result;
use crate::ui::Ui;

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost version")]
pub struct Args {}

/// Where the program comes from, without the scheme.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// Revision of the source, given by the release task.
const REVISION: Option<&str> = option_env!("BKHOST_REVISION");

/// Prints repository, version and revision on one line.
pub fn run(ui: &Ui, _args: &Args) -> Result<()> {
    let repository = REPOSITORY.trim_start_matches("https://");
    let version = env!("CARGO_PKG_VERSION");
    let revision = REVISION
        .map(|revision| format!(" {revision}"))
        .unwrap_or_default();
    print(ui, format!("{repository} v{version}{revision}\n"))
}
