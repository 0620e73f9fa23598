//! Credentials for registries, looked up where the docker client keeps them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::config::{AuthEntry, DockerConfig};
use super::scoped::{self, Scope};
use super::{DockerEnvironment, helper};
use crate::buildkit::spec::{Credential, RegistryCredentials};

/// The key under which Docker Hub's credentials are kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// How the daemon names Docker Hub.
const HUB_HOSTS: &[&str] = &["registry-1.docker.io", "docker.io", "index.docker.io"];
/// Hosts that take Docker Hub's credentials when they have none of their own.
const HUB_RELATIVES: &[&str] = &["dhi.io", "registry.scout.docker.com"];
/// How long an answer is kept: helpers may ask the user, and tokens live five minutes.
const KEPT: Duration = Duration::from_secs(290);

/// Registry credentials of one docker client.
pub struct DockerCredentials {
    environment: DockerEnvironment,
    config: DockerConfig,
    /// Folder of scoped configurations.
    scoped: PathBuf,
    from_environment: HashMap<String, Credential>,
    client_tokens: bool,
    known: Mutex<HashMap<Asked, (Instant, Credential)>>,
}

/// Host, and the scoped configuration that counts for it.
type Asked = (String, Option<PathBuf>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentAuths {
    auths: HashMap<String, EnvironmentAuth>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvironmentAuth {
    auth: String,
}

impl DockerCredentials {
    /// Credentials as `environment` and `config` give them; `scoped` is the store's folder of scoped configurations.
    /// The second value is a line for the user about `DOCKER_AUTH_CONFIG` that cannot be used.
    pub fn new(
        environment: DockerEnvironment,
        config: DockerConfig,
        scoped: PathBuf,
    ) -> (Self, Option<String>) {
        let (from_environment, warning) = match environment.auth_config.as_deref().map(parse_environment) {
            None => (HashMap::new(), None),
            Some(Ok(found)) => (found, None),
            Some(Err(error)) => (
                HashMap::new(),
                Some(format!(
                    "Failed to create credential store from DOCKER_AUTH_CONFIG:  {error}"
                )),
            ),
        };
        let credentials = Self {
            environment,
            config,
            scoped,
            from_environment,
            client_tokens: true,
            known: Mutex::default(),
        };
        (credentials, warning)
    }

    /// The same credentials for a user who may not want tokens to be fetched on the client.
    pub fn with_client_tokens(mut self, wanted: bool) -> Self {
        self.client_tokens = wanted;
        self
    }

    async fn cached(&self, host: &str, file: Option<PathBuf>) -> Result<Credential, String> {
        let key = (host.to_owned(), file.clone());
        if let Some(found) = self.remembered(&key) {
            return Ok(found);
        }
        let config = file.map(|path| DockerConfig::load_file(&path).0);
        let config = config.as_ref().unwrap_or(&self.config);
        let mut found = self.look_up(&registry_key(host), config).await?;
        if found == Credential::default() && HUB_RELATIVES.contains(&host) {
            found = self.look_up(HUB_KEY, config).await?;
        }
        if let Ok(mut known) = self.known.lock() {
            known.insert(key, (Instant::now(), found.clone()));
        }
        Ok(found)
    }

    fn remembered(&self, key: &Asked) -> Option<Credential> {
        let known = self.known.lock().ok()?;
        let (since, found) = known.get(key)?;
        (since.elapsed() < KEPT).then(|| found.clone())
    }

    async fn look_up(&self, key: &str, config: &DockerConfig) -> Result<Credential, String> {
        if let Some(found) = self.from_environment.get(key) {
            return Ok(found.clone());
        }
        let search = &self.environment.path;
        let chosen = match config.helper_for(key) {
            None if !config.has_credentials() => helper::platform_default(search),
            chosen => chosen,
        };
        if let Some(name) = chosen {
            return Ok(helper::get(name, key, search).await?.unwrap_or_default());
        }
        let entry = config.auths.get(key).or_else(|| {
            let mut others = config.auths.iter();
            others
                .find(|(other, _)| host_of(other) == key)
                .map(|(_, entry)| entry)
        });
        Ok(entry.map(credential).unwrap_or_default())
    }
}

#[async_trait]
impl RegistryCredentials for DockerCredentials {
    async fn credentials(&self, host: &str) -> Result<Credential, String> {
        self.cached(hub_host(host), None).await
    }

    /// A configuration of its own may be kept for a repository and actions.
    async fn credentials_for(&self, host: &str, scopes: &[String]) -> Result<Credential, String> {
        let host = hub_host(host);
        let file = Scope::of_request(host, scopes).and_then(|scope| scoped::find(&self.scoped, &scope));
        self.cached(host, file).await
    }

    fn seed_folder(&self) -> Option<PathBuf> {
        Some(self.environment.folder.clone()).filter(|folder| folder.is_dir())
    }

    fn client_tokens(&self) -> bool {
        self.client_tokens
    }
}

fn hub_host(host: &str) -> &str {
    if HUB_HOSTS.contains(&host) {
        "registry-1.docker.io"
    } else {
        host
    }
}

fn registry_key(host: &str) -> String {
    if HUB_HOSTS.contains(&host) {
        HUB_KEY.to_owned()
    } else {
        host.to_owned()
    }
}

fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

fn credential(entry: &AuthEntry) -> Credential {
    if !entry.registrytoken.is_empty() {
        return Credential {
            registry_token: entry.registrytoken.clone(),
            ..Credential::default()
        };
    }
    if !entry.identitytoken.is_empty() {
        return Credential {
            secret: entry.identitytoken.clone(),
            ..Credential::default()
        };
    }
    decode_auth(&entry.auth).unwrap_or_else(|_| Credential {
        username: entry.username.clone(),
        secret: entry.password.clone(),
        ..Credential::default()
    })
}

fn decode_auth(auth: &str) -> Result<Credential, String> {
    let decoded = BASE64.decode(auth).map_err(|error| error.to_string())?;
    let text = String::from_utf8(decoded).map_err(|error| error.to_string())?;
    let (user, password) = text.split_once(':').ok_or("invalid auth configuration file")?;
    Ok(Credential {
        username: user.to_owned(),
        secret: password.trim_matches('\0').to_owned(),
        ..Credential::default()
    })
}

fn parse_environment(text: &str) -> Result<HashMap<String, Credential>, String> {
    let parsed: EnvironmentAuths = serde_json::from_str(text).map_err(|error| error.to_string())?;
    parsed
        .auths
        .into_iter()
        .map(|(key, entry)| Ok((key, decode_auth(&entry.auth)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn credentials(folder: &Path, config: &str, auth_config: Option<&str>) -> DockerCredentials {
        let environment = DockerEnvironment {
            folder: folder.to_owned(),
            auth_config: auth_config.map(str::to_owned),
            path: folder.display().to_string(),
            ..DockerEnvironment::default()
        };
        let config = serde_json::from_str(config).unwrap();
        DockerCredentials::new(environment, config, folder.join("scoped")).0
    }

    async fn user(credentials: &DockerCredentials, host: &str) -> String {
        credentials.credentials(host).await.unwrap().username
    }

    /// A helper that answers for one registry, and fails for `broken`.
    fn install_helper(folder: &Path, name: &str) {
        let script = concat!(
            "#!/bin/sh\n",
            "[ \"$1\" = get ] || exit 2\n",
            "key=$(/bin/cat)\n",
            "case $key in\n",
            "known) echo '{\"ServerURL\":\"known\",\"Username\":\"u\",\"Secret\":\"s\"}';;\n",
            "token) echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}';;\n",
            "broken) echo locked; exit 1;;\n",
            "*) echo credentials not found in native keychain; exit 1;;\n",
            "esac\n"
        );
        let path = folder.join(format!("docker-credential-{name}"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn entries_are_found_by_key_and_by_host() {
        let dir = tempfile::tempdir().unwrap();
        // `auth` is base64 of `a:1`, `b:2` and `hub:3`.
        let found = credentials(
            dir.path(),
            r#"{"auths":{"h:5000":{"auth":"YToxCg=="},"https://other/v2/":{"auth":"YjoyCg=="},
                "https://index.docker.io/v1/":{"auth":"aHViOjM="},"t":{"identitytoken":"x"},"r":{"registrytoken":"y"}}}"#,
            None,
        );
        assert_eq!(user(&found, "h:5000").await, "a");
        assert_eq!(user(&found, "other").await, "b");
        assert_eq!(user(&found, "registry-1.docker.io").await, "hub");
        assert_eq!(user(&found, "dhi.io").await, "hub");
        assert_eq!(user(&found, "nobody").await, "");
        assert_eq!(found.credentials("t").await.unwrap().secret, "x");
        assert_eq!(found.credentials("r").await.unwrap().registry_token, "y");
    }

    #[tokio::test]
    async fn the_environment_comes_first_and_must_be_exact() {
        let dir = tempfile::tempdir().unwrap();
        let auths = r#"{"auths":{"h":{"auth":"ZW52OjE="}}}"#;
        let found = credentials(dir.path(), r#"{"auths":{"h":{"auth":"YTox"}}}"#, Some(auths));
        assert_eq!(user(&found, "h").await, "env");
        let bad = DockerEnvironment {
            auth_config: Some(r#"{"auths":{"h":{}}}"#.into()),
            ..DockerEnvironment::default()
        };
        let (_, warning) = DockerCredentials::new(bad, DockerConfig::default(), PathBuf::new());
        assert!(
            warning
                .unwrap()
                .starts_with("Failed to create credential store from DOCKER_AUTH_CONFIG:  ")
        );
    }

    #[tokio::test]
    async fn helpers_answer_for_their_registries() {
        let dir = tempfile::tempdir().unwrap();
        install_helper(dir.path(), "test");
        let found = credentials(dir.path(), r#"{"credsStore":"test"}"#, None);
        assert_eq!(user(&found, "known").await, "u");
        let token = found.credentials("token").await.unwrap();
        assert_eq!((token.username.as_str(), token.secret.as_str()), ("", "t"));
        assert_eq!(user(&found, "unknown").await, "");
        assert_eq!(
            found.credentials("broken").await.unwrap_err(),
            "error getting credentials - err: exit status 1, out: `locked`"
        );
        let missing = credentials(dir.path(), r#"{"credHelpers":{"h":"none"}}"#, None);
        let words = missing.credentials("h").await.unwrap_err();
        assert!(words.contains("docker-credential-none"), "{words}");
        let hint = helper::hint(&words).unwrap();
        assert!(hint.starts_with("Install `docker-credential-none`"), "{hint}");
        assert_eq!(
            helper::hint("error getting credentials - err: exit status 1, out: `locked`"),
            None
        );
    }

    #[tokio::test]
    async fn a_scoped_configuration_replaces_the_usual_one() {
        let dir = tempfile::tempdir().unwrap();
        let scoped = dir.path().join("scoped/h/team/app");
        std::fs::create_dir_all(&scoped).unwrap();
        std::fs::write(
            scoped.join("config.json"),
            r#"{"auths":{"h":{"auth":"c2NvcGVkOjE="}}}"#,
        )
        .unwrap();
        let found = credentials(dir.path(), r#"{"auths":{"h":{"auth":"YTox"}}}"#, None);
        let scopes = ["repository:team/app:pull".to_owned()];
        assert_eq!(
            found.credentials_for("h", &scopes).await.unwrap().username,
            "scoped"
        );
        assert_eq!(user(&found, "h").await, "a");
        let others = ["repository:team/other:pull".to_owned()];
        assert_eq!(found.credentials_for("h", &others).await.unwrap().username, "a");
    }
}
