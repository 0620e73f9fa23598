//! What the command line itself wants to know of engines: whether there is one, and what builds in it.

use std::os::unix::fs::FileTypeExt as _;
use std::time::{Duration, Instant};

use super::builders::{self, Builder, Origin};
use super::settings::{self, Context};
use super::status::{self, Trouble};
use super::{signals, values};
use crate::docker::error::EngineError;
use crate::docker::sockets;
use crate::driver::node::Drivers;
use crate::error::{CommandError, Result};
use crate::store::docker::contexts::{ChosenBy, DockerContext};
use crate::store::shared;

/// Why `local` is used, up to the reason.
pub const LOCAL_NOTE: &str = "Using the builder `local`, a daemon on this machine";
/// Longest wait for an engine's sign of life where the user gave none; ssh takes seconds.
const PING_LIMIT: Duration = Duration::from_secs(20);

/// The engine of the active docker context.
#[derive(Clone, Debug, PartialEq)]
pub enum Active {
    /// Somebody named it, or it has a socket at the usual place. Whether it answers shows when it is used: a dead engine is an error,
    /// not a reason to build elsewhere.
    There(DockerContext),
    /// Nobody named one, and there is no socket at the usual place.
    Nowhere(DockerContext),
    /// There is no driver for engines.
    Unserved,
}

/// Whether an engine is there, told without asking one.
pub fn active(context: &Context<'_>) -> Result<Active> {
    let is_served = context
        .drivers
        .names()
        .iter()
        .any(|name| name == shared::CONTEXT_DRIVER);
    if !is_served {
        return Ok(Active::Unserved);
    }
    let name = context.contexts.active();
    let Some(engine) = context.contexts.get(name)? else {
        return Err(missing(context));
    };
    let is_there = context.contexts.chosen_by().is_some() || may_answer(&engine.host);
    Ok(if is_there {
        Active::There(engine)
    } else {
        Active::Nowhere(engine)
    })
}

/// Fails when the active docker context does not exist; one that cannot be read is another matter.
pub fn check_context(context: &Context<'_>) -> Result<()> {
    match context.contexts.get(context.contexts.active()) {
        Ok(None) => Err(missing(context)),
        _ => Ok(()),
    }
}

/// The error for an active docker context that does not exist, in the words of buildx.
fn missing(context: &Context<'_>) -> CommandError {
    settings::not_found(context.contexts.active()).with_hint(missing_context_hint(context))
}

/// A socket must be there, seen or not; anything else can only be tried.
fn may_answer(host: &str) -> bool {
    host.strip_prefix("unix://")
        .is_none_or(|path| match std::fs::metadata(path) {
            Ok(found) => found.file_type().is_socket(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        })
}

/// What may help when the active docker context does not exist.
pub fn missing_context_hint(context: &Context<'_>) -> String {
    let name = context.contexts.active();
    let by = match context.contexts.chosen_by() {
        Some(ChosenBy::Context) if context.environment.called.has_typed_context => {
            Some("`--context`".to_owned())
        }
        by => by.map(|by| by.to_string()),
    };
    let by = by.map_or_else(String::new, |by| format!(", which {by} names,"));
    let missing = format!("The docker context `{name}`{by} does not exist");
    let known = context.contexts.list().unwrap_or_default();
    match values::nearest(name, known.iter().map(|context| context.name.as_str())) {
        Some(near) => format!("{missing}. Did you mean `{near}`?"),
        None => format!("{missing}; `docker context ls` lists those that do"),
    }
}

/// Why the builder `local` is used on a machine where engines could be.
pub async fn local_note(context: &Context<'_>) -> String {
    let usual = crate::store::docker::host::DEFAULT_HOST;
    let path = usual.trim_start_matches("unix://");
    let others = context.engines.elsewhere(std::path::Path::new(path)).await;
    let others = match sockets::told(&others) {
        told if told.is_empty() => told,
        told => format!(". {told}"),
    };
    format!("{LOCAL_NOTE}: there is no Docker Engine at `{path}`{others}")
}

/// Makes sure that the builder of a command can be used.
pub async fn ready(context: &Context<'_>, builder: &mut Builder) -> Result<()> {
    let prepared = prepare(context, builder, None).await;
    if context.cancel.is_cancelled() {
        return Err(signals::cancelled());
    }
    Ok(prepared?)
}

/// Makes sure that a builder can be used; of a docker context it finds out what builds in its engine.
pub async fn prepare(
    context: &Context<'_>,
    builder: &mut Builder,
    deadline: Option<Instant>,
) -> Result<(), Trouble> {
    status::check_loadable(context, builder)?;
    if builder.origin != Origin::Context {
        return Ok(());
    }
    let asked = tokio::select! {
        asked = has_buildkit(context, builder.name(), deadline) => asked,
        () = context.cancel.cancelled() => return Err(Trouble::new("Cancelled")),
    };
    let has_buildkit = asked.map_err(|error| {
        let trouble = trouble(context, builder.name(), &error);
        // What would build there is not known.
        builder.record.driver.clear();
        trouble
    })?;
    if !has_buildkit && let Some(driver) = driver_of_engines(context.drivers).await {
        builder.record.driver = driver;
    }
    Ok(())
}

async fn has_buildkit(
    context: &Context<'_>,
    name: &str,
    deadline: Option<Instant>,
) -> Result<bool, EngineError> {
    let engine = context.engines.engine(name)?;
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    engine.has_buildkit(left.unwrap_or(PING_LIMIT)).await
}

/// Why an engine cannot be used. Where nobody asked for it, there is a builder that needs none.
fn trouble(context: &Context<'_>, name: &str, error: &EngineError) -> Trouble {
    let mut trouble = Trouble::new(crate::causes::one_line(error));
    trouble.silent = matches!(error, EngineError::Silent { .. });
    let is_usual = name == context.contexts.active() && context.contexts.chosen_by().is_none();
    let local = builders::local(context).filter(|_| is_usual);
    let local = local.map(|local| format!("`--builder {}` builds without an engine", local.name()));
    trouble.hint = match (error.hint(), local) {
        (Some(hint), Some(local)) => Some(format!("{hint}. {local}")),
        (hint, local) => hint.or(local),
    };
    trouble
}

/// The driver that makes builders of any engine, for those that have none of their own.
pub async fn driver_of_engines(drivers: &dyn Drivers) -> Option<String> {
    for name in drivers.names() {
        let Ok(info) = drivers.info(&name).await else {
            continue;
        };
        if info.makes_builders() && shared::is_storable(&name) && info.endpoint.kind == "engine" {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_there_when_its_socket_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| may_answer(&format!("unix://{}/{name}", dir.path().display()));
        assert!(!at("d.sock"));
        let listener = std::os::unix::net::UnixListener::bind(dir.path().join("d.sock")).unwrap();
        assert!(at("d.sock"));
        drop(listener);
        assert!(at("d.sock"), "one that is stopped is there, too");
        // A container that is given a socket which does not exist makes a folder of it.
        std::fs::create_dir(dir.path().join("folder.sock")).unwrap();
        assert!(!at("folder.sock"));
        assert!(may_answer("tcp://h:2375"));
    }
}
