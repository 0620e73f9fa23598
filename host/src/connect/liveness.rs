//! Whether a connection is alive, measured on the stream itself.
//!
//! HTTP/2 keep-alive stays off, because a daemon closes a connection that pings it while idle. Instead the stream
//! records its last byte read; whoever waits for something asks [`Vitals::silence`] to watch.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::peer::{OPENING_LENGTH, Peer};
use super::tls;
use crate::duration::shown;

/// Silence after which the daemon is asked for a sign of life. While a session is attached a daemon sends at least
/// every 5 s, so this is two signs missed.
pub const SILENCE_BEFORE_PROBE: Duration = Duration::from_secs(10);
/// Silence after the probe that counts as death. With the above it stays below 30 s, the longest that a build may
/// hang on a dead daemon.
pub const SILENCE_AFTER_PROBE: Duration = Duration::from_secs(15);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The other side closed it.
    Eof,
    /// The stream failed.
    Reset {
        /// Kind of the failure.
        kind: io::ErrorKind,
        /// Its text.
        text: String,
    },
    /// TLS ended it in a way that another try cannot heal, such as a client certificate that was refused.
    Tls {
        /// What is wrong.
        text: String,
        /// The way out, where one is known.
        hint: Option<String>,
    },
    /// No byte came for this long, not even in answer to a probe.
    Silent(Duration),
    /// The HTTP/2 connection was ended or broken, with the reason.
    GoAway(String),
}

impl Ending {
    /// The ending by a failed read or write.
    pub fn of(error: &io::Error) -> Self {
        match tls::cause(error) {
            Some(cause) if cause.is_final() => Self::Tls {
                text: cause.to_string(),
                hint: cause.hint(),
            },
            _ => Self::Reset {
                kind: error.kind(),
                text: error.to_string(),
            },
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Eof => f.write_str("the other side closed it"),
            Self::Reset { text, .. } | Self::Tls { text, .. } => f.write_str(text),
            Self::Silent(silence) => write!(
                f,
                "no byte came for {}, not even in answer to a probe",
                shown(*silence)
            ),
            Self::GoAway(reason) => f.write_str(reason),
        }
    }
}

/// The connection to a daemon is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Lost the connection to the daemon after {}: {how}", shown(*open_for))]
pub struct Lost {
    /// How it ended.
    pub how: Ending,
    /// How long it had been open.
    pub open_for: Duration,
}

impl Lost {
    /// The ending in one word: `eof`, `reset`, `silent` or `goaway`.
    pub fn word(&self) -> &'static str {
        match self.how {
            Ending::Eof => "eof",
            Ending::Reset { .. } | Ending::Tls { .. } => "reset",
            Ending::Silent(_) => "silent",
            Ending::GoAway(_) => "goaway",
        }
    }
}

/// What is known about the life of one connection.
#[derive(Debug)]
pub struct Vitals {
    opened: Instant,
    /// Milliseconds since `opened`.
    last_read: AtomicU64,
    bytes_read: AtomicU64,
    opening: Mutex<Vec<u8>>,
    lost: watch::Sender<Option<Lost>>,
}

