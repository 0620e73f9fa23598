//! Which exporters a build asks for on its node, and where their data goes.

use super::super::output::{Destination, Output, is_pushed};
use super::super::request::{BuildRequest, engine_refused};
use super::super::value::ValueError;
use super::{NodeFacts, ability};
use crate::buildkit::spec::{ExportTarget, Exporter};

/// Exporters in the order of the command line.
pub fn choose(request: &BuildRequest, node: &NodeFacts<'_>) -> Result<Vec<Exporter>, ValueError> {
    super::check_default_load(request, default_load(node))?;
    if request.outputs.len() > 1 && !node.has_cap("exporter.multiple") {
        return Err(ValueError::new(
            "multiple outputs currently unsupported by the current BuildKit daemon, please upgrade to version v0.13+ or use a single output",
        ));
    }
    let named = request
        .outputs
        .iter()
        .map(|output| name(output, request))
        .collect::<Result<Vec<_>, _>>()?;
    named
        .into_iter()
        .filter(|output| output.kind != CACHE_ONLY)
        .map(|output| exporter(output, request, node))
        .collect()
}

/// What `--output type=` takes.
pub const EXPORTERS: [&str; 7] = ["cacheonly", "docker", "image", "local", "oci", "registry", "tar"];

/// A pseudo exporter: nothing but the cache, without the warning that nothing is kept.
const CACHE_ONLY: &str = "cacheonly";

/// Whether the node loads results into an engine unless told otherwise.
pub fn default_load(node: &NodeFacts<'_>) -> bool {
    node.abilities.contains_key(ability::DEFAULT_LOAD) && node.can(ability::DEFAULT_LOAD)
}

fn is_image(output: &Output) -> bool {
    matches!(output.kind.as_str(), "image" | "oci" | "docker")
}

/// Tags replace a `name=` of the output.
fn name(output: &Output, request: &BuildRequest) -> Result<Output, ValueError> {
    let mut output = output.clone();
    if !request.tags.is_empty() && is_image(&output) {
        output
            .attributes
            .insert("name".to_owned(), request.tags.join(","));
    }
    if is_pushed(&output) && output.attributes.get("name").is_none_or(String::is_empty) {
        return Err(ValueError::new("tag is needed when pushing to registry"));
    }
    Ok(output)
}

fn exporter(output: Output, request: &BuildRequest, node: &NodeFacts<'_>) -> Result<Exporter, ValueError> {
    const PAGE: &str = "build-exporters";
    match output.kind.as_str() {
        "oci" if !node.can(ability::OCI_EXPORTER) => return Err(node.unsupported("OCI exporter", PAGE)),
        "docker" => {
            check_single(&output, request, node)?;
            if !node.can(ability::DOCKER_EXPORTER) {
                return Err(node.unsupported("Docker exporter", PAGE));
            }
        }
        _ => {}
    }
    let mut attributes = output.attributes;
    if let Some(wanted) = request.build_args.get("BUILDKIT_INLINE_BUILDINFO_ATTRS")
        && matches!(output.kind.as_str(), "image" | "oci" | "docker")
    {
        attributes.insert("buildinfo-attrs".to_owned(), wanted.clone());
    }
    if request.switches.no_default_oci_artifact
        && node.attests()
        && matches!(output.kind.as_str(), "image" | "oci")
    {
        attributes
            .entry("oci-artifact".to_owned())
            .or_insert_with(|| "false".to_owned());
    }
    Ok(Exporter {
        kind: output.kind,
        attributes,
        target: target(output.destination)?,
    })
}

/// A docker archive holds one image without attestations.
fn check_single(output: &Output, request: &BuildRequest, node: &NodeFacts<'_>) -> Result<(), ValueError> {
    let attested = request.attestations.values().any(Option::is_some);
    if node.platforms.len() <= 1 && !attested {
        return Ok(());
    }
    Err(ValueError::new(match output.destination {
        Destination::Engine => "docker exporter does not currently support exporting manifest lists",
        _ => "docker exporter does not support exporting manifest lists, use the oci exporter instead",
    }))
}

fn target(destination: Destination) -> Result<ExportTarget, ValueError> {
    Ok(match destination {
        Destination::Daemon => ExportTarget::None,
        Destination::Engine => return Err(engine_refused()),
        Destination::Folder { path, delete } => ExportTarget::Folder { path, delete },
        Destination::File(path) => ExportTarget::File(path),
        Destination::Stdout => ExportTarget::Stdout,
        Destination::Layout(path) => ExportTarget::Layout(path),
    })
}
