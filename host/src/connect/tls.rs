//! TLS over any stream: only the given authority is trusted, and each way it can fail is told apart.

mod error;
mod files;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use self::error::{TlsError, cause};
use self::error::{explain, tls_cause};
pub use self::files::{OptionFile, TlsFiles, Trust};
use super::pipe::Pipe;

/// How long a server that asked for a certificate may take to refuse it. With TLS 1.3 a refusal comes after the
/// handshake; a gRPC server of Go speaks first, so that nothing is waited for when all is well.
const VERDICT: Duration = Duration::from_millis(300);
/// Bytes read to see the verdict.
const VERDICT_BYTES: usize = 4 << 10;

/// Speaks TLS over `stream`: verifies the server by `name` (which is also sent, unless it is an address) and offers no
/// application protocol. `peer` is what messages call the other side.
pub async fn start(stream: Pipe, files: &TlsFiles, name: &str, peer: &str) -> Result<Pipe, TlsError> {
    let authority = stream.authority().map(str::to_owned);
    let (mut stream, asked) = handshake(stream, files, name, peer).await?;
    let mut ahead = Vec::new();
    if asked {
        ahead = verdict(&mut stream).await?;
    }
    Ok(Pipe::new(stream).with_ahead(ahead).with_authority(authority))
}

/// The same to a server that never speaks first: a refusal of our certificate is met by the first read.
pub async fn start_unasked(stream: Pipe, files: &TlsFiles, name: &str, peer: &str) -> Result<Pipe, TlsError> {
    let (stream, _) = handshake(stream, files, name, peer).await?;
    Ok(Pipe::new(stream))
}

/// The stream after the handshake, and whether the server wanted a certificate.
async fn handshake(
    stream: Pipe,
    files: &TlsFiles,
    name: &str,
    peer: &str,
) -> Result<(Explained, bool), TlsError> {
    let asked = Arc::new(AtomicBool::new(false));
    let config = config(files, peer, asked.clone()).await?;
    let name = server_name(name)?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = connected.map_err(|error| explain(error, peer))?;
    let stream = Explained {
        stream,
        peer: peer.to_owned(),
    };
    Ok((stream, asked.load(Ordering::Relaxed)))
}

/// What to speak TLS with; `asked` becomes true when the server wants a certificate.
async fn config(files: &TlsFiles, peer: &str, asked: Arc<AtomicBool>) -> Result<ClientConfig, TlsError> {
    let files = files.clone();
    // A file may be a pipe that nobody writes to, or lie on a server that does not answer.
    let read = tokio::task::spawn_blocking(move || files.client()).await;
    let mut config = read.map_err(|error| TlsError::Io {
        peer: peer.to_owned(),
        source: error.into(),
    })??;
    let resolver = Noting {
        resolver: config.client_auth_cert_resolver.clone(),
        asked,
    };
    config.client_auth_cert_resolver = Arc::new(resolver);
    Ok(config)
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|_| TlsError::BadName {
        name: name.to_owned(),
    })
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        written.map(|outcome| self.words(outcome))
    }

    // Without it a frame's head of nine bytes becomes a TLS record of its own.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
