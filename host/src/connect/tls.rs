//! TLS over any stream: only the given authority is trusted, and each way it can fail is told apart.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, InconsistentKeys, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pipe::Pipe;

/// How long a server that asked for a certificate may take to refuse it. With TLS 1.3 a refusal comes after the
/// handshake; a gRPC server of Go speaks first, so that nothing is waited for when all is well.
const VERDICT: Duration = Duration::from_millis(300);
/// Bytes read to see the verdict.
const VERDICT_BYTES: usize = 4 << 10;

/// A file that an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFile {
    /// Name of the option, for messages.
    pub option: String,
    /// Where the file is.
    pub path: PathBuf,
}

impl OptionFile {
    /// The file at `path`, which `option` names.
    pub fn new(option: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            option: option.into(),
            path: path.into(),
        }
    }
}

/// What TLS needs from the user. Read at each connection, so that renewed files count at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities (PEM).
    pub authority: OptionFile,
    /// Client certificate with its chain, and its key (PEM).
    pub identity: Option<(OptionFile, OptionFile)>,
}

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("Cannot read `{path}` of option `{option}`", path = path.display())]
    Unreadable {
        /// The option.
        option: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("File `{path}` of option `{option}` {what}", path = path.display())]
    Unusable {
        /// The option.
        option: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it: a verb and what follows.
        what: String,
    },
    /// No server can be verified by this name.
    #[error("`{name}` is no name that a certificate can be for")]
    BadName {
        /// The name.
        name: String,
    },
    /// The server's certificate was refused here.
    #[error("The certificate of `{peer}` was refused: {why}")]
    Certificate {
        /// The server.
        peer: String,
        /// Why.
        why: String,
        /// The way out.
        hint: Option<String>,
    },
    /// Our certificate was refused there, or is missing.
    #[error("`{peer}` refused the client certificate: {why}")]
    Identity {
        /// The server.
        peer: String,
        /// Its word for it.
        why: String,
        /// The way out.
        hint: String,
    },
    /// The other side does not speak TLS, or no version of it that we speak.
    #[error("`{peer}` does not speak TLS as it should: {why}")]
    Protocol {
        /// The server.
        peer: String,
        /// What it said instead.
        why: String,
    },
    /// The other side went away.
    #[error("`{peer}` closed the connection during the TLS handshake")]
    Closed {
        /// The server.
        peer: String,
    },
    /// The stream below failed.
    #[error("The TLS handshake with `{peer}` failed")]
    Io {
        /// The server.
        peer: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl TlsError {
    /// Another try ends the same way: it is not that the other side went away.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Closed { .. } | Self::Io { .. })
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Certificate { hint, .. } => hint.clone(),
            Self::Identity { hint, .. } => Some(hint.clone()),
            Self::Protocol { .. } => Some(
                "The daemon may listen without TLS there: leave the TLS options out, or start it with `--tlscert` \
                 and `--tlskey`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Speaks TLS over `stream`: verifies the server by `name` (which is also sent, unless it is an address) and offers no
/// application protocol. `peer` is what messages call the other side.
pub async fn start(stream: Pipe, files: &TlsFiles, name: &str, peer: &str) -> Result<Pipe, TlsError> {
    let asked = Arc::new(AtomicBool::new(false));
    let config = config(files, asked.clone())?;
    let name = server_name(name)?;
    let authority = stream.authority().map(str::to_owned);
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = connected.map_err(|error| explain(error, peer))?;
    let mut stream = Explained {
        stream,
        peer: peer.to_owned(),
    };
    let mut ahead = Vec::new();
    if asked.load(Ordering::Relaxed) {
        ahead = verdict(&mut stream).await?;
    }
    Ok(Pipe::new(stream).with_ahead(ahead).with_authority(authority))
}

/// Waits a moment for the server to refuse our certificate. Returns what it said instead.
async fn verdict(stream: &mut Explained) -> Result<Vec<u8>, TlsError> {
    let mut ahead = vec![0; VERDICT_BYTES];
    let read = match tokio::time::timeout(VERDICT, stream.read(&mut ahead)).await {
        // It may not speak first; a refusal that comes later fails the first read.
        Err(_) => 0,
        Ok(Ok(0)) => {
            return Err(TlsError::Closed {
                peer: stream.peer.clone(),
            });
        }
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return Err(explain(error, &stream.peer)),
    };
    ahead.truncate(read);
    Ok(ahead)
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|_| TlsError::BadName {
        name: name.to_owned(),
    })
}

fn config(files: &TlsFiles, asked: Arc<AtomicBool>) -> Result<ClientConfig, TlsError> {
    let roots = roots(&files.authority)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.authority, error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|_| unusable(key, "has no private key in PEM form"))?;
            let secret = provider
                .key_provider
                .load_private_key(secret)
                .map_err(|error| unusable(key, error.to_string()))?;
            builder.with_client_cert_resolver(identity(chain, secret, key, certificate)?)
        }
    };
    let resolver = Noting {
        resolver: config.client_auth_cert_resolver.clone(),
        asked,
    };
    config.client_auth_cert_resolver = Arc::new(resolver);
    Ok(config)
}

