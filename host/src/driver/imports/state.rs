//! What the driver remembers about a node.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;

use super::types::{Answer, Failure};
use crate::driver::bindings::state::{Host, HostNodeState};
use crate::driver::bindings::types::ErrorKind;
use crate::driver::node_state::NodeStateError;
use crate::driver::state::View;

/// How long a swap waits for other processes, each of which holds the lock for milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A handle to the state of the operation's node.
pub struct NodeState;

impl Host for View<'_> {}

impl HostNodeState for View<'_> {
    async fn get(&mut self, handle: Resource<NodeState>, key: String) -> Answer<Option<String>> {
        self.table.get(&handle)?;
        Ok(self.call.state.get(&key)?)
    }

    async fn swap(
        &mut self,
        handle: Resource<NodeState>,
        key: String,
        expected: Option<String>,
        new: Option<String>,
    ) -> Answer<bool> {
        self.table.get(&handle)?;
        // `open` runs before every function, also before those that may write, and touches nothing.
        if self.call.read_only || self.call.function.name() == "open" {
            let message = format!(
                "`swap` is not allowed in `{}`: it only looks",
                self.call.function.name()
            );
            return Err(Failure::new(ErrorKind::Denied, message));
        }
        let store = Arc::clone(&self.call.state);
        // Another process may hold the lock, and a lock on a file blocks the thread.
        let swap = tokio::task::spawn_blocking(move || store.swap(&key, expected.as_deref(), new));
        let limit = u64::try_from(LOCK_WAIT.as_nanos()).unwrap_or(u64::MAX);
        let done = self.call.wait(limit, "Writing the driver's state", swap).await?;
        Ok(done.map_err(wasmtime::Error::new)??)
    }

    async fn drop(&mut self, handle: Resource<NodeState>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl From<NodeStateError> for Failure {
    fn from(error: NodeStateError) -> Self {
        let message = error.to_string();
        match error {
            NodeStateError::File(error) => error.into(),
            NodeStateError::Limit(_) => Self::new(ErrorKind::Exhausted, message),
            NodeStateError::Broken { source, .. } => {
                Self::new(ErrorKind::Other, format!("{message}: {source}"))
            }
            NodeStateError::Newer { .. } => Self::new(ErrorKind::Unsupported, message),
        }
    }
}
