//! The node's configuration, as a test sets it.

use std::collections::BTreeMap;

use super::state::NodeState;
use super::with;
use crate::host::types::Pair;

/// What the configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub builder: String,
    pub node: String,
    pub endpoint: String,
    pub options: BTreeMap<String, String>,
    pub platforms: Vec<String>,
    pub flags: Vec<String>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub facts: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(crate) struct NodeConfig(Setup);

impl NodeConfig {
    pub(crate) fn current() -> Self {
        Self(with(|world| world.config.clone()))
    }

    pub(crate) fn builder(&self) -> String {
        self.0.builder.clone()
    }

    pub(crate) fn node(&self) -> String {
        self.0.node.clone()
    }

    pub(crate) fn endpoint(&self) -> String {
        self.0.endpoint.clone()
    }

    pub(crate) fn driver_option(&self, name: &str) -> Option<String> {
        self.0.options.get(name).cloned()
    }

    pub(crate) fn driver_options(&self) -> Vec<Pair> {
        let options = self.0.options.clone().into_iter();
        options.map(|(key, value)| Pair { key, value }).collect()
    }

    pub(crate) fn platforms(&self) -> Vec<String> {
        self.0.platforms.clone()
    }

    pub(crate) fn daemon_flags(&self) -> Vec<String> {
        self.0.flags.clone()
    }

    pub(crate) fn file_names(&self) -> Vec<String> {
        self.0.files.keys().cloned().collect()
    }

    pub(crate) fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.0.files.get(name).cloned()
    }

    pub(crate) fn fact(&self, name: &str) -> Option<String> {
        self.0.facts.get(name).cloned()
    }

    pub(crate) fn state(&self) -> NodeState {
        NodeState
    }
}