/// What the client proves itself by. The key must belong to the certificate; whether the certificate is good enough is
/// for the server to judge, which may take what the parser here does not know.
fn identity(
    chain: Vec<CertificateDer<'static>>,
    secret: Arc<dyn SigningKey>,
    key: &OptionFile,
    certificate: &OptionFile,
) -> Result<Arc<SingleCertAndKey>, TlsError> {
    let certified = CertifiedKey::new(chain, secret);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(unusable(
            key,
            format!(
                "does not belong to the certificate `{}` of option `{}`",
                certificate.path.display(),
                certificate.option
            ),
        )),
        Err(rustls::Error::InvalidCertificate(error)) if !is_version_one(&error) => Err(unusable(
            certificate,
            format!("has a certificate that cannot be used: {error}"),
        )),
        Ok(()) | Err(_) => Ok(Arc::new(SingleCertAndKey::from(certified))),
    }
}

/// Whether it is only for its age that a certificate cannot be read here.
fn is_version_one(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else {
        return false;
    };
    matches!(
        other.0.downcast_ref(),
        Some(webpki::Error::UnsupportedCertVersion)
    )
}

fn roots(file: &OptionFile) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(file, format!("has a certificate that cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn certificates(file: &OptionFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let data = read(file)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&data).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(file, "has no certificate in PEM form")),
        Err(error) => Err(unusable(file, format!("is not in PEM form: {error}"))),
    }
}

fn read(file: &OptionFile) -> Result<Vec<u8>, TlsError> {
    std::fs::read(&file.path).map_err(|source| TlsError::Unreadable {
        option: file.option.clone(),
        path: file.path.clone(),
        source,
    })
}

fn unusable(file: &OptionFile, what: impl Into<String>) -> TlsError {
    TlsError::Unusable {
        option: file.option.clone(),
        path: file.path.clone(),
        what: what.into(),
    }
}

/// Notes that the server asked for a certificate, and answers as before.
#[derive(Debug)]
struct Noting {
    resolver: Arc<dyn ResolvesClientCert>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Noting {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.resolver.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}

/// A TLS stream whose failures are in our own words, also after the handshake.
struct Explained {
    stream: TlsStream<Pipe>,
    peer: String,
}

impl Explained {
    fn words<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| match tls_cause(&error) {
            Some(_) => io::Error::new(error.kind(), explain(error, &self.peer)),
            None => error,
        })
    }
}

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        read.map(|outcome| self.words(outcome))
    }
}

impl AsyncWrite for Explained {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        written.map(|outcome| self.words(outcome))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        flushed.map(|outcome| self.words(outcome))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        closed.map(|outcome| self.words(outcome))
    }
}

