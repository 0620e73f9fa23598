//! Archives that somebody else takes in while they come.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bkhost_proto::Frame;
use bkhost_proto::control::BytesMessage;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tonic::Status;

use super::super::failure::{Failures, Moment};
use crate::buildkit::spec::Receiver;

/// Zeros that every tar ends with.
const TAR_END: usize = 1024;

/// Hands what comes to `receiver`, and returns when it is kept. The daemon waits for that: its build is not done before.
pub(super) async fn hand_over(
    receiver: &Receiver,
    incoming: impl Stream<Item = Result<Frame, Status>> + Send + Unpin + 'static,
    failures: &Failures,
) -> Result<(), Status> {
    let ending = Arc::default();
    let pieces = Pieces {
        incoming,
        zeros: None,
        ending: Arc::clone(&ending),
    };
    let Err(failure) = receiver.receive(pieces.boxed()).await else {
        return Ok(());
    };
    // An archive that the daemon has broken off is its own doing, for a reason of its own.
    Err(match ending.get() {
        Some(Ending::Broken(status)) => status.clone(),
        Some(Ending::Whole) => failures.failed_export(failure, Moment::Ended),
        None => failures.failed_export(failure, Moment::Sending),
    })
}

/// How the frames of an archive ended.
#[derive(Debug)]
enum Ending {
    Whole,
    Broken(Status),
}

/// The pieces of an archive out of the frames that hold them.
struct Pieces<S> {
    incoming: S,
    /// Zeros at the end of what has come, counted up to [`TAR_END`]; nothing before the first piece.
    zeros: Option<usize>,
    ending: Arc<OnceLock<Ending>>,
}

impl<S> Pieces<S> {
    fn note(&mut self, piece: &[u8]) {
        let last = piece.iter().rev().take(TAR_END);
        let zeros = last.take_while(|byte| **byte == 0).count();
        let before = match zeros == piece.len() {
            true => self.zeros.unwrap_or(0),
            false => 0,
        };
        self.zeros = Some((before + zeros).min(TAR_END));
    }

    /// A daemon that cannot go on ends the stream as if the archive were whole. Only a whole one has the end of a tar.
    fn end(&self) -> Option<io::Result<Bytes>> {
        match self.zeros {
            None | Some(TAR_END) => {
                let _ = self.ending.set(Ending::Whole);
                None
            }
            Some(_) => Some(Err(self.break_off(Status::unknown("the archive ended early")))),
        }
    }

    fn break_off(&self, status: Status) -> io::Error {
        let text = status.message().to_owned();
        let _ = self.ending.set(Ending::Broken(status));
        io::Error::other(text)
    }
}

impl<S: Stream<Item = Result<Frame, Status>> + Unpin> Stream for Pieces<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ending.get().is_some() {
            return Poll::Ready(None);
        }
        let Some(frame) = ready!(self.incoming.poll_next_unpin(cx)) else {
            return Poll::Ready(self.end());
        };
        let piece = frame.and_then(|frame| {
            let message = frame.unpack::<BytesMessage>();
            message.map_err(|error| Status::invalid_argument(format!("bad piece of a file: {error}")))
        });
        Poll::Ready(Some(match piece {
            Ok(message) => {
                self.note(&message.data);
                Ok(message.data)
            }
            Err(status) => Err(self.break_off(status)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::session::SessionFailure;
    use crate::buildkit::spec::{Archive, ReceiveArchive};
    use async_trait::async_trait;
    use futures::TryStreamExt;
    use std::sync::Mutex;

    /// Keeps what it gets, up to a number of bytes.
    #[derive(Clone, Default)]
    struct Shelf {
        room: usize,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    #[async_trait]
    impl ReceiveArchive for Shelf {
        async fn receive(&self, mut archive: Archive) -> Result<(), SessionFailure> {
            let failed = |message: String| SessionFailure {
                message,
                hint: None,
                is_exhausted: false,
            };
            while let Some(piece) = archive
                .try_next()
                .await
                .map_err(|error| failed(error.to_string()))?
            {
                let mut kept = self.kept.lock().unwrap();
                if kept.len() + piece.len() > self.room {
                    return Err(failed("the shelf is full".into()));
                }
                kept.extend_from_slice(&piece);
            }
            Ok(())
        }
    }

    async fn handed(
        room: usize,
        frames: Vec<Result<Frame, Status>>,
    ) -> (Result<(), Status>, Failures, Vec<u8>) {
        let shelf = Shelf {
            room,
            ..Shelf::default()
        };
        let failures = Failures::default();
        let receiver = Receiver::new(shelf.clone());
        let outcome = hand_over(&receiver, futures::stream::iter(frames), &failures).await;
        let kept = shelf.kept.lock().unwrap().clone();
        (outcome, failures, kept)
    }

    fn frame(data: &[u8]) -> Result<Frame, Status> {
        let data = Bytes::copy_from_slice(data);
        Ok(Frame::pack(&BytesMessage { data }))
    }

    fn zeros(count: usize) -> Result<Frame, Status> {
        frame(&vec![0; count])
    }

    #[tokio::test]
    async fn pieces_come_whole_and_in_order() {
        let frames = vec![frame(b"ab"), frame(b""), frame(b"c\0"), zeros(1000), zeros(23)];
        let (outcome, failures, kept) = handed(2000, frames).await;
        outcome.unwrap();
        assert_eq!((&kept[..3], kept.len()), (&b"abc"[..], 3 + TAR_END));
        assert_eq!(failures.behind("EOF"), None);
    }

    #[tokio::test]
    async fn an_archive_that_never_began_is_whole() {
        let (outcome, _, kept) = handed(9, vec![]).await;
        outcome.unwrap();
        assert!(kept.is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_a_failure_of_ours() {
        let (outcome, failures, _) = handed(2, vec![frame(b"ab"), frame(b"c")]).await;
        assert_eq!(outcome.unwrap_err().message(), "the shelf is full");
        for told in ["EOF", "context canceled"] {
            assert_eq!(failures.behind(told).unwrap().message, "the shelf is full");
        }
    }

    #[tokio::test]
    async fn what_the_daemon_breaks_off_is_not() {
        let cut = Status::cancelled("context canceled");
        let (outcome, failures, _) = handed(9, vec![frame(b"ab"), Err(cut)]).await;
        assert_eq!(outcome.unwrap_err().code(), tonic::Code::Cancelled);
        assert_eq!(failures.behind("EOF"), None);
    }

    /// As BuildKit ends an export that fails: with a half-close.
    #[tokio::test]
    async fn an_archive_without_an_end_is_broken_off_by_the_daemon() {
        for cut in [
            vec![frame(b"abc")],
            vec![zeros(TAR_END - 1)],
            vec![zeros(2 * TAR_END), frame(b"a"), zeros(TAR_END - 1)],
        ] {
            let (outcome, failures, _) = handed(4 * TAR_END, cut).await;
            assert_eq!(outcome.unwrap_err().message(), "the archive ended early");
            assert_eq!(failures.behind("the archive ended early"), None);
        }
    }
}
