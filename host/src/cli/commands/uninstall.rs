//! `uninstall`: give docker its earlier plugin `buildx` and alias back.

use super::install::site::{Holder, Site};
use super::install::{PLUGIN, look_and_act, of_uninstall};
use crate::cli::settings::Context;
use crate::error::Result;

/// Arguments of `uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bkhost uninstall --dry-run\n  bkhost uninstall")]
pub struct Args {
    /// Show what would be changed and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Undoes what `install` has done, as far as nobody else has changed it since.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let (site, is_changed) = look_and_act(context, args.dry_run, of_uninstall).await?;
    if !is_changed {
        context.ui.say(format!(
            "bkhost is not installed in `{}`: nothing to do",
            site.folder.display()
        ));
    }
    tell_what_stays(context, &site);
    Ok(())
}

fn tell_what_stays(context: &Context<'_>, site: &Site) {
    if site.holder == Holder::Other && site.has_kept() {
        context.ui.say(format!(
            "`{}` is not bkhost and stays; an earlier one is still kept as `{}`",
            site.plugin.display(),
            site.kept.display()
        ));
    }
    let alias = site.alias.builder().filter(|alias| alias != PLUGIN);
    if let Some(alias) = alias.filter(|_| site.record.is_some()) {
        context.ui.say(format!(
            "The alias `builder` in `{}` stands for `{alias}` by now and stays",
            site.alias.path().display()
        ));
    }
}
