//! An archive as the body of a request, and how much of it has gone out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::StreamExt;
use hyper::body::{Body, Frame};
use tokio::sync::watch;

use crate::buildkit::spec::Archive;

/// The body: pieces are asked for one by one, and go out as they came.
pub(super) struct Upload {
    first: Option<Bytes>,
    rest: Archive,
    counters: Arc<Counters>,
    /// Dropped at the end of the archive.
    open: Option<watch::Sender<()>>,
}

#[derive(Default)]
struct Counters {
    bytes: AtomicU64,
    broken: AtomicBool,
}

/// What has become of an [`Upload`].
pub(super) struct Sent {
    counters: Arc<Counters>,
    open: watch::Receiver<()>,
}

impl Upload {
    /// The archive that begins with `first`.
    pub fn new(first: Bytes, rest: Archive) -> (Self, Sent) {
        let counters = Arc::new(Counters::default());
        let (sender, receiver) = watch::channel(());
        let upload = Self {
            first: Some(first),
            rest,
            counters: Arc::clone(&counters),
            open: Some(sender),
        };
        let sent = Sent {
            counters,
            open: receiver,
        };
        (upload, sent)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(self.rest.poll_next_unpin(cx)),
        };
        match &piece {
            Some(Ok(piece)) => {
                let length = piece.len() as u64;
                self.counters.bytes.fetch_add(length, Ordering::Relaxed);
            }
            Some(Err(_)) => self.counters.broken.store(true, Ordering::Relaxed),
            None => self.open = None,
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Sent {
    /// Bytes that have gone out.
    pub fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    /// Whether the archive broke off where it comes from.
    pub fn is_broken(&self) -> bool {
        self.counters.broken.load(Ordering::Relaxed)
    }

    /// Whether nothing more goes out.
    pub fn has_ended(&self) -> bool {
        self.open.has_changed().is_err()
    }

    /// Waits until nothing more goes out.
    pub async fn ended(&self) {
        // Nothing is ever sent: it changes when the sender goes.
        let _ = self.open.clone().changed().await;
    }
}
