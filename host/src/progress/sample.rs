//! Events for tests, on a clock that starts at 0.

use super::event::{Log, Status, Timestamp, Update, Vertex};

/// A moment, in milliseconds.
pub fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
}

pub fn vertex(digest: &str, name: &str, started: Option<i64>, completed: Option<i64>) -> Vertex {
    Vertex {
        digest: digest.into(),
        name: name.into(),
        started: started.map(at),
        completed: completed.map(at),
        ..Vertex::default()
    }
}

/// A part that runs since 0.
pub fn status(vertex: &str, id: &str, current: i64, total: i64) -> Status {
    Status {
        id: id.into(),
        vertex: vertex.into(),
        current,
        total,
        started: Some(at(0)),
        timestamp: Some(at(0)),
        ..Status::default()
    }
}

pub fn log(vertex: &str, text: &str, milliseconds: i64) -> Log {
    Log {
        vertex: vertex.into(),
        stream: 1,
        data: text.to_owned().into(),
        timestamp: Some(at(milliseconds)),
    }
}

pub fn vertexes(vertexes: Vec<Vertex>) -> Update {
    Update {
        vertexes,
        ..Update::default()
    }
}

pub fn logs(logs: Vec<Log>) -> Update {
    Update {
        logs,
        ..Update::default()
    }
}

pub fn statuses(statuses: Vec<Status>) -> Update {
    Update {
        statuses,
        ..Update::default()
    }
}
