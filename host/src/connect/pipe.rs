//! The two-way byte stream to one daemon, whatever it came from.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::helper_program::LastWords;

/// What a connection is made of: bytes both ways, movable between tasks.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection to a daemon, as a driver hands it over.
///
/// The stream may be a socket, TLS over one, or a child process; nobody downstream asks. Closing happens on drop.
pub struct Pipe {
    stream: Box<dyn Stream>,
    /// Bytes a driver's handshake read beyond its end; they come first.
    ahead: Bytes,
    authority: Option<String>,
    last_words: Option<LastWords>,
    /// Whatever must live as long as the connection does, such as a lease on the daemon.
    held: Vec<Box<dyn Send>>,
}

impl Pipe {
    /// A pipe over `stream` with nothing read ahead.
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            ahead: Bytes::new(),
            authority: None,
            last_words: None,
            held: Vec::new(),
        }
    }

    /// The same pipe with `ahead` to be read before anything else.
    pub fn with_ahead(mut self, ahead: impl Into<Bytes>) -> Self {
        self.ahead = ahead.into();
        self
    }

    /// The same pipe with the HTTP/2 `:authority` that the endpoint expects.
    pub fn with_authority(mut self, authority: Option<String>) -> Self {
        self.authority = authority;
        self
    }

    /// The same pipe with what the helper program behind it will leave.
    pub fn with_last_words(mut self, last_words: Option<LastWords>) -> Self {
        self.last_words = last_words;
        self
    }

    /// What the helper program behind the connection leaves, if there is one: its exit status and the end of its
    /// stderr, for whoever asks why the connection was lost. A clone stays valid when the pipe is gone.
    pub fn last_words(&self) -> Option<&LastWords> {
        self.last_words.as_ref()
    }

    /// Keeps `guard` alive until the pipe is dropped.
    pub fn hold(&mut self, guard: Box<dyn Send>) {
        self.held.push(guard);
    }

    /// The `:authority` the driver set; `None` means `localhost`, as gRPC uses on a socket.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe")
            .field("authority", &self.authority)
            .field("ahead", &self.ahead.len())
            .finish()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.ahead.has_remaining() {
            let n = self.ahead.len().min(buf.remaining());
            let part = self.ahead.split_to(n);
            buf.put_slice(&part);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_read_ahead_come_first() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"later").await.unwrap();
        drop(far);
        let mut pipe = Pipe::new(near).with_ahead(&b"first-"[..]);
        let mut text = String::new();
        pipe.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "first-later");
    }
}
