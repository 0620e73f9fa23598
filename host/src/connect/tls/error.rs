//! Why there is no TLS connection: each way it can fail, told apart by what is behind it, with the way out.

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError};

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
    /// This program cannot speak it.
    #[error("TLS cannot be spoken: {why}")]
    Unsupported {
        /// Why.
        why: String,
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

/// The failure of a TLS stream behind an error of a read or write, if it is one.
pub fn cause(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn explain(error: io::Error, peer: &str) -> TlsError {
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

pub(super) fn certificate_words(reason: &CertificateError) -> (String, Option<String>) {
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
