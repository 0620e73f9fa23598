//! A request as it is asked for, and as it goes over the wire.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use http_body_util::Full;

use super::Sent;
use crate::docker::endpoint::Endpoint;
use crate::docker::error::EngineError;
use crate::docker::version::ApiVersion;

/// Most bytes of a request's body.
pub const BODY_LIMIT: usize = 16 << 20;

/// Paths that are the same in every version.
const UNVERSIONED: [&str; 3] = ["/_ping", "/grpc", "/session"];

/// Fields that belong to the connection, not to the request.
const OURS: [HeaderName; 7] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// A request to an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Method in capitals.
    pub method: String,
    /// Path and query without the version's prefix.
    pub path: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// Whether it asks to become a stream.
    upgrade: bool,
}

impl Request {
    /// A request without header fields and body.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            ..Self::default()
        }
    }

    /// The same request with this body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The same request with one more header field.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same request, which asks to become a stream, and of what protocol.
    pub(super) fn upgraded(&self) -> (Self, String) {
        let named = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
        let mut request = self.clone();
        request.upgrade = true;
        if let Some((_, protocol)) = named {
            return (request, protocol.clone());
        }
        (request.with_header("upgrade", "tcp"), "tcp".to_owned())
    }

    /// Whether its path begins with the version.
    pub(super) fn is_versioned(&self) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        !UNVERSIONED.contains(&path)
    }

    /// The request as it is sent.
    pub(super) fn wire(&self, endpoint: &Endpoint, version: Option<ApiVersion>) -> Result<Sent, EngineError> {
        let invalid = |why: String| EngineError::Request {
            method: self.method.clone(),
            path: self.path.clone(),
            why,
        };
        if self.body.len() > BODY_LIMIT {
            let limit = BODY_LIMIT >> 20;
            return Err(invalid(format!("its body has more than {limit} MiB")));
        }
        let mut sent = self.wire_with(Full::new(self.body.clone()), endpoint, version)?;
        if self.body.is_empty() && matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            // Proxies in front of engines want to know that nothing comes.
            let headers = sent.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(sent)
    }

    /// The request as it is sent with another body than its own.
    pub(super) fn wire_with<B>(
        &self,
        body: B,
        endpoint: &Endpoint,
        version: Option<ApiVersion>,
    ) -> Result<http::Request<B>, EngineError> {
        let invalid = |why: String| EngineError::Request {
            method: self.method.clone(),
            path: self.path.clone(),
            why,
        };
        if !self.path.starts_with('/') {
            return Err(invalid("its path does not begin with `/`".to_owned()));
        }
        if self.path.contains('#') {
            // It would be dropped with all that follows, which somebody may have judged.
            return Err(invalid("its path has a `#`".to_owned()));
        }
        let base = &endpoint.base_path;
        let path = match version {
            Some(version) => format!("{base}/v{version}{}", self.path),
            None => format!("{base}{}", self.path),
        };
        let mut sent = http::Request::new(body);
        *sent.method_mut() = self
            .method
            .parse::<Method>()
            .map_err(|error| invalid(error.to_string()))?;
        *sent.uri_mut() = path.parse::<Uri>().map_err(|error| invalid(error.to_string()))?;
        let headers = sent.headers_mut();
        for (name, value) in &self.headers {
            let name = name
                .parse::<HeaderName>()
                .map_err(|error| invalid(error.to_string()))?;
            if OURS.contains(&name) || (name == header::UPGRADE && !self.upgrade) {
                return Err(invalid(format!("the header field `{name}` is the host's to set")));
            }
            let value = value
                .parse::<HeaderValue>()
                .map_err(|error| invalid(error.to_string()))?;
            headers.append(name, value);
        }
        if self.upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        let host = HeaderValue::from_str(&endpoint.http_host());
        headers.insert(header::HOST, host.map_err(|error| invalid(error.to_string()))?);
        let agent = HeaderValue::from_static(concat!("bkhost/", env!("CARGO_PKG_VERSION")));
        headers.entry(header::USER_AGENT).or_insert(agent);
        Ok(sent)
    }
}
