//! One JSON object per update, for programs. Keys, their order and what is left out are buildx's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Rendering;
use super::event::{self, Group, Log, Position, Range, SourceInfo, Status, Timestamp, Update, Vertex};
use super::trace::Trace;

/// The JSON rendering; it keeps nothing.
#[derive(Debug)]
pub struct RawJson;

impl Rendering for RawJson {
    fn event(&mut self, update: &Update) -> Vec<u8> {
        line(update)
    }

    fn refresh(&mut self, _: &mut Trace, _: Timestamp) -> Vec<u8> {
        Vec::new()
    }

    fn finish(&mut self, _: &mut Trace, _: Timestamp) -> Vec<u8> {
        Vec::new()
    }

    fn is_animated(&self) -> bool {
        false
    }
}

/// The line of one update; nothing for an empty one.
pub fn line(update: &Update) -> Vec<u8> {
    if *update == Update::default() {
        return Vec::new();
    }
    let object = UpdateJson {
        vertexes: update.vertexes.iter().map(VertexJson::from).collect(),
        statuses: update.statuses.iter().map(StatusJson::from).collect(),
        logs: update.logs.iter().map(LogJson::from).collect(),
        warnings: update.warnings.iter().map(WarningJson::from).collect(),
    };
    // Nothing in these types can fail to serialize: no maps with odd keys, no foreign code.
    let text = serde_json::to_string(&object).unwrap_or_default();
    let mut out = escaped(&text).into_bytes();
    out.push(b'\n');
    out
}

/// Writes `<`, `>` and `&`, which occur only inside strings, the way buildx does, so that lines compare equal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}

#[derive(Serialize)]
struct UpdateJson<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<VertexJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<StatusJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<LogJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningJson<'a>>,
}

#[derive(Serialize)]
struct VertexJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    digest: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    inputs: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    cached: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(rename = "progressGroup", skip_serializing_if = "Option::is_none")]
    group: Option<GroupJson<'a>>,
}

#[derive(Serialize)]
struct GroupJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    weak: bool,
}

#[derive(Serialize)]
struct StatusJson<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    vertex: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    total: i64,
    current: i64,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
}

#[derive(Serialize)]
struct LogJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    vertex: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    stream: i64,
    data: String,
    timestamp: String,
}

#[derive(Serialize)]
struct WarningJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    vertex: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    level: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    short: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detail: Vec<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'a str,
    #[serde(rename = "sourceInfo", skip_serializing_if = "Option::is_none")]
    source: Option<SourceJson<'a>>,
    #[serde(rename = "range", skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<RangeJson>,
}

#[derive(Serialize)]
struct SourceJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    filename: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
}

#[derive(Serialize)]
struct RangeJson {
    start: PositionJson,
    end: PositionJson,
}

#[derive(Serialize)]
struct PositionJson {
    #[serde(skip_serializing_if = "is_zero")]
    line: i32,
    #[serde(skip_serializing_if = "is_zero")]
    character: i32,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'a> From<&'a Vertex> for VertexJson<'a> {
    fn from(vertex: &'a Vertex) -> Self {
        Self {
            digest: &vertex.digest,
            inputs: &vertex.inputs,
            name: &vertex.name,
            started: vertex.started.map(time),
            completed: vertex.completed.map(time),
            cached: vertex.cached,
            error: &vertex.error,
            group: vertex.group.as_ref().map(GroupJson::from),
        }
    }
}

impl<'a> From<&'a Group> for GroupJson<'a> {
    fn from(group: &'a Group) -> Self {
        Self {
            id: &group.id,
            name: &group.name,
            weak: group.weak,
        }
    }
}

impl<'a> From<&'a Status> for StatusJson<'a> {
    fn from(status: &'a Status) -> Self {
        Self {
            id: &status.id,
            vertex: &status.vertex,
            name: &status.name,
            total: status.total,
            current: status.current,
            timestamp: time_or_zero(status.timestamp),
            started: status.started.map(time),
            completed: status.completed.map(time),
        }
    }
}

impl<'a> From<&'a Log> for LogJson<'a> {
    fn from(log: &'a Log) -> Self {
        Self {
            vertex: &log.vertex,
            stream: log.stream,
            data: STANDARD.encode(&log.data),
            timestamp: time_or_zero(log.timestamp),
        }
    }
}

impl<'a> From<&'a event::Warning> for WarningJson<'a> {
    fn from(warning: &'a event::Warning) -> Self {
        let detail = warning.detail.iter().map(|line| STANDARD.encode(line));
        Self {
            vertex: &warning.vertex,
            level: warning.level,
            short: STANDARD.encode(&warning.short),
            detail: detail.collect(),
            url: &warning.url,
            source: warning.source.as_ref().map(SourceJson::from),
            ranges: warning.ranges.iter().map(RangeJson::from).collect(),
        }
    }
}

