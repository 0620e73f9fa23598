//! `--build-context name=value`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::git_reference;
use super::value::ValueError;

/// Named contexts by their familiar name, as typed.
pub type NamedContexts = BTreeMap<String, String>;

/// Parses all values of the flag; the last of one name wins.
///
/// # Errors
///
/// A value without `=`, a name that is no image reference.
pub fn parse(values: &[String]) -> Result<NamedContexts, ValueError> {
    values.iter().map(|value| parse_one(value)).collect()
}

fn parse_one(value: &str) -> Result<(String, String), ValueError> {
    let (name, source) = value
        .split_once('=')
        .ok_or_else(|| ValueError::new(format!("invalid context value: {value}, expected key=value")))?;
    let familiar = super::reference::familiar(name)
        .map_err(|error| error.within(&format!("invalid context name {name}")))?;
    let short = familiar.strip_suffix(":latest").unwrap_or(&familiar);
    Ok((short.to_owned(), source.to_owned()))
}

/// What a named context is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Sent as it was typed; the daemon knows what to do.
    Verbatim(String),
    /// A folder of this machine.
    Folder(PathBuf),
    /// An image in an OCI layout of this machine: its folder, and `[:tag]@digest`.
    Layout {
        /// The layout's folder.
        folder: PathBuf,
        /// What follows the store's id.
        image: String,
    },
}

/// Finds out what `value` of context `name` is; looks at the disk.
///
/// # Errors
///
/// Nothing there, no folder, a layout without the image.
pub fn resolve(name: &str, value: &str) -> Result<Source, ValueError> {
    if git_reference::is_remote(value) || value.starts_with("docker-image://") {
        return Ok(Source::Verbatim(value.to_owned()));
    }
    if value.starts_with("target:") {
        return Err(ValueError::new(format!(
            "failed to get build context {name}: stat {value}: no such file or directory"
        ))
        .hint("`target:` names another target of one bake run; a single build has none"));
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        return layout_source(value, layout);
    }
    let metadata = std::fs::metadata(value).map_err(|error| {
        let why = super::inputs::reason(&error);
        ValueError::new(format!("failed to get build context {name}: stat {value}: {why}"))
    })?;
    if !metadata.is_dir() {
        return Err(ValueError::new(format!(
            "failed to get build context path {value}: not a directory"
        )));
    }
    Ok(Source::Folder(PathBuf::from(value)))
}

fn layout_source(value: &str, layout: &str) -> Result<Source, ValueError> {
    let (rest, digest) = match layout.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_owned())),
        None => (layout, None),
    };
    let (folder, tag) = match rest.rsplit_once(':') {
        Some((folder, tag)) if !tag.contains('/') => (folder, Some(tag)),
        _ => (rest, None),
    };
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    let folder = PathBuf::from(folder);
    let digest = match digest {
        Some(digest) => digest,
        None => digest_of(&folder, tag.unwrap_or_default()).map_err(|error| {
            error.within(&format!("oci-layout reference {value:?} could not be resolved"))
        })?,
    };
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    Ok(Source::Layout {
        folder,
        image: format!("{tag}@{digest}"),
    })
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Annotations that name an entry of a layout, in the order they are tried.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Digest of the entry called `tag` in a layout's `index.json`, else of its only entry.
fn digest_of(folder: &Path, tag: &str) -> Result<String, ValueError> {
    let path = folder.join("index.json");
    let text = std::fs::read(&path).map_err(|error| {
        ValueError::new(format!(
            "open {}: {}",
            path.display(),
            super::inputs::reason(&error)
        ))
    })?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|error| ValueError::new(format!("Cannot parse `{}`: {error}", path.display())))?;
    let named = NAMES.iter().find_map(|key| {
        index.manifests.iter().find(|entry| {
            entry
                .annotations
                .get(*key)
                .is_some_and(|name| tag_of(name) == tag)
        })
    });
    match (named, index.manifests.as_slice()) {
        (Some(entry), _) | (None, [entry]) => Ok(entry.digest.clone()),
        _ => Err(ValueError::new("failed to resolve digest")
            .hint("Name the image by digest: `oci-layout://PATH@sha256:…`")),
    }
}

/// An entry's name is a whole reference or a bare tag.
fn tag_of(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: std::fmt::Debug>(result: Result<T, ValueError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn names_become_familiar() {
        let contexts = parse(&["docker.io/library/alpine:latest=x".into(), "me/app:2=y=z".into()]).unwrap();
        assert_eq!(contexts["alpine"], "x");
        assert_eq!(contexts["me/app:2"], "y=z");
    }

    #[test]
    fn refusals_have_the_known_texts() {
        assert_eq!(
            text(parse(&["x".into()])),
            "invalid context value: x, expected key=value"
        );
        assert_eq!(
            text(parse(&["X=y".into()])),
            "invalid context name X: invalid reference format: repository name (library/X) must be lowercase"
        );
        assert_eq!(
            text(resolve("a", "/no/such")),
            "failed to get build context a: stat /no/such: no such file or directory"
        );
    }

    #[test]
    fn sources_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(resolve("a", path).unwrap(), Source::Folder(dir.path().into()));
        for value in [
            "docker-image://alpine",
            "https://host/x.tar",
            "https://host/a.git",
        ] {
            assert_eq!(resolve("a", value).unwrap(), Source::Verbatim(value.into()));
        }
    }

    #[test]
    fn layouts_are_resolved_by_tag_or_as_the_only_entry() {
        let dir = tempfile::tempdir().unwrap();
        let write = |json: &str| std::fs::write(dir.path().join("index.json"), json).unwrap();
        let path = dir.path().display();
        write(r#"{"manifests":[{"digest":"sha256:1"}]}"#);
        let image = |value: String| match resolve("a", &value).unwrap() {
            Source::Layout { image, .. } => image,
            other => panic!("{other:?}"),
        };
        assert_eq!(image(format!("oci-layout://{path}")), ":latest@sha256:1");
        assert_eq!(image(format!("oci-layout://{path}@sha256:9")), "@sha256:9");
        write(
            r#"{"manifests":[{"digest":"sha256:1","annotations":{"org.opencontainers.image.ref.name":"v1"}},
                {"digest":"sha256:2","annotations":{"io.containerd.image.name":"docker.io/a:v2"}}]}"#,
        );
        assert_eq!(image(format!("oci-layout://{path}:v1")), ":v1@sha256:1");
        assert_eq!(image(format!("oci-layout://{path}:v2")), ":v2@sha256:2");
        assert_eq!(
            text(resolve("a", &format!("oci-layout://{path}:v3"))),
            format!(
                "oci-layout reference \"oci-layout://{path}:v3\" could not be resolved: failed to resolve digest"
            )
        );
    }
}
