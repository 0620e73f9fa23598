//! The index of an OCI layout folder: which of its blobs are images, and what they are called.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::fs::{FileError, FileLock, LockMode, PUBLIC_FILE, read_if_exists, write_beside};

/// Annotation with an image's full name.
const NAME: &str = "io.containerd.image.name";
/// Annotation with an image's tag.
const TAG: &str = "org.opencontainers.image.ref.name";
/// Tag of an image that nobody named.
const DEFAULT_TAG: &str = "latest";
const MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Why an image could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum LayoutIndexError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another program is writing the index.
    #[error("could not lock {}", .0.display())]
    Locked(PathBuf),
    /// A file, or what the daemon sent, is not what it should be.
    #[error("invalid {what}")]
    Invalid {
        /// What is invalid.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Enters the image with this descriptor (JSON) once per name in `names`, which commas separate and which may be
/// empty. An entry of the same name is replaced, others stay.
///
/// # Errors
///
/// The index cannot be read or written, somebody else writes it, or the descriptor is no JSON object.
pub fn enter(folder: &Path, descriptor: &[u8], names: &str) -> Result<(), LayoutIndexError> {
    let descriptor: Map<String, Value> = parse("image descriptor", descriptor)?;
    let lock = folder.join("index.json.lock");
    let Some(held) = FileLock::try_acquire(&lock, LockMode::Exclusive)? else {
        return Err(LayoutIndexError::Locked(lock));
    };
    let entered = enter_locked(folder, descriptor, names);
    // While it is held: whoever opens it later gets a file of their own.
    let removed = std::fs::remove_file(&lock).map_err(FileError::io("remove", &lock));
    drop(held);
    entered?;
    Ok(removed?)
}

fn enter_locked(folder: &Path, descriptor: Map<String, Value>, names: &str) -> Result<(), LayoutIndexError> {
    let path = folder.join("index.json");
    let mut index = match read_if_exists(&path)? {
        Some(data) => parse(&path.display().to_string(), &data)?,
        None => Map::new(),
    };
    index.insert("schemaVersion".to_owned(), json!(2));
    index.insert("mediaType".to_owned(), json!(MEDIA_TYPE));
    let mut entries: Vec<Value> = match index.remove("manifests") {
        Some(list) => serde_json::from_value(list).map_err(|source| LayoutIndexError::Invalid {
            what: path.display().to_string(),
            source,
        })?,
        None => Vec::new(),
    };
    for entry in named(&descriptor, names) {
        entries.retain(|old| !is_same(old, &entry));
        entries.push(entry);
    }
    index.insert("manifests".to_owned(), Value::Array(entries));
    write_beside(
        &folder.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        PUBLIC_FILE,
    )?;
    write_beside(&path, Value::Object(index).to_string().as_bytes(), PUBLIC_FILE)?;
    Ok(())
}

fn parse(what: &str, data: &[u8]) -> Result<Map<String, Value>, LayoutIndexError> {
    serde_json::from_slice(data).map_err(|source| LayoutIndexError::Invalid {
        what: what.to_owned(),
        source,
    })
}

/// One entry per name, or one without a name.
fn named(descriptor: &Map<String, Value>, names: &str) -> Vec<Value> {
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return vec![annotated(descriptor, &[(TAG, DEFAULT_TAG)])];
    }
    let entry = |name: &&str| annotated(descriptor, &[(NAME, name), (TAG, tag(name))]);
    names.iter().map(entry).collect()
}

fn annotated(descriptor: &Map<String, Value>, more: &[(&str, &str)]) -> Value {
    let mut entry = descriptor.clone();
    let annotations = entry.entry("annotations").or_insert_with(|| json!({}));
    if let Some(annotations) = annotations.as_object_mut() {
        for (key, value) in more {
            annotations.insert((*key).to_owned(), json!(value));
        }
    }
    Value::Object(entry)
}

/// The tag in a full name; a port is no tag.
fn tag(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.split('@').next().unwrap_or(last);
    last.split_once(':').map_or(DEFAULT_TAG, |(_, tag)| tag)
}

fn is_same(old: &Value, new: &Value) -> bool {
    let get = |entry: &Value, key: &str| entry.get("annotations").and_then(|all| all.get(key)).cloned();
    [NAME, TAG].iter().all(|key| get(old, key) == get(new, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(digest: &str) -> Vec<u8> {
        json!({"mediaType": "m", "digest": digest, "size": 3, "annotations": {"created": "now"}})
            .to_string()
            .into_bytes()
    }

    fn entries(folder: &Path) -> Vec<(String, String, String)> {
        let index: Value =
            serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["schemaVersion"], 2);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = index["manifests"].as_array().unwrap().iter();
        entries
            .map(|entry| {
                let annotations = &entry["annotations"];
                assert_eq!(annotations["created"], "now");
                (
                    text(&entry["digest"]),
                    text(&annotations[NAME]),
                    text(&annotations[TAG]),
                )
            })
            .collect()
    }

    fn entry(digest: &str, name: &str, tag: &str) -> (String, String, String) {
        (digest.to_owned(), name.to_owned(), tag.to_owned())
    }

    #[test]
    fn an_image_is_entered_once_per_name_and_replaces_the_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = ("reg.example:5000/a:1", "docker.io/library/b:2");
        enter(dir.path(), &descriptor("sha256:a"), &format!("{one},{two}")).unwrap();
        enter(dir.path(), &descriptor("sha256:b"), one).unwrap();
        let wanted = [entry("sha256:a", two, "2"), entry("sha256:b", one, "1")];
        assert_eq!(entries(dir.path()), wanted);
        let layout = std::fs::read_to_string(dir.path().join("oci-layout")).unwrap();
        assert_eq!(layout, "{\"imageLayoutVersion\":\"1.0.0\"}");
        assert!(!dir.path().join("index.json.lock").exists());
    }

    #[test]
    fn an_image_without_a_name_is_the_latest() {
        let dir = tempfile::tempdir().unwrap();
        enter(dir.path(), &descriptor("sha256:a"), "").unwrap();
        enter(dir.path(), &descriptor("sha256:b"), "").unwrap();
        assert_eq!(entries(dir.path()), [entry("sha256:b", "", "latest")]);
    }

    #[test]
    fn what_others_write_or_wrote_badly_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for broken in [r#"{"manifests":{"a":1}}"#, "no json"] {
            std::fs::write(dir.path().join("index.json"), broken).unwrap();
            let error = enter(dir.path(), &descriptor("sha256:a"), "").unwrap_err();
            assert!(error.to_string().contains("index.json"), "{error}");
        }
        let lock = dir.path().join("index.json.lock");
        assert!(!lock.exists());
        let _held = FileLock::acquire(&lock, LockMode::Exclusive).unwrap();
        let error = enter(dir.path(), &descriptor("sha256:a"), "").unwrap_err();
        assert_eq!(error.to_string(), format!("could not lock {}", lock.display()));
        assert_eq!(
            std::fs::read_to_string(dir.path().join("index.json")).unwrap(),
            "no json"
        );
    }
}
