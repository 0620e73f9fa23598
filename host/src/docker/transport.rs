//! Requests to one engine: a whole answer, a stream, or a connection that a request turns into.

mod body;
mod hearing;
mod request;

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

pub use self::body::AnswerStream;
use self::hearing::Hearing;
pub use self::request::{BODY_LIMIT, Request};
use super::endpoint::Endpoint;
use super::error::{EngineError, message_of};
use super::http2;
use super::stream::Opener;
use super::version::ApiVersion;
use crate::connect::pipe::Pipe;

/// Most bytes of an answer that is read whole.
pub const ANSWER_LIMIT: usize = 16 << 20;
/// Most bytes that are read of an error's answer: a sentence. Of a page that something else sends instead, the status and
/// the beginning tell enough.
const ERROR_LIMIT: usize = 64 << 10;

/// A request on its way.
type Sent = http::Request<Full<Bytes>>;
type Received = http::Response<hyper::body::Incoming>;

/// An answer whose body was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header fields, names in lower case, in order of arrival. Values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What an engine says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The version of the API that both sides speak.
    pub version: ApiVersion,
    /// It recommends BuildKit for builds. Engines before 23.0 have it and do not say so.
    pub recommends_buildkit: bool,
}

impl Answer {
    /// The first value of a header field that is not empty; `name` in lower case.
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        values
            .find(|(_, value)| !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// One engine. The version of its API is agreed on once; a connection that served a request serves the next.
pub struct Engine {
    endpoint: Endpoint,
    opener: Opener,
    pinned: Option<ApiVersion>,
    told: OnceCell<Ping>,
    takes_builds: OnceCell<bool>,
    idle: Mutex<Option<Link>>,
}

/// An HTTP/1.1 connection for requests with bodies of one type. Dropping it closes it.
struct Link<B = Full<Bytes>> {
    sender: SendRequest<B>,
    _task: AbortOnDropHandle<()>,
}

impl Engine {
    /// The engine at `endpoint`; `pinned` is the version of the API that the user fixed.
    pub(super) fn new(endpoint: Endpoint, opener: Opener, pinned: Option<ApiVersion>) -> Self {
        Self {
            endpoint,
            opener,
            pinned,
            told: OnceCell::new(),
            takes_builds: OnceCell::new(),
            idle: Mutex::default(),
        }
    }

    /// Its address, as the context or the variable says it.
    pub fn url(&self) -> &str {
        &self.endpoint.url
    }

    /// The version of the API that both sides speak.
    pub async fn version(&self) -> Result<ApiVersion, EngineError> {
        match self.pinned {
            Some(pinned) => Ok(pinned),
            None => Ok(self.ping().await?.version),
        }
    }

    /// What it says of itself when it is asked for a sign of life. Asked once.
    pub async fn ping(&self) -> Result<Ping, EngineError> {
        self.told.get_or_try_init(|| self.negotiate()).await.copied()
    }

    /// Whether it has a BuildKit inside: what only speaks the API, as Podman does, has none. An engine that hangs takes
    /// connections and says nothing, and is waited for until `limit`.
    pub async fn has_buildkit(&self, limit: Duration) -> Result<bool, EngineError> {
        let told = async {
            if self.ping().await?.recommends_buildkit {
                return Ok(true);
            }
            self.takes_builds.get_or_try_init(|| self.probe()).await.copied()
        };
        let answered = tokio::time::timeout(limit, told).await;
        answered.unwrap_or_else(|_| {
            Err(EngineError::Silent {
                url: self.endpoint.url.clone(),
                limit,
            })
        })
    }

    /// Asks for a connection to its BuildKit.
    async fn probe(&self) -> Result<bool, EngineError> {
        match self
            .hijack(&Request::new("POST", "/grpc").with_header("upgrade", "h2c"))
            .await
        {
            Ok(_) => Ok(true),
            Err(EngineError::NotUpgraded { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, request: &Request) -> Result<Answer, EngineError> {
        let (received, link) = self.ask(request).await?;
        self.whole(request, received, link).await
    }

    /// What an engine tells of itself at `path`.
    pub(super) async fn ask_for<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        let answer = self.send(&Request::new("GET", path)).await?;
        if answer.status != 200 {
            return Err(refusal(answer.status, &answer.body));
        }
        serde_json::from_slice(&answer.body).map_err(|error| EngineError::Answer {
            status: answer.status,
            message: format!("its answer at `{path}` is not understood: {error}"),
        })
    }

    /// Sends a request whose answer is a stream.
    pub async fn open_stream(&self, request: &Request) -> Result<AnswerStream, EngineError> {
        let (received, link) = self.ask(request).await?;
        if received.status().is_success() {
            return Ok(AnswerStream::new(received.into_body(), link));
        }
        let (answer, _) = self.read(received, link, ERROR_LIMIT).await?;
        Err(refusal(answer.status, &answer.body))
    }

    /// Sends a request whose body and answer are streams, on a connection of its own. Nothing of the body is kept here: it
    /// is asked for its next piece when the engine has taken the one before. A body that fails closes the connection, so
    /// that the engine does not take what it got for the whole.
    pub async fn upload<B>(&self, request: &Request, body: B) -> Result<AnswerStream, EngineError>
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let version = self.version().await?;
        let request = request.wire_with(body, &self.endpoint, Some(version))?;
        let pipe = self.opener.open(&self.endpoint).await?;
        let mut link = self.link(Pipe::new(Hearing::new(pipe))).await?;
        let received = link.sender.send_request(request).await;
        let received = received.map_err(|cause| self.http(cause))?;
        let status = received.status();
        if status.is_success() {
            return Ok(AnswerStream::new(received.into_body(), link));
        }
        let told = body::read(received.into_body(), ERROR_LIMIT).await;
        let (told, _) = told.map_err(|cause| self.http(cause))?;
        Err(refusal(status.as_u16(), &told))
    }

    /// Sends a request that turns into a two-way stream. What it turns into is the request's field `upgrade`, `tcp`
    /// unless it says otherwise.
    pub async fn hijack(&self, request: &Request) -> Result<Pipe, EngineError> {
        let (request, protocol) = request.upgraded();
        let (received, link) = self.ask(&request).await?;
        if received.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = received.status().as_u16();
            let mut message = String::new();
            // Below, the body is what should have been the stream, and may have no end.
            if status >= 400 {
                let (answer, _) = self.read(received, link, ERROR_LIMIT).await?;
                if !answer.body.is_empty() {
                    message = message_of(status, &answer.body);
                }
            }
            return Err(EngineError::NotUpgraded {
                protocol,
                status,
                message,
            });
        }
        let upgraded = hyper::upgrade::on(received)
            .await
            .map_err(|cause| self.http(cause))?;
        Ok(match upgraded.downcast::<TokioIo<Pipe>>() {
            Ok(parts) => body::resumed(parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => Pipe::new(TokioIo::new(upgraded)),
        })
    }

    /// A connection of its own for HTTP/2 with prior knowledge.
    pub async fn http2(&self) -> Result<Pipe, EngineError> {
        let pipe = self.opener.open(&self.endpoint).await?;
        let begun = http2::begin(pipe).await.map_err(|cause| EngineError::Lost {
            url: self.endpoint.url.clone(),
            cause,
        })?;
        begun.map_err(|peer| EngineError::NoHttp2 {
            url: self.endpoint.url.clone(),
            peer: peer.to_string(),
        })
    }

    /// `HEAD /_ping`, and `GET` where that is not known.
    async fn negotiate(&self) -> Result<Ping, EngineError> {
        let ping = |method| Request::new(method, "/_ping");
        let mut answer = self.send_unversioned(&ping("HEAD")).await?;
        // A failing engine answers 500 and says its version all the same.
        if !matches!(answer.status, 200 | 500) {
            answer = self.send_unversioned(&ping("GET")).await?;
        }
        let told = answer.header("api-version");
        if told.is_none() && answer.status >= 400 {
            return Err(refusal(answer.status, &answer.body));
        }
        let agreed = || ApiVersion::agreed(told);
        Ok(Ping {
            version: self.pinned.map_or_else(agreed, Ok)?,
            recommends_buildkit: answer.header("builder-version") == Some("2"),
        })
    }

    async fn send_unversioned(&self, request: &Request) -> Result<Answer, EngineError> {
        let (received, link) = self.exchange(request.wire(&self.endpoint, None)?).await?;
        let (answer, _) = self.read(received, link, ERROR_LIMIT).await?;
        Ok(answer)
    }

    async fn ask(&self, request: &Request) -> Result<(Received, Link), EngineError> {
        let version = match request.is_versioned() {
            true => Some(self.version().await?),
            false => None,
        };
        self.exchange(request.wire(&self.endpoint, version)?).await
    }

    /// Sends a request on the idle connection, or on a new one: also when the engine closed the idle one before it took
    /// the request, or when asking twice does no harm.
    async fn exchange(&self, request: Sent) -> Result<(Received, Link), EngineError> {
        let mut request = request;
        if let Some(mut link) = self.idle_link().await {
            let harmless = [Method::GET, Method::HEAD].contains(request.method());
            let again = harmless.then(|| request.clone());
            match link.sender.try_send_request(request).await {
                Ok(received) => return Ok((received, link)),
                Err(mut error) => match error.take_message().or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(self.http(error.into_error())),
                },
            }
        }
        let mut link: Link = self.connect().await?;
        let received = link.sender.send_request(request).await;
        Ok((received.map_err(|cause| self.http(cause))?, link))
    }

    async fn idle_link(&self) -> Option<Link> {
        let mut link = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        link.sender.ready().await.ok()?;
        Some(link)
    }

    async fn connect<B>(&self) -> Result<Link<B>, EngineError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let pipe = self.opener.open(&self.endpoint).await?;
        self.link(pipe).await
    }

    async fn link<B>(&self, pipe: Pipe) -> Result<Link<B>, EngineError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shaken = http1::handshake(TokioIo::new(pipe)).await;
        let (sender, connection) = shaken.map_err(|cause| self.http(cause))?;
        // How it ends, whoever waits for an answer is told.
        let task = tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(Link {
            sender,
            _task: AbortOnDropHandle::new(task),
        })
    }

