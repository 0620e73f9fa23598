//! Proxies on the way to an engine behind TCP: which one the user's variables name for it, and a tunnel through it.
//!
//! Every stream goes through `CONNECT`, because requests to engines turn into streams of other protocols.

use std::io;

use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;

use crate::causes::io_words;
use crate::connect::pipe::Pipe;
use crate::connect::tcp::{self, TcpError, host_and_port};
use crate::connect::tls::{self, TlsError, TlsFiles, Trust};

/// Variables that name proxies, and the hosts that need none.
pub const HTTP_PROXY: &str = "HTTP_PROXY";
/// The one for engines that speak TLS.
pub const HTTPS_PROXY: &str = "HTTPS_PROXY";

/// Why there is no way through a proxy. Its address is shown without credentials.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The variable's value cannot be used. It is not shown: it may hold a password.
    #[error("{variable} is no address of an HTTP proxy")]
    Address {
        /// Name of the variable.
        variable: &'static str,
    },
    /// The proxy cannot be reached.
    #[error("The proxy {proxy} ({variable}) cannot be reached: {}", io_words(cause))]
    Unreached {
        /// Name of the variable.
        variable: &'static str,
        /// Its address.
        proxy: String,
        /// Why not.
        cause: io::Error,
    },
    /// TLS with the proxy itself failed.
    #[error("TLS with the proxy {proxy} ({variable}) failed")]
    Tls {
        /// Name of the variable.
        variable: &'static str,
        /// Its address.
        proxy: String,
        /// Why.
        source: TlsError,
    },
    /// It refuses the tunnel.
    #[error("The proxy {proxy} ({variable}) does not connect to {place}: it answered {status}")]
    Refused {
        /// Name of the variable.
        variable: &'static str,
        /// Its address.
        proxy: String,
        /// Where to.
        place: String,
        /// Its answer.
        status: StatusCode,
    },
    /// It is no proxy, or hung up.
    #[error("The proxy {proxy} ({variable}) does not connect to {place}")]
    Http {
        /// Name of the variable.
        variable: &'static str,
        /// Its address.
        proxy: String,
        /// Where to.
        place: String,
        /// What happened.
        source: hyper::Error,
    },
}

impl ProxyError {
    /// The way out.
    pub fn hint(&self) -> String {
        let (Self::Address { variable }
        | Self::Unreached { variable, .. }
        | Self::Tls { variable, .. }
        | Self::Refused { variable, .. }
        | Self::Http { variable, .. }) = self;
        match self {
            Self::Address { .. } => format!("{variable} is written `http://[USER:PASSWORD@]HOST:PORT`"),
            _ => format!(
                "Correct {variable}, or add the engine's host to NO_PROXY if it is reached without a proxy"
            ),
        }
    }
}

/// The user's proxy variables.
#[derive(Clone, Default)]
pub struct Proxies {
    /// `HTTP_PROXY`; empty for none.
    pub http: String,
    /// `HTTPS_PROXY`; empty for none.
    pub https: String,
    /// `NO_PROXY`.
    pub none: String,
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The others may hold passwords.
        f.debug_struct("Proxies")
            .field("none", &self.none)
            .finish_non_exhaustive()
    }
}

/// The proxy for one place.
pub(super) struct Proxy {
    variable: &'static str,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxies {
    /// The proxy on the way to `host`; none for the machine itself and for what `NO_PROXY` names.
    pub(super) fn to(&self, host: &str, port: u16, tls: bool) -> Result<Option<Proxy>, ProxyError> {
        let (variable, value, scheme) = match tls {
            false => (HTTP_PROXY, &self.http, "http"),
            true => (HTTPS_PROXY, &self.https, "https"),
        };
        let place: Result<Uri, _> = format!("{scheme}://{}/", host_and_port(host, port)).parse();
        let (false, false, Ok(place)) = (value.is_empty(), is_own(host), place) else {
            return Ok(None);
        };
        let none = self.without_ports(port);
        // Only what is in the way of the rule, not of the proxy's address.
        if any_proxy(&none).intercept(&place).is_none() {
            return Ok(None);
        }
        let found = Matcher::builder().all(value.as_str()).build().intercept(&place);
        match found {
            Some(proxy) if matches!(proxy.uri().scheme_str(), Some("http" | "https")) => Ok(Some(Proxy {
                variable,
                uri: proxy.uri().clone(),
                authorization: proxy.basic_auth().cloned(),
            })),
            _ => Err(ProxyError::Address { variable }),
        }
    }

