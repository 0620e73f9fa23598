//! The provenance of a build record, in the form that the metadata file has always had: a SLSA 0.2 predicate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Media type of the attestations in a build record.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// Beginning of the predicate types that are provenance.
pub const PREDICATE: &str = "https://slsa.dev/provenance/";
/// The predicate type that needs converting.
const SLSA_1: &str = "https://slsa.dev/provenance/v1";
/// Type of every BuildKit build in SLSA 0.2.
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

/// How much of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Without build configuration and metadata.
    Min,
    /// All of it.
    Max,
}

/// A predicate that is no JSON object.
#[derive(Debug, thiserror::Error)]
#[error("failed to unmarshal provenance")]
pub struct ProvenanceError(#[source] serde_json::Error);

/// Converts a predicate of type `predicate_type` to the base64 text of the response map.
///
/// # Errors
///
/// The data is no JSON object.
pub fn encode(data: &[u8], predicate_type: &str, detail: Detail) -> Result<String, ProvenanceError> {
    let given: Map<String, Value> = serde_json::from_slice(data).map_err(ProvenanceError)?;
    let given = Value::Object(given);
    let mut predicate = if predicate_type == SLSA_1 {
        from_slsa_1(&given)
    } else {
        given
    };
    if detail == Detail::Min
        && let Some(map) = predicate.as_object_mut()
    {
        map.remove("buildConfig");
        map.remove("metadata");
    }
    Ok(STANDARD.encode(predicate.to_string()))
}

/// Key of the response map; `platform` where the build had several.
pub fn key(platform: Option<&str>) -> String {
    match platform {
        Some(platform) => format!("{}/{platform}", super::metadata::PROVENANCE),
        None => super::metadata::PROVENANCE.to_owned(),
    }
}

fn from_slsa_1(given: &Value) -> Value {
    let at = |path: &str| given.pointer(path).cloned();
    let mut predicate = Map::new();
    let id = at("/runDetails/builder/id").unwrap_or_else(|| json!(""));
    predicate.insert("builder".into(), json!({ "id": id }));
    predicate.insert("buildType".into(), json!(BUILD_TYPE));
    let dependencies = at("/buildDefinition/resolvedDependencies");
    if let Some(list) = dependencies
        .as_ref()
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
    {
        let materials: Vec<Value> = list
            .iter()
            .map(|entry| pick(entry, &[("uri", "uri"), ("digest", "digest")]))
            .collect();
        predicate.insert("materials".into(), Value::Array(materials));
    }
    predicate.insert("invocation".into(), invocation(given));
    let configuration = at("/buildDefinition/internalParameters/buildConfig");
    predicate.extend(configuration.map(|value| ("buildConfig".to_owned(), value)));
    if let Some(metadata) = given
        .pointer("/runDetails/metadata")
        .filter(|value| value.is_object())
    {
        predicate.insert("metadata".into(), run_metadata(metadata));
    }
    Value::Object(predicate)
}

fn invocation(given: &Value) -> Value {
    let external = given.pointer("/buildDefinition/externalParameters");
    let source = external
        .and_then(|value| value.get("configSource"))
        .cloned()
        .unwrap_or_default();
    let internal = given
        .pointer("/buildDefinition/internalParameters")
        .and_then(Value::as_object);
    // What the daemon's owner adds to every provenance stands beside the known fields.
    let environment = internal
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "buildConfig")
        .map(|(key, value)| {
            let key = if key == "builderPlatform" { "platform" } else { key };
            (key.to_owned(), value.clone())
        });
    json!({
        "configSource": pick(&source, &[("uri", "uri"), ("digest", "digest"), ("path", "entryPoint")]),
        "parameters": external.and_then(|value| value.get("request")).cloned().unwrap_or_else(|| json!({})),
        "environment": environment.collect::<Map<String, Value>>(),
    })
}

