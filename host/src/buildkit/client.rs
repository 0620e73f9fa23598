//! One daemon: what it is, what it can do, what it runs, and solves on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bkhost_proto::content::ReadContentRequest;
use bkhost_proto::content::content_client::ContentClient;
use bkhost_proto::control::{BuildHistoryEventType, BuildHistoryRequest, InfoRequest};
use bytes::{Bytes, BytesMut};
use tonic::{Response, Status};

use super::error::{RpcError, SolveError};
use super::gateway::{self, Capabilities};
use super::history::{BuildRecord, Descriptor};
use super::solve::{self, Cancel};
use super::spec::{SolveSpec, Solved};
use super::worker::{DaemonVersion, Worker};
use crate::connect::channel::{Channel, MESSAGE_LIMIT};
use crate::connect::error::ConnectError;
use crate::connect::pipe::Pipe;
use crate::progress::event::Sink;

/// Longest wait for the answer of a call that is not a build.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// A connection to one daemon. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    workers: Arc<[Worker]>,
}

impl Client {
    /// Takes `pipe` and proves with one call that a BuildKit daemon answers on it, before `deadline` or within 30 s.
    pub async fn connect(pipe: Pipe, deadline: Option<Instant>) -> Result<Self, ConnectError> {
        let (channel, listed) = Channel::connect(pipe, deadline).await?;
        let workers = listed.record.into_iter().map(Worker::from).collect();
        Ok(Self { channel, workers })
    }

    /// The channel, to wait for its loss.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The daemon's workers, as it listed them when it was connected to.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The daemon's version; `None` from a daemon before 0.11, which cannot tell.
    pub async fn version(&self) -> Result<Option<DaemonVersion>, RpcError> {
        let mut control = self.channel.control();
        match self.call("Info", control.info(InfoRequest {})).await {
            Ok(info) => Ok(info.buildkit_version.map(DaemonVersion::from)),
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many builds run on the daemon; `None` from a daemon before 0.11, which cannot tell.
    pub async fn active_builds(&self) -> Result<Option<usize>, RpcError> {
        let request = BuildHistoryRequest {
            active_only: true,
            early_exit: true,
            ..Default::default()
        };
        match self.history(request).await {
            Ok(records) => Ok(Some(records.len())),
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the daemon and its frontends can do, from an empty build that leaves no record.
    pub async fn capabilities(&self) -> Result<Capabilities, RpcError> {
        self.watched("Ping", gateway::probe(&self.channel)).await
    }

    /// The daemon's record of the build `reference`; `None` when it has none, or keeps no history.
    pub async fn build_record(&self, reference: &str) -> Result<Option<BuildRecord>, RpcError> {
        let request = BuildHistoryRequest {
            r#ref: reference.to_owned(),
            early_exit: true,
            ..Default::default()
        };
        match self.history(request).await {
            Ok(mut records) => Ok(records.pop()),
            Err(error) if error.is_unimplemented() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The content of a blob that a [`BuildRecord`] names.
    pub async fn read_blob(&self, blob: &Descriptor) -> Result<Bytes, RpcError> {
        let mut content = ContentClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        let request = ReadContentRequest {
            digest: blob.digest.clone(),
            ..Default::default()
        };
        self.watched("Read", async {
            let mut pieces = content.read(request).await?.into_inner();
            let mut data = BytesMut::new();
            while let Some(piece) = pieces.message().await? {
                data.extend_from_slice(&piece.data);
            }
            Ok(data.freeze())
        })
        .await
    }

    /// Runs one build to its end; see [`solve::run`].
    pub async fn solve(&self, spec: SolveSpec, sink: Sink, cancel: Cancel) -> Result<Solved, SolveError> {
        solve::run(&self.channel, spec, sink, cancel).await
    }

    /// Records of the answer, the newest state of a build last.
    async fn history(&self, request: BuildHistoryRequest) -> Result<Vec<BuildRecord>, RpcError> {
        let mut control = self.channel.control();
        self.watched("ListenBuildHistory", async {
            let mut events = control.listen_build_history(request).await?.into_inner();
            let mut records = Vec::new();
            while let Some(event) = events.message().await? {
                if event.r#type() != BuildHistoryEventType::Deleted {
                    records.extend(event.record.map(BuildRecord::from));
                }
            }
            Ok(records)
        })
        .await
    }

    async fn call<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, RpcError> {
        self.watched(call, async { answer.await.map(Response::into_inner) })
            .await
    }

    /// Waits for `answer` no longer than the connection lives.
    async fn watched<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, RpcError> {
        tokio::select! {
            biased;
            answer = tokio::time::timeout(CALL_LIMIT, answer) => match answer {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(status)) => Err(RpcError::of(call, status, &self.channel).await),
                Err(_) => Err(RpcError::TimedOut { call, after: CALL_LIMIT }),
            },
            how = self.channel.loss() => Err(RpcError::Lost { call, how }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::fake::Daemon;
    use crate::connect::fake;

    #[tokio::test]
    async fn an_old_daemon_works_with_less() {
        let daemon = Daemon {
            old: true,
            ..Default::default()
        };
        let (pipe, _server) = fake::serve(daemon.routes());
        let client = Client::connect(pipe, None).await.unwrap();
        assert_eq!(client.version().await.unwrap(), None);
        assert_eq!(client.active_builds().await.unwrap(), None);
        assert_eq!(client.build_record("x").await.unwrap(), None);
        assert_eq!(client.workers(), []);
    }

    #[tokio::test]
    async fn calls_after_the_loss_say_how_it_was_lost() {
        let (pipe, server) = fake::serve(Daemon::default().routes());
        let client = Client::connect(pipe, None).await.unwrap();
        server.abort();
        let lost = client.channel().loss().await;
        let error = client.version().await.unwrap_err();
        assert!(matches!(error, RpcError::Lost { how, .. } if how == lost));
    }
}
