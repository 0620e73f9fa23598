//! `--annotation [TYPE[\[PLATFORM\]][,TYPE…]:]KEY=VALUE`.

use std::collections::BTreeMap;

use super::value::ValueError;
use crate::platform::Platform;

/// Annotations as exporter attributes (`annotation-index.KEY` …).
pub type Annotations = BTreeMap<String, String>;

const MANIFEST: &[&str] = &["manifest", "manifest-descriptor"];
const INDEX: &[&str] = &["index", "index-descriptor"];

/// Parses all values of the flag; the last of one attribute wins.
///
/// # Errors
///
/// `parse annotations: …` in the words of buildx.
pub fn parse(values: &[String]) -> Result<Annotations, ValueError> {
    let mut annotations = Annotations::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        parse_one(value, &mut annotations).map_err(|error| error.within("parse annotations"))?;
    }
    Ok(annotations)
}

fn parse_one(value: &str, annotations: &mut Annotations) -> Result<(), ValueError> {
    let (left, text) = value
        .split_once('=')
        .ok_or_else(|| ValueError::new(format!("invalid annotation {value:?}, expected key=value")))?;
    let Some((kinds, key)) = left.split_once(':') else {
        annotations.insert(format!("annotation.{left}"), text.to_owned());
        return Ok(());
    };
    for kind in kinds.split(',') {
        annotations.insert(format!("{}.{key}", prefix(kind)?), text.to_owned());
    }
    Ok(())
}

fn prefix(text: &str) -> Result<String, ValueError> {
    let refused = || {
        ValueError::new(format!(
            "invalid annotation type {text:?}, expected type and optional platform in square brackets"
        ))
    };
    let (kind, platform) = match text.split_once('[') {
        Some((kind, rest)) => (kind, Some(rest.strip_suffix(']').ok_or_else(refused)?)),
        None => (text, None),
    };
    let is_kind = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let is_platform = |platform: &str| {
        !platform.is_empty()
            && platform
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-'))
    };
    if !is_kind || !platform.is_none_or(is_platform) {
        return Err(refused());
    }
    let known = MANIFEST.contains(&kind) || INDEX.contains(&kind);
    if !known {
        return Err(
            ValueError::new(format!("unknown annotation type {kind:?}")).hint(format!(
                "Known types: {}, {}",
                MANIFEST.join(", "),
                INDEX.join(", ")
            )),
        );
    }
    let platform: Option<Platform> = match platform {
        Some(text) => Some(
            text.parse()
                .map_err(|error| ValueError::from(error).within(&format!("invalid platform {text:?}")))?,
        ),
        None => None,
    };
    Ok(match platform {
        Some(platform) if MANIFEST.contains(&kind) => format!("annotation-{kind}[{}]", platform.full()),
        _ => format!("annotation-{kind}"),
    })
}

/// Whether an attribute annotates the index, which a single image does not have.
pub fn is_of_index(attribute: &str) -> bool {
    attribute.starts_with("annotation-index")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(value: &str) -> Result<Vec<String>, String> {
        parse(&[value.to_owned()])
            .map(|map| map.into_keys().collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn types_become_attribute_names() {
        for (value, expected) in [
            ("k=v", &["annotation.k"][..]),
            ("manifest:k=v", &["annotation-manifest.k"]),
            (
                "index,manifest:a.b/c=v",
                &["annotation-index.a.b/c", "annotation-manifest.a.b/c"],
            ),
            (
                "manifest[linux/amd64]:k=v",
                &["annotation-manifest[linux/amd64].k"],
            ),
            ("index[linux/amd64]:k=v", &["annotation-index.k"]),
            (
                "manifest-descriptor[linux/arm/v7]:k=a:b=c",
                &["annotation-manifest-descriptor[linux/arm/v7].k"],
            ),
        ] {
            assert_eq!(keys(value).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn refusals_have_the_known_texts() {
        for (value, text) in [
            ("k", r#"invalid annotation "k", expected key=value"#),
            (
                "Manifest:k=v",
                r#"invalid annotation type "Manifest", expected type and optional platform in square brackets"#,
            ),
            (
                "manifest[]:k=v",
                r#"invalid annotation type "manifest[]", expected type and optional platform in square brackets"#,
            ),
            ("layer:k=v", r#"unknown annotation type "layer""#),
        ] {
            assert_eq!(keys(value).unwrap_err(), format!("parse annotations: {text}"));
        }
    }
}
