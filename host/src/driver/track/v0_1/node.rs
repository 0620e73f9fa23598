//! A node of this track: each call is one operation in a guest of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::BoxFuture;
use wasmtime::component::Resource;

use super::{OpenGuest, Purpose, V0_1, convert};
use crate::connect::pipe::Pipe;
use crate::driver::environment::HostEnvironment;
use crate::driver::imports::requests::{
    GuestDialRequest, GuestLogRequest, GuestLoss, GuestRemoval, GuestWorker,
};
use crate::driver::imports::steps::{GuestStep, Shown};
use crate::driver::imports::types::{Answer, Failure};
use crate::driver::job_facts;
use crate::driver::limits::LISTED;
use crate::driver::node::{
    DialRequest, DriverError, DriverErrorKind, DriverInfo, DriverResult, Finding, Instance, LogRequest, Loss,
    Node, NodeConfig, Removal, State, Status, WorkerFacts,
};
use crate::driver::node_state::NodeStore;
use crate::driver::operation;
use crate::driver::state::Call;

/// How soon a look must follow the opening to be served by the same guest: its bounds on time began with the opening.
const AT_ONCE: Duration = Duration::from_secs(1);

/// An opened node.
pub(super) struct V0_1Node {
    driver: Arc<V0_1>,
    info: Arc<DriverInfo>,
    environment: Arc<HostEnvironment>,
    config: Arc<NodeConfig>,
    state: Arc<NodeStore>,
    opening: Mutex<Option<Opening>>,
}

/// What validating a node leaves: a guest in the very state in which each operation begins.
struct Opening {
    call: Arc<Call>,
    guest: OpenGuest,
    since: Instant,
}

impl V0_1Node {
    /// Opens a node: the driver looks at every option.
    pub async fn open(
        driver: Arc<V0_1>,
        environment: Arc<HostEnvironment>,
        config: NodeConfig,
    ) -> DriverResult<Self> {
        let state = Arc::new(NodeStore::new(config.state_file.as_deref(), config.state_owner));
        let (info, described) = driver.described(&environment).await?;
        let config = Arc::new(with_job_facts(config, &info, &environment));
        let since = Instant::now();
        let purpose = Purpose::looking("open", Arc::clone(&config), Arc::clone(&state));
        let call = driver.call(&environment, purpose);
        let guest = operation::run(&call, async {
            let guest = match described {
                Some(guest) => guest,
                None => driver.instantiate(&call).await?,
            };
            driver.open_in(guest, &call).await
        })
        .await?;
        Ok(Self {
            driver,
            info,
            environment,
            config,
            state,
            opening: Mutex::new(Some(Opening { call, guest, since })),
        })
    }

