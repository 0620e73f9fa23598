//! What a node's endpoint is, by what its driver wants.

use super::request::Request;
use crate::cli::settings::Context;
use crate::cli::values;
use crate::cli::{builders, engine};
use crate::error::{CommandError, Result};
use crate::store::docker::contexts::DEFAULT;
use crate::store::docker::host;
use crate::store::record::NodeRecord;

/// An endpoint to store, before the driver has completed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; empty when the driver derives it.
    pub address: String,
    /// Whether it replaces the one of an existing node.
    pub explicit: bool,
}

/// The endpoint that `request` asks for; `existing` is the node that it changes.
pub fn resolve(context: &Context<'_>, request: &Request, existing: Option<&NodeRecord>) -> Result<Endpoint> {
    let info = &request.driver.endpoint;
    let kept = existing.map(|node| node.endpoint.clone());
    match (info.kind.as_str(), &request.endpoint) {
        ("derived", Some(typed)) => Err(CommandError::user(format!(
            "{} driver does not support endpoint args {typed:?}",
            request.driver.name
        ))),
        ("derived", None) => Ok(Endpoint {
            address: kept.unwrap_or_default(),
            explicit: false,
        }),
        ("engine", Some(typed)) => typed_engine(context, typed),
        ("engine", None) => active_engine(context, kept),
        (_, Some(typed)) => Ok(Endpoint {
            address: typed.clone(),
            explicit: true,
        }),
        (_, None) => from_variable(context, request, kept),
    }
}

fn from_variable(context: &Context<'_>, request: &Request, kept: Option<String>) -> Result<Endpoint> {
    if let Some(address) = kept {
        return Ok(Endpoint {
            address,
            explicit: false,
        });
    }
    let variable = request.driver.endpoint.variable.as_deref();
    if let Some(address) = variable.and_then(|name| context.environment.get(name)) {
        return Ok(Endpoint {
            address: address.to_owned(),
            explicit: true,
        });
    }
    let schemes = &request.driver.endpoint.schemes;
    let known: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://…`")).collect();
    let error = CommandError::user(format!("no {} endpoint provided", request.driver.name));
    Err(if known.is_empty() {
        error
    } else {
        error.with_hint(format!("Give one as the last argument: {}", known.join(", ")))
    })
}

fn typed_engine(context: &Context<'_>, typed: &str) -> Result<Endpoint> {
    let address = match context.contexts.get(typed)? {
        Some(found) if found.name == DEFAULT => found.host,
        Some(found) => found.name,
        None => host::parse(typed)
            .map_err(|error| CommandError::user(format!("failed to parse endpoint {typed}: {error}")))?,
    };
    Ok(Endpoint {
        address,
        explicit: true,
    })
}

fn active_engine(context: &Context<'_>, kept: Option<String>) -> Result<Endpoint> {
    if context.contexts.active() == DEFAULT && context.contexts.tls_from_environment() {
        return Err(CommandError::user(
            "could not create a builder instance with TLS data loaded from environment. Please use `docker context create <context-name>` to create a context for current environment and then create a builder instance with context set to <context-name>",
        ));
    }
    let address = match kept {
        Some(address) => address,
        None => active_key(context)?,
    };
    Ok(Endpoint {
        address,
        explicit: false,
    })
}

/// What stands for the active engine: a docker context, or the address of the one called `default`.
fn active_key(context: &Context<'_>) -> Result<String> {
    let name = context.contexts.active();
    if context.contexts.get(name)?.is_none() {
        return Err(CommandError::user(format!(
            "unable to resolve docker endpoint: context {name:?}: context not found"
        ))
        .with_hint(engine::missing_context_hint(context)));
    }
    Ok(context.contexts.key()?)
}

/// What may help when the engine of a new node cannot be reached: a word that is no context counts as a host, and there
/// are builders that need no engine.
pub fn advice(context: &Context<'_>, request: &Request) -> Option<String> {
    if request.driver.endpoint.kind != "engine" {
        return None;
    }
    let Some(typed) = &request.endpoint else {
        let local = builders::local(context).filter(|_| request.is_driver_guessed)?;
        return Some(format!(
            "`--driver {}` makes a builder that needs no engine",
            local.record.driver
        ));
    };
    let contexts = context.contexts.list().ok()?;
    let mut names = contexts.iter().map(|context| context.name.as_str());
    if typed.contains("://") || names.clone().any(|name| name == typed) {
        return None;
    }
    let taken = format!("There is no docker context `{typed}`, so it was taken for a host's name");
    Some(match values::nearest(typed, &mut names) {
        Some(near) => format!("{taken}. Did you mean the context `{near}`?"),
        None => taken,
    })
}
