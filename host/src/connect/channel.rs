//! A gRPC channel over one stream, which is used once.
//!
//! The stream is handed to HTTP/2 a single time. When it is gone, every later call is answered with the recorded
//! loss: dialling again here might reach another daemon, which knows nothing of the build.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bkhost_proto::control::control_client::ControlClient;
use bkhost_proto::control::{InfoRequest, ListWorkersRequest, ListWorkersResponse};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use super::error::ConnectError;
use super::helper_program::LastWords;
use super::liveness::{Ending, Lost, Vitals, Watched};
use super::peer::Peer;
use super::pipe::Pipe;

/// Largest message in both directions, as daemons accept and send them.
pub const MESSAGE_LIMIT: usize = 16 << 20;
/// HTTP/2 window of one stream: a whole burst of files is on the way before anybody waits.
pub const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2 window of the connection: one full stream leaves room for the others.
pub const CONNECTION_WINDOW: u32 = 16 << 20;
/// Longest header block that is accepted.
pub const HEADER_LIMIT: u32 = 4 << 20;
/// Longest wait for the first answer when the caller has no deadline.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long a helper program may take to end after its connection has.
pub const HELPER_GRACE: Duration = Duration::from_millis(500);
/// How long an ended call waits for the word about the connection, which another task writes.
const LOSS_GRACE: Duration = Duration::from_millis(200);

/// A channel to one daemon. Clones share the connection; it is closed with the last of them.
#[derive(Clone, Debug)]
pub struct Channel {
    sender: http2::SendRequest<Body>,
    authority: Authority,
    vitals: Arc<Vitals>,
    last_words: Option<LastWords>,
    _connection: Arc<AbortOnDropHandle<()>>,
}

impl Channel {
    /// Takes `pipe` and proves with one call that a BuildKit daemon answers on it. The call is one that all daemons know
    /// and whose answer nearly everybody needs: the daemon's workers.
    pub async fn connect(
        pipe: Pipe,
        deadline: Option<std::time::Instant>,
    ) -> Result<(Self, ListWorkersResponse), ConnectError> {
        let start = Instant::now();
        let deadline = deadline.map_or(start + FIRST_ANSWER_LIMIT, Instant::from_std);
        let proven = async {
            let channel = Self::open(pipe).await?;
            let workers = channel.prove().await?;
            Ok((channel, workers))
        };
        match tokio::time::timeout_at(deadline, proven).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectError::TimedOut {
                after: start.elapsed(),
            }),
        }
    }

    async fn open(pipe: Pipe) -> Result<Self, ConnectError> {
        let authority = pipe.authority().unwrap_or("localhost");
        let authority = authority
            .parse()
            .unwrap_or_else(|_| Authority::from_static("localhost"));
        let last_words = pipe.last_words().cloned();
        let stream = Watched::new(pipe);
        let vitals = stream.vitals();
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIMIT)
            .handshake::<_, Body>(TokioIo::new(stream))
            .await;
        let (sender, connection) = match handshake {
            Ok(both) => both,
            Err(error) => {
                vitals.end(ending_of(&error));
                return Err(unanswered(vitals.loss().await, vitals.peer(), last_words.as_ref()).await);
            }
        };
        let ended = Arc::clone(&vitals);
        let task = tokio::spawn(async move {
            ended.end(match connection.await {
                Ok(()) => Ending::Eof,
                Err(error) => ending_of(&error),
            });
        });
        Ok(Self {
            sender,
            authority,
            vitals,
            last_words,
            _connection: Arc::new(AbortOnDropHandle::new(task)),
        })
    }

    /// A channel to a server that is no daemon.
    #[cfg(test)]
    pub(crate) async fn open_unproven(pipe: Pipe) -> Self {
        Self::open(pipe).await.unwrap()
    }

    async fn prove(&self) -> Result<ListWorkersResponse, ConnectError> {
        match self.control().list_workers(ListWorkersRequest::default()).await {
            Ok(workers) => Ok(workers.into_inner()),
            Err(status) => Err(self.refusal(status).await),
        }
    }

    async fn refusal(&self, status: Status) -> ConnectError {
        if let Some(lost) = self.loss_behind(&status).await {
            return unanswered(lost, self.vitals.peer(), self.last_words()).await;
        }
        match self.vitals.peer() {
            Peer::Http2 => {}
            peer => return ConnectError::NotHttp2 { peer },
        }
        let text = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            Code::Unimplemented => ConnectError::NotBuildKit { text },
            code => ConnectError::Denied {
                text,
                transient: code == Code::Unavailable,
            },
        }
    }

    /// `Control`, with this channel's limits.
    pub fn control(&self) -> ControlClient<Self> {
        ControlClient::new(self.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// What is known about the connection.
    pub fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// What the helper program behind the connection leaves, if there is one.
    pub fn last_words(&self) -> Option<&LastWords> {
        self.last_words.as_ref()
    }

    /// Waits until the connection is lost: ended, or dead for its silence. To be polled while something is outstanding.
    pub async fn loss(&self) -> Lost {
        let silence = self.vitals.silence(|| async {
            // Any answer is a sign of life; an old daemon says Unimplemented.
            let _ = self.control().info(InfoRequest {}).await;
        });
        tokio::select! {
            lost = self.vitals.loss() => lost,
            lost = silence => lost,
        }
    }

    /// The loss that made a call fail with `status`, if it was one. The daemon's own errors have no source.
    pub async fn loss_behind(&self, status: &Status) -> Option<Lost> {
        if let Some(lost) = self.vitals.lost() {
            return Some(lost);
        }
        std::error::Error::source(status)?;
        tokio::time::timeout(LOSS_GRACE, self.vitals.loss()).await.ok()
    }
}

/// The error for a connection that ended before the first call was answered. A helper program that never got through
/// to the daemon says why on its stderr; all that the stream tells is its end.
async fn unanswered(lost: Lost, peer: Peer, last_words: Option<&LastWords>) -> ConnectError {
    let Some(words) = last_words.filter(|_| peer == Peer::Silent) else {
        return ConnectError::of_loss(lost, peer);
    };
    let program = words.program();
    let status = words.ended_within(HELPER_GRACE).await;
    let last_line = words
        .stderr()
        .trim()
        .lines()
        .last()
        .unwrap_or_default()
        .trim()
        .to_owned();
    match status {
        Some(status) => ConnectError::Helper {
            program,
            status,
            last_line,
        },
        None => ConnectError::HelperClosed { program, last_line },
    }
}

/// The innermost text says what happened; hyper's own only where.
fn ending_of(error: &hyper::Error) -> Ending {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => Ending::of(error),
        None => Ending::GoAway(cause.to_string()),
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        address(&mut request, &self.authority);
        let mut sender = self.sender.clone();
        let vitals = Arc::clone(&self.vitals);
        Box::pin(async move {
            if let Some(lost) = vitals.lost() {
                return Err(Status::unavailable(lost.to_string()));
            }
            match sender.send_request(request).await {
                Ok(response) => Ok(response.map(Body::new)),
                Err(error) => Err(Status::from_error(Box::new(error))),
            }
        })
    }
}

fn address(request: &mut Request<Body>, authority: &Authority) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority.clone());
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request.headers_mut().insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("bkhost/", env!("CARGO_PKG_VERSION"))),
    );
}

#[cfg(test)]
#[path = "channel/tests.rs"]
mod tests;
