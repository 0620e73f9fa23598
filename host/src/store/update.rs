//! Adding, changing and leaving nodes of a builder record; pure.

use std::collections::BTreeMap;

use super::name::{self, InvalidName};
use super::record::{BuilderRecord, NodeRecord};
use crate::platform::Platform;

/// What `create` wants to change about one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// Node to create or change, as typed; empty for a new one with a generated name.
    pub node: String,
    /// Whether a node may be added to a builder that has some.
    pub append: bool,
    /// Endpoint of the node.
    pub endpoint: String,
    /// Whether the user typed the endpoint; otherwise an existing one is kept.
    pub explicit: bool,
    /// Fixed platforms; none means "keep".
    pub platforms: Vec<Platform>,
    /// buildkitd arguments; `None` means "keep".
    pub flags: Option<Vec<String>>,
    /// Driver options; none means "keep", any replaces all.
    pub options: BTreeMap<String, String>,
    /// Files, merged over the existing ones; `None` when there is no configuration.
    pub files: Option<BTreeMap<String, Vec<u8>>>,
}

/// What an update did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// Name of the node, as stored.
    pub node: String,
    /// Settings of a node that may be running were changed.
    pub restart_needed: bool,
}

/// A change that cannot be made; the texts are buildx's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The node does not exist, and nothing may be added.
    #[error("node {0} not found, did you mean to append?")]
    NodeNotFound(String),
    /// Two nodes would have the same endpoint.
    #[error("invalid duplicate endpoint {0}")]
    DuplicateEndpoint(String),
    /// The record was written for another kind of builder.
    #[error("dynamic node group does not support {0}")]
    Dynamic(&'static str),
    /// The node to leave does not exist.
    #[error("node {node:?} not found for {builder}")]
    NoSuchNode {
        /// As typed.
        node: String,
        /// As stored.
        builder: String,
    },
    /// The only node cannot leave.
    #[error("can not leave last node, do you want to rm instance instead?")]
    LastNode,
}

impl BuilderRecord {
    /// The stored name of the node that a change with `--node node` is about, and whether it exists already.
    pub fn node_for(&self, node: &str) -> Result<(String, bool), InvalidName> {
        if node.is_empty() {
            let taken = self.nodes().iter().map(|node| node.name.as_str());
            return Ok((name::next_node(&self.name, taken), false));
        }
        let stored = name::validate(node)?;
        let exists = self.nodes().iter().any(|node| node.name == stored);
        Ok((stored, exists))
    }

    /// Applies `change`.
    pub fn update(&mut self, change: NodeChange) -> Result<Updated, UpdateError> {
        if self.dynamic {
            return Err(UpdateError::Dynamic("Update"));
        }
        let (node, exists) = self.node_for(&change.node)?;
        if !exists && !change.append && !self.nodes().is_empty() {
            return Err(UpdateError::NodeNotFound(change.node));
        }
        let (endpoint, platforms) = (change.endpoint.clone(), change.platforms.clone());
        let nodes = self.nodes.get_or_insert_default();
        let mut restart_needed = false;
        match nodes.iter_mut().find(|other| other.name == node) {
            Some(existing) => restart_needed = existing.change(change),
            None => nodes.push(NodeRecord::from_change(node.clone(), change)),
        }
        if nodes.iter().filter(|node| node.endpoint == endpoint).count() > 1 {
            return Err(UpdateError::DuplicateEndpoint(endpoint));
        }
        take_platforms(nodes, &node, &platforms);
        Ok(Updated { node, restart_needed })
    }

    /// Removes the first node called `node`.
    pub fn leave(&mut self, node: &str) -> Result<(), UpdateError> {
        if self.dynamic {
            return Err(UpdateError::Dynamic("Leave"));
        }
        let nodes = self.nodes.get_or_insert_default();
        let Some(position) = nodes.iter().position(|other| other.name == node) else {
            return Err(UpdateError::NoSuchNode {
                node: node.to_owned(),
                builder: self.name.clone(),
            });
        };
        if nodes.len() == 1 {
            return Err(UpdateError::LastNode);
        }
        nodes.remove(position);
        Ok(())
    }
}

impl NodeRecord {
    fn from_change(name: String, change: NodeChange) -> Self {
        Self {
            name,
            endpoint: change.endpoint,
            platforms: (!change.platforms.is_empty()).then_some(change.platforms),
            driver_opts: (!change.options.is_empty()).then_some(change.options),
            flags: change.flags,
            files: change.files,
        }
    }

