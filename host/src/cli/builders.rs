//! All builders there are, wherever they come from: stored, docker contexts, and the ones that nobody had to create.

use super::env_vars;
use super::settings::Context;
use crate::driver::node::NodeConfig;
use crate::error::Result;
use crate::store::docker::contexts::{ContextError, DockerContext};
use crate::store::record::{BuilderRecord, NodeRecord};
use crate::store::{Revision, StoreError, name, shared};

/// Name of the builder on a machine that has nothing else.
pub const LOCAL: &str = "local";
/// Name of the builder that stands for `BUILDKIT_HOST`.
pub const BUILDKIT_HOST_NAME: &str = "buildkit-host";

/// Where a builder comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The store, at this state of its file.
    Stored(Revision),
    /// A docker context.
    Context,
    /// Nobody made it: [`LOCAL`] and [`BUILDKIT_HOST_NAME`].
    Implicit,
}

/// A builder.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Its record, as stored or as it would be.
    pub record: BuilderRecord,
    /// Where it comes from.
    pub origin: Origin,
    /// What the user should be told about it.
    pub warnings: Vec<String>,
}

impl Builder {
    /// The builder that a docker context is, on the engine's own BuildKit as far as is known without asking it.
    pub fn of_context(context: &DockerContext) -> Self {
        let node = NodeRecord {
            name: context.name.clone(),
            endpoint: context.name.clone(),
            ..NodeRecord::default()
        };
        Self::unstored(&context.name, shared::CONTEXT_DRIVER, node, Origin::Context)
    }

    fn unstored(name: &str, driver: &str, node: NodeRecord, origin: Origin) -> Self {
        let mut record = BuilderRecord::new(name, driver);
        record.nodes = Some(vec![node]);
        Self {
            record,
            origin,
            warnings: Vec::new(),
        }
    }

    /// Its name as the user spelled it.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// How displays name it: driver and name.
    pub fn label(&self) -> String {
        format!("{}:{}", self.record.driver, self.record.name)
    }

    /// The endpoint of its first node.
    pub fn endpoint(&self) -> &str {
        self.record
            .nodes()
            .first()
            .map(|node| node.endpoint.as_str())
            .unwrap_or_default()
    }

    /// Whether it is in the store.
    pub fn is_stored(&self) -> bool {
        matches!(self.origin, Origin::Stored(_))
    }

    /// What a driver is told about one of its nodes.
    pub fn node_config(&self, context: &Context<'_>, node: &NodeRecord) -> NodeConfig {
        // What a file claims to be called must not lead out of the store.
        let named = |text: &str| name::validate(text).is_ok();
        let keeps_state = self.origin != Origin::Context && named(self.name()) && named(&node.name);
        let folder = self.name().to_ascii_lowercase();
        NodeConfig {
            builder: self.name().to_owned(),
            node: node.name.clone(),
            endpoint: node.endpoint.clone(),
            options: node.driver_opts.clone().unwrap_or_default(),
            platforms: node.platform_names(),
            daemon_flags: node.flags.clone().unwrap_or_default(),
            files: node.files.clone().unwrap_or_default(),
            state_file: keeps_state.then(|| context.store.layout().driver_state(&folder, &node.name)),
            state_owner: context.store.layout().owner(),
        }
    }
}

/// The builder of this name: stored, a docker context, or an implicit one.
pub async fn find(context: &Context<'_>, name: &str) -> Result<Option<Builder>> {
    if let Some(stored) = context.store.load(name)? {
        return Ok(Some(Builder {
            record: stored.record,
            origin: Origin::Stored(stored.revision),
            warnings: stored.warnings,
        }));
    }
    if let Some(found) = context.contexts.get(name)? {
        return Ok(Some(Builder::of_context(&found)));
    }
    if name == BUILDKIT_HOST_NAME {
        return Ok(at_buildkit_host(context).await);
    }
    Ok(local(context).filter(|local| local.name() == name))
}

/// Every builder, and what could not be read.
#[derive(Debug, Default)]
pub struct All {
    /// Stored ones by name, then docker contexts by name, then implicit ones.
    pub builders: Vec<Builder>,
    /// Stored ones that cannot be read.
    pub broken: Vec<StoreError>,
    /// Why docker contexts could not be listed.
    pub contexts: Option<ContextError>,
    /// Lines for the user.
    pub warnings: Vec<String>,
}

/// Lists every builder. A name that is taken hides later ones.
pub async fn all(context: &Context<'_>) -> Result<All> {
    let listing = context.store.list()?;
    let mut all = All {
        broken: listing.broken,
        warnings: listing.warnings,
        ..All::default()
    };
    all.builders
        .extend(listing.builders.into_iter().map(|stored| Builder {
            record: stored.record,
            origin: Origin::Stored(stored.revision),
            warnings: Vec::new(),
        }));
    let mut others: Vec<Builder> = Vec::new();
    match context.contexts.list() {
        Ok(contexts) => others.extend(contexts.iter().map(Builder::of_context)),
        Err(error) => all.contexts = Some(error),
    }
    others.sort_by(|a, b| a.name().as_bytes().cmp(b.name().as_bytes()));
    others.extend(at_buildkit_host(context).await);
    others.extend(local(context));
    for other in others {
        if !all.builders.iter().any(|builder| builder.name() == other.name()) {
            all.builders.push(other);
        }
    }
    Ok(all)
}

/// The builder `local`, if there is a driver for it.
pub fn local(context: &Context<'_>) -> Option<Builder> {
    let driver = shared::IMPLICIT_DRIVER;
    context
        .drivers
        .names()
        .iter()
        .any(|name| name == driver)
        .then(|| {
            let node = NodeRecord {
                name: LOCAL.to_owned(),
                ..NodeRecord::default()
            };
            Builder::unstored(LOCAL, driver, node, Origin::Implicit)
        })
}

/// The builder at `BUILDKIT_HOST`, if the variable is set and a driver takes it as endpoint.
pub async fn at_buildkit_host(context: &Context<'_>) -> Option<Builder> {
    let endpoint = context.environment.get(env_vars::BUILDKIT_HOST)?;
    let driver = driver_for_variable(context, env_vars::BUILDKIT_HOST).await?;
    let node = NodeRecord {
        name: BUILDKIT_HOST_NAME.to_owned(),
        endpoint: endpoint.to_owned(),
        ..NodeRecord::default()
    };
    Some(Builder::unstored(
        BUILDKIT_HOST_NAME,
        &driver,
        node,
        Origin::Implicit,
    ))
}

/// The first driver whose endpoint may come from this variable.
pub async fn driver_for_variable(context: &Context<'_>, variable: &str) -> Option<String> {
    for name in context.drivers.names() {
        let Ok(info) = context.drivers.info(&name).await else {
            continue;
        };
        if info.endpoint.variable.as_deref() == Some(variable) {
            return Some(name);
        }
    }
    None
}
