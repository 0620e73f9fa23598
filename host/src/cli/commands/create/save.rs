//! Storing a change. The driver is asked without the lock, so the store may change meanwhile: then the change is worked
//! out again on what is there now.

use super::endpoint;
use super::request::Request;
use crate::cli::builders::{Builder, Origin};
use crate::cli::settings::Context;
use crate::error::{CommandError, Result};
use crate::store::record::BuilderRecord;
use crate::store::update::{NodeChange, UpdateError};
use crate::store::{Revision, StoreError, Stored};

/// A stored change, and what was there before.
#[derive(Debug)]
pub struct Saved {
    /// The builder as stored.
    pub record: BuilderRecord,
    /// State of its file.
    pub revision: Revision,
    /// Name of the changed node.
    pub node: String,
    /// A running daemon does not have the new settings.
    pub restart_needed: bool,
    before: Option<Stored>,
}

/// How often a change is worked out again when other processes change the builder; each time another one has made
/// progress.
const ATTEMPTS: usize = 100;

/// Stores the change.
pub async fn save(context: &Context<'_>, request: &Request) -> Result<Saved> {
    for _ in 0..ATTEMPTS {
        let before = context.store.load(&request.name)?;
        if let Some(saved) = attempt(context, request, before).await? {
            return Ok(saved);
        }
    }
    let name = request.name.clone();
    Err(StoreError::Changed { name }.into())
}

/// One try; `None` when somebody else was faster.
async fn attempt(context: &Context<'_>, request: &Request, before: Option<Stored>) -> Result<Option<Saved>> {
    let seen = before.as_ref().map_or(Revision::ABSENT, |stored| stored.revision);
    let mut record = match &before {
        Some(stored) => stored.record.clone(),
        None => BuilderRecord::new(&request.name, &request.driver.name),
    };
    if before.is_some() && request.node.is_empty() && !request.append {
        return Err(CommandError::user(format!(
            "existing instance for {:?} but no append mode, specify the node name to make changes for existing instances",
            request.name
        )));
    }
    let (name, exists) = record.node_for(&request.node)?;
    let existing = record.nodes().iter().find(|node| node.name == name);
    let endpoint = endpoint::resolve(context, request, existing)?;
    let updated = record.update(NodeChange {
        node: request.node.clone(),
        append: request.append,
        endpoint: endpoint.address.clone(),
        explicit: endpoint.explicit,
        platforms: request.platforms.clone(),
        flags: request.flags.clone(),
        options: request.options.clone(),
        files: request.files.clone(),
    })?;
    let completed = complete(context, &record, &updated.node).await?;
    if endpoint.explicit || !exists {
        set_endpoint(&mut record, &updated.node, completed)?;
    }
    let transaction = context.store.transaction(context.waiting()).await?;
    match transaction.save_over(seen, &record) {
        Ok(revision) => Ok(Some(Saved {
            record,
            revision,
            node: updated.node,
            restart_needed: updated.restart_needed,
            before,
        })),
        Err(StoreError::Changed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lets the driver check the node as it will be, and returns the endpoint that it wants to be stored.
async fn complete(context: &Context<'_>, record: &BuilderRecord, node: &str) -> Result<String> {
    let builder = Builder {
        record: record.clone(),
        origin: Origin::Implicit,
        warnings: Vec::new(),
    };
    let Some(node) = record.nodes().iter().find(|other| other.name == node) else {
        return Err(CommandError::internal(format!("Node `{node}` got lost")));
    };
    let mut config = builder.node_config(context, node);
    config.state_file = None;
    let opened = context.drivers.open(&record.driver, config).await?;
    Ok(opened.endpoint().await?)
}

fn set_endpoint(record: &mut BuilderRecord, node: &str, endpoint: String) -> Result<()> {
    let nodes = record.nodes.get_or_insert_default();
    if nodes
        .iter()
        .any(|other| other.name != node && other.endpoint == endpoint)
    {
        return Err(UpdateError::DuplicateEndpoint(endpoint).into());
    }
    if let Some(changed) = nodes.iter_mut().find(|other| other.name == node) {
        changed.endpoint = endpoint;
    }
    Ok(())
}

/// Puts back what was there before, unless others have changed the builder since.
pub async fn roll_back(context: &Context<'_>, saved: &Saved) -> Result<()> {
    let rolled_back = try_roll_back(context, saved).await;
    rolled_back.map_err(|error| CommandError::from(error).prefixed("could not rollback to previous state"))
}

async fn try_roll_back(context: &Context<'_>, saved: &Saved) -> Result<(), StoreError> {
    let transaction = context.store.transaction(context.waiting()).await?;
    transaction.check(saved.revision, &saved.record.name)?;
    match &saved.before {
        Some(before) => transaction.save(&before.record).map(|_| ()),
        None => transaction.remove(&saved.record.name),
    }
}
