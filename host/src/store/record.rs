//! Builder records: what a stored builder is, and its exact form on disk, which buildx reads and writes too.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::go_json::{self, WrongType};
use crate::platform::Platform;

/// A stored builder. The fields stand in the order in which they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BuilderRecord {
    /// Name as the user spelled it.
    pub name: String,
    /// Driver name, not validated on read.
    pub driver: String,
    /// Nodes in the order in which they were added; `None` is stored as `null`.
    pub nodes: Option<Vec<NodeRecord>>,
    /// Always false when written normally.
    pub dynamic: bool,
}

/// A stored node. `None` is stored as `null`, which means "never given".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeRecord {
    /// Name, lower case.
    pub name: String,
    /// Docker host or context, remote URL, or whatever the driver derived.
    pub endpoint: String,
    /// Fixed platforms, normalised.
    pub platforms: Option<Vec<Platform>>,
    /// Driver options.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// buildkitd arguments.
    pub flags: Option<Vec<String>>,
    /// Files below `/etc/buildkit`: relative slash path to content, stored in base64.
    #[serde(serialize_with = "files_as_base64")]
    pub files: Option<BTreeMap<String, Vec<u8>>>,
}

impl NodeRecord {
    /// The fixed platforms in printed form.
    pub fn platform_names(&self) -> Vec<String> {
        self.platforms.iter().flatten().map(Platform::to_string).collect()
    }
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file is empty, as after a full disk or a crash.
    #[error("The file is empty")]
    Empty,
    /// The file is no JSON.
    #[error("The file is not valid JSON")]
    Json(#[from] serde_json::Error),
    /// Something has the wrong type.
    #[error(transparent)]
    Type(#[from] WrongType),
    /// A file is not base64.
    #[error("The content of file `{name}` is not valid base64")]
    Base64 {
        /// Its path below `/etc/buildkit`.
        name: String,
        /// What is wrong with it.
        #[source]
        source: base64::DecodeError,
    },
}

impl BuilderRecord {
    /// A builder without nodes.
    pub fn new(name: impl Into<String>, driver: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            driver: driver.into(),
            ..Self::default()
        }
    }

    /// The nodes, none when the list was stored as `null`.
    pub fn nodes(&self) -> &[NodeRecord] {
        self.nodes.as_deref().unwrap_or_default()
    }

    /// The text of the instance file.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        go_json::encode(self)
    }

    /// Reads an instance file: keys in any letter case, unknown keys ignored.
    pub fn decode(data: &[u8]) -> Result<Self, RecordError> {
        if data.iter().all(u8::is_ascii_whitespace) {
            return Err(RecordError::Empty);
        }
        let value: Value = serde_json::from_slice(data)?;
        let object = value
            .as_object()
            .ok_or_else(|| WrongType::new("(whole file)", "object"))?;
        Ok(Self {
            name: go_json::string(object, "Name")?,
            driver: go_json::string(object, "Driver")?,
            nodes: list(object, "Nodes", decode_node)?,
            dynamic: go_json::boolean(object, "Dynamic")?,
        })
    }
}

fn decode_node(object: &Map<String, Value>) -> Result<NodeRecord, RecordError> {
    Ok(NodeRecord {
        name: go_json::string(object, "Name")?,
        endpoint: go_json::string(object, "Endpoint")?,
        platforms: list(object, "Platforms", decode_platform)?,
        driver_opts: decode_options(object)?,
        flags: go_json::strings(object, "Flags")?,
        files: decode_files(object)?,
    })
}

fn decode_platform(object: &Map<String, Value>) -> Result<Platform, RecordError> {
    Ok(Platform {
        architecture: go_json::string(object, "architecture")?,
        os: go_json::string(object, "os")?,
        os_version: go_json::string(object, "os.version")?,
        os_features: go_json::strings(object, "os.features")?.unwrap_or_default(),
        variant: go_json::string(object, "variant")?,
    })
}