/// The fields stand in the order in which other clients write them.
fn run_metadata(given: &Value) -> Value {
    let truth = |path: &str| json!(given.pointer(path).and_then(Value::as_bool).unwrap_or_default());
    let mut metadata = pick(
        given,
        &[
            ("invocationID", "buildInvocationID"),
            ("invocationId", "buildInvocationID"),
            ("startedOn", "buildStartedOn"),
            ("finishedOn", "buildFinishedOn"),
        ],
    );
    if let Some(map) = metadata.as_object_mut() {
        let completeness = json!({
            "parameters": truth("/buildkit_completeness/request"),
            "environment": true,
            "materials": truth("/buildkit_completeness/resolvedDependencies"),
        });
        map.insert("completeness".into(), completeness);
        map.insert("reproducible".into(), truth("/buildkit_reproducible"));
        for (old, new) in [
            ("buildkit_metadata", "metadata"),
            ("buildkit_hermetic", "hermetic"),
        ] {
            let field = given.get(old).cloned();
            map.extend(field.map(|field| (format!("{BUILD_TYPE}#{new}"), field)));
        }
    }
    metadata
}

/// The fields of `from` that are there, under their new names.
fn pick(from: &Value, names: &[(&str, &str)]) -> Value {
    let fields = names
        .iter()
        .filter_map(|(old, new)| Some(((*new).to_owned(), from.get(old)?.clone())));
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREDICATE_1: &str = r#"{
        "buildDefinition": {
            "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
            "externalParameters": {
                "configSource": {"uri": "https://host/a.git", "digest": {"sha1": "1"}, "path": "Dockerfile"},
                "request": {"frontend": "dockerfile.v0", "locals": [{"name": "context"}]}
            },
            "internalParameters": {
                "buildConfig": {"llbDefinition": []}, "builderPlatform": "linux/amd64", "team": "x"
            },
            "resolvedDependencies": [{"uri": "pkg:docker/a", "digest": {"sha256": "2"}, "name": "n"}]
        },
        "runDetails": {
            "builder": {"id": "b"},
            "metadata": {
                "invocationID": "i", "startedOn": "2026-01-01T00:00:00Z", "finishedOn": "2026-01-01T00:00:01Z",
                "buildkit_metadata": {"vcs": {"revision": "r"}},
                "buildkit_completeness": {"request": true, "resolvedDependencies": false}
            }
        }
    }"#;

    fn decoded(data: &str, kind: &str, detail: Detail) -> Value {
        let text = encode(data.as_bytes(), kind, detail).unwrap();
        serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn slsa_1_becomes_slsa_02() {
        assert_eq!(
            decoded(PREDICATE_1, "https://slsa.dev/provenance/v1", Detail::Max),
            json!({
                "builder": {"id": "b"},
                "buildType": "https://mobyproject.org/buildkit@v1",
                "materials": [{"uri": "pkg:docker/a", "digest": {"sha256": "2"}}],
                "invocation": {
                    "configSource": {"uri": "https://host/a.git", "digest": {"sha1": "1"}, "entryPoint": "Dockerfile"},
                    "parameters": {"frontend": "dockerfile.v0", "locals": [{"name": "context"}]},
                    "environment": {"platform": "linux/amd64", "team": "x"},
                },
                "buildConfig": {"llbDefinition": []},
                "metadata": {
                    "buildInvocationID": "i",
                    "buildStartedOn": "2026-01-01T00:00:00Z",
                    "buildFinishedOn": "2026-01-01T00:00:01Z",
                    "https://mobyproject.org/buildkit@v1#metadata": {"vcs": {"revision": "r"}},
                    "completeness": {"parameters": true, "environment": true, "materials": false},
                    "reproducible": false,
                },
            })
        );
    }

    #[test]
    fn the_small_form_has_no_configuration_and_metadata() {
        let small = decoded(PREDICATE_1, "https://slsa.dev/provenance/v1", Detail::Min);
        assert!(small.get("buildConfig").is_none() && small.get("metadata").is_none());
        let old = r#"{"builder":{"id":""},"buildConfig":{},"metadata":{}}"#;
        assert_eq!(
            decoded(old, "https://slsa.dev/provenance/v0.2", Detail::Min),
            json!({"builder": {"id": ""}})
        );
        assert_eq!(
            decoded(old, "https://slsa.dev/provenance/v0.2", Detail::Max),
            serde_json::from_str::<Value>(old).unwrap()
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(encode(b"[]", "https://slsa.dev/provenance/v1", Detail::Min).is_err());
    }

    #[test]
    fn platforms_have_keys_of_their_own() {
        assert_eq!(key(None), "buildx.build.provenance");
        assert_eq!(key(Some("linux/amd64")), "buildx.build.provenance/linux/amd64");
    }
}
