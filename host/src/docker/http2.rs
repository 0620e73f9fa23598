//! HTTP/2 with prior knowledge on the engine's own socket, which old engines refuse.
//!
//! The only way to know is to begin: the preface is sent here, the answer is looked at, and whoever then speaks HTTP/2 on
//! the stream sends the preface again, which is swallowed. So one connection is enough, which counts behind ssh.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::connect::peer::{OPENING_LENGTH, Peer};
use crate::connect::pipe::Pipe;

/// What a client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes by which a peer's first frame is known.
const FRAME_HEAD: usize = 9;

/// Begins HTTP/2 on `pipe`. The other value is what the peer speaks instead.
pub(super) async fn begin(mut pipe: Pipe) -> io::Result<Result<Pipe, Peer>> {
    pipe.write_all(PREFACE).await?;
    pipe.flush().await?;
    let mut opening = Vec::with_capacity(OPENING_LENGTH);
    while opening.len() < FRAME_HEAD {
        let mut part = (&mut pipe).take((OPENING_LENGTH - opening.len()) as u64);
        if part.read_buf(&mut opening).await? == 0 {
            break;
        }
    }
    match Peer::of(&opening) {
        Peer::Http2 => {
            let last_words = pipe.last_words().cloned();
            let begun = Begun {
                stream: pipe,
                swallow: PREFACE.len(),
            };
            let pipe = Pipe::new(begun).with_ahead(opening);
            Ok(Ok(pipe.with_last_words(last_words)))
        }
        other => Ok(Err(other)),
    }
}

/// A stream on which the preface was sent: the next one is swallowed.
struct Begun {
    stream: Pipe,
    swallow: usize,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.swallow > 0 {
            let swallowed = self.swallow.min(data.len());
            self.swallow -= swallowed;
            return Poll::Ready(Ok(swallowed));
        }
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.swallow > 0 {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[][..], |buf| buf));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SETTINGS frame without settings.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[tokio::test]
    async fn the_preface_is_sent_once_and_what_was_read_comes_again() {
        let (near, mut far) = tokio::io::duplex(256);
        far.write_all(&SETTINGS).await.unwrap();
        let mut pipe = begin(Pipe::new(near)).await.unwrap().unwrap();
        let mut settings = [0; 9];
        pipe.read_exact(&mut settings).await.unwrap();
        assert_eq!(settings, SETTINGS);
        // In pieces, as a writer may send it.
        pipe.write_all(&PREFACE[..10]).await.unwrap();
        pipe.write_all(&[&PREFACE[10..], b"frames"].concat())
            .await
            .unwrap();
        pipe.shutdown().await.unwrap();
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        assert_eq!(sent, [PREFACE, b"frames"].concat());
    }

    #[tokio::test]
    async fn what_is_spoken_instead_is_told() {
        let (near, mut far) = tokio::io::duplex(256);
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let peer = begin(Pipe::new(near)).await.unwrap().unwrap_err();
        assert_eq!(peer, Peer::Http1("HTTP/1.1 400 Bad Request".to_owned()));
        let (near, far) = tokio::io::duplex(256);
        let (mut reader, writer) = tokio::io::split(far);
        tokio::spawn(async move {
            let mut preface = [0; 24];
            reader.read_exact(&mut preface).await.unwrap();
            drop((reader, writer));
        });
        assert_eq!(begin(Pipe::new(near)).await.unwrap().unwrap_err(), Peer::Silent);
    }
}
