//! Which exporters a build asks for on its node, and where their data goes.

use std::collections::BTreeMap;

use super::super::output::{Destination, Output, is_pushed};
use super::super::request::BuildRequest;
use super::super::value::{ValueError, is_true};
use super::loading::{self, PREFER_IMAGE_DIGEST};
use super::{NodeFacts, ability};
use crate::buildkit::spec::{ExportTarget, Exporter};

/// Exporters in the order of the command line.
pub fn choose(request: &BuildRequest, node: &NodeFacts<'_>) -> Result<Vec<Exporter>, ValueError> {
    let implied = implied(request, node);
    let outputs: Vec<&Output> = request.outputs.iter().chain(&implied).collect();
    if outputs.len() > 1 && !node.has_cap("exporter.multiple") {
        return Err(ValueError::new(
            "multiple outputs currently unsupported by the current BuildKit daemon, please upgrade to version v0.13+ or use a single output",
        ));
    }
    check_annotations(&outputs, node)?;
    let named = outputs
        .into_iter()
        .map(|output| name(output, request))
        .collect::<Result<Vec<_>, _>>()?;
    named
        .into_iter()
        .filter(|output| output.kind != CACHE_ONLY)
        .map(|output| exporter(output, request, node))
        .collect()
}

/// The output of a build that names none, where the builder has one: an engine's own daemon keeps the image, others load it
/// into an engine if their driver says so.
pub fn implied(request: &BuildRequest, node: &NodeFacts<'_>) -> Option<Output> {
    let is_wanted = request.outputs.is_empty() && !request.switches.no_default_load;
    let (kind, destination) = match node.engine_exporter() {
        Some(_) => ("image", Destination::Daemon),
        None => ("docker", Destination::Engine),
    };
    (is_wanted && loads_by_default(node)).then(|| Output {
        kind: kind.to_owned(),
        attributes: BTreeMap::new(),
        destination,
    })
}

/// Whether the node puts results into an engine unless told otherwise.
pub fn loads_by_default(node: &NodeFacts<'_>) -> bool {
    node.is_said(ability::DEFAULT_LOAD)
}

/// A classic image store has no index that could have annotations.
fn check_annotations(outputs: &[&Output], node: &NodeFacts<'_>) -> Result<(), ValueError> {
    let of_index = |key: &String| key.starts_with("annotation-index");
    let mut keys = outputs.iter().flat_map(|output| output.attributes.keys());
    if node.engine_exporter().is_some() && !node.can(ability::MULTI_PLATFORM) && keys.any(of_index) {
        return Err(
            ValueError::new("index annotations not supported for single platform export")
                .hint("Annotate the manifest: `--annotation manifest:KEY=VALUE`"),
        );
    }
    Ok(())
}

/// What `--output type=` takes.
pub const EXPORTERS: [&str; 7] = ["cacheonly", "docker", "image", "local", "oci", "registry", "tar"];

/// A pseudo exporter: nothing but the cache, without the warning that nothing is kept.
const CACHE_ONLY: &str = "cacheonly";

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
    let (mut output, receiver) = match output.destination {
        Destination::Engine => loading::decide(output, request, node)?,
        _ => (output, None),
    };
    if output.kind == "docker" && receiver.is_none() && !is_single(request, node) {
        return Err(ValueError::new(
            "docker exporter does not support exporting manifest lists, use the oci exporter instead",
        ));
    }
    check_archive(&output, node)?;
    if let Some(wanted) = request.build_args.get("BUILDKIT_INLINE_BUILDINFO_ATTRS")
        && is_image(&output)
    {
        let key = "buildinfo-attrs".to_owned();
        output.attributes.insert(key, wanted.clone());
    }
    if output.kind == "image" {
        name_as_engine(&mut output, node)?;
    }
    if request.switches.no_default_oci_artifact && node.attests() && has_artifacts(&output, node) {
        let artifact = output.attributes.entry("oci-artifact".to_owned());
        artifact.or_insert_with(|| "false".to_owned());
    }
    Ok(Exporter {
        target: match receiver {
            Some(receiver) => ExportTarget::Receiver(receiver),
            None => target(output.destination),
        },
        kind: output.kind,
        attributes: output.attributes,
    })
}

/// Not every daemon writes archives.
fn check_archive(output: &Output, node: &NodeFacts<'_>) -> Result<(), ValueError> {
    let (ability, name) = match output.kind.as_str() {
        "oci" => (ability::OCI_EXPORTER, "OCI exporter"),
        "docker" => (ability::DOCKER_EXPORTER, "Docker exporter"),
        _ => return Ok(()),
    };
    match node.can(ability) {
        true => Ok(()),
        false => Err(node.unsupported(name, "build-exporters")),
    }
}

/// An engine's own daemon has an exporter that puts images where the engine finds them.
fn name_as_engine(output: &mut Output, node: &NodeFacts<'_>) -> Result<(), ValueError> {
    let Some(exporter) = node.engine_exporter() else {
        return Ok(());
    };
    if is_pushed(output) && is_true(output.attributes.get("push-by-digest")) {
        let driver = node.driver;
        return Err(node.with_way_out(ValueError::new(format!(
            "push-by-digest is currently not implemented for {driver} driver, please create a new builder instance"
        ))));
    }
    exporter.clone_into(&mut output.kind);
    if node.is_said(ability::PREFER_IMAGE_DIGEST) {
        let digest = output.attributes.entry(PREFER_IMAGE_DIGEST.to_owned());
        digest.or_insert_with(|| "true".to_owned());
    }
    Ok(())
}

fn has_artifacts(output: &Output, node: &NodeFacts<'_>) -> bool {
    matches!(output.kind.as_str(), "image" | "oci") || node.engine_exporter() == Some(&output.kind)
}

/// Whether the result is one image without attestations, which is all that a docker archive holds.
pub fn is_single(request: &BuildRequest, node: &NodeFacts<'_>) -> bool {
    let attested = request.attestations.values().any(Option::is_some);
    node.platforms.len() <= 1 && !attested
}

fn target(destination: Destination) -> ExportTarget {
    match destination {
        Destination::Daemon | Destination::Engine => ExportTarget::None,
        Destination::Folder { path, delete } => ExportTarget::Folder { path, delete },
        Destination::File(path) => ExportTarget::File(path),
        Destination::Stdout => ExportTarget::Stdout,
        Destination::Layout(path) => ExportTarget::Layout(path),
    }
}