impl Vitals {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            last_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            opening: Mutex::new(Vec::new()),
            lost: watch::Sender::new(None),
        }
    }

    /// The loss, once there is one.
    pub fn lost(&self) -> Option<Lost> {
        self.lost.borrow().clone()
    }

    /// Waits for the loss.
    pub async fn loss(&self) -> Lost {
        let mut changes = self.lost.subscribe();
        loop {
            let lost = changes.borrow_and_update().clone();
            if let Some(lost) = lost {
                return lost;
            }
            // The sender lives in `self`, so this ends only with a change.
            let _ = changes.changed().await;
        }
    }

    /// Records how the connection ended; the first ending stays.
    pub fn end(&self, how: Ending) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                *lost = Some(Lost {
                    how,
                    open_for: self.opened.elapsed(),
                });
            }
            first
        });
    }

    /// Who answered.
    pub fn peer(&self) -> Peer {
        Peer::of(&self.opening.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many bytes came in all.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Acquire)
    }

    /// Ends when the connection counts as dead for its silence; to be polled while something is outstanding. After
    /// [`SILENCE_BEFORE_PROBE`] one `probe` is made; whatever it gives, only bytes that came in count.
    pub async fn silence<P, F>(&self, probe: P) -> Lost
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        // What was silent before anybody waited does not count.
        let mut since = Instant::now();
        loop {
            since = since.max(self.last_read());
            tokio::time::sleep_until(since + SILENCE_BEFORE_PROBE).await;
            if self.last_read() > since {
                continue;
            }
            let heard = self.bytes_read();
            let deadline = Instant::now() + SILENCE_AFTER_PROBE;
            let _ = tokio::time::timeout_at(deadline, probe()).await;
            if self.bytes_read() == heard {
                tokio::time::sleep_until(deadline).await;
            }
            if self.bytes_read() == heard {
                self.end(Ending::Silent(since.elapsed()));
                return self.loss().await;
            }
            since = self.last_read();
        }
    }

    fn last_read(&self) -> Instant {
        self.opened + Duration::from_millis(self.last_read.load(Ordering::Acquire))
    }

    fn record(&self, bytes: &[u8]) {
        let before = self.bytes_read.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        let elapsed = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_read.store(elapsed, Ordering::Release);
        if before < OPENING_LENGTH as u64 {
            let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
            let missing = OPENING_LENGTH.saturating_sub(opening.len());
            opening.extend(bytes.iter().take(missing));
        }
    }

    fn fail(&self, error: &io::Error) {
        self.end(Ending::of(error));
    }
}

/// A stream that keeps its [`Vitals`].
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    vitals: Arc<Vitals>,
}

impl<S> Watched<S> {
    /// Watches `stream` from now on.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            vitals: Arc::new(Vitals::new()),
        }
    }

    /// What is known about it.
    pub fn vitals(&self) -> Arc<Vitals> {
        Arc::clone(&self.vitals)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining() > 0;
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        match (&outcome, buf.filled().get(before..)) {
            (Err(error), _) => self.vitals.fail(error),
            (Ok(()), Some(bytes)) if !bytes.is_empty() => self.vitals.record(bytes),
            (Ok(()), _) if room => self.vitals.end(Ending::Eof),
            (Ok(()), _) => {}
        }
        Poll::Ready(outcome)
    }
}

/// A write that fails is not yet the loss: what the other side said before it went away may still be readable, and
/// tells more.
impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn silence_that_outlasts_the_probe_is_death() {
        let (near, _far) = tokio::io::duplex(64);
        let vitals = Watched::new(near).vitals();
        let probes = AtomicUsize::new(0);
        let start = Instant::now();
        let lost = vitals
            .silence(|| async {
                probes.fetch_add(1, Ordering::Relaxed);
                std::future::pending().await
            })
            .await;
        assert_eq!(lost.word(), "silent");
        assert_eq!(start.elapsed().as_secs(), 25);
        assert_eq!(probes.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_at_once_does_not_shorten_the_wait() {
        let (near, _far) = tokio::io::duplex(64);
        let vitals = Watched::new(near).vitals();
        let start = Instant::now();
        vitals.silence(|| async {}).await;
        assert_eq!(start.elapsed().as_secs(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn ten_silent_minutes_with_answered_probes_are_life() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Watched::new(near);
        let vitals = near.vitals();
        tokio::spawn(async move { while near.read_u8().await.is_ok() {} });
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                far.write_u8(0).await.unwrap();
            }
        });
        let watching = vitals.silence(|| async {
            ask.send(()).unwrap();
        });
        assert!(tokio::time::timeout(10 * MINUTE, watching).await.is_err());
        assert_eq!(vitals.lost(), None);
        assert!(vitals.bytes_read() > 20);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_before_the_watch_does_not_count() {
        let (near, _far) = tokio::io::duplex(64);
        let vitals = Watched::new(near).vitals();
        tokio::time::sleep(10 * MINUTE).await;
        let watching = vitals.silence(|| async {});
        assert!(
            tokio::time::timeout(Duration::from_secs(24), watching)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn the_first_ending_stays() {
        let (near, far) = tokio::io::duplex(64);
        let mut near = Watched::new(near);
        drop(far);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        near.vitals().end(Ending::GoAway("later".into()));
        assert_eq!(near.vitals().loss().await.how, Ending::Eof);
    }
}
