//! JSON as the Go programs that share our files write it: compact, `<`, `>` and `&` escaped, keys in any letter case
//! on reading.

use serde::Serialize;
use serde_json::{Map, Value};

/// Compact JSON of `value` with the characters escaped that Go's encoder escapes.
///
/// Replacing in the finished text is safe: outside of strings JSON has none of these characters.
pub fn encode<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// The member `name` of an object, letter case ignored; the last one wins, and `null` counts as absent.
pub fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .iter()
        .rfind(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .filter(|value| !value.is_null())
}

/// A member that is missing, or has another type than Go would accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Member `{name}` is no {wanted}")]
pub struct WrongType {
    name: String,
    wanted: &'static str,
}

impl WrongType {
    /// The error for member `name`, which should have been `wanted`.
    pub fn new(name: &str, wanted: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            wanted,
        }
    }
}

/// A string member; empty when absent.
pub fn string(object: &Map<String, Value>, name: &str) -> Result<String, WrongType> {
    match member(object, name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(WrongType::new(name, "string")),
    }
}

/// A boolean member; false when absent.
pub fn boolean(object: &Map<String, Value>, name: &str) -> Result<bool, WrongType> {
    match member(object, name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(WrongType::new(name, "boolean")),
    }
}

/// A list of strings; `None` when absent or null.
pub fn strings(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, WrongType> {
    let Some(value) = member(object, name) else {
        return Ok(None);
    };
    let wrong = || WrongType::new(name, "list of strings");
    let items = value.as_array().ok_or_else(wrong)?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// An object member; `None` when absent or null.
pub fn object<'a>(
    parent: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a Map<String, Value>>, WrongType> {
    match member(parent, name) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(WrongType::new(name, "object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn html_characters_are_escaped() {
        assert_eq!(
            encode(&json!({"a&b": "<x>"})).unwrap(),
            r#"{"a\u0026b":"\u003cx\u003e"}"#
        );
    }

    #[test]
    fn the_last_spelling_wins() {
        let value = json!({"Name": "a", "nAME": "b", "other": null});
        let object = value.as_object().unwrap();
        assert_eq!(string(object, "name").unwrap(), "b");
        assert_eq!(string(object, "other").unwrap(), "");
        assert!(boolean(object, "Name").is_err());
    }
}
