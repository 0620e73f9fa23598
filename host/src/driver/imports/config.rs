//! The node's configuration, read lazily.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::state::NodeState;
use crate::driver::bindings::config::{Host, HostNodeConfig};
use crate::driver::bindings::types::Pair;
use crate::driver::environment::HostEnvironment;
use crate::driver::node::NodeConfig;
use crate::driver::state::View;

/// A handle to the configuration of the node that the operation is for.
pub struct NodeView {
    config: Arc<NodeConfig>,
    environment: Arc<HostEnvironment>,
}

impl NodeView {
    /// A view of `config` on this machine.
    pub fn new(config: Arc<NodeConfig>, environment: Arc<HostEnvironment>) -> Self {
        Self { config, environment }
    }
}

type Handle = Resource<NodeView>;

impl Host for View<'_> {}

impl HostNodeConfig for View<'_> {
    async fn builder(&mut self, handle: Handle) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.config.builder.clone())
    }

    async fn node(&mut self, handle: Handle) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.config.node.clone())
    }

    async fn endpoint(&mut self, handle: Handle) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.config.endpoint.clone())
    }

    async fn driver_option(&mut self, handle: Handle, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&handle)?.config.options.get(&name).cloned())
    }

    async fn driver_options(&mut self, handle: Handle) -> wasmtime::Result<Vec<Pair>> {
        let options = &self.table.get(&handle)?.config.options;
        Ok(options
            .iter()
            .map(|(key, value)| Pair {
                key: key.clone(),
                value: value.clone(),
            })
            .collect())
    }

    async fn platforms(&mut self, handle: Handle) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&handle)?.config.platforms.clone())
    }

    async fn daemon_flags(&mut self, handle: Handle) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&handle)?.config.daemon_flags.clone())
    }

    async fn file_names(&mut self, handle: Handle) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&handle)?.config.files.keys().cloned().collect())
    }

    async fn file(&mut self, handle: Handle, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.table.get(&handle)?.config.files.get(&name).cloned())
    }

    async fn fact(&mut self, handle: Handle, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&handle)?.environment.fact(&name))
    }

    async fn state(&mut self, handle: Handle) -> wasmtime::Result<Resource<NodeState>> {
        self.table.get(&handle)?;
        Ok(self.table.push(NodeState)?)
    }

    async fn drop(&mut self, handle: Handle) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
