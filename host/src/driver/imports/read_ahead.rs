//! Reading before anybody asked, which is how a guest can wait for bytes together with other things.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes read to find out whether a stream is readable.
pub(super) const AHEAD: usize = 16 << 10;

/// What was read of a stream and not yet handed to the guest, and how the stream ended.
#[derive(Default)]
pub(super) struct ReadAhead {
    pub(super) bytes: BytesMut,
    /// The end, or a failure that the next read reports.
    pub(super) ended: Option<io::Result<()>>,
}

impl ReadAhead {
    /// Reads at most `limit` bytes of `source` where nothing is there yet.
    pub(super) async fn fill(&mut self, source: &mut (impl AsyncRead + Unpin), limit: usize) {
        if !self.bytes.is_empty() || self.ended.is_some() {
            return;
        }
        self.bytes.reserve(limit);
        let mut part = source.take(limit as u64);
        match part.read_buf(&mut self.bytes).await {
            Ok(0) => self.ended = Some(Ok(())),
            Ok(_) => {}
            Err(error) => self.ended = Some(Err(error)),
        }
    }

    /// At most `max` bytes; none at the end. A failure is told once.
    pub(super) async fn read(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        max: usize,
    ) -> io::Result<Vec<u8>> {
        self.fill(source, max).await;
        if self.bytes.is_empty() {
            return match self.ended.replace(Ok(())) {
                Some(Err(error)) => Err(error),
                _ => Ok(Vec::new()),
            };
        }
        let taken = max.min(self.bytes.remaining());
        Ok(self.bytes.split_to(taken).to_vec())
    }
}

/// A stream that goes on where the guest stopped reading: what was read ahead, then the end or failure that was met, else
/// the stream itself.
pub(super) struct Resumed<S> {
    pub(super) ahead: ReadAhead,
    pub(super) source: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Resumed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.bytes.is_empty() {
            let count = self.ahead.bytes.len().min(buf.remaining());
            buf.put_slice(&self.ahead.bytes.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut self.ahead.ended {
            Some(ended) => Poll::Ready(std::mem::replace(ended, Ok(()))),
            None => Pin::new(&mut self.source).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Resumed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.source).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.source).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.source).poll_shutdown(cx)
    }
}
