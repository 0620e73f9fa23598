//! Results that go into a container engine: which engine, and in what form it takes them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::output::{Destination, Output};
use super::super::request::BuildRequest;
use super::super::value::ValueError;
use super::{NodeFacts, ability, exporters};
use crate::buildkit::spec::Receiver;
use crate::docker::load::ImageStore;

/// The engine that an output is loaded into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadTarget {
    /// The one whose own daemon builds: what it builds is there.
    Own,
    /// Another one, which gets an archive.
    Other {
        /// What it takes.
        store: ImageStore,
        /// Loads it.
        receiver: Receiver,
    },
}

/// Engines by the name of their docker context; empty is the active one.
pub type Loads = BTreeMap<String, LoadTarget>;

/// Attribute of an output that names a docker context.
const CONTEXT: &str = "context";
/// Attribute, and key of the response, for images that are named by their manifest.
pub const PREFER_IMAGE_DIGEST: &str = "prefer-image-digest";

/// The docker contexts whose engines a build of `request` loads results into.
pub fn contexts(request: &BuildRequest, node: &NodeFacts<'_>) -> BTreeSet<String> {
    let implied = exporters::implied(request, node);
    let outputs = request.outputs.iter().chain(&implied);
    outputs
        .filter(|output| output.destination == Destination::Engine)
        .map(context)
        .collect()
}

fn context(output: &Output) -> String {
    output.attributes.get(CONTEXT).cloned().unwrap_or_default()
}

/// The output as the daemon is asked for it, and who receives it.
pub fn decide(
    mut output: Output,
    request: &BuildRequest,
    node: &NodeFacts<'_>,
) -> Result<(Output, Option<Receiver>), ValueError> {
    let target = node.loads.get(&context(&output)).cloned();
    output.attributes.remove(CONTEXT);
    match target {
        None => Err(ValueError::new(
            "The engine that the result is loaded into was not asked what it takes",
        )),
        Some(LoadTarget::Own) => {
            if !node.can(ability::MULTI_PLATFORM) {
                check_single(request, node)?;
            }
            "image".clone_into(&mut output.kind);
            output.destination = Destination::Daemon;
            Ok((output, None))
        }
        Some(LoadTarget::Other {
            store: ImageStore::Containerd,
            receiver,
        }) => {
            "oci".clone_into(&mut output.kind);
            let digest = output.attributes.entry(PREFER_IMAGE_DIGEST.to_owned());
            digest.or_insert_with(|| "true".to_owned());
            Ok((output, Some(receiver)))
        }
        Some(LoadTarget::Other { receiver, .. }) => {
            check_single(request, node)?;
            Ok((output, Some(receiver)))
        }
    }
}

/// A classic image store has one platform of an image, and no attestations.
fn check_single(request: &BuildRequest, node: &NodeFacts<'_>) -> Result<(), ValueError> {
    if exporters::is_single(request, node) {
        return Ok(());
    }
    Err(ValueError::new("docker exporter does not currently support exporting manifest lists").hint(
        "Load one platform without attestations, send all to a registry with `--push`, keep them in a file with `--output type=oci,dest=FILE`, or turn on the engine's containerd image store",
    ))
}
