//! Track 0.1: generated bindings, and conversions to and from the neutral types.

mod bindings;
mod convert;
mod node;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, ResourceAny};

use self::bindings::{diagnose, logs, node_only, scale};
use self::node::V0_1Node;
use super::Track;
use crate::driver::deadline::Deadline;
use crate::driver::engine::Runtime;
use crate::driver::environment::HostEnvironment;
use crate::driver::grants::Grants;
use crate::driver::imports::config::NodeView;
use crate::driver::imports::log::Notes;
use crate::driver::imports::types::{Answer, Failure};
use crate::driver::load;
use crate::driver::manifest::Manifest;
use crate::driver::node::{Cancel, DriverInfo, DriverResult, Node, NodeConfig};
use crate::driver::node_state::NodeStore;
use crate::driver::operation;
use crate::driver::state::{Activity, Call, Function, Kept, StoreData};
use crate::progress::event::Sink;

/// The version of the contract. A prerelease: it matches exactly, and changes with every change of `wit/`.
pub(crate) const VERSION: &str = "0.1.0-rc.1";

/// A driver of this track.
pub(crate) struct V0_1 {
    runtime: Arc<Runtime>,
    manifest: Arc<Manifest>,
    pre: InstancePre<StoreData>,
    node: node_only::NodeOnlyIndices,
    diagnose: Option<diagnose::WithDiagnoseIndices>,
    logs: Option<logs::WithLogsIndices>,
    scale: bool,
    info: OnceCell<Arc<DriverInfo>>,
}

/// Makes a driver of this track from a linked component.
pub(crate) fn make(
    runtime: Arc<Runtime>,
    manifest: Arc<Manifest>,
    pre: InstancePre<StoreData>,
) -> wasmtime::Result<Box<dyn Track>> {
    Ok(Box::new(V0_1 {
        node: node_only::NodeOnlyIndices::new(&pre)?,
        diagnose: diagnose::WithDiagnoseIndices::new(&pre).ok(),
        logs: logs::WithLogsIndices::new(&pre).ok(),
        scale: scale::WithScaleIndices::new(&pre).is_ok(),
        runtime,
        manifest,
        pre,
        info: OnceCell::new(),
    }))
}

/// What an operation is for, beside the driver itself.
pub(crate) struct Purpose {
    /// The exported function.
    pub function: &'static str,
    /// The node.
    pub config: Arc<NodeConfig>,
    /// Its state.
    pub state: Arc<NodeStore>,
    /// Where steps are shown.
    pub sink: Sink,
    /// When it must be over.
    pub deadline: Deadline,
    /// Ends it early.
    pub cancel: Cancel,
    /// Whether the state may only be read.
    pub read_only: bool,
}

impl Purpose {
    /// For a function that only looks.
    pub fn looking(function: &'static str, config: Arc<NodeConfig>, state: Arc<NodeStore>) -> Self {
        Self {
            function,
            config,
            state,
            sink: Sink::discard(),
            deadline: operation::looking_deadline().into(),
            cancel: Cancel::new(),
            read_only: true,
        }
    }
}

/// An instance in a store of its own.
struct Guest {
    store: Store<StoreData>,
    instance: Instance,
    exports: node_only::NodeOnly,
}

/// A guest with an opened node.
struct OpenGuest {
    guest: Guest,
    handle: ResourceAny,
}

impl V0_1 {
    fn call(&self, environment: &Arc<HostEnvironment>, purpose: Purpose) -> Arc<Call> {
        let wanted = Arc::new(self.manifest.grants.clone());
        Arc::new(Call {
            driver: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            function: Function::new(purpose.function),
            grants: Grants::new(wanted, Arc::clone(&purpose.config)),
            config: purpose.config,
            environment: Arc::clone(environment),
            state: purpose.state,
            sink: purpose.sink,
            deadline: purpose.deadline,
            idle_limit: self.runtime.idle_limit,
            cancel: purpose.cancel,
            read_only: purpose.read_only,
            activity: Activity::new(),
            notes: Notes::new(),
            kept: Kept::default(),
        })
    }

    async fn instantiate(&self, call: &Arc<Call>) -> wasmtime::Result<Guest> {
        let mut store = operation::store(&self.runtime.engine, call);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let exports = self.node.load(&mut store, &instance)?;
        Ok(Guest {
            store,
            instance,
            exports,
        })
    }

    /// Opens the node of `call` in a new guest, which then runs the call's function.
    async fn enter(&self, call: &Arc<Call>) -> Answer<OpenGuest> {
        let function = call.function.name();
        call.function.set("open");
        let guest = self.instantiate(call).await?;
        let open = self.open_in(guest, call).await?;
        call.function.set(function);
        Ok(open)
    }

    /// Opens the node of `call`, which the guest serves from now on.
    async fn open_in(&self, mut guest: Guest, call: &Arc<Call>) -> Answer<OpenGuest> {
        guest.store.data_mut().serve(call);
        let view = NodeView::new(Arc::clone(&call.config), Arc::clone(&call.environment));
        let view = guest.store.data_mut().table().push(view)?;
        let node = guest.exports.bkhost_driver_node();
        let opened = node.node().call_open(&mut guest.store, view).await?;
        let handle = opened.map_err(Failure::Told)?;
        Ok(OpenGuest { guest, handle })
    }

    /// Describes the driver: without a node, so that nothing can be reached. The guest is fresh enough for an opening.
    async fn describe(&self, environment: &Arc<HostEnvironment>) -> DriverResult<(Arc<DriverInfo>, Guest)> {
        let config = Arc::new(NodeConfig::default());
        let state = Arc::new(NodeStore::new(None, None));
        let call = self.call(environment, Purpose::looking("describe", config, state));
        operation::run(&call, async {
            let mut guest = self.instantiate(&call).await?;
            let node = guest.exports.bkhost_driver_node();
            let info = node.call_describe(&mut guest.store).await?;
            let mut info = convert::info(&self.manifest, info);
            info.optional.retain(|name| self.exports_optional(name));
            Ok((Arc::new(info), guest))
        })
        .await
    }

    /// What the driver says of itself, and the guest that has just said it, if one had to be asked.
    async fn described(
        &self,
        environment: &Arc<HostEnvironment>,
    ) -> DriverResult<(Arc<DriverInfo>, Option<Guest>)> {
        let mut asked = None;
        let info = self
            .info
            .get_or_try_init(|| async {
                let (info, guest) = self.describe(environment).await?;
                asked = Some(guest);
                Ok(info)
            })
            .await?;
        Ok((Arc::clone(info), asked))
    }

    /// Whether the component really has an optional interface that its description names.
    fn exports_optional(&self, name: &str) -> bool {
        let there = match name {
            "diagnose" => self.diagnose.is_some(),
            "logs" => self.logs.is_some(),
            "scale" => self.scale,
            _ => false,
        };
        if !there {
            let driver = &self.manifest.name;
            tracing::warn!(%driver, "describes the optional interface `{name}` but does not export it");
        }
        there
    }
}

#[async_trait]
impl Track for V0_1 {
    async fn info(&self, environment: &Arc<HostEnvironment>) -> DriverResult<Arc<DriverInfo>> {
        Ok(self.described(environment).await?.0)
    }

    fn imports(&self) -> BTreeMap<String, Vec<String>> {
        load::imports(&self.runtime, self.pre.component())
    }

    async fn open(
        self: Arc<Self>,
        environment: Arc<HostEnvironment>,
        config: NodeConfig,
    ) -> DriverResult<Box<dyn Node>> {
        Ok(Box::new(V0_1Node::open(self, environment, config).await?))
    }
}
