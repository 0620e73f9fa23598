//! The Docker Engine API of the builder's endpoint. The host holds TLS keys and registry credentials and negotiates the
//! version.

use std::time::Duration;

use crate::info::Pair;
use crate::time::nanoseconds;
use crate::{ByteStream, Connection, Error, ErrorKind, Result, Step, host};
use host::engine as raw;

pub use crate::bindings::bkhost::host::engine::Framing;

/// A request to the engine.
///
/// The header fields of the connection are the host's to set, and naming one is refused as `invalid-config`: `host`,
/// `connection`, `content-length`, `transfer-encoding`, `te`, `trailer`, `expect`, and `upgrade` but for
/// [`hijack`](Self::hijack). A body has at most 16 MiB, and where a `content-type` is named it is `application/json`,
/// `application/octet-stream`, `application/x-tar`, `application/tar` or `application/gzip`; others are denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Method, such as `GET`.
    pub method: String,
    /// Path and query without the version prefix, such as `/containers/json?all=true`.
    pub path: String,
    /// Header fields.
    pub headers: Vec<Pair>,
    /// Body, JSON in nearly all cases.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            ..Self::default()
        }
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn with_json(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.headers
            .push(("content-type".to_owned(), "application/json".to_owned()));
        self.body = body.into();
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends it and reads the whole answer (at most 16 MiB). A status of 400 and above is an answer, which
    /// [`Response::accepted`] makes an error.
    pub fn send(&self, timeout: Duration) -> Result<Response> {
        let headers = records(&self.headers);
        let answer = raw::send(
            &self.method,
            &self.path,
            &headers,
            &self.body,
            nanoseconds(timeout),
        )?;
        Ok(Response {
            status: answer.status,
            headers: answer
                .headers
                .into_iter()
                .map(|pair| (pair.key, pair.value))
                .collect(),
            body: answer.body,
        })
    }

    /// Sends it; the answer is a stream, which the host unframes. A status of 400 and above is an error with the engine's
    /// message; the timeout bounds the wait for the answer's head.
    pub fn open_stream(&self, framing: Framing, timeout: Duration) -> Result<ByteStream> {
        let headers = records(&self.headers);
        let timeout = nanoseconds(timeout);
        let stream = raw::open_stream(&self.method, &self.path, &headers, &self.body, framing, timeout)?;
        Ok(ByteStream::new(stream))
    }

    /// Sends it; it turns into a two-way stream, which the host unframes. What it turns into is its header field `upgrade`
    /// (`h2c` for `/grpc`), `tcp` without one. An engine that answers 400 or 404 instead is of kind `unsupported`.
    pub fn hijack(&self, framing: Framing, timeout: Duration) -> Result<Connection> {
        let headers = records(&self.headers);
        let timeout = nanoseconds(timeout);
        let connection = raw::hijack(&self.method, &self.path, &headers, &self.body, framing, timeout)?;
        Ok(Connection::new(connection))
    }
}

/// An answer whose body was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header fields, names in lower case, in order of arrival.
    pub headers: Vec<Pair>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The answer itself, unless its status is 400 or above.
    ///
    /// # Errors
    ///
    /// [`Response::refusal`].
    pub fn accepted(self) -> Result<Self> {
        match self.status {
            ..=399 => Ok(self),
            _ => Err(self.refusal()),
        }
    }

    /// The refusal in the words of the docker command, with the kind and the detail `status` that the host gives to a
    /// refused stream.
    pub fn refusal(&self) -> Error {
        let kind = match self.status {
            400 => ErrorKind::InvalidConfig,
            401 | 407 => ErrorKind::Unauthenticated,
            403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            501 => ErrorKind::Unsupported,
            502..=504 => ErrorKind::Unavailable,
            507 => ErrorKind::Exhausted,
            _ => ErrorKind::Other,
        };
        let words = format!("Error response from daemon: {}", self.message());
        Error::new(kind, words).with_detail("status", self.status.to_string())
    }

    /// The engine's own word in an answer that refuses: its field `message`, else the body as text.
    pub fn message(&self) -> String {
        let told: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let told = told.as_ref().and_then(|told| told.get("message")?.as_str());
        let text = match told {
            Some(message) => message.trim().to_owned(),
            None => String::from_utf8_lossy(&self.body).trim().to_owned(),
        };
        match text.is_empty() {
            true => format!("it answered with status {}", self.status),
            false => text,
        }
    }
}

