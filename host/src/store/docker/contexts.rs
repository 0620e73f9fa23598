//! Docker contexts: named engines, each of which is a builder too.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::config::DockerConfig;
use super::{DockerEnvironment, host};
use crate::fs::{self, FileError};
use crate::store::layout::hex;

/// The context that is made of the environment and always there.
pub const DEFAULT: &str = "default";
/// How deep below `meta` a context is looked for.
const MAX_DEPTH: usize = 16;

/// A docker context.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerContext {
    /// Its name.
    pub name: String,
    /// The engine's address; empty when it has no docker endpoint.
    pub host: String,
    /// The server's certificate is not checked.
    pub skip_tls_verify: bool,
    /// TLS files, as far as they exist.
    pub tls: TlsFiles,
    /// The kubernetes endpoint as written, if there is one.
    pub kubernetes: Option<Value>,
}

/// TLS files of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate authority.
    pub ca: Option<PathBuf>,
    /// Client certificate.
    pub cert: Option<PathBuf>,
    /// Client key.
    pub key: Option<PathBuf>,
}

/// Contexts that cannot be used. Most commands of the docker world say no more than the message.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A `meta.json` is broken.
    #[error("Docker context file `{path}` is broken", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The active context's engine address cannot be told.
    #[error("docker endpoint for {name:?} not found")]
    NoEndpoint {
        /// Name of the context.
        name: String,
        /// What to change.
        hint: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ContextError {
    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Broken { path, .. } => Some(format!(
                "Remove the folder `{}`, then make the context again with `docker context create`",
                path.parent().unwrap_or(path).display()
            )),
            Self::NoEndpoint { hint, .. } => Some(hint.clone()),
        }
    }
}

/// What names the engine that commands use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// `DOCKER_HOST`.
    Host,
    /// `DOCKER_CONTEXT`.
    Context,
    /// `currentContext` in the docker client's configuration.
    Config,
    /// TLS variables: nobody turns TLS on for a socket.
    Tls,
}

impl std::fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Host => "DOCKER_HOST",
            Self::Context => "DOCKER_CONTEXT",
            Self::Config => "`currentContext` in the docker client's `config.json`",
            Self::Tls => "DOCKER_TLS_VERIFY",
        })
    }
}

/// The contexts of one docker client.
#[derive(Clone, Debug)]
pub struct Contexts {
    environment: DockerEnvironment,
    active: String,
}

impl Contexts {
    /// The contexts as `environment` and `config` see them.
    pub fn new(environment: DockerEnvironment, config: &DockerConfig) -> Self {
        let active = if environment.host.is_some() {
            DEFAULT.to_owned()
        } else if let Some(context) = &environment.context {
            context.clone()
        } else if !config.current_context.is_empty() {
            config.current_context.clone()
        } else {
            DEFAULT.to_owned()
        };
        Self { environment, active }
    }

    /// Name of the active context; whether it exists is not checked.
    pub fn active(&self) -> &str {
        &self.active
    }

    /// What names the active engine; `None` when nobody has said anything, and the usual socket is meant.
    pub fn chosen_by(&self) -> Option<ChosenBy> {
        if self.environment.host.is_some() {
            Some(ChosenBy::Host)
        } else if self.environment.context.is_some() {
            Some(ChosenBy::Context)
        } else if self.active != DEFAULT {
            Some(ChosenBy::Config)
        } else {
            self.tls_from_environment().then_some(ChosenBy::Tls)
        }
    }

    /// Whether the environment asks for TLS, which the context `default` cannot pass on to a builder.
    pub fn tls_from_environment(&self) -> bool {
        self.environment.tls || self.environment.tls_verify
    }

    /// All contexts, `default` included, in natural order.
    pub fn list(&self) -> Result<Vec<DockerContext>, ContextError> {
        let mut contexts = vec![self.default_context()?];
        self.collect(&self.meta_folder(), MAX_DEPTH, &mut contexts)?;
        contexts.sort_by(|a, b| natural(&a.name, &b.name));
        Ok(contexts)
    }

