//! Docker's multiplexed streams: frames with a head of eight bytes, whose first is the stream and whose last four are
//! the length, the most significant first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};

use crate::connect::helper_program::LastWords;

const HEAD: usize = 8;
/// Bytes read at once: frames of processes are at most as large.
const BUFFER: usize = 32 << 10;
/// Longest message of the engine itself that is told.
const MESSAGE: usize = 4 << 10;

/// What becomes of the frames of stderr.
#[derive(Debug)]
pub enum Stderr {
    /// They are read like those of stdout, in order of arrival.
    Read,
    /// The end of them is kept for whoever asks why the stream ended.
    Kept(LastWords),
}

/// The payload of a multiplexed stream. What is written goes out as it is.
#[derive(Debug)]
pub struct Unframed<S> {
    stream: BufReader<S>,
    stderr: Stderr,
    head: Vec<u8>,
    frame: Frame,
}

/// The frame that is being read, with the bytes that are left of it.
#[derive(Debug)]
enum Frame {
    /// Between two frames.
    None,
    Payload(usize),
    Kept(usize),
    /// A message of the engine: the stream fails with it.
    Error(usize, Vec<u8>),
}

impl<S: AsyncRead> Unframed<S> {
    /// The payload of `stream`.
    pub fn new(stream: S, stderr: Stderr) -> Self {
        Self {
            stream: BufReader::with_capacity(BUFFER, stream),
            stderr,
            head: Vec::with_capacity(HEAD),
            frame: Frame::None,
        }
    }

    /// What to do with the frame whose head is complete.
    fn begin(&self) -> io::Result<Frame> {
        let [kind, 0, 0, 0, a, b, c, d] = self.head.as_slice() else {
            return Err(unframed());
        };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        match (kind, &self.stderr) {
            (0 | 1, _) | (2, Stderr::Read) => Ok(Frame::Payload(length)),
            (2, Stderr::Kept(_)) => Ok(Frame::Kept(length)),
            (3, _) => Ok(Frame::Error(length, Vec::new())),
            _ => Err(unframed()),
        }
    }

    fn is_inside(&self) -> bool {
        !self.head.is_empty() || !matches!(self.frame, Frame::None)
    }
}

fn unframed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the stream is not multiplexed as Docker's are",
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Unframed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some(done) = this.end_frame() {
                return Poll::Ready(done);
            }
            let data = ready!(Pin::new(&mut this.stream).poll_fill_buf(cx))?;
            if data.is_empty() {
                return Poll::Ready(match this.is_inside() {
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(()),
                });
            }
            let (used, handed) = take(&mut this.frame, &mut this.head, &this.stderr, data, buf);
            Pin::new(&mut this.stream).consume(used);
            if handed {
                return Poll::Ready(Ok(()));
            }
            if this.head.len() == HEAD {
                this.frame = this.begin()?;
                this.head.clear();
            }
        }
    }
}

impl<S> Unframed<S> {
    /// Goes on after a frame of which nothing is left; its outcome when it was the engine's error.
    fn end_frame(&mut self) -> Option<io::Result<()>> {
        match &self.frame {
            Frame::Payload(0) | Frame::Kept(0) => self.frame = Frame::None,
            Frame::Error(0, message) => {
                let message = String::from_utf8_lossy(message).trim().to_owned();
                self.frame = Frame::None;
                let text = format!("error from daemon in stream: {message}");
                return Some(Err(io::Error::other(text)));
            }
            _ => {}
        }
        None
    }
}