/// Connects to the engine's own socket for HTTP/2 with prior knowledge. The connection can only be returned from `dial`:
/// reading and writing are denied. An engine that is too old for it is of kind `unsupported`.
pub fn open_http2(timeout: Duration) -> Result<Connection> {
    Ok(Connection::new(raw::open_http2(nanoseconds(timeout))?))
}

/// Pulls an image with the user's registry credentials, with progress under `step`; returns the reference to use from
/// then on. Granted by `images` of the manifest.
///
/// It has no timeout: time in which bytes come counts neither for it nor for the operation, and an engine that hangs ends
/// it as `timed-out`. `verify` asks for the signature to be checked where the user has a policy: this version of the host
/// cannot check any, and then refuses images of `docker.io/moby/buildkit` as `unsupported`; of others, and without a
/// policy, it changes nothing.
pub fn pull(reference: &str, platform: Option<&str>, verify: bool, step: &Step<'_>) -> Result<String> {
    Ok(raw::pull(reference, platform, verify, step.raw())?)
}

/// API version agreed on (`1.52`).
pub fn api_version(timeout: Duration) -> Result<String> {
    Ok(raw::api_version(nanoseconds(timeout))?)
}

/// The host URL behind the builder's endpoint (`unix:///var/run/docker.sock`). Asks nobody.
pub fn host_url() -> Result<String> {
    Ok(raw::host_url()?)
}

fn records(pairs: &[Pair]) -> Vec<host::types::Pair> {
    let record = |(key, value): &Pair| host::types::Pair {
        key: key.clone(),
        value: value.clone(),
    };
    pairs.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, Listener, Script};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_refusal_of_the_engine_is_an_answer_and_of_a_stream_an_error() {
        let host = Host::new();
        host.engine_answers(409, "{}");
        host.engine_answers(404, "no such container");
        let create = Request::new("POST", "/containers/create").with_json("{\"Image\":\"b\"}");
        let answer = create.send(SECOND).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (409, &b"{}"[..]));
        let logs = Request::new("GET", "/containers/b/logs");
        let error = logs.open_stream(Framing::Multiplexed, SECOND).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (
                ErrorKind::NotFound,
                "Error response from daemon: no such container"
            )
        );
        assert_eq!(logs.send(SECOND).unwrap_err().kind(), ErrorKind::Unavailable);
        let requests = host.engine_requests();
        assert_eq!(
            requests[0],
            (
                "POST /containers/create".to_owned(),
                b"{\"Image\":\"b\"}".to_vec()
            )
        );
        assert_eq!(requests.len(), 3);
    }

    #[test]
    fn a_refusal_has_the_engines_word_and_a_kind() {
        for (status, body, kind, words) in [
            (
                409,
                "{\"message\":\"name is taken\\n\"}",
                ErrorKind::Conflict,
                "name is taken",
            ),
            (
                502,
                "<p>bad gateway</p>\n",
                ErrorKind::Unavailable,
                "<p>bad gateway</p>",
            ),
            (500, "", ErrorKind::Other, "it answered with status 500"),
        ] {
            let answer = Response {
                status,
                headers: Vec::new(),
                body: body.into(),
            };
            let error = answer.accepted().unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.message(), format!("Error response from daemon: {words}"));
            assert_eq!(error.details(), [("status".to_owned(), status.to_string())]);
        }
    }

    #[test]
    fn a_hijacked_request_becomes_a_connection() {
        let host = Host::new();
        host.listen(
            "engine:POST /exec/1/start",
            Listener::new().accept(Script::new().say("x")),
        );
        let mut connection = Request::new("POST", "/exec/1/start")
            .hijack(Framing::Raw, SECOND)
            .unwrap();
        assert_eq!(connection.receive(8).unwrap(), b"x");
    }
}
