//! Frontend attributes: what the Dockerfile frontend is told.

use std::collections::BTreeMap;

use super::super::inputs::Inputs;
use super::super::request::{BuildRequest, Network, NoCache};
use super::super::value::{ValueError, is_true};
use super::super::{hosts, ulimit};
use super::{NodeFacts, ability};
use crate::platform::Platform;

type Attributes = BTreeMap<String, String>;

/// All attributes but those of source control.
pub fn compose(
    request: &BuildRequest,
    inputs: &Inputs,
    node: &NodeFacts<'_>,
) -> Result<Attributes, ValueError> {
    let mut attributes = inputs.attributes.clone();
    for (name, key) in &inputs.named_keys {
        set(
            &mut attributes,
            &format!("sharedkey:localdir:{name}"),
            format!("{key}:{}", node.installation),
        );
    }
    arguments(request, node, &mut attributes);
    frontend(request, &mut attributes);
    selection(request, node, &mut attributes);
    attestations(request, node, &mut attributes)?;
    platforms(request, node, &mut attributes)?;
    steps(request, node, &mut attributes)?;
    Ok(attributes)
}

fn set(attributes: &mut Attributes, key: &str, value: impl Into<String>) {
    attributes.insert(key.to_owned(), value.into());
}

/// Build arguments and labels. A proxy variable yields to an argument of that name in any case.
fn arguments(request: &BuildRequest, node: &NodeFacts<'_>, attributes: &mut Attributes) {
    for (key, value) in node.proxies {
        if !request
            .build_args
            .keys()
            .any(|given| given.eq_ignore_ascii_case(key))
        {
            set(attributes, &format!("build-arg:{key}"), value);
        }
    }
    for (key, value) in &request.build_args {
        set(attributes, &format!("build-arg:{key}"), value);
    }
    for (key, value) in &request.labels {
        set(attributes, &format!("label:{key}"), value);
    }
}

/// Another frontend is named by its image, and is told the whole syntax line.
fn frontend(request: &BuildRequest, attributes: &mut Attributes) {
    if let Some(line) = request.syntax() {
        let image = line.trim().split(' ').next().unwrap_or_default();
        set(attributes, "source", image);
        set(attributes, "cmdline", line);
    }
}

fn selection(request: &BuildRequest, node: &NodeFacts<'_>, attributes: &mut Attributes) {
    if let Some(target) = &request.target {
        set(attributes, "target", target);
    }
    match &request.no_cache {
        NoCache::Nothing => {}
        NoCache::Everything => set(attributes, "no-cache", ""),
        NoCache::Stages(stages) => set(attributes, "no-cache", stages.join(",")),
    }
    if request.pull {
        set(attributes, "image-resolve-mode", "pull");
    } else if node.engine_exporter().is_some() {
        // Images that the engine has are not looked for in registries.
        set(attributes, "image-resolve-mode", "local");
    }
}

/// What is asked for must be possible; the default provenance is left out where it is not.
fn attestations(
    request: &BuildRequest,
    node: &NodeFacts<'_>,
    attributes: &mut Attributes,
) -> Result<(), ValueError> {
    let wanted = request
        .attestations
        .iter()
        .filter_map(|(kind, value)| Some((kind, value.as_ref()?)));
    for (kind, value) in wanted {
        if !node.can(ability::MULTI_PLATFORM) {
            return Err(node.unsupported("Attestation", "attestations"));
        }
        if !node.attests() {
            return Err(
                ValueError::new("Attestations are not supported by the current BuildKit daemon")
                    .hint("Update BuildKit, or leave `--attest`, `--provenance` and `--sbom` out"),
            );
        }
        set(attributes, &format!("attest:{kind}"), value);
    }
    let decided = request.attestations.contains_key("provenance") || request.switches.no_default_attestations;
    if !decided && node.attests() {
        set(attributes, "attest:provenance", "mode=min,inline-only=true");
    }
    Ok(())
}

fn platforms(
    request: &BuildRequest,
    node: &NodeFacts<'_>,
    attributes: &mut Attributes,
) -> Result<(), ValueError> {
    if is_true(request.build_args.get("BUILDKIT_MULTI_PLATFORM")) {
        set(attributes, "multi-platform", "true");
    }
    if node.platforms.len() > 1 && !node.can(ability::MULTI_PLATFORM) {
        return Err(node.unsupported("Multi-platform build", "build-multi-platform"));
    }
    if !node.platforms.is_empty() {
        let list: Vec<String> = node.platforms.iter().map(Platform::full).collect();
        set(attributes, "platform", list.join(","));
    }
    Ok(())
}

/// What holds for the containers of build steps.
fn steps(
    request: &BuildRequest,
    node: &NodeFacts<'_>,
    attributes: &mut Attributes,
) -> Result<(), ValueError> {
    if let Some(parent) = &request.cgroup_parent {
        set(attributes, "cgroup-parent", parent);
    }
    match request.network {
        Network::Default => {}
        Network::Host => set(attributes, "force-network-mode", "host"),
        Network::None => set(attributes, "force-network-mode", "none"),
    }
    let gateway = match node.abilities.get(ability::HOST_GATEWAY) {
        Some(address) if address.is_empty() => Err("host-gateway IP not found".to_owned()),
        Some(address) => Ok(address.clone()),
        None => Err(format!(
            "host-gateway is not supported by the {} driver",
            node.driver
        )),
    };
    let hosts = hosts::attribute(&request.hosts, &gateway)?;
    let optional = [
        ("add-hosts", hosts),
        ("ulimit", ulimit::attribute(&request.ulimits)),
        (
            "shm-size",
            Some(request.shm_size)
                .filter(|size| *size > 0)
                .map(|size| size.to_string())
                .unwrap_or_default(),
        ),
    ];
    for (key, value) in optional {
        if !value.is_empty() {
            set(attributes, key, value);
        }
    }
    Ok(())
}