fn list<T>(
    object: &Map<String, Value>,
    name: &str,
    decode: impl Fn(&Map<String, Value>) -> Result<T, RecordError>,
) -> Result<Option<Vec<T>>, RecordError> {
    let Some(value) = go_json::member(object, name) else {
        return Ok(None);
    };
    let wrong = || WrongType::new(name, "list of objects");
    let items = value.as_array().ok_or_else(wrong)?;
    items
        .iter()
        .map(|item| decode(item.as_object().ok_or_else(wrong)?))
        .collect::<Result<_, _>>()
        .map(Some)
}

fn decode_options(object: &Map<String, Value>) -> Result<Option<BTreeMap<String, String>>, RecordError> {
    let Some(options) = go_json::object(object, "DriverOpts")? else {
        return Ok(None);
    };
    let mut decoded = BTreeMap::new();
    for (key, value) in options {
        let value = value.as_str().ok_or_else(|| WrongType::new(key, "string"))?;
        decoded.insert(key.clone(), value.to_owned());
    }
    Ok(Some(decoded))
}

fn decode_files(object: &Map<String, Value>) -> Result<Option<BTreeMap<String, Vec<u8>>>, RecordError> {
    let Some(files) = go_json::object(object, "Files")? else {
        return Ok(None);
    };
    let mut decoded = BTreeMap::new();
    for (name, value) in files {
        let text = match value {
            Value::Null => "",
            Value::String(text) => text,
            _ => return Err(WrongType::new(name, "string").into()),
        };
        let content = BASE64.decode(text).map_err(|source| RecordError::Base64 {
            name: name.clone(),
            source,
        })?;
        decoded.insert(name.clone(), content);
    }
    Ok(Some(decoded))
}

fn files_as_base64<S: Serializer>(
    files: &Option<BTreeMap<String, Vec<u8>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match files {
        None => serializer.serialize_none(),
        Some(files) => serializer.collect_map(files.iter().map(|(name, data)| (name, BASE64.encode(data)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by buildx 0.37.1 (`create --driver kubernetes`), shortened to one file.
    const WRITTEN_BY_BUILDX: &str = r#"{"Name":"K1","Driver":"kubernetes","Nodes":[{"Name":"k10","Endpoint":"kubernetes:///K1?deployment=buildkit-276da128-e894-48da-932e-b2a2f042fa5e-771ab\u0026kubeconfig=%2Ftmp%2Fkc","Platforms":[{"architecture":"arm64","os":"linux"},{"architecture":"amd64","os":"windows"}],"DriverOpts":{"labels":"a=b,c=\u003cd\u003e","replicas":"2"},"Flags":null,"Files":{"buildkitd.toml":""}}],"Dynamic":false}"#;

    #[test]
    fn what_buildx_wrote_comes_out_byte_for_byte() {
        let record = BuilderRecord::decode(WRITTEN_BY_BUILDX.as_bytes()).unwrap();
        assert_eq!(record.encode().unwrap(), WRITTEN_BY_BUILDX);
        assert_eq!(
            record.nodes()[0].platform_names(),
            ["linux/arm64", "windows/amd64"]
        );
    }

    #[test]
    fn null_and_empty_stay_apart() {
        let text = r#"{"Name":"a","Driver":"remote","Nodes":[{"Name":"a0","Endpoint":"tcp://h:1","Platforms":[],"DriverOpts":null,"Flags":[],"Files":null}],"Dynamic":false}"#;
        assert_eq!(
            BuilderRecord::decode(text.as_bytes()).unwrap().encode().unwrap(),
            text
        );
        let none = r#"{"Name":"a","Driver":"remote","Nodes":null,"Dynamic":false}"#;
        assert_eq!(
            BuilderRecord::decode(none.as_bytes()).unwrap().encode().unwrap(),
            none
        );
    }

    #[test]
    fn broken_files_say_what_is_wrong() {
        assert!(matches!(BuilderRecord::decode(b" \n"), Err(RecordError::Empty)));
        assert!(matches!(
            BuilderRecord::decode(b"{\"Na"),
            Err(RecordError::Json(_))
        ));
        assert!(matches!(BuilderRecord::decode(b"[]"), Err(RecordError::Type(_))));
        assert!(BuilderRecord::decode(br#"{"Nodes":[{"Files":{"a":"?"}}]}"#).is_err());
    }
}
