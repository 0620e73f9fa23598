//! A node of this track: each call is one operation in a guest of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::component::Resource;

use super::{OpenGuest, Purpose, V0_1, convert};
use crate::connect::pipe::Pipe;
use crate::driver::environment::HostEnvironment;
use crate::driver::imports::requests::{
    GuestDialRequest, GuestLogRequest, GuestLoss, GuestRemoval, GuestWorker,
};
use crate::driver::imports::steps::{GuestStep, Shown};
use crate::driver::imports::types::{Answer, Failure};
use crate::driver::limits::LISTED;
use crate::driver::node::{
    DialRequest, DriverError, DriverErrorKind, DriverInfo, DriverResult, Finding, Instance, LogRequest, Loss,
    Node, NodeConfig, Removal, Status, WorkerFacts,
};
use crate::driver::node_state::NodeStore;
use crate::driver::operation;
use crate::driver::state::Call;

/// An opened node.
pub(super) struct V0_1Node {
    driver: Arc<V0_1>,
    info: Arc<DriverInfo>,
    environment: Arc<HostEnvironment>,
    config: Arc<NodeConfig>,
    state: Arc<NodeStore>,
}

impl V0_1Node {
    /// A node with this configuration, not validated yet.
    pub fn new(
        driver: Arc<V0_1>,
        info: Arc<DriverInfo>,
        environment: Arc<HostEnvironment>,
        config: NodeConfig,
    ) -> Self {
        let state = Arc::new(NodeStore::new(config.state_file.as_deref(), config.state_owner));
        Self {
            driver,
            info,
            environment,
            config: Arc::new(config),
            state,
        }
    }

    /// Lets the driver look at every option.
    pub async fn validate(&self) -> DriverResult<()> {
        let call = self.looking("open");
        operation::run(&call, async {
            self.driver.enter(&call).await?;
            Ok(())
        })
        .await
    }

    fn looking(&self, function: &'static str) -> Arc<Call> {
        let purpose = Purpose::looking(function, Arc::clone(&self.config), Arc::clone(&self.state));
        self.driver.call(&self.environment, purpose)
    }

    fn acting(&self, function: &'static str, request: DialRequest) -> Arc<Call> {
        let purpose = Purpose {
            function,
            config: Arc::clone(&self.config),
            state: Arc::clone(&self.state),
            sink: request.sink,
            deadline: request.deadline,
            cancel: request.cancel,
            read_only: false,
        };
        self.driver.call(&self.environment, purpose)
    }

    fn counts(&self, optional: &str) -> bool {
        self.info.optional.iter().any(|name| name == optional)
    }
}

/// Puts a value into the guest's table for the length of one call, and lends it.
fn lend<T: Send + 'static>(open: &mut OpenGuest, value: T) -> Answer<Resource<T>> {
    let owned = open.guest.store.data_mut().table().push(value)?;
    Ok(Resource::new_borrow(owned.rep()))
}

/// Ends the operation's step as the operation ended. A cancelled one is shown as such when it is dropped.
async fn end_step(shown: &Shown, error: Option<&DriverError>) {
    match error {
        None => shown.end(None).await,
        Some(error) if error.kind == DriverErrorKind::Cancelled => {}
        Some(error) => shown.end(Some(error.message.clone())).await,
    }
}

/// Runs one call of an operation that shows a step.
async fn stepped<T>(call: &Arc<Call>, name: &str, work: impl AsyncWork<T>) -> DriverResult<T> {
    let shown = Shown::new(call.sink.clone(), name.to_owned());
    match operation::run(call, work.start(Arc::clone(&shown))).await {
        Ok(value) => {
            end_step(&shown, None).await;
            Ok(value)
        }
        Err(error) => {
            end_step(&shown, Some(&error)).await;
            Err(error)
        }
    }
}

/// A function from a step to a future, nameable as `impl`.
trait AsyncWork<T> {
    fn start(self, shown: Arc<Shown>) -> impl Future<Output = Answer<T>> + Send;
}

impl<T, F, R> AsyncWork<T> for F
where
    F: FnOnce(Arc<Shown>) -> R,
    R: Future<Output = Answer<T>> + Send,
{
    fn start(self, shown: Arc<Shown>) -> impl Future<Output = Answer<T>> + Send {
        self(shown)
    }
}

#[async_trait]
impl Node for V0_1Node {
    fn info(&self) -> &DriverInfo {
        &self.info
    }

    async fn endpoint(&self) -> DriverResult<String> {
        let call = self.looking("endpoint");
        operation::run(&call, async {
            let mut open = self.driver.enter(&call).await?;
            let node = open.guest.exports.bkhost_driver_node();
            let endpoint = node
                .node()
                .call_endpoint(&mut open.guest.store, open.handle)
                .await?;
            let endpoint = endpoint.map_err(Failure::Told)?;
            if convert::line(&endpoint) != endpoint {
                return Err(wasmtime::Error::msg("its endpoint is no line of text").into());
            }
            Ok(endpoint)
        })
        .await
    }

    async fn status(&self) -> DriverResult<Status> {
        let call = self.looking("status");
        operation::run(&call, async {
            let mut open = self.driver.enter(&call).await?;
            let node = open.guest.exports.bkhost_driver_node();
            let status = node
                .node()
                .call_status(&mut open.guest.store, open.handle)
                .await?;
            status.map(convert::status).map_err(Failure::Told)
        })
        .await
    }

    async fn boot(&self, request: DialRequest) -> DriverResult<()> {
        let call = self.acting("boot", request);
        stepped(&call, "[internal] booting buildkit", async |shown| {
            let mut open = self.driver.enter(&call).await?;
            let step = lend(&mut open, GuestStep::root(shown))?;
            let node = open.guest.exports.bkhost_driver_node();
            let booted = node
                .node()
                .call_boot(&mut open.guest.store, open.handle, step)
                .await?;
            booted.map_err(Failure::Told)
        })
        .await
    }

