//! The generations of the driver contract that this program speaks, one file each.

pub(crate) mod v0_1;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use wasmtime::component::InstancePre;

use super::engine::Runtime;
use super::environment::HostEnvironment;
use super::manifest::Manifest;
use super::node::{DriverInfo, DriverResult, Node, NodeConfig};
use super::state::StoreData;

/// A loaded driver of some track.
#[async_trait]
pub(crate) trait Track: Send + Sync {
    /// What it says about itself; asked once.
    async fn info(&self, environment: &Arc<HostEnvironment>) -> DriverResult<Arc<DriverInfo>>;

    /// Functions that it imports, by interface.
    fn imports(&self) -> BTreeMap<String, Vec<String>>;

    /// Opens a node of it.
    async fn open(
        self: Arc<Self>,
        environment: Arc<HostEnvironment>,
        config: NodeConfig,
    ) -> DriverResult<Box<dyn Node>>;
}

/// Makes a driver of one track from a component that was linked.
pub(crate) type Make =
    fn(Arc<Runtime>, Arc<Manifest>, InstancePre<StoreData>) -> wasmtime::Result<Box<dyn Track>>;

/// Version of the contract and how drivers of it are made, newest first. Prereleases match exactly.
const TRACKS: [(&str, Make); 1] = [(v0_1::VERSION, v0_1::make)];

/// The track of a component with these exports.
pub(crate) fn choose(exports: &[String]) -> Option<Make> {
    TRACKS.iter().find_map(|(version, make)| {
        let node = format!("bkhost:driver/node@{version}");
        exports.contains(&node).then_some(*make)
    })
}

/// What is supported, for messages.
pub(crate) fn supported() -> String {
    TRACKS
        .map(|(version, _)| format!("bkhost:driver@{version}"))
        .join(", ")
}

/// Whether a version of the contract is newer than every supported one.
pub(crate) fn is_newer(version: &str) -> bool {
    TRACKS
        .iter()
        .all(|(supported, _)| order(version) > order(supported))
}

/// The name under which the linker keeps an interface: WASI's minor versions are compatible, and it knows one.
pub(crate) fn linked_name(interface: &str) -> String {
    const WASI: &str = "0.2.12";
    match interface.split_once('@') {
        Some((name, version)) if name.starts_with("wasi:") && version.starts_with("0.2.") => {
            format!("{name}@{WASI}")
        }
        _ => interface.to_owned(),
    }
}

/// A version as something that can be compared: its numbers, then releases after their prereleases, then the number of
/// the prerelease.
fn order(version: &str) -> (Vec<u64>, bool, u64) {
    let (release, prerelease) = match version.split_once('-') {
        Some((release, prerelease)) => (release, Some(prerelease)),
        None => (version, None),
    };
    let number = |text: &str| text.parse().unwrap_or(0);
    let last = prerelease
        .and_then(|text| text.rsplit('.').next())
        .map_or(0, number);
    (
        release.split('.').map(number).collect(),
        prerelease.is_none(),
        last,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered() {
        for newer in ["0.1.0-rc.2", "0.1.0-rc.10", "0.1.0", "0.2.0-rc.1", "1.0.0"] {
            assert!(order(newer) > order("0.1.0-rc.1"), "{newer}");
        }
        assert!(order("0.0.9") < order("0.1.0-rc.1"));
        assert!(!is_newer(v0_1::VERSION));
    }

    #[test]
    fn prereleases_match_exactly() {
        assert!(choose(&[format!("bkhost:driver/node@{}", v0_1::VERSION)]).is_some());
        assert!(choose(&["bkhost:driver/node@0.1.0-rc.99".to_owned()]).is_none());
    }
}
