//! One installation at a time: what one process has seen of docker's folder must still be so when it changes it.

use std::time::{Duration, Instant};

use super::plan::{Plan, make_folders};
use super::site::Site;
use crate::cli::settings::Context;
use crate::error::Result;
use crate::fs::PassingLock;

/// Name of the lock's file in the folder of plugins; no plugin to docker.
const FILE: &str = "bkhost-install.lock";
/// After this long the user is told what is being waited for.
const SILENT_WAIT: Duration = Duration::from_secs(2);
/// How often a taken lock is tried again. Waiting inside the system call would leave the user without Ctrl-C.
const RETRY: Duration = Duration::from_millis(20);

/// Looks at everything, decides with `of` what is to be done, and does it or only says it. Gives what was there before,
/// and whether anything was to be done.
pub async fn look_and_act(
    context: &Context<'_>,
    dry_run: bool,
    of: impl Fn(&Site) -> Plan,
) -> Result<(Site, bool)> {
    let mut site = Site::find(context).await?;
    let mut plan = of(&site);
    let mut turn = None;
    if !dry_run && !plan.is_empty() {
        // What cannot be read was refused before anything is made.
        make_folders(&site)?;
        turn = Some(wait_for_turn(context, &site).await?);
        site = Site::find(context).await?;
        plan = of(&site);
    }
    plan.carry_out(context.ui, &site, dry_run)?;
    drop(turn);
    Ok((site, !plan.is_empty()))
}

async fn wait_for_turn(context: &Context<'_>, site: &Site) -> Result<PassingLock> {
    let path = site.plugins().join(FILE);
    let started = Instant::now();
    let mut is_told = false;
    loop {
        if let Some(lock) = PassingLock::try_acquire(&path, site.owner)? {
            return Ok(lock);
        }
        if !is_told && started.elapsed() >= SILENT_WAIT {
            is_told = true;
            context.ui.say(format!(
                "Waiting for another `install` or `uninstall` to finish: `{}`",
                path.display()
            ));
        }
        tokio::time::sleep(RETRY).await;
    }
}
