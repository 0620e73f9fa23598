//! buildkitd's configuration as it goes into the store: re-serialised, with the certificates it names beside it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::toml_form;

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;
/// Where the files lie on the daemon's side.
const DAEMON_FOLDER: &str = "/etc/buildkit";
/// Name of the configuration itself.
pub const CONFIG_FILE: &str = "buildkitd.toml";

/// The files of a node, by relative slash path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A configuration that cannot be taken over. The texts are buildx's.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("buildkit configuration file not found: {path}: stat {path}: no such file or directory", path = path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// It exists, but is no file.
    #[error("invalid buildkit configuration file: {path}: not a regular file", path = path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("failed to read buildkit configuration file: {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no TOML.
    #[error("failed to parse config: toml")]
    Parse(#[source] Box<toml::de::Error>),
    /// A value that buildkitd would refuse.
    #[error("failed to parse config: toml: `{key}` must be {wanted}")]
    Type {
        /// Path of the key.
        key: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The settings of one registry are no table.
    #[error("invalid registry config for {0:?}")]
    Registry(String),
    /// A certificate or key that the configuration names cannot be read.
    #[error("failed to read {what} file: {path}", path = path.display())]
    Certificate {
        /// `CA`, `key` or `cert`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Reads the configuration at `path` and everything it names.
pub fn load(path: &Path) -> Result<Files, ConfigError> {
    let text = read_config(path)?;
    let mut config: Table = text
        .parse()
        .map_err(|error| ConfigError::Parse(Box::new(error)))?;
    check_types(&config)?;
    let mut files = Files::new();
    collect_certificates(&mut config, &mut files)?;
    files.insert(CONFIG_FILE.to_owned(), toml_form::write(&config).into_bytes());
    Ok(files)
}

/// Whether the stored configuration grants an entitlement such as `network.host`.
pub fn grants(files: &Files, entitlement: &str) -> bool {
    let config = files
        .get(CONFIG_FILE)
        .and_then(|data| std::str::from_utf8(data).ok())
        .and_then(|text| text.parse::<Table>().ok())
        .unwrap_or_default();
    config
        .get("insecure-entitlements")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|item| item.as_str() == Some(entitlement)))
}

fn read_config(path: &Path) -> Result<String, ConfigError> {
    let owned = || path.to_owned();
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ConfigError::NotFound { path: owned() },
        _ => ConfigError::Read {
            path: owned(),
            source,
        },
    })?;
    if !metadata.is_file() {
        return Err(ConfigError::NotRegular { path: owned() });
    }
    let read = |source| ConfigError::Read {
        path: owned(),
        source,
    };
    let data = read_limited(path).map_err(read)?;
    String::from_utf8(data)
        .map_err(|error| read(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())))
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut data)?;
    if data.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(data)
}

/// Checks the values that this program and buildx act on; the daemon checks the rest when it starts.
fn check_types(config: &Table) -> Result<(), ConfigError> {
    let expect = |key: &str, wanted: &'static str, fits: fn(&Value) -> bool| match config.get(key) {
        Some(value) if !fits(value) => Err(ConfigError::Type {
            key: key.to_owned(),
            wanted,
        }),
        _ => Ok(()),
    };
    expect("debug", "a boolean", Value::is_bool)?;
    expect("trace", "a boolean", Value::is_bool)?;
    expect("root", "a string", Value::is_str)?;
    expect("insecure-entitlements", "a list of strings", is_string_list)?;
    for section in ["grpc", "log", "worker", "registry", "dns", "history", "frontend"] {
        expect(section, "a table", Value::is_table)?;
    }
    Ok(())
}

fn is_string_list(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.iter().all(Value::is_str))
}