    /// One context; `None` when there is none of that name.
    pub fn get(&self, name: &str) -> Result<Option<DockerContext>, ContextError> {
        if name == DEFAULT {
            return self.default_context().map(Some);
        }
        let path = self.meta_folder().join(hash(name)).join("meta.json");
        if let Some(context) = self.read(&path)?.filter(|context| context.name == name) {
            return Ok(Some(context));
        }
        Ok(self.list()?.into_iter().find(|context| context.name == name))
    }

    /// The key under which selections are kept: the active context's name, for `default` the engine's address.
    pub fn key(&self) -> Result<String, ContextError> {
        if self.active == DEFAULT {
            return Ok(self.default_context()?.host);
        }
        Ok(self.active.clone())
    }

    fn default_context(&self) -> Result<DockerContext, ContextError> {
        let address = match &self.environment.host {
            Some(typed) => host::parse(typed).map_err(|error| ContextError::NoEndpoint {
                name: DEFAULT.to_owned(),
                hint: "Correct DOCKER_HOST: it is written `unix:///PATH`, `tcp://HOST:PORT` or `ssh://USER@HOST`"
                    .to_owned(),
                source: error.into(),
            })?,
            None if self.tls_from_environment() => host::DEFAULT_TLS_HOST.to_owned(),
            None => host::DEFAULT_HOST.to_owned(),
        };
        let tls = if self.tls_from_environment() {
            self.environment_tls().map_err(|error| ContextError::NoEndpoint {
                name: DEFAULT.to_owned(),
                hint: self.tls_hint(),
                source: error.into(),
            })?
        } else {
            TlsFiles::default()
        };
        Ok(DockerContext {
            name: DEFAULT.to_owned(),
            host: address,
            skip_tls_verify: self.tls_from_environment() && !self.environment.tls_verify,
            tls,
            kubernetes: None,
        })
    }

    /// Folder of the TLS files of the context `default`.
    fn environment_tls_folder(&self) -> &Path {
        self.environment
            .cert_path
            .as_deref()
            .unwrap_or(&self.environment.folder)
    }

    fn tls_hint(&self) -> String {
        let variable = match self.environment.tls_verify {
            true => "DOCKER_TLS_VERIFY",
            false => "DOCKER_TLS",
        };
        format!(
            "{variable} is set, so `{}` must have `ca.pem`, and `cert.pem` and `key.pem` where the engine asks for them; \
             DOCKER_CERT_PATH names another folder. Without TLS, unset {variable}",
            self.environment_tls_folder().display()
        )
    }

    fn environment_tls(&self) -> Result<TlsFiles, FileError> {
        let folder = self.environment_tls_folder();
        let (named, known) = (&self.environment.tls_files, TlsFiles::of(folder));
        let ca = named.ca.clone().unwrap_or_else(|| folder.join("ca.pem"));
        std::fs::metadata(&ca).map_err(FileError::io("open", &ca))?;
        Ok(TlsFiles {
            ca: Some(ca),
            cert: named.cert.clone().or(known.cert),
            key: named.key.clone().or(known.key),
        })
    }

    fn collect(
        &self,
        folder: &Path,
        depth: usize,
        contexts: &mut Vec<DockerContext>,
    ) -> Result<(), ContextError> {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Ok(());
        };
        if let Some(context) = self.read(&folder.join("meta.json"))? {
            contexts.push(context);
            return Ok(());
        }
        let folders = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir());
        for folder in folders.filter(|_| depth > 0) {
            self.collect(&folder, depth - 1, contexts)?;
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Option<DockerContext>, ContextError> {
        let Some(data) = fs::read_if_exists(path)? else {
            return Ok(None);
        };
        let meta: Value = serde_json::from_slice(&data).map_err(|source| ContextError::Broken {
            path: path.to_owned(),
            source,
        })?;
        let name = text(&meta, "/Name");
        let tls = self
            .environment
            .folder
            .join("contexts/tls")
            .join(hash(&name))
            .join("docker");
        Ok(Some(DockerContext {
            host: text(&meta, "/Endpoints/docker/Host"),
            skip_tls_verify: meta
                .pointer("/Endpoints/docker/SkipTLSVerify")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            tls: TlsFiles::of(&tls),
            kubernetes: meta.pointer("/Endpoints/kubernetes").cloned(),
            name,
        }))
    }

    fn meta_folder(&self) -> PathBuf {
        self.environment.folder.join("contexts/meta")
    }
}

