//! What a build leaves in the store, and what the metadata file gets beyond the daemon's response.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::super::build::context::ContextSource;
use super::super::super::build::inputs::clean;
use super::super::super::build::request::{BuildRequest, MetadataProvenance};
use super::{ChosenBuilder, Ground, failure};
use crate::acquire::Daemon;
use crate::error::{CommandError, Result};
use crate::output::provenance::{self, Detail};
use crate::progress::event::{Range, Sink, Warning};
use crate::progress::step::Step;
use crate::store::local_state::LocalState;

/// The record of one build in the store. Losing it never fails a build.
pub struct Record<'a> {
    ground: &'a Ground<'a>,
    builder: &'a ChosenBuilder,
}

impl<'a> Record<'a> {
    /// The record of a build on `builder`.
    pub fn new(ground: &'a Ground<'a>, builder: &'a ChosenBuilder) -> Self {
        Self { ground, builder }
    }

    /// Marks the builder as used now.
    pub fn stamp(&self) {
        if let Err(error) = self.ground.store.touch(&self.builder.name) {
            self.ground
                .ui
                .warn(format!("failed to update builder last activity time: {error}"));
        }
    }

    /// Random value of this installation; empty where none can be kept.
    pub fn installation(&self) -> String {
        self.ground.store.client_id().unwrap_or_default()
    }

    /// Keeps where the build came from, so that its history can be tied to a folder.
    pub fn keep(&self, node: &str, reference: &str, request: &BuildRequest) {
        let state = local_state(request, &self.ground.environment.folder);
        if let Err(error) = self
            .ground
            .store
            .write_local_state(&self.builder.name, node, reference, &state)
        {
            tracing::debug!(%error, reference, "the local state of the build is not kept");
        }
    }

    /// Provenance for the metadata file, by its keys, if it is wanted and the daemon keeps records.
    pub async fn provenance(
        &self,
        daemon: &Daemon,
        reference: &str,
        request: &BuildRequest,
        sink: &Sink,
    ) -> Result<BTreeMap<String, String>> {
        let detail = match request.switches.metadata_provenance {
            MetadataProvenance::Disabled => return Ok(BTreeMap::new()),
            MetadataProvenance::Min => Detail::Min,
            MetadataProvenance::Max => Detail::Max,
        };
        let step = Step::start(sink, "resolving provenance for metadata file").await;
        match fetch(daemon, reference, detail).await {
            Ok(found) => {
                step.finish().await;
                Ok(found)
            }
            Err(error) => {
                step.fail(error.line()).await;
                Err(error)
            }
        }
    }
}

fn local_state(request: &BuildRequest, folder: &Path) -> LocalState {
    let absolute = |path: &str| clean(&folder.join(path)).to_string_lossy().into_owned();
    let local = matches!(request.context, ContextSource::Folder(_));
    let place = |path: &str| {
        if local && path != "-" {
            absolute(path)
        } else {
            path.to_owned()
        }
    };
    LocalState {
        target: "default".to_owned(),
        local_path: place(&request.typed_context),
        dockerfile_path: request.typed_dockerfile.as_deref().map(place).unwrap_or_default(),
        group_ref: String::new(),
    }
}

async fn fetch(daemon: &Daemon, reference: &str, detail: Detail) -> Result<BTreeMap<String, String>> {
    let record = match daemon.client.build_record(reference).await {
        Ok(record) => record,
        Err(error) => return Err(failure::of_call(error, daemon).await),
    };
    let mut found = BTreeMap::new();
    for result in record.into_iter().flat_map(|record| record.results) {
        let attestation = result.attestations.iter().find_map(|blob| {
            let kind = blob
                .predicate_type()
                .filter(|kind| kind.starts_with(provenance::PREDICATE))?;
            (blob.media_type == provenance::MEDIA_TYPE).then_some((blob, kind))
        });
        let Some((blob, kind)) = attestation else {
            continue;
        };
        let data = match daemon.client.read_blob(blob).await {
            Ok(data) => data,
            Err(error) => {
                let error = failure::of_call(error, daemon).await;
                return Err(error.prefixed("failed to load provenance blob from build record"));
            }
        };
        let text = provenance::encode(&data, kind, detail)
            .map_err(|error| CommandError::internal("failed to unmarshal provenance").with_source(error))?;
        found.insert(provenance::key(result.platform.as_deref()), text);
    }
    Ok(found)
}

/// Warnings in the form that `--progress rawjson` has for them.
pub fn warnings(list: Vec<Warning>) -> Value {
    list.iter().map(warning).collect()
}

fn warning(warning: &Warning) -> Value {
    let encode = |data: &[u8]| json!(STANDARD.encode(data));
    let mut value = serde_json::Map::new();
    let mut put = |key: &str, given: bool, field: Value| {
        if given {
            value.insert(key.to_owned(), field);
        }
    };
    put("vertex", !warning.vertex.is_empty(), json!(warning.vertex));
    put("level", warning.level != 0, json!(warning.level));
    put("short", !warning.short.is_empty(), encode(&warning.short));
    let detail: Vec<Value> = warning.detail.iter().map(|line| encode(line)).collect();
    put("detail", !detail.is_empty(), Value::Array(detail));
    put("url", !warning.url.is_empty(), json!(warning.url));
    if let Some(source) = &warning.source {
        let info = json!({
            "filename": source.filename, "data": encode(&source.data), "language": source.language,
        });
        put("sourceInfo", true, info);
    }
    let ranges: Vec<Value> = warning.ranges.iter().map(range).collect();
    put("range", !ranges.is_empty(), Value::Array(ranges));
    Value::Object(value)
}

fn range(range: &Range) -> Value {
    let position = |line: i32, character: i32| json!({ "line": line, "character": character });
    json!({
        "start": position(range.start.line, range.start.character),
        "end": position(range.end.line, range.end.character),
    })
}