/// The failure of a TLS stream behind an error of a read or write, if it is one.
pub fn cause(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn explain(error: io::Error, peer: &str) -> TlsError {
    let peer = peer.to_owned();
    match tls_cause(&error) {
        Some(cause) => explain_tls(cause, peer),
        None if error.get_ref().is_some_and(|inner| inner.is::<TlsError>()) => {
            match error.into_inner().map(|inner| inner.downcast::<TlsError>()) {
                Some(Ok(known)) => *known,
                _ => TlsError::Closed { peer },
            }
        }
        None if is_closed(&error) => TlsError::Closed { peer },
        None => TlsError::Io { peer, source: error },
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

fn explain_tls(error: &rustls::Error, peer: String) -> TlsError {
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            let (why, hint) = certificate_words(reason);
            TlsError::Certificate { peer, why, hint }
        }
        rustls::Error::NoCertificatesPresented => TlsError::Certificate {
            peer,
            why: "it sent none".to_owned(),
            hint: None,
        },
        rustls::Error::AlertReceived(alert) => alert_words(*alert, peer),
        other => TlsError::Protocol {
            peer,
            why: other.to_string(),
        },
    }
}

fn certificate_words(reason: &CertificateError) -> (String, Option<String>) {
    let (why, hint) = match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            "it has expired".to_owned(),
            "Renew the server's certificate, and check this machine's clock",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            "it is not valid yet".to_owned(),
            "Check the clocks of both machines",
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "it was not issued by the given certificate authority".to_owned(),
            "Give the certificate of the authority that issued the server's certificate",
        ),
        CertificateError::NotValidForName => (
            "it is for another name".to_owned(),
            "Name the server as its certificate does",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            return name_words(&expected.to_str(), presented);
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            "it is not meant for servers".to_owned(),
            "Issue a certificate with the extended key usage `serverAuth`",
        ),
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => (
                "it is the certificate of an authority (`CA:TRUE`), which is no server certificate"
                    .to_owned(),
                "Issue a certificate for the server with `basicConstraints=CA:FALSE` and a `subjectAltName`",
            ),
            Some(webpki::Error::UnsupportedCertVersion) => (
                "it is of X.509 version 1, which has no extensions and names no server".to_owned(),
                "Issue a version 3 certificate: with `openssl x509 -req`, give an `-extfile` that has a `subjectAltName`",
            ),
            _ => return (reason.to_string(), None),
        },
        other => return (other.to_string(), None),
    };
    (why, Some(hint.to_owned()))
}

fn name_words(expected: &str, presented: &[String]) -> (String, Option<String>) {
    let names: Vec<String> = presented
        .iter()
        .map(|name| format!("`{}`", shown_name(name)))
        .collect();
    let why = if names.is_empty() {
        format!("it names no server, `{expected}` was expected")
    } else {
        format!("it is for {}, `{expected}` was expected", names.join(", "))
    };
    let hint = if names.is_empty() {
        "Issue a certificate with a `subjectAltName`: a common name alone is not looked at"
    } else {
        "Name the server as its certificate does"
    };
    (why, Some(hint.to_owned()))
}

/// `DnsName("a.b")` and `IpAddress(1.2.3.4)` without what surrounds the name.
fn shown_name(name: &str) -> &str {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .unwrap_or(name);
    inner.trim_matches('"')
}

fn alert_words(alert: AlertDescription, peer: String) -> TlsError {
    let (why, hint) = match alert {
        AlertDescription::CertificateRequired => (
            "it wants one, and none was given",
            "Give a client certificate and its key",
        ),
        AlertDescription::HandshakeFailure => {
            return TlsError::Protocol {
                peer,
                why: "it found nothing in common (alert `handshake_failure`)".to_owned(),
            };
        }
        AlertDescription::BadCertificate => (
            "it is bad, or missing",
            "Give a client certificate that the server's authority issued, and its key",
        ),
        AlertDescription::UnknownCA => (
            "the server does not know who issued it",
            "Give a client certificate that the server's authority issued",
        ),
        AlertDescription::CertificateExpired => ("it has expired", "Renew the client certificate"),
        AlertDescription::CertificateRevoked => ("it was revoked", "Renew the client certificate"),
        AlertDescription::UnsupportedCertificate | AlertDescription::CertificateUnknown => (
            "the server cannot use it",
            "Issue a client certificate with the extended key usage `clientAuth`",
        ),
        AlertDescription::AccessDenied => ("access is denied", "Use a client certificate that has access"),
        AlertDescription::DecryptError => (
            "its signature does not hold",
            "Give a client certificate that the server's authority issued",
        ),
        other => {
            return TlsError::Protocol {
                peer,
                why: format!("it sent the alert `{other:?}`"),
            };
        }
    };
    TlsError::Identity {
        peer,
        why: why.to_owned(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests;
