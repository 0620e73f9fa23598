//! What a daemon asks back during a build.
//!
//! A session is an HTTP/2 connection inside the stream of one call, in which we are the server. It is driven by a task
//! of ours and lives exactly as long as the [`Session`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bkhost_proto::control::BytesMessage;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Status, Streaming};

use super::spec::{SolveSpec, random_id};
use crate::causes;
use crate::connect::channel::Channel;

mod auth;
mod failure;
pub mod content;
pub mod file_send;
pub mod file_sync;
pub mod fsutil;
mod health;
mod secrets;
mod server;
mod services;
mod tunnel;
mod upload;

use failure::Failures;
pub use failure::SessionFailure;
use file_send::{Inbox, UnnamedFiles};
use services::Services;

/// Messages that may wait between the stream of the call and the connection inside it; flow control of both levels
/// comes on top.
const PENDING_MESSAGES: usize = 16;

/// A running session. Dropping it ends it at once; [`Session::close`] ends it in order.
pub struct Session {
    id: String,
    failures: Failures,
    files: Arc<UnnamedFiles>,
    close: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Session {
    /// Opens a session that serves what `spec` offers. The error is of our own making: a header that cannot be sent.
    pub fn open(channel: &Channel, spec: &SolveSpec) -> Result<Self, Status> {
        let id = random_id();
        let files = Arc::default();
        let services = Services::of(spec, Inbox::of(&files));
        let metadata = metadata(&id, &spec.session.shared_key, services.methods())?;
        let failures = services.failures.clone();
        let close = CancellationToken::new();
        let task = live(
            channel.clone(),
            metadata,
            services,
            failures.clone(),
            close.clone(),
        );
        Ok(Self {
            id,
            failures,
            files,
            close,
            task: AbortOnDropHandle::new(tokio::spawn(task)),
        })
    }

    /// The failure of ours that made the daemon end the build with `message`, if it was one.
    pub fn failure_behind(&self, message: &str) -> Option<SessionFailure> {
        self.failures.behind(message)
    }

    /// Gives the files that were exported their names: the solve has ended well. Without this they vanish with the session.
    pub fn name_files(&self) -> Result<(), SessionFailure> {
        self.files.name().map_err(|error| SessionFailure::of(&error))
    }

    /// Its id, as a solve names it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Ends our half and waits until the daemon has ended its own, at most `limit`.
    pub async fn close(self, limit: Duration) {
        self.close.cancel();
        let _ = tokio::time::timeout(limit, self.task).await;
    }
}

/// Headers of the call: who we are and every method that is served.
fn metadata(id: &str, shared_key: &str, methods: &[String]) -> Result<MetadataMap, Status> {
    let ascii = |text: &str| {
        MetadataValue::try_from(text)
            .map_err(|_| Status::internal(format!("Header value `{text}` cannot be sent")))
    };
    let mut metadata = MetadataMap::new();
    metadata.insert("x-docker-expose-session-uuid", ascii(id)?);
    metadata.insert(
        "x-docker-expose-session-sharedkey",
        ascii(&printable(shared_key))?,
    );
    for method in methods {
        metadata.append("x-docker-expose-session-grpc-method", ascii(method)?);
    }
    Ok(metadata)
}

/// A key holds the name of a folder, and a header only printable ASCII. To the daemon it is opaque.
fn printable(shared_key: &str) -> String {
    percent_encoding::utf8_percent_encode(shared_key, percent_encoding::CONTROLS).to_string()
}

/// Runs the session and keeps why it ended, if that was not its time.
async fn live(
    channel: Channel,
    metadata: MetadataMap,
    services: Services,
    failures: Failures,
    close: CancellationToken,
) {
    let ended = run(channel, metadata, services, close.clone()).await;
    if !close.is_cancelled() {
        let why = match ended {
            Ok(()) => "the daemon closed it".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        tracing::debug!(why, "session ended early");
        failures.ended(why);
    }
}

async fn run(
    channel: Channel,
    metadata: MetadataMap,
    services: Services,
    close: CancellationToken,
) -> Result<(), Status> {
    let (outgoing, messages) = mpsc::channel(PENDING_MESSAGES);
    let (incoming, data) = mpsc::channel(PENDING_MESSAGES);
    let mut request = Request::new(ReceiverStream::new(messages));
    *request.metadata_mut() = metadata;
    let mut control = channel.control();
    let answer = tokio::select! {
        answer = control.session(request) => answer?.into_inner(),
        () = close.cancelled() => return Ok(()),
    };
    let stream = tunnel::Tunnel::new(data, outgoing);
    exchange(answer, incoming, server::serve(stream, services), close).await
}

/// Drives `server` until it is to be closed, then reads the daemon's half to its end. Dropping the server drops the
/// sending end, which half-closes the call.
async fn exchange(
    mut answer: Streaming<BytesMessage>,
    incoming: mpsc::Sender<Bytes>,
    server: impl Future<Output = hyper::Result<()>>,
    close: CancellationToken,
) -> Result<(), Status> {
    {
        let reading = feed(&mut answer, &incoming);
        tokio::pin!(reading, server);
        tokio::select! {
            outcome = &mut reading => return outcome,
            served = &mut server => served.map_err(|error| Status::unknown(causes::one_line(&error)))?,
            () = close.cancelled() => {}
        }
    }
    while answer.message().await?.is_some() {}
    Ok(())
}

async fn feed(answer: &mut Streaming<BytesMessage>, incoming: &mpsc::Sender<Bytes>) -> Result<(), Status> {
    while let Some(message) = answer.message().await? {
        if incoming.send(message.data).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The daemon's way into a session, over the messages of its call.
#[cfg(test)]
pub(super) fn way_in(
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<BytesMessage>,
) -> crate::connect::pipe::Pipe {
    crate::connect::pipe::Pipe::new(tunnel::Tunnel::new(incoming, outgoing))
}

#[cfg(test)]
#[path = "session/tests.rs"]
mod tests;
