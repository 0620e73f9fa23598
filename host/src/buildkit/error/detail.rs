//! Typed error details. On the wire they are JSON inside `google.protobuf.Any`: keys as in the definitions, zero
//! values left out, bytes in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost_types::Any;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::progress::event::{Position, Range, SourceInfo};

/// What every type URL of the daemon's own details begins with.
const TYPE_PREFIX: &str = "github.com/moby/buildkit/";

/// One detail of an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// The lines of a source file that the error is about.
    Source {
        /// The file.
        info: SourceInfo,
        /// Affected lines; may be empty.
        ranges: Vec<Range>,
    },
    /// The vertex that failed.
    Vertex {
        /// Its digest.
        digest: String,
    },
    /// The frontend that failed.
    Frontend {
        /// Its name.
        name: String,
        /// Its image.
        source: String,
    },
    /// A capability that the frontend lacks.
    FrontendCap {
        /// Its name, such as `moby.buildkit.frontend.contexts`.
        name: String,
    },
    /// A subrequest that the frontend lacks.
    Subrequest {
        /// Its name.
        name: String,
    },
    /// The process of a step ended like this.
    Exit {
        /// Its exit code.
        code: u32,
    },
    /// Where the error came from in the daemon's code.
    Stack(Stack),
    /// A detail of a type not known here, or one that does not read.
    Other {
        /// Its type.
        type_url: String,
        /// Its value as it came.
        value: Bytes,
    },
}

/// A stack trace of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Stack {
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// Command line of the program.
    pub cmdline: Vec<String>,
    /// Its process id.
    pub pid: i32,
    /// Its version.
    pub version: String,
    /// Its revision.
    pub revision: String,
}

/// One line of a stack trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Frame {
    /// Function.
    pub name: String,
    /// File.
    pub file: String,
    /// Line, counted from 1.
    pub line: i32,
}

impl Detail {
    pub(super) fn decode(any: Any) -> Self {
        Self::known(&any).unwrap_or(Self::Other {
            type_url: any.type_url,
            value: any.value.into(),
        })
    }

    fn known(any: &Any) -> Option<Self> {
        let kind = any.type_url.strip_prefix(TYPE_PREFIX)?;
        let json = any.value.as_slice();
        Some(match kind {
            "errdefs.Source+json" => parse::<SourceJson>(json)?.into(),
            "errdefs.Vertex+json" => Self::Vertex {
                digest: parse::<VertexJson>(json)?.digest,
            },
            "errdefs.Frontend+json" => {
                let NamedJson { name, source } = parse(json)?;
                Self::Frontend { name, source }
            }
            "errdefs.FrontendCap+json" => Self::FrontendCap {
                name: parse::<NamedJson>(json)?.name,
            },
            "errdefs.Subrequest+json" => Self::Subrequest {
                name: parse::<NamedJson>(json)?.name,
            },
            "gatewayapi.ExitMessage+json" => Self::Exit {
                code: parse::<ExitJson>(json)?.code,
            },
            "stack.Stack+json" => Self::Stack(parse(json)?),
            _ => return None,
        })
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VertexJson {
    digest: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedJson {
    name: String,
    source: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ExitJson {
    code: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SourceJson {
    info: Option<SourceInfoJson>,
    ranges: Vec<RangeJson>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SourceInfoJson {
    filename: String,
    data: String,
    language: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RangeJson {
    start: Option<PositionJson>,
    end: Option<PositionJson>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PositionJson {
    line: i32,
    character: i32,
}

impl From<SourceJson> for Detail {
    fn from(source: SourceJson) -> Self {
        Self::Source {
            info: source.info.unwrap_or_default().into(),
            ranges: source.ranges.into_iter().map(Range::from).collect(),
        }
    }
}

impl From<SourceInfoJson> for SourceInfo {
    fn from(info: SourceInfoJson) -> Self {
        Self {
            filename: info.filename,
            data: STANDARD.decode(info.data).unwrap_or_default().into(),
            language: info.language,
        }
    }
}

impl From<RangeJson> for Range {
    fn from(range: RangeJson) -> Self {
        let start = range.start.unwrap_or_default();
        Self {
            start: start.into(),
            end: range.end.unwrap_or(start).into(),
        }
    }
}

impl From<PositionJson> for Position {
    fn from(position: PositionJson) -> Self {
        Self {
            line: position.line,
            character: position.character,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: &str, json: &str) -> Detail {
        Detail::decode(Any {
            type_url: format!("{TYPE_PREFIX}{kind}"),
            value: json.as_bytes().to_vec(),
        })
    }

    #[test]
    fn a_source_has_its_text_and_its_ranges() {
        let json = r#"{"info":{"filename":"Dockerfile","data":"RlJPTSBh","definition":{"def":["AA=="]},"language":"Dockerfile"},
            "ranges":[{"start":{"line":5},"end":{"line":6,"character":2}}]}"#;
        let Detail::Source { info, ranges } = decode("errdefs.Source+json", json) else {
            panic!("not a source");
        };
        assert_eq!(info.filename, "Dockerfile");
        assert_eq!(info.data.as_ref(), b"FROM a");
        assert_eq!(info.language, "Dockerfile");
        assert_eq!(
            ranges[0].start,
            Position {
                line: 5,
                character: 0
            }
        );
        assert_eq!(
            ranges[0].end,
            Position {
                line: 6,
                character: 2
            }
        );
    }

    #[test]
    fn zero_values_may_be_left_out() {
        assert_eq!(
            decode("gatewayapi.ExitMessage+json", "{}"),
            Detail::Exit { code: 0 }
        );
        assert_eq!(
            decode("errdefs.Vertex+json", "{}"),
            Detail::Vertex {
                digest: String::new()
            }
        );
    }

    #[test]
    fn a_stack_has_its_frames() {
        let json = r#"{"frames":[{"Name":"main.main","File":"/src/main.go","Line":7}],"cmdline":["buildkitd"],"pid":3,"version":"v1"}"#;
        let Detail::Stack(stack) = decode("stack.Stack+json", json) else {
            panic!("not a stack");
        };
        assert_eq!(stack.frames[0].name, "main.main");
        assert_eq!(stack.frames[0].line, 7);
        assert_eq!(stack.version, "v1");
    }

    #[test]
    fn what_is_not_known_or_does_not_read_is_kept() {
        for (kind, value) in [("errdefs.New+json", "{}"), ("errdefs.Vertex+json", "[")] {
            assert_eq!(
                decode(kind, value),
                Detail::Other {
                    type_url: format!("{TYPE_PREFIX}{kind}"),
                    value: Bytes::from(value),
                }
            );
        }
    }
}
