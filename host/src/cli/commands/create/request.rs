//! From typed flags to a plain request: everything that can be said about them before the store is looked at.

use std::collections::BTreeMap;

use super::Args;
use crate::cli::build::csv;
use crate::cli::build::value::ValueError;
use crate::cli::settings::{Context, with_known};
use crate::cli::status;
use crate::cli::values;
use crate::cli::{builders, env_vars};
use crate::driver::node::DriverInfo;
use crate::error::{CommandError, Result};
use crate::platform::{self, Platform};
use crate::store::daemon_config::{self, Files};
use crate::store::{name, shared};

/// A wanted change of a builder.
#[derive(Debug)]
pub struct Request {
    /// Name of the builder as typed, or a random one.
    pub name: String,
    /// What its driver says about itself.
    pub driver: DriverInfo,
    /// The driver follows from nothing that was typed or stored.
    pub is_driver_guessed: bool,
    /// Node to create or change; empty for a new one.
    pub node: String,
    /// Whether a node may be added.
    pub append: bool,
    /// Endpoint as typed.
    pub endpoint: Option<String>,
    /// Fixed platforms.
    pub platforms: Vec<Platform>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// buildkitd arguments to store; `None` to keep what is stored.
    pub flags: Option<Vec<String>>,
    /// buildkitd configuration, if there is one.
    pub files: Option<Files>,
}

impl Request {
    /// Checks the flags in buildx's order.
    pub async fn resolve(context: &Context<'_>, args: Args) -> Result<Self> {
        let name = builder_name(context, &args)?;
        let existing = context.store.load(&name)?;
        if args.append && existing.is_none() {
            let error = CommandError::user(format!("failed to find instance {name:?} for append"));
            return Err(with_known(context, &name, error));
        }
        let is_driver_guessed = existing.is_none() && args.driver.as_deref().unwrap_or_default().is_empty();
        let existing_driver = existing.map(|stored| stored.record.driver);
        let node = args.node.clone().unwrap_or_default();
        let driver = choose_driver(context, &args, existing_driver.as_deref()).await?;
        if let Some(stored) = existing_driver {
            check_existing(&name, &node, args.append, &driver, &stored)?;
        }
        if !shared::is_storable(&driver) {
            return Err(not_made_with(&driver));
        }
        status::check_driver(context, &driver)?;
        let info = context.drivers.info(&driver).await?;
        if !info.makes_builders() {
            return Err(not_made_with(&driver));
        }
        let options = driver_options(&args.driver_opts)?;
        let files = daemon_files(context, &args, &info)?;
        let flags = daemon_flags(args.buildkitd_flags.as_deref(), &info)?;
        let entitled = files
            .as_ref()
            .is_some_and(|files| daemon_config::grants(files, "network.host"));
        Ok(Self {
            flags: shared::stored_flags(&driver, flags, &options, entitled),
            name,
            driver: info,
            is_driver_guessed,
            node,
            append: args.append,
            endpoint: args.endpoint.filter(|endpoint| !endpoint.is_empty()),
            platforms: platforms(&args.platform)?,
            options,
            files,
        })
    }
}

fn not_made_with(driver: &str) -> CommandError {
    CommandError::user(format!(
        "additional instances of driver {driver:?} cannot be created"
    ))
}

fn builder_name(context: &Context<'_>, args: &Args) -> Result<String> {
    let typed = args.name.as_deref().unwrap_or_default();
    if typed == name::RESERVED {
        return Err(CommandError::user(format!(
            "{typed} is a reserved name and cannot be used to identify builder instance"
        )));
    }
    if args.append && typed.is_empty() {
        return Err(CommandError::user("append requires a builder name").with_hint("Give it with `--name`"));
    }
    let is_context = |name: &str| context.contexts.get(name).is_ok_and(|found| found.is_some());
    if typed.is_empty() {
        return name::random(|name| context.store.contains(name) || is_context(name))
            .ok_or_else(|| CommandError::user("failed to generate random name"));
    }
    name::validate(typed)?;
    if !args.append && is_context(typed) {
        return Err(CommandError::user(format!(
            "instance name {typed:?} already exists as context builder"
        )));
    }
    if typed == builders::LOCAL && !context.store.contains(typed) && builders::local(context).is_some() {
        context.ui.warn(format!(
            "`{typed}` now means this builder, not the implicit one of this machine"
        ));
    }
    Ok(typed.to_owned())
}