    fn opening(&self) -> std::sync::MutexGuard<'_, Option<Opening>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a function that only looks. The first one that follows the opening goes on where that ended, which saves a
    /// guest.
    async fn look<T: Send + 'static>(
        &self,
        function: &'static str,
        work: impl FnOnce(OpenGuest) -> Work<T> + Send + 'static,
    ) -> DriverResult<T> {
        let opening = self
            .opening()
            .take()
            .filter(|opening| opening.since.elapsed() < AT_ONCE);
        let (call, opened) = match opening {
            Some(opening) => {
                opening.call.function.set(function);
                (opening.call, Some(opening.guest))
            }
            None => (self.looking_call(function), None),
        };
        operation::run(&call, async {
            let open = match opened {
                Some(guest) => guest,
                None => self.driver.enter(&call).await?,
            };
            work(open).await
        })
        .await
    }

    /// Runs a function that shows a step, which ends as the operation ends.
    async fn act<T: Send + 'static>(
        &self,
        function: &'static str,
        step: &str,
        request: DialRequest,
        work: impl FnOnce(OpenGuest, Arc<Shown>) -> Work<T> + Send + 'static,
    ) -> DriverResult<T> {
        // It shows the node as it was before.
        drop(self.opening().take());
        let call = self.acting_call(function, request);
        let shown = Shown::new(call.sink.clone(), step.to_owned());
        let outcome = operation::run(&call, async {
            let open = self.driver.enter(&call).await?;
            work(open, Arc::clone(&shown)).await
        })
        .await;
        end_step(&shown, outcome.as_ref().err()).await;
        outcome
    }

    fn looking_call(&self, function: &'static str) -> Arc<Call> {
        let purpose = Purpose::looking(function, Arc::clone(&self.config), Arc::clone(&self.state));
        self.driver.call(&self.environment, purpose)
    }

    fn acting_call(&self, function: &'static str, request: DialRequest) -> Arc<Call> {
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
        self.info.counts(optional)
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

async fn status(open: &mut OpenGuest) -> Answer<Status> {
    let node = open.guest.exports.bkhost_driver_node();
    let status = node
        .node()
        .call_status(&mut open.guest.store, open.handle)
        .await?;
    status.map(convert::status).map_err(Failure::Told)
}

async fn instances(open: &mut OpenGuest) -> Answer<Vec<Instance>> {
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
}

/// What is done in an opened guest.
type Work<T> = BoxFuture<'static, Answer<T>>;

/// The configuration with the facts of the job that this runs in, for drivers that want them.
fn with_job_facts(mut config: NodeConfig, info: &DriverInfo, environment: &HostEnvironment) -> NodeConfig {
    let wanted = info.options.iter().any(|option| option.name == job_facts::OPTION);
    let job = environment.job.as_ref().filter(|_| wanted);
    if let Some(facts) = job.and_then(|job| job.file()) {
        config.files.insert(job_facts::FILE.to_owned(), facts.to_vec());
    }
    config
}

#[async_trait]
impl Node for V0_1Node {
    fn info(&self) -> &DriverInfo {
        &self.info
    }

    async fn endpoint(&self) -> DriverResult<String> {
        self.look("endpoint", move |mut open: OpenGuest| {
            Box::pin(async move {
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
        })
        .await
    }

    async fn status(&self) -> DriverResult<Status> {
        self.look("status", |mut open| {
            Box::pin(async move { status(&mut open).await })
        })
        .await
    }

    async fn status_and_instances(&self) -> DriverResult<(Status, Vec<Instance>)> {
        self.look("status", |mut open| {
            Box::pin(async move {
                let status = status(&mut open).await?;
                if status.state != State::Running {
                    return Ok((status, Vec::new()));
                }
                open.guest.store.data().call().function.set("instances");
                Ok((status, instances(&mut open).await?))
            })
        })
        .await
    }

    async fn boot(&self, request: DialRequest) -> DriverResult<()> {
        let step = "[internal] booting buildkit";
        self.act("boot", step, request, move |mut open: OpenGuest, shown| {
            Box::pin(async move {
                let step = lend(&mut open, GuestStep::root(shown))?;
                let node = open.guest.exports.bkhost_driver_node();
                let booted = node
                    .node()
                    .call_boot(&mut open.guest.store, open.handle, step)
                    .await?;
                booted.map_err(Failure::Told)
            })
        })
        .await
    }

    async fn instances(&self) -> DriverResult<Vec<Instance>> {
        self.look("instances", |mut open| {
            Box::pin(async move { instances(&mut open).await })
        })
        .await
    }

    async fn placement(&self) -> DriverResult<Vec<(String, String)>> {
        self.look("placement", move |mut open: OpenGuest| {
            Box::pin(async move {
                let node = open.guest.exports.bkhost_driver_node();
                let pairs = node
                    .node()
                    .call_placement(&mut open.guest.store, open.handle)
                    .await?;
                Ok(convert::pairs(pairs))
            })
        })
        .await
    }

    async fn dial(&self, instance: &str, request: DialRequest) -> DriverResult<Pipe> {
        let (purpose, instance) = (request.purpose, instance.to_owned());
        let step = "[internal] connecting to buildkit";
        self.act("dial", step, request, move |mut open: OpenGuest, shown| {
            Box::pin(async move {
                let request = lend(&mut open, GuestDialRequest { shown, purpose })?;
                let node = open.guest.exports.bkhost_driver_node();
                let dialled = node
                    .node()
                    .call_dial(&mut open.guest.store, open.handle, &instance, request)
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
        })
        .await
    }

    async fn abilities(&self, workers: Vec<WorkerFacts>) -> DriverResult<BTreeMap<String, String>> {
        self.look("abilities", move |mut open: OpenGuest| {
            Box::pin(async move {
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
        })
        .await
    }

    async fn stop(&self, request: DialRequest) -> DriverResult<()> {
        let step = "[internal] stopping buildkit";
        self.act("stop", step, request, move |mut open: OpenGuest, shown| {
            Box::pin(async move {
                let step = lend(&mut open, GuestStep::root(shown))?;
                let node = open.guest.exports.bkhost_driver_node();
                let stopped = node
                    .node()
                    .call_stop(&mut open.guest.store, open.handle, step)
                    .await?;
                stopped.map_err(Failure::Told)
            })
        })
        .await
    }

    async fn remove(&self, request: DialRequest, removal: Removal) -> DriverResult<()> {
        let step = "[internal] removing buildkit";
        self.act("remove", step, request, move |mut open: OpenGuest, shown| {
            Box::pin(async move {
                let step = lend(&mut open, GuestStep::root(shown))?;
                let removal = lend(&mut open, GuestRemoval(removal))?;
                let node = open.guest.exports.bkhost_driver_node();
                let removed = node
                    .node()
                    .call_remove(&mut open.guest.store, open.handle, step, removal)
                    .await?;
                removed.map_err(Failure::Told)
            })
        })
        .await
    }

    async fn diagnose(&self, loss: Loss) -> DriverResult<Option<Finding>> {
        let Some(indices) = self.driver.diagnose.clone().filter(|_| self.counts("diagnose")) else {
            return Ok(None);
        };
        let step = "[internal] looking for the reason";
        let request = loss.request.clone();
        self.act("diagnose", step, request, move |mut open: OpenGuest, shown| {
            Box::pin(async move {
                let loss = lend(&mut open, GuestLoss { shown, loss })?;
                let exports = indices.load(&mut open.guest.store, &open.guest.instance)?;
                let found = exports
                    .bkhost_driver_diagnose()
                    .call_explain(&mut open.guest.store, open.handle, loss)
                    .await?;
                found.map(convert::finding).map(Some).map_err(Failure::Told)
            })
        })
        .await
    }

    async fn logs(&self, instance: &str, logs: LogRequest) -> DriverResult<Option<Pipe>> {
        let Some(indices) = self.driver.logs.clone().filter(|_| self.counts("logs")) else {
            return Ok(None);
        };
        let instance = instance.to_owned();
        self.look("logs", move |mut open: OpenGuest| {
            Box::pin(async move {
                let request = lend(&mut open, GuestLogRequest(logs))?;
                let exports = indices.load(&mut open.guest.store, &open.guest.instance)?;
                let opened = exports
                    .bkhost_driver_logs()
                    .call_open(&mut open.guest.store, open.handle, &instance, request)
                    .await?;
                let stream = opened.map_err(Failure::Told)?;
                Ok(Some(
                    open.guest.store.data_mut().table().delete(stream)?.into_pipe(),
                ))
            })
        })
        .await
    }
}