    async fn whole(&self, request: &Request, received: Received, link: Link) -> Result<Answer, EngineError> {
        match self.read(received, link, ANSWER_LIMIT).await? {
            (answer, true) => Ok(answer),
            _ => Err(EngineError::Large {
                method: request.method.clone(),
                path: request.path.clone(),
                limit: ANSWER_LIMIT,
            }),
        }
    }

    /// Reads an answer with at most `limit` bytes of its body, and whether that is all of it. Only then the connection can
    /// serve the next request.
    async fn read(
        &self,
        received: Received,
        link: Link,
        limit: usize,
    ) -> Result<(Answer, bool), EngineError> {
        let (head, incoming) = received.into_parts();
        let (body, is_all) = body::read(incoming, limit)
            .await
            .map_err(|cause| self.http(cause))?;
        if is_all {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        }
        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers.iter().filter_map(text).collect(),
            body,
        };
        Ok((answer, is_all))
    }

    fn http(&self, cause: hyper::Error) -> EngineError {
        EngineError::Http {
            url: self.endpoint.url.clone(),
            cause,
        }
    }
}

/// An answer that says no.
fn refusal(status: u16, body: &[u8]) -> EngineError {
    EngineError::Answer {
        status,
        message: message_of(status, body),
    }
}

#[cfg(test)]
mod tests;
