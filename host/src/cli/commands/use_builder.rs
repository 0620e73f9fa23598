//! `use`: select a builder.

use crate::cli::builders::{self, LOCAL};
use crate::cli::settings::{Context, with_known};
use crate::error::{CommandError, Result};
use crate::store::docker::contexts::DEFAULT;
use crate::store::selection::Selection;
use crate::store::{name, shared};

/// Arguments of `use`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Keep the selection when another docker context becomes active
    #[arg(long)]
    global: bool,
    /// Make it the default of the active docker context
    #[arg(long)]
    default: bool,
    /// The builder (default: the one of --builder)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

const EXAMPLES: &str = "Examples:
  bkhost use ci
  bkhost use --global ci        In every docker context
  bkhost use default            Back to the active docker context";

/// Selects the builder; no driver is asked.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let name = args
        .name
        .as_deref()
        .or(context.builder.as_deref())
        .unwrap_or_default();
    let key = context.contexts.key()?;
    let select = |name: &str, shared: bool| {
        let selection = Selection {
            key: key.clone(),
            name: name.to_owned(),
            global: args.global && !name.is_empty(),
        };
        select(context, selection, args.default, shared)
    };
    if let Some(stored) = context.store.load(name)? {
        return select(name, shared::is_shared(&stored.record.driver)).await;
    }
    let active = context.contexts.active();
    if name == DEFAULT && active != DEFAULT {
        return Err(switch_context(DEFAULT));
    }
    if name == active {
        return select("", true).await;
    }
    if context.contexts.get(name)?.is_some() {
        return Err(switch_context(name));
    }
    if name == LOCAL && builders::local(context).is_some() {
        return select(LOCAL, false).await;
    }
    Err(not_found(context, name))
}

async fn select(context: &Context<'_>, selection: Selection, default: bool, shared: bool) -> Result<()> {
    let default = default && !selection.name.is_empty();
    let transaction = context.store.transaction(context.waiting()).await?;
    Ok(transaction.select(&selection, default, shared)?)
}

fn switch_context(name: &str) -> CommandError {
    let what = if name == DEFAULT {
        "default context".to_owned()
    } else {
        format!("context {name}")
    };
    CommandError::user(format!("run `docker context use {name}` to switch to {what}"))
        .with_hint(format!("`--builder {name}` uses it for one command"))
}

fn not_found(context: &Context<'_>, name: &str) -> CommandError {
    let why = match name::validate(name) {
        Err(invalid) => invalid.to_string(),
        Ok(file) => format!(
            "open {}: no such file or directory",
            context.store.layout().instances().join(file).display()
        ),
    };
    let error = CommandError::user(format!("failed to find instance {name:?}: {why}"));
    with_known(context, name, error)
}