impl TlsFiles {
    fn of(folder: &Path) -> Self {
        let existing = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        Self {
            ca: existing("ca.pem"),
            cert: existing("cert.pem"),
            key: existing("key.pem"),
        }
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn hash(name: &str) -> String {
    hex(&Sha256::digest(name.as_bytes()))
}

/// Compares with runs of digits taken as numbers, so that `node2` comes before `node10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (chunks(a).into_iter(), chunks(b).into_iter());
    loop {
        let ordering = match (left.next(), right.next()) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u128>(), y.parse::<u128>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                _ => x.cmp(y),
            },
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}

fn chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != is_digit)
            .unwrap_or(rest.len());
        let (chunk, tail) = rest.split_at(end);
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(folder: &Path, change: impl FnOnce(&mut DockerEnvironment)) -> Contexts {
        let mut environment = DockerEnvironment {
            folder: folder.to_owned(),
            ..DockerEnvironment::default()
        };
        change(&mut environment);
        Contexts::new(environment, &DockerConfig::load(folder).0)
    }

    fn add(folder: &Path, name: &str) {
        let meta = folder.join("contexts/meta").join(hash(name));
        std::fs::create_dir_all(&meta).unwrap();
        let text = format!(
            r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"ssh://{name}"}}}}}}"#
        );
        std::fs::write(meta.join("meta.json"), text).unwrap();
    }

    #[test]
    fn the_environment_comes_before_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), r#"{"currentContext":"file"}"#).unwrap();
        assert_eq!(contexts(dir.path(), |_| {}).active(), "file");
        let chosen = contexts(dir.path(), |e| e.context = Some("env".into()));
        assert_eq!((chosen.active(), chosen.key().unwrap().as_str()), ("env", "env"));
        let host = contexts(dir.path(), |e| {
            e.context = Some("env".into());
            e.host = Some("tcp://h".into());
        });
        assert_eq!(
            (host.active(), host.key().unwrap().as_str()),
            ("default", "tcp://h:2375")
        );
    }

    #[test]
    fn who_names_the_engine_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let by = |change: fn(&mut DockerEnvironment)| contexts(dir.path(), change).chosen_by();
        assert_eq!(by(|_| {}), None);
        assert_eq!(by(|e| e.tls = true), Some(ChosenBy::Tls));
        assert_eq!(
            by(|e| e.context = Some("default".into())),
            Some(ChosenBy::Context)
        );
        assert_eq!(by(|e| e.host = Some("h".into())), Some(ChosenBy::Host));
        let config = dir.path().join("config.json");
        std::fs::write(&config, r#"{"currentContext":"default"}"#).unwrap();
        assert_eq!(by(|_| {}), None);
        std::fs::write(&config, r#"{"currentContext":"c"}"#).unwrap();
        assert_eq!(by(|_| {}), Some(ChosenBy::Config));
    }

    #[test]
    fn contexts_are_listed_in_natural_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["node10", "node2", "a"] {
            add(dir.path(), name);
        }
        let contexts = contexts(dir.path(), |_| {});
        let names: Vec<_> = contexts.list().unwrap().into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["a", "default", "node2", "node10"]);
        assert_eq!(contexts.get("node2").unwrap().unwrap().host, "ssh://node2");
        assert_eq!(contexts.get("none").unwrap(), None);
    }

    #[test]
    fn a_broken_context_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        add(dir.path(), "a");
        let path = dir.path().join("contexts/meta").join(hash("a")).join("meta.json");
        std::fs::write(&path, "{").unwrap();
        let error = contexts(dir.path(), |_| {}).list().unwrap_err().to_string();
        assert!(error.contains("meta.json"), "{error}");
    }

    #[test]
    fn tls_without_authority_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let tls = contexts(dir.path(), |e| e.tls_verify = true);
        assert_eq!(
            tls.key().unwrap_err().to_string(),
            "docker endpoint for \"default\" not found"
        );
        let hint = tls.key().unwrap_err().hint().unwrap();
        assert!(hint.starts_with("DOCKER_TLS_VERIFY is set"), "{hint}");
        std::fs::write(dir.path().join("ca.pem"), "").unwrap();
        assert_eq!(tls.key().unwrap(), host::DEFAULT_TLS_HOST);
    }
}