    /// Changes this node; the result is whether a running daemon would have to be restarted.
    fn change(&mut self, change: NodeChange) -> bool {
        let before = self.clone();
        if change.explicit {
            self.endpoint = change.endpoint;
        }
        if !change.platforms.is_empty() {
            self.platforms = Some(change.platforms);
        }
        if change.flags.is_some() {
            self.flags = change.flags;
        }
        if !change.options.is_empty() {
            self.driver_opts = Some(change.options);
        }
        if let Some(files) = change.files {
            self.files.get_or_insert_default().extend(files);
        }
        let platforms = self.platforms.clone();
        *self != NodeRecord { platforms, ..before }
    }
}

/// A platform fixed on one node is no longer fixed on the others.
fn take_platforms(nodes: &mut [NodeRecord], node: &str, taken: &[Platform]) {
    if taken.is_empty() {
        return;
    }
    let taken: Vec<String> = taken.iter().map(Platform::to_string).collect();
    for other in nodes.iter_mut().filter(|other| other.name != node) {
        // A list that was filtered is there, even if it was not before: buildx stores it so.
        let platforms = other.platforms.get_or_insert_default();
        platforms.retain(|platform| !taken.contains(&platform.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(node: &str, endpoint: &str) -> NodeChange {
        NodeChange {
            node: node.into(),
            endpoint: endpoint.into(),
            explicit: true,
            ..NodeChange::default()
        }
    }

    fn append(node: &str, endpoint: &str) -> NodeChange {
        NodeChange {
            append: true,
            ..change(node, endpoint)
        }
    }

    fn builder() -> BuilderRecord {
        let mut builder = BuilderRecord::new("Fast", "remote");
        builder.update(change("", "tcp://a:1")).unwrap();
        builder
    }

    #[test]
    fn new_nodes_are_appended_with_the_next_free_name() {
        let mut builder = builder();
        assert_eq!(builder.nodes()[0].name, "fast0");
        assert_eq!(builder.update(append("", "tcp://b:1")).unwrap().node, "fast1");
        assert_eq!(
            builder.update(change("other", "tcp://c:1")),
            Err(UpdateError::NodeNotFound("other".into()))
        );
        assert_eq!(
            builder.update(append("", "tcp://a:1")),
            Err(UpdateError::DuplicateEndpoint("tcp://a:1".into()))
        );
    }

    #[test]
    fn only_what_was_given_changes() {
        let mut builder = builder();
        let options = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        builder
            .update(NodeChange {
                options: options.clone(),
                explicit: false,
                ..change("fast0", "tcp://ignored:1")
            })
            .unwrap();
        let node = &builder.nodes()[0];
        assert_eq!(node.endpoint, "tcp://a:1");
        assert_eq!(node.driver_opts.as_ref(), Some(&options));
        assert_eq!(node.files, None);
        let files = BTreeMap::from([("buildkitd.toml".to_owned(), b"x".to_vec())]);
        let updated = builder.update(NodeChange {
            files: Some(files.clone()),
            ..change("fast0", "tcp://a:1")
        });
        assert!(updated.unwrap().restart_needed);
        assert_eq!(builder.nodes()[0].files.as_ref(), Some(&files));
    }

    #[test]
    fn a_fixed_platform_moves_from_node_to_node() {
        let mut builder = builder();
        let arm = Platform::new("linux", "arm64", "");
        let platforms = vec![arm.clone()];
        let updated = builder.update(NodeChange {
            platforms: platforms.clone(),
            ..change("fast0", "tcp://a:1")
        });
        assert!(!updated.unwrap().restart_needed, "platforms need no restart");
        builder
            .update(NodeChange {
                platforms,
                ..append("", "tcp://b:1")
            })
            .unwrap();
        assert_eq!(builder.nodes()[0].platforms, Some(vec![]));
        assert_eq!(builder.nodes()[1].platforms, Some(vec![arm]));
    }

    #[test]
    fn the_last_node_cannot_leave() {
        let mut builder = builder();
        assert_eq!(builder.leave("fast0"), Err(UpdateError::LastNode));
        assert_eq!(
            builder.leave("x").unwrap_err().to_string(),
            "node \"x\" not found for Fast"
        );
        builder.update(append("", "tcp://b:1")).unwrap();
        builder.leave("fast0").unwrap();
        assert_eq!(builder.nodes().len(), 1);
    }
}