    async fn instances(&self) -> DriverResult<Vec<Instance>> {
        let call = self.looking("instances");
        operation::run(&call, async {
            let mut open = self.driver.enter(&call).await?;
            let node = open.guest.exports.bkhost_driver_node();
            let instances = node
                .node()
                .call_instances(&mut open.guest.store, open.handle)
                .await?;
            let instances = instances.map_err(Failure::Told)?;
            if instances.len() > LISTED {
                return Err(wasmtime::Error::msg(format!("it listed more than {LISTED} instances")).into());
            }
            instances
                .into_iter()
                .map(convert::instance)
                .collect::<Option<_>>()
                .ok_or_else(|| wasmtime::Error::msg("an instance's id is no line of text").into())
        })
        .await
    }

    async fn placement(&self) -> DriverResult<Vec<(String, String)>> {
        let call = self.looking("placement");
        operation::run(&call, async {
            let mut open = self.driver.enter(&call).await?;
            let node = open.guest.exports.bkhost_driver_node();
            let pairs = node
                .node()
                .call_placement(&mut open.guest.store, open.handle)
                .await?;
            Ok(convert::pairs(pairs))
        })
        .await
    }

    async fn dial(&self, instance: &str, request: DialRequest) -> DriverResult<Pipe> {
        let purpose = request.purpose;
        let call = self.acting("dial", request);
        stepped(&call, "[internal] connecting to buildkit", async |shown| {
            let mut open = self.driver.enter(&call).await?;
            let request = lend(&mut open, GuestDialRequest { shown, purpose })?;
            let node = open.guest.exports.bkhost_driver_node();
            let dialled = node
                .node()
                .call_dial(&mut open.guest.store, open.handle, instance, request)
                .await?;
            let connection = dialled.map_err(Failure::Told)?;
            Ok(open
                .guest
                .store
                .data_mut()
                .table()
                .delete(connection)?
                .into_pipe())
        })
        .await
    }

    async fn abilities(&self, workers: Vec<WorkerFacts>) -> DriverResult<BTreeMap<String, String>> {
        let call = self.looking("abilities");
        operation::run(&call, async {
            let mut open = self.driver.enter(&call).await?;
            let table = open.guest.store.data_mut().table();
            let workers: Vec<_> = workers
                .into_iter()
                .map(|worker| table.push(GuestWorker(worker)))
                .collect::<Result<_, _>>()?;
            let node = open.guest.exports.bkhost_driver_node();
            let pairs = node
                .node()
                .call_abilities(&mut open.guest.store, open.handle, &workers)
                .await?;
            Ok(convert::pairs(pairs))
        })
        .await
    }

    async fn stop(&self, request: DialRequest) -> DriverResult<()> {
        let call = self.acting("stop", request);
        stepped(&call, "[internal] stopping buildkit", async |shown| {
            let mut open = self.driver.enter(&call).await?;
            let step = lend(&mut open, GuestStep::root(shown))?;
            let node = open.guest.exports.bkhost_driver_node();
            let stopped = node
                .node()
                .call_stop(&mut open.guest.store, open.handle, step)
                .await?;
            stopped.map_err(Failure::Told)
        })
        .await
    }

    async fn remove(&self, request: DialRequest, removal: Removal) -> DriverResult<()> {
        let call = self.acting("remove", request);
        stepped(&call, "[internal] removing buildkit", async |shown| {
            let mut open = self.driver.enter(&call).await?;
            let step = lend(&mut open, GuestStep::root(shown))?;
            let removal = lend(&mut open, GuestRemoval(removal))?;
            let node = open.guest.exports.bkhost_driver_node();
            let removed = node
                .node()
                .call_remove(&mut open.guest.store, open.handle, step, removal)
                .await?;
            removed.map_err(Failure::Told)
        })
        .await
    }

    async fn diagnose(&self, loss: Loss) -> DriverResult<Option<Finding>> {
        let Some(indices) = self.driver.diagnose.as_ref().filter(|_| self.counts("diagnose")) else {
            return Ok(None);
        };
        let call = self.acting("diagnose", loss.request.clone());
        stepped(&call, "[internal] looking for the reason", async |shown| {
            let mut open = self.driver.enter(&call).await?;
            let loss = lend(&mut open, GuestLoss { shown, loss })?;
            let exports = indices.load(&mut open.guest.store, &open.guest.instance)?;
            let found = exports
                .bkhost_driver_diagnose()
                .call_explain(&mut open.guest.store, open.handle, loss)
                .await?;
            found.map(convert::finding).map(Some).map_err(Failure::Told)
        })
        .await
    }

    async fn logs(&self, instance: &str, logs: LogRequest) -> DriverResult<Option<Pipe>> {
        let Some(indices) = self.driver.logs.as_ref().filter(|_| self.counts("logs")) else {
            return Ok(None);
        };
        let call = self.looking("logs");
        operation::run(&call, async {
            let mut open = self.driver.enter(&call).await?;
            let request = lend(&mut open, GuestLogRequest(logs))?;
            let exports = indices.load(&mut open.guest.store, &open.guest.instance)?;
            let opened = exports
                .bkhost_driver_logs()
                .call_open(&mut open.guest.store, open.handle, instance, request)
                .await?;
            let stream = opened.map_err(Failure::Told)?;
            Ok(Some(
                open.guest.store.data_mut().table().delete(stream)?.into_pipe(),
            ))
        })
        .await
    }
}
