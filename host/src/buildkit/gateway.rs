//! The frontend side of a build: in gateway mode the client, not the daemon, asks the frontend and hands its result
//! back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bkhost_proto::apicaps::ApiCap;
use bkhost_proto::control;
use bkhost_proto::gateway::llb_bridge_client::LlbBridgeClient;
use bkhost_proto::gateway::{
    PingRequest, PongResponse, Result as WireResult, ReturnRequest, SolveRequest, SolveResponse, result,
};
use bytes::Bytes;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use super::error::wire_status;
use super::spec::{SolveSpec, random_id};
use crate::connect::channel::{Channel, MESSAGE_LIMIT};

/// Header that says which build a call belongs to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";
/// Longest wait for the build to be known to the daemon, which itself waits 3 s for it.
const PING_LIMIT: Duration = Duration::from_secs(15);
/// How long a daemon may take to end the empty build that only asks.
const PROBE_END_LIMIT: Duration = Duration::from_secs(10);

/// What a daemon and its frontends can do. A capability counts when it is listed *and* enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Of the gateway, such as `gateway.evaluate`.
    pub frontend: BTreeSet<String>,
    /// Of the solver, such as `exporter.image.attestations`.
    pub llb: BTreeSet<String>,
}

impl Capabilities {
    fn of(pong: PongResponse) -> Self {
        Self {
            frontend: enabled(pong.frontend_api_caps),
            llb: enabled(pong.llb_caps),
        }
    }
}

fn enabled(caps: Vec<ApiCap>) -> BTreeSet<String> {
    caps.into_iter()
        .filter(|cap| cap.enabled)
        .map(|cap| cap.id)
        .collect()
}

/// Calls of one build.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    bridge: LlbBridgeClient<Channel>,
    build: MetadataValue<Ascii>,
}

impl Gateway {
    pub(super) fn new(channel: &Channel, reference: &str) -> Result<Self, Status> {
        let build = reference
            .parse()
            .map_err(|_| Status::invalid_argument("invalid build reference"))?;
        let bridge = LlbBridgeClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        Ok(Self { bridge, build })
    }

    /// Asks the frontend for the result and returns it to the daemon, or the error with all its details. The answer is
    /// the result's metadata.
    pub(super) async fn run(mut self, spec: &SolveSpec) -> Result<BTreeMap<String, Bytes>, Status> {
        self.ping().await?;
        match self.solve(spec).await {
            Ok(result) => {
                let metadata = result.metadata.clone();
                self.give_back(Ok(result)).await?;
                Ok(metadata)
            }
            Err(status) => {
                // Without it the build would wait for a result for ever. What it answers changes nothing.
                let _ = self.give_back(Err(wire_status(&status))).await;
                Err(status)
            }
        }
    }

    async fn ping(&mut self) -> Result<PongResponse, Status> {
        let request = self.request(PingRequest {});
        match tokio::time::timeout(PING_LIMIT, self.bridge.ping(request)).await {
            Ok(pong) => Ok(pong?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded(
                "The daemon did not open the build in time",
            )),
        }
    }

    async fn solve(&mut self, spec: &SolveSpec) -> Result<WireResult, Status> {
        let request = SolveRequest {
            frontend: spec.frontend.clone(),
            frontend_opt: frontend_attributes(spec),
            allow_result_return: true,
            allow_result_array_ref: true,
            ..Default::default()
        };
        let response = self.bridge.solve(self.request(request)).await?;
        Ok(result_of(response.into_inner()))
    }

    async fn give_back(
        &mut self,
        outcome: Result<WireResult, bkhost_proto::rpc::Status>,
    ) -> Result<(), Status> {
        let request = match outcome {
            Ok(result) => ReturnRequest {
                result: Some(result),
                error: None,
            },
            Err(error) => ReturnRequest {
                result: None,
                error: Some(error),
            },
        };
        self.bridge.r#return(self.request(request)).await?;
        Ok(())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(BUILD_ID, self.build.clone());
        request
    }
}

/// Very old daemons answer with the id of a reference alone.
fn result_of(response: SolveResponse) -> WireResult {
    response.result.unwrap_or_else(|| WireResult {
        result: Some(result::Result::RefDeprecated(response.r#ref)),
        ..Default::default()
    })
}

/// The attributes as they are sent, caches to read included.
pub(super) fn frontend_attributes(spec: &SolveSpec) -> BTreeMap<String, String> {
    let mut attributes = spec.attributes.clone();
    if !spec.cache_imports.is_empty() && !attributes.contains_key("cache-imports") {
        let entries: Vec<_> = spec
            .cache_imports
            .iter()
            .map(|entry| serde_json::json!({"Type": entry.kind, "Attrs": entry.attributes}))
            .collect();
        let entries = serde_json::Value::Array(entries);
        attributes.insert("cache-imports".to_owned(), entries.to_string());
    }
    attributes
}

/// An empty build that only asks what can be done. Its end is not waited for: the daemon takes longer for it than for the
/// answer.
pub(super) async fn probe(channel: &Channel) -> Result<Capabilities, Status> {
    let reference = random_id();
    let mut gateway = Gateway::new(channel, &reference)?;
    let mut control = channel.control();
    let mut build = Box::pin(async move {
        let request = control::SolveRequest {
            r#ref: reference,
            internal: true,
            cache: Some(Default::default()),
            ..Default::default()
        };
        control.solve(request).await
    });
    let pong = tokio::select! {
        pong = gateway.ping() => pong?,
        ended = &mut build => {
            return Err(ended.err().unwrap_or_else(|| Status::aborted("The build ended before it began")));
        }
    };
    tokio::spawn(async move {
        let end = async { tokio::join!(gateway.give_back(Ok(WireResult::default())), build) };
        let _ = tokio::time::timeout(PROBE_END_LIMIT, end).await;
    });
    Ok(Capabilities::of(pong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_counts_only_when_it_is_enabled() {
        let cap = |id: &str, enabled| ApiCap {
            id: id.into(),
            enabled,
            ..Default::default()
        };
        let capabilities = Capabilities::of(PongResponse {
            llb_caps: vec![cap("mergeop", true), cap("diffop", false)],
            ..Default::default()
        });
        assert_eq!(capabilities.llb, BTreeSet::from(["mergeop".to_owned()]));
    }

    #[test]
    fn a_lone_reference_becomes_a_result() {
        let response = SolveResponse {
            r#ref: "r1".into(),
            result: None,
        };
        assert_eq!(
            result_of(response).result,
            Some(result::Result::RefDeprecated("r1".into()))
        );
    }
}
