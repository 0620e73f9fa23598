//! One-way byte streams from the host to a guest, or through it to the host.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::read_ahead::{AHEAD, ReadAhead, Resumed};
use super::types::{Answer, Failure};
use crate::connect::pipe::Pipe;
use crate::driver::bindings::streams::{Host, HostByteStream};
use crate::driver::limits::READ;
use crate::driver::state::View;

/// An open stream while a guest owns it.
pub struct ByteStream {
    source: Box<dyn AsyncRead + Send + Unpin>,
    ahead: ReadAhead,
}

impl ByteStream {
    /// A stream of what `source` yields.
    pub fn new(source: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self {
            source: Box::new(source),
            ahead: ReadAhead::default(),
        }
    }

    /// The stream with what was read ahead, for the host to read. It cannot be written to.
    pub fn into_pipe(self) -> Pipe {
        Pipe::new(ReadOnly(Resumed {
            ahead: self.ahead,
            source: self.source,
        }))
    }

    async fn fill(&mut self, limit: usize) {
        self.ahead.fill(&mut self.source, limit).await;
    }

    async fn read(&mut self, max: usize) -> std::io::Result<Vec<u8>> {
        self.ahead.read(&mut self.source, max).await
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ByteStream {
    async fn ready(&mut self) {
        self.fill(AHEAD).await;
    }
}

impl Host for View<'_> {}

impl HostByteStream for View<'_> {
    async fn read(&mut self, handle: Resource<ByteStream>, max: u32, timeout: u64) -> Answer<Vec<u8>> {
        let stream = self.table.get_mut(&handle)?;
        let max = (max as usize).clamp(1, READ);
        let read = self
            .call
            .wait(timeout, "Reading a stream", stream.read(max))
            .await?;
        read.map_err(|error| Failure::io("Failed to read a stream", &error))
    }

    async fn readable(&mut self, handle: Resource<ByteStream>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, handle)
    }

    async fn drop(&mut self, handle: Resource<ByteStream>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

/// The reading half of a pipe whose other half is closed.
struct ReadOnly<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for ReadOnly<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: Unpin> AsyncWrite for ReadOnly<S> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn bytes_read_ahead_are_not_lost() {
        let mut stream = ByteStream::new(&b"hello"[..]);
        stream.ready().await;
        assert_eq!(stream.read(2).await.unwrap(), b"he");
        let mut rest = String::new();
        stream.into_pipe().read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "llo");
    }

    #[tokio::test]
    async fn a_failure_is_told_once_and_then_the_end() {
        let source = tokio_test_failure();
        let mut stream = ByteStream::new(source);
        stream.ready().await;
        assert!(stream.read(10).await.is_err());
        assert_eq!(stream.read(10).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_failure_read_ahead_is_told_to_the_host() {
        let mut stream = ByteStream::new(tokio_test_failure());
        stream.ready().await;
        let mut pipe = stream.into_pipe();
        let mut rest = Vec::new();
        let error = pipe.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(pipe.read_to_end(&mut rest).await.unwrap(), 0);
    }

    fn tokio_test_failure() -> impl AsyncRead + Send + Unpin {
        struct Fails;
        impl AsyncRead for Fails {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<std::io::Result<()>> {
                Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
            }
        }
        Fails
    }
}