fn collect_certificates(config: &mut Table, files: &mut Files) -> Result<(), ConfigError> {
    let Some(registries) = config.get_mut("registry").and_then(Value::as_table_mut) else {
        return Ok(());
    };
    for (name, registry) in registries.iter_mut() {
        let registry = registry
            .as_table_mut()
            .ok_or_else(|| ConfigError::Registry(name.clone()))?;
        check_registry(name, registry)?;
        let folder = format!("certs/{}", sanitised(name));
        for path in registry
            .get_mut("ca")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            take(path, "CA", &folder, files)?;
        }
        let pairs = registry.get_mut("keypair").and_then(Value::as_array_mut);
        for pair in pairs.into_iter().flatten().filter_map(Value::as_table_mut) {
            for what in ["key", "cert"] {
                if let Some(path) = pair.get_mut(what) {
                    take(path, what, &folder, files)?;
                }
            }
        }
    }
    Ok(())
}

fn check_registry(name: &str, registry: &Table) -> Result<(), ConfigError> {
    let expect = |key: &str, wanted: &'static str, fits: fn(&Value) -> bool| match registry.get(key) {
        Some(value) if !fits(value) => Err(ConfigError::Type {
            key: format!("registry.{name:?}.{key}"),
            wanted,
        }),
        _ => Ok(()),
    };
    expect("mirrors", "a list of strings", is_string_list)?;
    expect("ca", "a list of strings", is_string_list)?;
    expect("http", "a boolean", Value::is_bool)?;
    expect("insecure", "a boolean", Value::is_bool)?;
    expect("keypair", "a list of tables", |value| {
        value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_table))
    })
}

/// Copies one named file and lets the configuration point to the copy.
fn take(value: &mut Value, what: &'static str, folder: &str, files: &mut Files) -> Result<(), ConfigError> {
    let Some(path) = value.as_str().map(PathBuf::from) else {
        return Err(ConfigError::Type {
            key: format!("registry … {what}"),
            wanted: "a path",
        });
    };
    let data = read_limited(&path).map_err(|source| ConfigError::Certificate {
        what,
        path: path.clone(),
        source,
    })?;
    let base = path.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{folder}/{base}");
    *value = Value::String(format!("{DAEMON_FOLDER}/{name}"));
    files.insert(name, data);
    Ok(())
}

/// Each run of characters that a file name should not have becomes one `_`.
fn sanitised(registry: &str) -> String {
    let mut name = String::new();
    for c in registry.chars() {
        if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
            name.push(c);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_copied_and_pointed_to() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, "CA").unwrap();
        let config = dir.path().join("buildkitd.toml");
        let text = format!(
            "insecure-entitlements = [\"network.host\"]\n[registry.\"a.b:50//x\"]\nca = [{:?}]\nkeypair = [{{ key = {:?}, cert = {:?} }}]\n",
            ca, ca, ca
        );
        std::fs::write(&config, text).unwrap();
        let files = load(&config).unwrap();
        assert_eq!(files["certs/a.b_50_x/ca.pem"], b"CA");
        let text = String::from_utf8(files[CONFIG_FILE].clone()).unwrap();
        assert!(
            text.contains("ca = ['/etc/buildkit/certs/a.b_50_x/ca.pem']"),
            "{text}"
        );
        assert!(text.contains("[[registry.'a.b:50//x'.keypair]]"), "{text}");
        assert!(grants(&files, "network.host") && !grants(&files, "security.insecure"));
    }

    #[test]
    fn a_bad_configuration_says_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("c.toml");
        let missing = load(&config).unwrap_err().to_string();
        assert!(
            missing.starts_with("buildkit configuration file not found: /"),
            "{missing}"
        );
        std::fs::write(&config, "debug = \"yes\"").unwrap();
        assert_eq!(
            load(&config).unwrap_err().to_string(),
            "failed to parse config: toml: `debug` must be a boolean"
        );
        std::fs::write(&config, "debug = ").unwrap();
        assert!(matches!(load(&config), Err(ConfigError::Parse(_))));
        std::fs::write(&config, "[registry]\na = 1").unwrap();
        assert_eq!(
            load(&config).unwrap_err().to_string(),
            "invalid registry config for \"a\""
        );
    }
}
