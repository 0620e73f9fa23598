//! The events of a build in this project's own terms, and the channel they travel on.
//!
//! Drivers' steps, the client's own steps and the daemons' status streams all become [`Update`]s; renderings know
//! nothing else.

use bytes::Bytes;
pub use jiff::Timestamp;
use tokio::sync::mpsc;

/// One step of a build, re-sent whole whenever it changes; receivers merge by `digest`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vertex {
    /// Identity within one build; a content digest for a daemon's vertexes, random for the client's own.
    pub digest: String,
    /// Digests of the vertexes this one needs.
    pub inputs: Vec<String>,
    /// The text to show.
    pub name: String,
    /// The result came from the cache.
    pub cached: bool,
    /// Absent until the vertex starts. A vertex may start and complete more than once.
    pub started: Option<Timestamp>,
    /// Absent while it runs.
    pub completed: Option<Timestamp>,
    /// Empty unless it failed; ends in `context canceled` when it was cancelled.
    pub error: String,
    /// Vertexes of one group are shown as one.
    pub group: Option<Group>,
}

/// A progress group (`pb.ProgressGroup`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Identity of the group within one build.
    pub id: String,
    /// The text to show instead of the members' names.
    pub name: String,
    /// A weak member alone does not make the group visible.
    pub weak: bool,
}

/// Progress of a part of a vertex, such as one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The text to show (`transferring context:`, `sha256:…`); identity within the vertex.
    pub id: String,
    /// Digest of the vertex it belongs to.
    pub vertex: String,
    /// An action word (`extract`); may be empty.
    pub name: String,
    /// Done so far, bytes in nearly all cases.
    pub current: i64,
    /// Wanted in all; 0 means unknown.
    pub total: i64,
    /// When this was measured.
    pub timestamp: Option<Timestamp>,
    /// When the part began.
    pub started: Option<Timestamp>,
    /// When it ended; absent while it runs.
    pub completed: Option<Timestamp>,
}

/// Output of a running vertex, cut anywhere, not at line ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Digest of the vertex it belongs to.
    pub vertex: String,
    /// 1 is standard output, 2 standard error.
    pub stream: i64,
    /// Raw bytes of the output.
    pub data: Bytes,
    /// When it was written.
    pub timestamp: Option<Timestamp>,
}

/// A warning of the frontend, such as a lint finding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Warning {
    /// Digest of the vertex it belongs to; may be empty.
    pub vertex: String,
    /// Severity as the frontend gave it.
    pub level: i64,
    /// One line.
    pub short: Bytes,
    /// Longer explanation, a line each.
    pub detail: Vec<Bytes>,
    /// Where to read more; may be empty.
    pub url: String,
    /// The file that `ranges` speak of.
    pub source: Option<SourceInfo>,
    /// Affected lines.
    pub ranges: Vec<Range>,
}

/// A source file as the daemon saw it (`pb.SourceInfo`), without its definition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceInfo {
    /// Its name, such as `Dockerfile`.
    pub filename: String,
    /// Its whole text.
    pub data: Bytes,
    /// Its language, such as `Dockerfile`; may be empty.
    pub language: String,
}

/// A range of source positions, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First position.
    pub start: Position,
    /// Last position.
    pub end: Position,
}

/// A place in a source file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line, counted from 1.
    pub line: i32,
    /// Character, counted from 0.
    pub character: i32,
}

/// What happened since the last update; usually only some of the lists are filled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// New states of vertexes.
    pub vertexes: Vec<Vertex>,
    /// New states of their parts.
    pub statuses: Vec<Status>,
    /// New output.
    pub logs: Vec<Log>,
    /// New warnings.
    pub warnings: Vec<Warning>,
}

/// How many updates may wait for a rendering. A full channel slows the sender down instead of growing without bound.
const PENDING_UPDATES: usize = 256;

/// Where events are sent. Cheap to clone; the stream ends when every clone is dropped.
#[derive(Clone, Debug)]
pub struct Sink(Option<mpsc::Sender<Update>>);

impl Sink {
    /// A sink and the stream of what is sent to it.
    pub fn channel() -> (Self, mpsc::Receiver<Update>) {
        let (sender, receiver) = mpsc::channel(PENDING_UPDATES);
        (Self(Some(sender)), receiver)
    }

    /// A sink that forgets everything.
    pub fn discard() -> Self {
        Self(None)
    }

    /// Hands `update` over, waiting while the rendering is behind. A receiver that has gone is not an error: nobody
    /// watches then.
    pub async fn send(&self, update: Update) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(update).await;
        }
    }

    /// Like [`Sink::send`] where waiting is impossible (a destructor); a full channel loses the update.
    pub fn try_send(&self, update: Update) {
        if let Some(sender) = &self.0 {
            let _ = sender.try_send(update);
        }
    }
}
