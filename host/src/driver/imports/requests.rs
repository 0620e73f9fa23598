//! What the host asks a driver for, as resources with getters.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::Resource;

use super::steps::{GuestStep, Shown};
use super::time::unix_nanoseconds;
use crate::driver::bindings::requests::{
    Host, HostDialRequest, HostLogRequest, HostLoss, HostRemoval, HostWorker,
};
use crate::driver::bindings::types::Pair;
use crate::driver::node::{LogRequest, Loss, Removal, WorkerFacts};
use crate::driver::state::View;

/// Why and how to connect.
pub struct GuestDialRequest {
    /// The operation's step.
    pub shown: Arc<Shown>,
    /// What the connection is for.
    pub purpose: &'static str,
}

/// How much to remove.
pub struct GuestRemoval(pub Removal);

/// A worker of the daemon.
pub struct GuestWorker(pub WorkerFacts);

/// How a connection was lost.
pub struct GuestLoss {
    /// The operation's step.
    pub shown: Arc<Shown>,
    /// What is known.
    pub loss: Loss,
}

/// Which part of a log is wanted.
pub struct GuestLogRequest(pub LogRequest);

impl Host for View<'_> {}

impl HostDialRequest for View<'_> {
    async fn step(&mut self, handle: Resource<GuestDialRequest>) -> wasmtime::Result<Resource<GuestStep>> {
        let shown = Arc::clone(&self.table.get(&handle)?.shown);
        Ok(self.table.push(GuestStep::root(shown))?)
    }

    async fn purpose(&mut self, handle: Resource<GuestDialRequest>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.purpose.to_owned())
    }

    async fn drop(&mut self, handle: Resource<GuestDialRequest>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostRemoval for View<'_> {
    async fn keep_state(&mut self, handle: Resource<GuestRemoval>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&handle)?.0.keep_state)
    }

    async fn keep_daemon(&mut self, handle: Resource<GuestRemoval>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&handle)?.0.keep_daemon)
    }

    async fn drop(&mut self, handle: Resource<GuestRemoval>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostWorker for View<'_> {
    async fn id(&mut self, handle: Resource<GuestWorker>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.0.id.clone())
    }

    async fn labels(&mut self, handle: Resource<GuestWorker>) -> wasmtime::Result<Vec<Pair>> {
        Ok(pairs(&self.table.get(&handle)?.0.labels))
    }

    async fn label(
        &mut self,
        handle: Resource<GuestWorker>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&handle)?.0.labels.get(&name).cloned())
    }

    async fn platforms(&mut self, handle: Resource<GuestWorker>) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&handle)?.0.platforms.clone())
    }

    async fn drop(&mut self, handle: Resource<GuestWorker>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostLoss for View<'_> {
    async fn instance(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.loss.instance.clone())
    }

    async fn opened_at(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<u64> {
        Ok(unix_nanoseconds(self.table.get(&handle)?.loss.opened))
    }

    async fn lost_at(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<u64> {
        Ok(unix_nanoseconds(self.table.get(&handle)?.loss.lost))
    }

    async fn how(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.loss.how.clone())
    }

    async fn exit_status(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<Option<i32>> {
        Ok(self.table.get(&handle)?.loss.exit_status)
    }

    async fn stderr_tail(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.loss.stderr_tail.clone())
    }

    async fn step(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<Resource<GuestStep>> {
        let shown = Arc::clone(&self.table.get(&handle)?.shown);
        Ok(self.table.push(GuestStep::root(shown))?)
    }

    async fn drop(&mut self, handle: Resource<GuestLoss>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostLogRequest for View<'_> {
    async fn follow(&mut self, handle: Resource<GuestLogRequest>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&handle)?.0.follow)
    }

    async fn tail(&mut self, handle: Resource<GuestLogRequest>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&handle)?.0.tail)
    }

    async fn drop(&mut self, handle: Resource<GuestLogRequest>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<Pair> {
    map.iter()
        .map(|(key, value)| Pair {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}
