//! Archives that somebody else takes in while they come.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bkhost_proto::Frame;
use bkhost_proto::control::BytesMessage;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tonic::Status;

use super::super::failure::Failures;
use crate::buildkit::spec::Receiver;

/// Hands what comes to `receiver`, and returns when it is kept. The daemon waits for that: its build is not done before.
pub(super) async fn hand_over(
    receiver: &Receiver,
    incoming: impl Stream<Item = Result<Frame, Status>> + Send + Unpin + 'static,
    failures: &Failures,
) -> Result<(), Status> {
    let broken = Arc::default();
    let pieces = Pieces {
        incoming,
        broken: Arc::clone(&broken),
    };
    let Err(failure) = receiver.receive(pieces.boxed()).await else {
        return Ok(());
    };
    // An archive that the daemon has broken off is its own doing, for a reason of its own.
    let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    Err(broken.unwrap_or_else(|| failures.failed_export(failure)))
}

/// The pieces of an archive out of the frames that hold them.
struct Pieces<S> {
    incoming: S,
    /// Why the frames broke off.
    broken: Arc<Mutex<Option<Status>>>,
}

impl<S: Stream<Item = Result<Frame, Status>> + Unpin> Stream for Pieces<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match ready!(self.incoming.poll_next_unpin(cx)) {
            None => return Poll::Ready(None),
            Some(frame) => frame.and_then(|frame| {
                let message = frame.unpack::<BytesMessage>();
                message.map_err(|error| Status::invalid_argument(format!("bad piece of a file: {error}")))
            }),
        };
        Poll::Ready(Some(piece.map(|message| message.data).map_err(|status| {
            let text = status.message().to_owned();
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
            io::Error::other(text)
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::session::SessionFailure;
    use crate::buildkit::spec::{Archive, ReceiveArchive};
    use async_trait::async_trait;
    use futures::TryStreamExt;

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

    fn frame(data: &'static str) -> Result<Frame, Status> {
        Ok(Frame::pack(&BytesMessage { data: data.into() }))
    }

    #[tokio::test]
    async fn pieces_come_whole_and_in_order() {
        let (outcome, failures, kept) = handed(9, vec![frame("ab"), frame(""), frame("c")]).await;
        outcome.unwrap();
        assert_eq!(kept, b"abc");
        assert_eq!(failures.behind("EOF"), None);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_a_failure_of_ours() {
        let (outcome, failures, _) = handed(2, vec![frame("ab"), frame("c")]).await;
        assert_eq!(outcome.unwrap_err().message(), "the shelf is full");
        assert_eq!(failures.behind("EOF").unwrap().message, "the shelf is full");
    }

    #[tokio::test]
    async fn what_the_daemon_breaks_off_is_not() {
        let cut = Status::cancelled("context canceled");
        let (outcome, failures, _) = handed(9, vec![frame("ab"), Err(cut)]).await;
        assert_eq!(outcome.unwrap_err().code(), tonic::Code::Cancelled);
        assert_eq!(failures.behind("EOF"), None);
    }
}
