//! Patterns for texts: globs (`*` is any text) with variables in braces: `{node}` (the stored name), `{node-dns}` (with
//! `-` for `_`), `{option:NAME}` (a driver option of the builder). `{{` and `}}` are braces.

use super::Scope;

/// Whether a text is what a pattern says.
pub(crate) fn matches(pattern: &str, text: &str, scope: &Scope<'_>) -> bool {
    match parts(pattern, scope) {
        Some(parts) => glob_matches(&parts, text),
        None => false,
    }
}

/// A piece of a pattern: text that must be there, or any text.
#[derive(Debug, PartialEq)]
enum PatternPart {
    Text(String),
    Any,
}

/// The pieces of a pattern with its variables put in; absent when one has no value. A value is text even if it has a
/// `*` in it.
fn parts(pattern: &str, scope: &Scope<'_>) -> Option<Vec<PatternPart>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..)?;
        rest = match c {
            '*' => {
                parts.push(PatternPart::Text(std::mem::take(&mut text)));
                parts.push(PatternPart::Any);
                after
            }
            '{' | '}' if after.starts_with(c) => {
                text.push(c);
                after.get(c.len_utf8()..)?
            }
            '{' => {
                let (name, after) = after.split_once('}')?;
                text.push_str(&scope.variable(name)?);
                after
            }
            c => {
                text.push(c);
                after
            }
        };
    }
    parts.push(PatternPart::Text(text));
    Some(parts)
}

fn glob_matches(parts: &[PatternPart], text: &str) -> bool {
    match parts {
        [] => text.is_empty(),
        [PatternPart::Text(wanted), rest @ ..] => text
            .strip_prefix(wanted.as_str())
            .is_some_and(|text| glob_matches(rest, text)),
        [PatternPart::Any, rest @ ..] => (0..=text.len())
            .filter_map(|start| text.get(start..))
            .any(|text| glob_matches(rest, text)),
    }
}
