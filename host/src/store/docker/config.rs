//! The docker client's `config.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fs;

/// Name of the file in its folder.
pub const FILE: &str = "config.json";

/// The parts of `config.json` that matter here; everything else is ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    /// Credentials by registry.
    pub auths: BTreeMap<String, AuthEntry>,
    /// Helper for all registries.
    pub creds_store: String,
    /// Helpers by registry.
    pub cred_helpers: BTreeMap<String, String>,
    /// Proxies by daemon host, `default` for all others.
    pub proxies: BTreeMap<String, ProxyEntry>,
    /// `key=value` filters for `prune`.
    pub prune_filters: Vec<String>,
    /// The active context.
    pub current_context: String,
    /// Folders of plugins that come before the user's own.
    pub cli_plugins_extra_dirs: Vec<String>,
}

/// Credentials for one registry.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuthEntry {
    /// base64 of `user:password`.
    pub auth: String,
    /// Plain user name, as older clients wrote it.
    pub username: String,
    /// Plain password, as older clients wrote it.
    pub password: String,
    /// Token to exchange.
    pub identitytoken: String,
    /// Token to use as it is.
    pub registrytoken: String,
}

impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthEntry").finish_non_exhaustive()
    }
}

/// Proxies for one daemon.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyEntry {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
}

impl DockerConfig {
    /// Reads `config.json` of a folder. A missing file is empty; what is wrong with a broken one is the second value,
    /// and the work goes on without it.
    pub fn load(folder: &Path) -> (Self, Option<String>) {
        Self::load_file(&folder.join(FILE))
    }

    /// Reads one file; see [`DockerConfig::load`].
    pub fn load_file(path: &Path) -> (Self, Option<String>) {
        let data = match fs::read_if_exists(path) {
            Ok(None) => return (Self::default(), None),
            Ok(Some(data)) => data,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let warning = format!(
                    "Error loading config file: {error}: {}",
                    cause.unwrap_or_default()
                );
                return (Self::default(), Some(warning));
            }
        };
        match serde_json::from_slice(&data) {
            Ok(config) => (config, None),
            Err(error) => {
                let warning = format!("Error parsing config file ({}): {error}", path.display());
                (Self::default(), Some(warning))
            }
        }
    }

    /// Whether it says anything about credentials; otherwise the platform's own helper is tried.
    pub fn has_credentials(&self) -> bool {
        !self.auths.is_empty() || !self.creds_store.is_empty() || !self.cred_helpers.is_empty()
    }

    /// The helper that keeps the credentials of `registry`.
    pub fn helper_for(&self, registry: &str) -> Option<&str> {
        self.cred_helpers
            .get(registry)
            .unwrap_or(&self.creds_store)
            .split_whitespace()
            .next()
    }

    /// The proxy variables (`HTTP_PROXY` …) for builds on the daemon at `host`.
    pub fn proxy_variables(&self, host: &str) -> BTreeMap<String, String> {
        let Some(entry) = self.proxies.get(host).or_else(|| self.proxies.get("default")) else {
            return BTreeMap::new();
        };
        [
            ("HTTP_PROXY", &entry.http_proxy),
            ("HTTPS_PROXY", &entry.https_proxy),
            ("NO_PROXY", &entry.no_proxy),
            ("FTP_PROXY", &entry.ftp_proxy),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
    }
}

/// The folder of the docker client's files: `configured`, else `.docker` in the home folder.
pub fn folder(configured: Option<&str>, home: &Path) -> PathBuf {
    configured.map_or_else(|| home.join(".docker"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_ignored_and_broken_files_reported() {
        let dir = tempfile::tempdir().unwrap();
        assert!(DockerConfig::load(dir.path()).1.is_none());
        let path = dir.path().join(FILE);
        std::fs::write(
            &path,
            r#"{"currentContext":"c","features":{"x":true},"credsStore":"pass"}"#,
        )
        .unwrap();
        let (config, warning) = DockerConfig::load(dir.path());
        assert_eq!((config.current_context.as_str(), warning), ("c", None));
        assert_eq!(config.helper_for("any"), Some("pass"));
        std::fs::write(&path, "{").unwrap();
        let (config, warning) = DockerConfig::load(dir.path());
        assert!(!config.has_credentials());
        assert!(warning.unwrap().starts_with("Error parsing config file ("));
    }

    #[test]
    fn proxies_are_chosen_by_host() {
        let config: DockerConfig = serde_json::from_str(
            r#"{"proxies":{"default":{"httpProxy":"http://p","noProxy":"x"},"tcp://h:1":{"ftpProxy":"f"}}}"#,
        )
        .unwrap();
        let names = |host| config.proxy_variables(host).into_keys().collect::<Vec<_>>();
        assert_eq!(names("unix:///s"), ["HTTP_PROXY", "NO_PROXY"]);
        assert_eq!(names("tcp://h:1"), ["FTP_PROXY"]);
    }
}