impl<'a> From<&'a SourceInfo> for SourceJson<'a> {
    fn from(source: &'a SourceInfo) -> Self {
        Self {
            filename: &source.filename,
            data: STANDARD.encode(&source.data),
            language: &source.language,
        }
    }
}

impl From<&Range> for RangeJson {
    fn from(range: &Range) -> Self {
        Self {
            start: range.start.into(),
            end: range.end.into(),
        }
    }
}

impl From<Position> for PositionJson {
    fn from(position: Position) -> Self {
        Self {
            line: position.line,
            character: position.character,
        }
    }
}

/// RFC 3339 with as many decimals as there are, nine at most.
fn time(timestamp: Timestamp) -> String {
    timestamp.to_string()
}

/// A time that must be there is written as the year 1 when it is not known.
fn time_or_zero(timestamp: Option<Timestamp>) -> String {
    timestamp.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::sample::{at, log, status, vertex};

    fn text(update: &Update) -> String {
        String::from_utf8(line(update)).unwrap()
    }

    #[test]
    fn keys_have_a_fixed_order() {
        let update = Update {
            vertexes: vec![Vertex {
                inputs: vec!["b".into()],
                cached: true,
                error: "failed".into(),
                group: Some(Group {
                    id: "g".into(),
                    name: "group".into(),
                    weak: true,
                }),
                ..vertex("a", "[1/2] FROM", Some(0), Some(1500))
            }],
            statuses: vec![Status {
                name: "extract".into(),
                completed: Some(at(1)),
                ..status("a", "layer", 1, 2)
            }],
            logs: vec![log("a", "hi\n", 20)],
            warnings: Vec::new(),
        };
        assert_eq!(
            text(&update),
            concat!(
                r#"{"vertexes":[{"digest":"a","inputs":["b"],"name":"[1/2] FROM","started":"2023-11-14T22:13:20Z","#,
                r#""completed":"2023-11-14T22:13:21.5Z","cached":true,"error":"failed","#,
                r#""progressGroup":{"id":"g","name":"group","weak":true}}],"#,
                r#""statuses":[{"id":"layer","vertex":"a","name":"extract","total":2,"current":1,"#,
                r#""timestamp":"2023-11-14T22:13:20Z","started":"2023-11-14T22:13:20Z","completed":"2023-11-14T22:13:20.001Z"}],"#,
                r#""logs":[{"vertex":"a","stream":1,"data":"aGkK","timestamp":"2023-11-14T22:13:20.02Z"}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn some_characters_are_escaped() {
        let update = Update {
            vertexes: vec![vertex("a", "RUN a <in >out && \"b\"", None, None)],
            ..Update::default()
        };
        assert_eq!(
            text(&update),
            concat!(
                r#"{"vertexes":[{"digest":"a","name":"RUN a \u003cin \u003eout \u0026\u0026 \"b\""}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn zero_values_are_left_out_with_exceptions() {
        let update = Update {
            vertexes: vec![Vertex::default()],
            statuses: vec![Status::default()],
            logs: vec![Log::default()],
            warnings: vec![event::Warning::default()],
        };
        assert_eq!(
            text(&update),
            concat!(
                r#"{"vertexes":[{}],"statuses":[{"id":"","current":0,"timestamp":"0001-01-01T00:00:00Z"}],"#,
                r#""logs":[{"data":"","timestamp":"0001-01-01T00:00:00Z"}],"warnings":[{}]}"#,
                "\n"
            )
        );
        assert_eq!(text(&Update::default()), "");
    }

    #[test]
    fn warnings_carry_their_source() {
        let place = |line| Position { line, character: 0 };
        let warning = event::Warning {
            vertex: "a".into(),
            level: 1,
            short: "x".into(),
            detail: vec!["y".into()],
            url: "https://docs.example".into(),
            source: Some(SourceInfo {
                filename: "Dockerfile".into(),
                data: "FROM a".into(),
                language: "Dockerfile".into(),
            }),
            ranges: vec![Range {
                start: place(1),
                end: Position {
                    line: 1,
                    character: 7,
                },
            }],
        };
        let update = Update {
            warnings: vec![warning],
            ..Update::default()
        };
        assert_eq!(
            text(&update),
            concat!(
                r#"{"warnings":[{"vertex":"a","level":1,"short":"eA==","detail":["eQ=="],"url":"https://docs.example","#,
                r#""sourceInfo":{"filename":"Dockerfile","data":"RlJPTSBh","language":"Dockerfile"},"#,
                r#""range":[{"start":{"line":1},"end":{"line":1,"character":7}}]}]}"#,
                "\n"
            )
        );
    }
}
