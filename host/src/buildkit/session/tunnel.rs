//! The byte stream that the messages of a session call make up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bkhost_proto::control::BytesMessage;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// Largest piece that is sent in one message.
const PIECE: usize = 256 << 10;

/// Bytes out of one channel and, as messages, into another. Dropping it closes both.
pub(super) struct Tunnel {
    incoming: mpsc::Receiver<Bytes>,
    current: Bytes,
    outgoing: PollSender<BytesMessage>,
}

impl Tunnel {
    pub(super) fn new(incoming: mpsc::Receiver<Bytes>, outgoing: mpsc::Sender<BytesMessage>) -> Self {
        Self {
            incoming,
            current: Bytes::new(),
            outgoing: PollSender::new(outgoing),
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, pieces: &[&[u8]]) -> Poll<io::Result<usize>> {
        if ready!(self.outgoing.poll_reserve(cx)).is_err() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut data = BytesMut::with_capacity(whole.min(PIECE));
        for piece in pieces {
            let room = PIECE.saturating_sub(data.len());
            data.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        let sent = data.len();
        let message = BytesMessage { data: data.freeze() };
        match self.outgoing.send_item(message) {
            Ok(()) => Poll::Ready(Ok(sent)),
            Err(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.incoming.poll_recv(cx)) {
                Some(data) => self.current = data,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.current.len().min(buf.remaining());
        buf.put_slice(&self.current.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.send(cx, &[buf])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let pieces: Vec<&[u8]> = bufs.iter().map(|buf| &**buf).collect();
        self.send(cx, &pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn pieces_are_joined_whatever_their_size() {
        let (sender, incoming) = mpsc::channel(4);
        let (outgoing, _messages) = mpsc::channel(4);
        let mut tunnel = Tunnel::new(incoming, outgoing);
        for piece in ["a", "", "bcd"] {
            sender.send(Bytes::from(piece)).await.unwrap();
        }
        drop(sender);
        let mut text = String::new();
        tunnel.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcd");
    }

    #[tokio::test]
    async fn a_long_write_is_cut_and_nothing_is_lost() {
        let (_sender, incoming) = mpsc::channel(4);
        let (outgoing, mut messages) = mpsc::channel(4);
        let mut tunnel = Tunnel::new(incoming, outgoing);
        let data = vec![7; PIECE + 1];
        tunnel.write_all(&data).await.unwrap();
        tunnel.shutdown().await.unwrap();
        let mut sizes = Vec::new();
        while let Some(message) = messages.recv().await {
            sizes.push(message.data.len());
        }
        assert_eq!(sizes, [PIECE, 1]);
    }
}