/// Takes what is there for the current frame, or for the next one's head. Gives how much of it, and whether it was
/// handed to the reader.
fn take(
    frame: &mut Frame,
    head: &mut Vec<u8>,
    stderr: &Stderr,
    data: &[u8],
    buf: &mut ReadBuf<'_>,
) -> (usize, bool) {
    let part = |limit: usize| data.get(..limit.min(data.len())).unwrap_or(data);
    match frame {
        Frame::None => {
            let part = part(HEAD - head.len());
            head.extend_from_slice(part);
            (part.len(), false)
        }
        Frame::Payload(left) => {
            let part = part((*left).min(buf.remaining()));
            buf.put_slice(part);
            *left -= part.len();
            (part.len(), true)
        }
        Frame::Kept(left) => {
            let part = part(*left);
            if let Stderr::Kept(words) = stderr {
                words.add(part);
            }
            *left -= part.len();
            (part.len(), false)
        }
        Frame::Error(left, message) => {
            let part = part(*left);
            let room = MESSAGE.saturating_sub(message.len());
            message.extend_from_slice(part.get(..room.min(part.len())).unwrap_or(part));
            *left -= part.len();
            (part.len(), false)
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Unframed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn several() -> Vec<u8> {
        [
            frame(1, b"one "),
            frame(2, b"warning"),
            frame(1, b""),
            frame(2, b"!"),
            frame(0, b"two"),
        ]
        .concat()
    }

    #[tokio::test]
    async fn frames_may_be_cut_at_every_byte() {
        let data = several();
        for cut in 0..=data.len() {
            let (first, second) = data.split_at(cut);
            let words = LastWords::of("exec");
            let stream = first.chain(second);
            let mut unframed = Unframed::new(stream, Stderr::Kept(words.clone()));
            let mut text = String::new();
            unframed.read_to_string(&mut text).await.unwrap();
            assert_eq!(
                (text.as_str(), words.stderr().as_str()),
                ("one two", "warning!"),
                "{cut}"
            );
        }
    }

    #[tokio::test]
    async fn bytes_that_come_one_by_one_are_read() {
        let (near, mut far) = tokio::io::duplex(1);
        tokio::spawn(async move { far.write_all(&several()).await });
        let mut text = String::new();
        let mut unframed = Unframed::new(near, Stderr::Read);
        unframed.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one warning!two");
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_fails() {
        let data = several();
        for cut in 1..data.len() {
            let mut rest = Vec::new();
            let read = Unframed::new(&data[..cut], Stderr::Read)
                .read_to_end(&mut rest)
                .await;
            let boundaries = [12, 27, 35, 44];
            match boundaries.contains(&cut) {
                true => drop(read.unwrap()),
                false => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut}"),
            }
        }
    }

    #[tokio::test]
    async fn a_huge_frame_needs_no_room_of_its_own() {
        let mut data = vec![1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        data.extend([7; 100]);
        let mut unframed = Unframed::new(data.as_slice(), Stderr::Read);
        let mut part = vec![0; 100];
        unframed.read_exact(&mut part).await.unwrap();
        assert_eq!(part, [7; 100]);
        assert!(unframed.read(&mut part).await.is_err());
        // A noisy process leaves its last words only.
        let noisy = frame(2, &[b'x'; 1 << 20]);
        let words = LastWords::of("exec");
        let mut unframed = Unframed::new(noisy.as_slice(), Stderr::Kept(words.clone()));
        assert_eq!(unframed.read(&mut part).await.unwrap(), 0);
        assert_eq!(words.stderr().len(), 4096);
    }

    #[tokio::test]
    async fn the_engines_own_error_ends_the_stream_with_its_words() {
        let data = [frame(1, b"a"), frame(3, b"no space left\n")].concat();
        let mut text = String::new();
        let mut unframed = Unframed::new(data.as_slice(), Stderr::Read);
        let error = unframed.read_to_string(&mut text).await.unwrap_err();
        assert_eq!(error.to_string(), "error from daemon in stream: no space left");
    }

    #[tokio::test]
    async fn what_is_no_frame_is_told_as_such() {
        for data in [&b"HTTP/1.1 400 Bad Request"[..], &[9, 0, 0, 0, 0, 0, 0, 1, 1]] {
            let mut unframed = Unframed::new(data, Stderr::Read);
            let error = unframed.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn writing_is_not_framed() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut unframed = Unframed::new(near, Stderr::Read);
        unframed.write_all(b"raw").await.unwrap();
        unframed.shutdown().await.unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "raw");
    }
}
