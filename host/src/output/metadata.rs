//! The file of `--metadata-file`: the daemon's response as one JSON object.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::fs::{FileError, PUBLIC_FILE, write_beside};

/// Key of a build's address: `builder/node/reference`.
pub const BUILD_REF: &str = "buildx.build.ref";
/// Key of the warnings.
pub const WARNINGS: &str = "buildx.build.warnings";
/// Key of the provenance; one per platform has `/os/arch` behind it.
pub const PROVENANCE: &str = "buildx.build.provenance";
/// The one key whose value is JSON without base64 around it.
const CALL_RESULT: &str = "result.json";

/// The response as it goes into the file: what is JSON in base64 is embedded as it came, everything else stays text.
pub fn decode(response: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    response
        .iter()
        .map(|(key, text)| {
            let data = if key == CALL_RESULT {
                Some(text.clone().into_bytes())
            } else {
                STANDARD.decode(text).ok()
            };
            let embedded = data.and_then(|data| embeddable(&data));
            (
                key.clone(),
                embedded.unwrap_or_else(|| Value::String(text.clone())),
            )
        })
        .collect()
}

/// A non-empty object, or a non-empty list of objects. Anything else that happens to be base64 is a plain text.
fn embeddable(data: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(data).ok()?;
    let fits = match &value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_object),
        _ => false,
    };
    fits.then_some(value)
}

/// The text of the file: two blanks of indent, no newline at the end; `<`, `>` and `&` are escaped as Go does.
pub fn render(metadata: &BTreeMap<String, Value>) -> String {
    let text = serde_json::to_string_pretty(metadata).unwrap_or_default();
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// Replaces the file as a whole.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(path: &Path, metadata: &BTreeMap<String, Value>) -> Result<(), FileError> {
    write_beside(path, render(metadata).as_bytes(), PUBLIC_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(key: &str, text: &str) -> Value {
        decode(&[(key.to_owned(), text.to_owned())].into())
            .remove(key)
            .unwrap()
    }

    #[test]
    fn json_in_base64_is_embedded() {
        let encode = |text: &str| STANDARD.encode(text);
        assert_eq!(decoded("a", &encode(r#"{"b":1}"#)), serde_json::json!({"b": 1}));
        assert_eq!(
            decoded("a", &encode(r#"[{"b":1}]"#)),
            serde_json::json!([{"b": 1}])
        );
        for plain in ["{}", "[]", "[1]", "1", "null", "\"x\"", "no json"] {
            let text = encode(plain);
            assert_eq!(decoded("a", &text), Value::String(text.clone()));
        }
        assert_eq!(decoded("a", "sha256:0"), Value::String("sha256:0".into()));
        assert_eq!(decoded("result.json", r#"{"b":1}"#), serde_json::json!({"b": 1}));
    }

    #[test]
    fn the_text_is_the_one_of_buildx() {
        let descriptor = STANDARD.encode(r#"{"size":857,"digest":"sha256:9"}"#);
        let response = BTreeMap::from([
            ("image.name".to_owned(), "r/a:1".to_owned()),
            ("containerimage.descriptor".to_owned(), descriptor),
            (BUILD_REF.to_owned(), "b/b0/<x>".to_owned()),
        ]);
        insta::assert_snapshot!(render(&decode(&response)), @r#"
        {
          "buildx.build.ref": "b/b0/\u003cx\u003e",
          "containerimage.descriptor": {
            "size": 857,
            "digest": "sha256:9"
          },
          "image.name": "r/a:1"
        }
        "#);
    }

    #[test]
    fn the_file_has_no_newline_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.json");
        write(&path, &BTreeMap::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
    }
}
