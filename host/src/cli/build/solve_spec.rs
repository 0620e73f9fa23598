//! From a request and what is known of its node to the solve that the daemon is asked for. Pure.

mod attributes;
pub mod exporters;
pub mod loading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cache;
use super::inputs::Inputs;
use super::request::{BuildRequest, Network};
use super::value::{ValueError, is_true};
use crate::buildkit::spec::{
    CacheEntry, RegistryCredentials, SessionSpec, SolveSpec, StandardOutput, random_id,
};
use crate::platform::Platform;
use loading::Loads;

/// Abilities that a driver reports and a build asks for. A key that is absent or unreadable counts as given here.
pub mod ability {
    /// Results are loaded into an engine unless something else is asked for; absent: no.
    pub const DEFAULT_LOAD: &str = "default-load";
    /// OCI archives can be exported; absent: yes.
    pub const OCI_EXPORTER: &str = "oci-exporter";
    /// Docker archives can be exported; absent: yes.
    pub const DOCKER_EXPORTER: &str = "docker-exporter";
    /// Caches can be exported; absent: yes.
    pub const CACHE_EXPORT: &str = "cache-export";
    /// One build can have several platforms; absent: yes.
    pub const MULTI_PLATFORM: &str = "multi-platform";
    /// Images are named by their manifest, not by their configuration; absent: no.
    pub const PREFER_IMAGE_DIGEST: &str = "prefer-image-digest";
    /// The daemon pushes images itself; absent: yes. Else the engine that it belongs to does.
    pub const DIRECT_PUSH: &str = "direct-push";
    /// What `type=image` is called. Whose driver says so is part of an engine, which keeps the images it builds.
    pub const EXPORTER: &str = "exporter";
    /// Address of the daemon's machine, for `--add-host NAME:host-gateway`. Empty: this daemon does not tell it; absent: none
    /// of its kind does.
    pub const HOST_GATEWAY: &str = "host-gateway";
}

/// What is known of the node and daemon that a build goes to.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts<'a> {
    /// Name of the driver, for refusals.
    pub driver: &'a str,
    /// Another driver whose builders can what this one refuses, for hints.
    pub able_driver: Option<&'a str>,
    /// What the driver says its builds can do.
    pub abilities: &'a BTreeMap<String, String>,
    /// What the daemon says it can do.
    pub llb_caps: &'a BTreeSet<String>,
    /// Platforms that this node shall build; empty leaves it to the daemon.
    pub platforms: &'a [Platform],
    /// Proxy variables of the docker configuration.
    pub proxies: &'a BTreeMap<String, String>,
    /// Random value of this installation: tells contexts of the same name on two machines apart.
    pub installation: &'a str,
    /// The engines that results are loaded into.
    pub loads: &'a Loads,
}

impl NodeFacts<'_> {
    fn can(&self, ability: &str) -> bool {
        self.abilities
            .get(ability)
            .is_none_or(|value| super::value::parse_bool(value).unwrap_or(true))
    }

    /// An ability that nobody has unless it is said.
    fn is_said(&self, ability: &str) -> bool {
        is_true(self.abilities.get(ability))
    }

    /// The exporter of an engine's own daemon, whose images are that engine's.
    pub fn engine_exporter(&self) -> Option<&str> {
        let named = self.abilities.get(ability::EXPORTER).map(String::as_str);
        named.filter(|name| !name.is_empty())
    }

    /// Whether something is refused because of the driver.
    pub fn is_limited(&self) -> bool {
        let refused = |value: &String| super::value::parse_bool(value) == Ok(false);
        self.engine_exporter().is_some() || self.abilities.values().any(refused)
    }

    /// Whether the daemon leaves it to its engine to push images.
    pub fn is_pushed_by_engine(&self) -> bool {
        self.engine_exporter().is_some() && !self.can(ability::DIRECT_PUSH)
    }

    fn has_cap(&self, cap: &str) -> bool {
        self.llb_caps.contains(cap)
    }

    /// Attestations need the daemon's exporters and results with more than one part.
    fn attests(&self) -> bool {
        self.has_cap("exporter.image.attestations") && self.can(ability::MULTI_PLATFORM)
    }

    fn unsupported(&self, what: &str, page: &str) -> ValueError {
        let driver = self.driver;
        let refusal = ValueError::new(format!(
            "{what} is not supported for the {driver} driver.\nSwitch to a different driver, or turn on the containerd image store, and try again.\nLearn more at https://docs.docker.com/go/{page}/"
        ));
        self.with_way_out(refusal)
    }

    /// The refusal with the driver that refuses nothing of this, where there is one.
    fn with_way_out(&self, refusal: ValueError) -> ValueError {
        match self.able_driver {
            Some(able) => refusal.hint(format!(
                "`bkhost create --driver {able} --use` makes a builder that can"
            )),
            None => refusal,
        }
    }
}

