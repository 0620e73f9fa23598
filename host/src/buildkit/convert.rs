//! From the daemon's status messages to this project's progress events.

use bkhost_proto::{control, pb};
use prost_types::Timestamp as WireTimestamp;

use crate::progress::event::{
    Group, Log, Position, Range, SourceInfo, Status, Timestamp, Update, Vertex, Warning,
};

/// The events of one status message.
pub fn update(response: control::StatusResponse) -> Update {
    Update {
        vertexes: response.vertexes.into_iter().map(vertex).collect(),
        statuses: response.statuses.into_iter().map(status).collect(),
        logs: response.logs.into_iter().map(log).collect(),
        warnings: response.warnings.into_iter().map(warning).collect(),
    }
}

fn vertex(vertex: control::Vertex) -> Vertex {
    Vertex {
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        cached: vertex.cached,
        started: timestamp(vertex.started),
        completed: timestamp(vertex.completed),
        error: vertex.error,
        group: vertex.progress_group.map(|group| Group {
            id: group.id,
            name: group.name,
            weak: group.weak,
        }),
    }
}

fn status(status: control::VertexStatus) -> Status {
    Status {
        id: status.id,
        vertex: status.vertex,
        name: status.name,
        current: status.current,
        total: status.total,
        timestamp: timestamp(status.timestamp),
        started: timestamp(status.started),
        completed: timestamp(status.completed),
    }
}

fn log(log: control::VertexLog) -> Log {
    Log {
        vertex: log.vertex,
        stream: log.stream,
        data: log.msg,
        timestamp: timestamp(log.timestamp),
    }
}

fn warning(warning: control::VertexWarning) -> Warning {
    Warning {
        vertex: warning.vertex,
        level: warning.level,
        short: warning.short,
        detail: warning.detail,
        url: warning.url,
        source: warning.info.map(source_info),
        ranges: warning.ranges.into_iter().map(range).collect(),
    }
}

fn source_info(info: pb::SourceInfo) -> SourceInfo {
    SourceInfo {
        filename: info.filename,
        data: info.data,
        language: info.language,
    }
}

fn range(range: pb::Range) -> Range {
    Range {
        start: position(range.start),
        end: position(range.end),
    }
}

fn position(position: Option<pb::Position>) -> Position {
    let position = position.unwrap_or_default();
    Position {
        line: position.line,
        character: position.character,
    }
}

/// `None` also for a time outside of what can be shown.
pub fn timestamp(timestamp: Option<WireTimestamp>) -> Option<Timestamp> {
    let timestamp = timestamp?;
    Timestamp::new(timestamp.seconds, timestamp.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_an_update() {
        let started = WireTimestamp {
            seconds: 1_700_000_000,
            nanos: 5,
        };
        let update = update(control::StatusResponse {
            vertexes: vec![control::Vertex {
                digest: "sha256:a".into(),
                name: "[1/2] FROM scratch".into(),
                cached: true,
                started: Some(started),
                progress_group: Some(pb::ProgressGroup {
                    id: "g".into(),
                    name: "group".into(),
                    weak: true,
                }),
                ..Default::default()
            }],
            warnings: vec![control::VertexWarning {
                ranges: vec![pb::Range {
                    start: Some(pb::Position {
                        line: 3,
                        character: 1,
                    }),
                    end: None,
                }],
                ..Default::default()
            }],
            ..Default::default()
        });
        let vertex = &update.vertexes[0];
        assert!(vertex.cached);
        assert_eq!(vertex.started.unwrap().as_nanosecond(), 1_700_000_000_000_000_005);
        assert_eq!(vertex.completed, None);
        assert!(vertex.group.as_ref().unwrap().weak);
        assert_eq!(update.warnings[0].ranges[0].start.line, 3);
    }

    #[test]
    fn a_time_that_cannot_be_is_none() {
        let wrong = WireTimestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(timestamp(Some(wrong)), None);
    }
}
