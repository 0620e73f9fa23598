//! Streams whose peer may have answered before it stopped reading.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream on which a failed write is no failure as long as something may be left to read: an engine that has no room
/// says so and closes in the middle of a body, and the end of the stream tells as much as the write.
pub(super) struct Hearing<S> {
    stream: S,
    is_deaf: bool,
}

impl<S> Hearing<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            is_deaf: false,
        }
    }

    /// What becomes of a write. After a failure it waits for ever; whoever writes is woken by what there is to read.
    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "the peer reads no more");
                self.is_deaf = true;
                Poll::Pending
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Hearing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Hearing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.is_deaf {
            true => Poll::Pending,
            false => Pin::new(&mut self.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.is_deaf {
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, StreamBody};
    use hyper::body::Frame;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;

    /// Answers, and closes, just when something is written.
    struct Closing {
        answer: &'static [u8],
        is_closed: bool,
        reader: Option<Waker>,
    }

    impl AsyncRead for Closing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.is_closed {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buf.put_slice(std::mem::take(&mut self.answer));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Closing {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.is_closed = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn answered(answer: &'static [u8]) -> hyper::Result<Bytes> {
        let closing = Closing {
            answer,
            is_closed: false,
            reader: None,
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(Hearing::new(closing))).await?;
        tokio::spawn(connection);
        let endless = futures::stream::repeat_with(|| Ok::<_, io::Error>(Frame::data(Bytes::from("piece"))));
        let request = hyper::Request::post("/").body(StreamBody::new(endless)).unwrap();
        let answer = sender.send_request(request).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn an_answer_is_heard_although_nothing_can_be_written() {
        let answer = answered(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nfull").await;
        assert_eq!(answer.unwrap(), "full");
        let answer = answered(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfull").await;
        assert_eq!(answer.unwrap(), "full");
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_ends_it() {
        assert!(answered(b"").await.unwrap_err().is_incomplete_message());
    }
}
