//! `install`: make docker use this program as its plugin `buildx`, and for `docker build`.

mod alias;
mod plan;
pub(super) mod record;
pub(super) mod site;
mod turn;

use crate::cli::plugin::handover;
use crate::cli::plugin::lacking;
use crate::cli::plugin::metadata::Metadata;
use crate::cli::settings::Context;
use crate::error::Result;
use crate::store::docker::plugins::PluginFolders;
use crate::store::shared;
pub(super) use alias::AliasFile;
pub(super) use plan::of_uninstall;
use site::Site;
pub(super) use turn::look_and_act;

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show what would be changed and change nothing
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "Examples:
  bkhost install --dry-run      What would be changed?
  bkhost install                From now on `docker buildx` and `docker build` are bkhost
  bkhost uninstall              As it was before";

/// What a command of docker's is called with to build.
pub(super) const PLUGIN: &str = "buildx";

/// Links this program into docker's folder of plugins and sets the alias, each if it is not so already; then says what is
/// handed to another plugin, or missing.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let (site, is_changed) = look_and_act(context, args.dry_run, plan::of_install).await?;
    if !is_changed {
        context.ui.say(format!(
            "bkhost is docker's plugin `buildx` already: `{}`",
            site.plugin.display()
        ));
    }
    warn_of_another_first(context, &site);
    tell_what_is_lacking(context, &site).await;
    warn_of_foreign_builders(context);
    Ok(())
}

/// A folder of `config.json` comes before the user's own.
fn warn_of_another_first(context: &Context<'_>, site: &Site) {
    if let Some(first) = site.shadowing() {
        context.ui.warn(format!(
            "docker still runs `{}`, because `cliPluginsExtraDirs` in its `config.json` comes first",
            first.display()
        ));
    }
}

async fn tell_what_is_lacking(context: &Context<'_>, site: &Site) {
    let lacking = lacking::told();
    match site.next() {
        Some(next) => {
            let version = Metadata::ask(&next).await.map(|metadata| metadata.version);
            let version = version.map(|version| format!(" ({version})")).unwrap_or_default();
            context.ui.say(format!(
                "Not in bkhost yet, and handed to `{}`{version}: {lacking}",
                next.display()
            ));
        }
        None => {
            context.ui.warn(format!(
                "These fail in `docker buildx`, since bkhost does not have them yet and there is no other `docker-buildx` to hand them to: {lacking}"
            ));
            context.ui.say(format!(
                "hint: Install buildx, for example with the package `docker-buildx-plugin`, or save it as `{}`",
                site.kept.display()
            ));
        }
    }
}

/// Builders that somebody has made and that `docker buildx` loses.
fn warn_of_foreign_builders(context: &Context<'_>) {
    let known = context.drivers.names();
    let Ok(listing) = context.store.list() else {
        return;
    };
    for stored in listing.builders {
        let record = stored.record;
        if shared::is_shared(&record.driver) && !known.contains(&record.driver) {
            context.ui.warn(format!(
                "The builder `{}` cannot be used by bkhost: it has no driver `{}`",
                record.name, record.driver
            ));
        }
    }
}

/// The folders of docker's plugins.
pub(super) fn folders(context: &Context<'_>) -> PluginFolders {
    handover::folders(context.environment)
}
