//! What a daemon remembers of builds.

use bkhost_proto::control::{BuildHistoryRecord, BuildResultInfo, Descriptor as WireDescriptor};

use super::convert;
use super::error::DaemonError;
use crate::progress::event::Timestamp;
use std::collections::BTreeMap;

/// The daemon's record of one build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildRecord {
    /// Id of the build.
    pub reference: String,
    /// When it began.
    pub created: Option<Timestamp>,
    /// When it ended; absent while it runs.
    pub completed: Option<Timestamp>,
    /// Why it failed, without details.
    pub error: Option<DaemonError>,
    /// Its results; a build for one platform has one without a platform.
    pub results: Vec<RecordedResult>,
    /// Steps that came from the cache, and all steps.
    pub steps: Steps,
}

/// How many steps a build had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Taken from the cache.
    pub cached: i32,
    /// Ended.
    pub completed: i32,
    /// In all.
    pub total: i32,
}

/// One result of a recorded build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedResult {
    /// Its platform in full printed form, when the build had several.
    pub platform: Option<String>,
    /// Attestations, to be read with `Client::read_blob`.
    pub attestations: Vec<Descriptor>,
}

/// A blob in the daemon's content store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: i64,
    /// What is said about it; `in-toto.io/predicate-type` tells attestations apart.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Type of the predicate when this is an attestation, such as `https://slsa.dev/provenance/v1`.
    pub fn predicate_type(&self) -> Option<&str> {
        self.annotations
            .get("in-toto.io/predicate-type")
            .map(String::as_str)
    }
}

impl From<WireDescriptor> for Descriptor {
    fn from(descriptor: WireDescriptor) -> Self {
        Self {
            media_type: descriptor.media_type,
            digest: descriptor.digest,
            size: descriptor.size,
            annotations: descriptor.annotations,
        }
    }
}

impl From<BuildHistoryRecord> for BuildRecord {
    fn from(record: BuildHistoryRecord) -> Self {
        let single = record.result.map(|result| recorded(None, result));
        let by_platform = record
            .results
            .into_iter()
            .map(|(platform, result)| recorded(Some(platform), result));
        Self {
            reference: record.r#ref,
            created: convert::timestamp(record.created_at),
            completed: convert::timestamp(record.completed_at),
            error: record.error.map(DaemonError::of_wire),
            results: single.into_iter().chain(by_platform).collect(),
            steps: Steps {
                cached: record.num_cached_steps,
                completed: record.num_completed_steps,
                total: record.num_total_steps,
            },
        }
    }
}

fn recorded(platform: Option<String>, result: BuildResultInfo) -> RecordedResult {
    RecordedResult {
        platform,
        attestations: result.attestations.into_iter().map(Into::into).collect(),
    }
}
