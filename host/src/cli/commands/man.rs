//! `man`: manual pages for packagers.

use std::path::{Path, PathBuf};

use crate::cli::args;
use crate::error::{CommandError, Result};
use crate::fs::{self, PUBLIC_FILE};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost man /usr/local/share/man/man1")]
pub struct Args {
    /// Folder that gets one page per command
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Mode of the folder when it has to be made.
const FOLDER_MODE: u32 = 0o755;

/// Writes one page per command.
pub fn run(args: &Args) -> Result<()> {
    fs::create_dir_all(&args.folder, FOLDER_MODE)?;
    let mut root = args::command().disable_help_subcommand(true);
    root.build();
    write_pages(&args.folder, &root, "")
}

fn write_pages(folder: &Path, command: &clap::Command, parent: &str) -> Result<()> {
    let name = if parent.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{parent}-{}", command.get_name())
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.clone()))
        .render(&mut page)
        .map_err(|error| {
            CommandError::internal(format!("Cannot render the page of `{name}`")).with_source(error)
        })?;
    fs::write_beside(&folder.join(format!("{name}.1")), &page, PUBLIC_FILE)?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown
        .into_iter()
        .try_for_each(|command| write_pages(folder, command, &name))
}