fn check_existing(name: &str, node: &str, append: bool, driver: &str, stored: &str) -> Result<()> {
    if node.is_empty() && !append {
        return Err(CommandError::user(format!(
            "existing instance for {name:?} but no append mode, specify the node name to make changes for existing instances"
        ))
        .with_hint("`--append` adds a node, `--node NAME` changes one, `bkhost rm` removes the builder"));
    }
    if driver != stored {
        return Err(CommandError::user(format!(
            "existing instance for {name:?} but has mismatched driver {stored:?}"
        )));
    }
    Ok(())
}

/// The driver: typed, or the existing builder's, or the one that takes the address given by variable or argument, or
/// one that makes builders of docker engines, or the one of the implicit builder.
async fn choose_driver(context: &Context<'_>, args: &Args, existing: Option<&str>) -> Result<String> {
    if let Some(driver) = args
        .driver
        .as_deref()
        .filter(|driver| !driver.is_empty())
        .or(existing)
    {
        return Ok(driver.to_owned());
    }
    let endpoint = args.endpoint.as_deref().unwrap_or_default();
    let by_variable = endpoint.is_empty() && context.environment.get(env_vars::BUILDKIT_HOST).is_some();
    if by_variable && let Some(driver) = builders::driver_for_variable(context, env_vars::BUILDKIT_HOST).await
    {
        return Ok(driver);
    }
    let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme);
    let mut engine = None;
    for name in context.drivers.names() {
        let info = context.drivers.info(&name).await?;
        if !info.makes_builders() || !shared::is_storable(&name) {
            continue;
        }
        let takes = |scheme| info.endpoint.schemes.iter().any(|known| known == scheme);
        if info.endpoint.kind == "required" && scheme.is_some_and(takes) {
            return Ok(name);
        }
        if info.endpoint.kind == "engine" {
            engine.get_or_insert(name);
        }
    }
    if let Some(engine) = engine {
        return Ok(engine);
    }
    if endpoint.is_empty() {
        return Ok(shared::IMPLICIT_DRIVER.to_owned());
    }
    Err(
        CommandError::user(format!("No driver takes the endpoint: {endpoint}"))
            .with_hint("`bkhost driver ls` lists the drivers; choose one with `--driver`"),
    )
}

fn driver_options(values: &[String]) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    for value in values {
        for field in csv::fields(value)? {
            let Some((key, value)) = field.split_once('=') else {
                return Err(
                    CommandError::user(format!("invalid value {field:?}, expecting k=v")).with_hint(
                        "Options are written `NAME=VALUE`; one with commas is quoted as a whole: `'\"labels=a=1,b=2\"'`",
                    ),
                );
            };
            options.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(options)
}

/// The error for what a daemon cannot be given, because it does not belong to its builder.
fn not_supported(what: &str, driver: &DriverInfo, flag: &str) -> CommandError {
    let name = &driver.name;
    CommandError::user(format!("setting {what} is not supported for {name} driver")).with_hint(format!(
        "Leave out `{flag}`: `{name}` uses daemons that are configured where they run"
    ))
}

fn daemon_flags(text: Option<&str>, driver: &DriverInfo) -> Result<Option<Vec<String>>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if !driver.takes_flags() {
        return Err(not_supported("buildkit flags", driver, "--buildkitd-flags"));
    }
    let words = values::shell_words(text)
        .map_err(|error| CommandError::user(format!("failed to parse buildkit flags: {error}")))?;
    Ok(Some(words))
}

/// The configuration that was typed, else the user's default one where the driver takes any: a default is no wish.
fn daemon_files(context: &Context<'_>, args: &Args, driver: &DriverInfo) -> Result<Option<Files>> {
    if let Some(path) = &args.buildkitd_config {
        if !driver.takes_files() {
            return Err(not_supported("config file", driver, "--buildkitd-config"));
        }
        return Ok(Some(daemon_config::load(&context.environment.folder.join(path))?));
    }
    let default = context.store.layout().default_daemon_config();
    if driver.takes_files() && default.is_file() {
        return Ok(Some(daemon_config::load(&default)?));
    }
    Ok(None)
}

fn platforms(values: &[String]) -> Result<Vec<Platform>> {
    let given: Vec<&String> = values.iter().filter(|value| !value.is_empty()).collect();
    platform::parse_list(&given).map_err(|error| ValueError::from(error).into())
}
