//! `--cache-from` and `--cache-to`.

use super::value::{Environment, ValueError, is_true};
use crate::buildkit::spec::CacheEntry;
use crate::cli::env_vars;

/// Parses all values of one of the flags: `ref[,ref…]` are registry references, anything with `=` is a CSV record.
///
/// # Errors
///
/// CSV errors, fields without `=`, a missing type.
pub fn parse(values: &[String]) -> Result<Vec<CacheEntry>, ValueError> {
    let mut entries = Vec::new();
    for value in values.iter().filter(|value| !value.is_empty()) {
        let fields = super::csv::fields(value)?;
        if value.contains('=') {
            entries.push(record(value, &fields)?);
        } else {
            entries.extend(fields.into_iter().map(registry));
        }
    }
    Ok(entries)
}

fn registry(reference: String) -> CacheEntry {
    CacheEntry {
        kind: "registry".to_owned(),
        attributes: [("ref".to_owned(), reference)].into(),
    }
}

fn record(value: &str, fields: &[String]) -> Result<CacheEntry, ValueError> {
    let mut entry = CacheEntry::default();
    for field in fields {
        let (key, value) = super::csv::key_value(field)?;
        match key.to_lowercase() {
            key if key == "type" => value.clone_into(&mut entry.kind),
            key => {
                entry.attributes.insert(key, value.to_owned());
            }
        }
    }
    if entry.kind.is_empty() {
        return Err(ValueError::new(format!("type required for {value:?}"))
            .hint("For example `type=registry,ref=REGISTRY/IMAGE:TAG`"));
    }
    Ok(entry)
}

/// Which way an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `--cache-from`.
    Import,
    /// `--cache-to`.
    Export,
}

/// Checks what can be known without a daemon, and fills `gha` entries from the environment. Such an entry without
/// what it needs is dropped, as buildx does, so that one command line serves inside and outside of GitHub.
///
/// # Errors
///
/// A registry entry without `ref`; types that need files of the client or a credential chain that is not there.
pub fn resolve(
    entries: Vec<CacheEntry>,
    direction: Direction,
    environment: Environment<'_>,
) -> Result<Vec<CacheEntry>, ValueError> {
    let mut list = Vec::new();
    for entry in entries {
        match entry.kind.as_str() {
            "registry" if !entry.attributes.contains_key("ref") => {
                return Err(
                    ValueError::new(format!("registry cache {} requires ref", direction.noun()))
                        .hint("For example `type=registry,ref=REGISTRY/IMAGE:TAG`"),
                );
            }
            "local" => return Err(local_refused(direction)),
            "gha" => list.extend(with_actions(entry, environment)),
            _ => list.push(entry),
        }
    }
    Ok(list)
}

impl Direction {
    fn noun(self) -> &'static str {
        match self {
            Self::Import => "importer",
            Self::Export => "exporter",
        }
    }
}

fn local_refused(direction: Direction) -> ValueError {
    let flag = match direction {
        Direction::Import => "--cache-from",
        Direction::Export => "--cache-to",
    };
    ValueError::new(format!("Cache type `local` cannot be used with `{flag}`"))
        .hint("Use `type=registry,ref=…` or `type=inline`; the daemon keeps its own cache between builds in any case")
}

/// Adds what a GitHub Actions job's environment says; `None` without a token or an address.
fn with_actions(mut entry: CacheEntry, environment: Environment<'_>) -> Option<CacheEntry> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let results = variable(env_vars::ACTIONS_RESULTS_URL);
    let second = match entry.attributes.get("version") {
        Some(version) => version == "2",
        None => is_true(variable(env_vars::ACTIONS_CACHE_SERVICE_V2).as_ref()),
    };
    let found = [
        ("token", variable(env_vars::ACTIONS_RUNTIME_TOKEN)),
        (
            "url",
            variable(env_vars::ACTIONS_CACHE_URL).or_else(|| results.clone()),
        ),
        ("url_v2", results.filter(|_| second)),
    ];
    for (key, value) in found {
        if let Some(value) = value {
            entry.attributes.entry(key.to_owned()).or_insert(value);
        }
    }
    let has = |key: &str| entry.attributes.contains_key(key);
    let usable = has("token") && (has("url") || has("url_v2"));
    usable.then_some(entry)
}

/// Whether an exported cache travels inside the image.
pub fn is_inline(entry: &CacheEntry) -> bool {
    entry.kind == "inline"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(value: &str) -> Result<Vec<CacheEntry>, String> {
        parse(&[value.to_owned()]).map_err(|error| error.to_string())
    }

    fn resolved(
        value: &str,
        direction: Direction,
        variables: &[(&str, &str)],
    ) -> Result<Vec<CacheEntry>, String> {
        let variables: std::collections::BTreeMap<String, String> = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let environment = move |name: &str| variables.get(name).cloned();
        resolve(entries(value)?, direction, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_references_are_registries() {
        let list = entries("a/b,c:1").unwrap();
        assert_eq!(list.len(), 2);
        assert!(list.iter().all(|entry| entry.kind == "registry"));
        assert_eq!(list[1].attributes["ref"], "c:1");
    }

    #[test]
    fn records_have_lower_case_keys() {
        let list = entries("Type=registry,REF=a/B,Mode=max").unwrap();
        assert_eq!(list[0].attributes["ref"], "a/B");
        assert_eq!(list[0].attributes["mode"], "max");
    }

    #[test]
    fn refusals_have_the_known_texts() {
        assert_eq!(entries("ref=a").unwrap_err(), "type required for \"ref=a\"");
        assert_eq!(entries("type=registry,ref").unwrap_err(), "invalid value ref");
        assert_eq!(
            resolved("type=registry,mode=max", Direction::Export, &[]).unwrap_err(),
            "registry cache exporter requires ref"
        );
        assert!(
            resolved("type=local,dest=x", Direction::Export, &[])
                .unwrap_err()
                .contains("`--cache-to`")
        );
    }

    #[test]
    fn github_entries_are_filled_or_dropped() {
        let variables = [
            ("ACTIONS_RUNTIME_TOKEN", "t"),
            ("ACTIONS_RESULTS_URL", "r"),
            ("ACTIONS_CACHE_SERVICE_V2", "true"),
        ];
        let list = resolved("type=gha,scope=x", Direction::Import, &variables).unwrap();
        assert_eq!(list[0].attributes["token"], "t");
        assert_eq!(list[0].attributes["url"], "r");
        assert_eq!(list[0].attributes["url_v2"], "r");
        let first = resolved("type=gha,version=1", Direction::Import, &variables).unwrap();
        assert!(!first[0].attributes.contains_key("url_v2"));
        assert_eq!(resolved("type=gha", Direction::Import, &[]).unwrap(), []);
    }

    #[test]
    fn other_types_pass_through() {
        let list = resolved("type=azblob,name=x", Direction::Export, &[]).unwrap();
        assert_eq!(list[0].kind, "azblob");
    }
}