/// Composes the solve of `request` for one node.
///
/// `source_control` holds the attributes that tell where the context comes from.
///
/// # Errors
///
/// What the driver or the daemon cannot do.
pub fn compose(
    request: &BuildRequest,
    inputs: &Inputs,
    source_control: &BTreeMap<String, String>,
    node: &NodeFacts<'_>,
    registry: Arc<dyn RegistryCredentials>,
    output: StandardOutput,
) -> Result<SolveSpec, ValueError> {
    let exporters = exporters::choose(request, node)?;
    let (cache_exports, cache_imports) = caches(request, node)?;
    let mut attributes = source_control.clone();
    attributes.extend(attributes::compose(request, inputs, node)?);
    Ok(SolveSpec {
        reference: random_id(),
        frontend: frontend(request).to_owned(),
        attributes,
        exporters,
        cache_exports,
        cache_imports,
        entitlements: entitlements(request),
        internal: false,
        session: SessionSpec {
            shared_key: shared_key(inputs, node),
            mounts: inputs.mounts.clone(),
            secrets: request.secrets.clone(),
            registry,
            layouts: inputs.layouts.clone(),
            upload: inputs.upload.clone(),
            output,
        },
    })
}

fn frontend(request: &BuildRequest) -> &'static str {
    match request.syntax() {
        Some(_) => "gateway.v0",
        None => "dockerfile.v0",
    }
}

fn shared_key(inputs: &Inputs, node: &NodeFacts<'_>) -> String {
    inputs
        .shared_key
        .as_ref()
        .map(|key| format!("{key}:{}", node.installation))
        .unwrap_or_default()
}

fn entitlements(request: &BuildRequest) -> Vec<String> {
    let mut list = request.entitlements.clone();
    if request.network == Network::Host {
        list.push("network.host".to_owned());
    }
    list
}

/// Caches to write and to read. Services that the daemon does not know are left out, as buildx does.
fn caches(
    request: &BuildRequest,
    node: &NodeFacts<'_>,
) -> Result<(Vec<CacheEntry>, Vec<CacheEntry>), ValueError> {
    let known = |entry: &&CacheEntry| match entry.kind.as_str() {
        "gha" | "s3" => node.has_cap(&format!("cache.{}", entry.kind)),
        _ => true,
    };
    let mut exports: Vec<CacheEntry> = request.cache_to.iter().filter(known).cloned().collect();
    let imports = request.cache_from.iter().filter(known).cloned().collect();
    if exports.iter().any(|entry| !cache::is_inline(entry)) && !node.can(ability::CACHE_EXPORT) {
        return Err(node.unsupported("Cache export", "build-cache-backends"));
    }
    if is_true(request.build_args.get("BUILDKIT_INLINE_CACHE")) {
        exports.push(CacheEntry {
            kind: "inline".to_owned(),
            ..CacheEntry::default()
        });
    }
    Ok((exports, imports))
}

/// Whether a build of `request` keeps nothing but the daemon's cache.
pub fn keeps_nothing(request: &BuildRequest, node: &NodeFacts<'_>) -> bool {
    request.outputs.is_empty() && !request.switches.no_default_load && !exporters::loads_by_default(node)
}

#[cfg(test)]
mod tests;