    /// `NO_PROXY` for one port: `host:port` counts for that port only.
    fn without_ports(&self, port: u16) -> String {
        let entries = self.none.split(',').map(str::trim).filter_map(|entry| {
            match entry.rsplit_once(':') {
                // More colons are an IPv6 address.
                Some((host, own)) if !host.contains(':') || host.ends_with(']') => {
                    let counts = own.parse() == Ok(port);
                    counts.then(|| tcp::bare(host).to_owned())
                }
                _ => Some(tcp::bare(entry).to_owned()),
            }
        });
        entries.collect::<Vec<_>>().join(",")
    }
}

/// Whether a host is this machine, which no proxy leads to.
fn is_own(host: &str) -> bool {
    let address: Result<std::net::IpAddr, _> = host.parse();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Tells which hosts `none` leaves to a proxy.
fn any_proxy(none: &str) -> Matcher {
    Matcher::builder().all("http://proxy:1").no(none).build()
}

impl Proxy {
    /// A tunnel to the place.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<Pipe, ProxyError> {
        let place = host_and_port(host, port);
        let pipe = self.reach().await?;
        let failed = |source| ProxyError::Http {
            variable: self.variable,
            proxy: self.shown(),
            place: place.clone(),
            source,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(pipe)).await.map_err(failed)?;
        let driven = tokio::spawn(connection.with_upgrades());
        let answer = sender.send_request(self.request(&place)).await.map_err(failed)?;
        if !answer.status().is_success() {
            driven.abort();
            return Err(ProxyError::Refused {
                variable: self.variable,
                proxy: self.shown(),
                place,
                status: answer.status(),
            });
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(failed)?;
        Ok(match upgraded.downcast::<TokioIo<Pipe>>() {
            Ok(parts) => Pipe::new(parts.io.into_inner()).with_ahead(parts.read_buf),
            Err(upgraded) => Pipe::new(TokioIo::new(upgraded)),
        })
    }

    fn request(&self, place: &str) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        // What is neither was no host and port before.
        *request.uri_mut() = place.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(value) = HeaderValue::from_str(place) {
            headers.insert(header::HOST, value);
        }
        if let Some(value) = &self.authorization {
            headers.insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        request
    }

    async fn reach(&self) -> Result<Pipe, ProxyError> {
        let speaks_tls = self.uri.scheme_str() == Some("https");
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(if speaks_tls { 443 } else { 80 });
        let stream = tcp::connect(host, port)
            .await
            .map_err(|error| ProxyError::Unreached {
                variable: self.variable,
                proxy: self.shown(),
                cause: one_of(error),
            })?;
        let pipe = Pipe::new(stream);
        if !speaks_tls {
            return Ok(pipe);
        }
        let files = TlsFiles {
            trust: Trust::System,
            identity: None,
        };
        let started = tls::start_unasked(pipe, &files, host, &self.shown()).await;
        started.map_err(|source| ProxyError::Tls {
            variable: self.variable,
            proxy: self.shown(),
            source,
        })
    }

    /// Its address; credentials are no part of it.
    fn shown(&self) -> String {
        self.uri.to_string().trim_end_matches('/').to_owned()
    }
}

fn one_of(error: TcpError) -> io::Error {
    match error {
        TcpError::Unknown(error) => error,
        TcpError::Unreached(failures) => {
            let none = || io::Error::other("its name has no address");
            failures.into_iter().next().unwrap_or_else(none)
        }
    }
}

#[cfg(test)]
mod tests;
