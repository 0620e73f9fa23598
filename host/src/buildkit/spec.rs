//! What one solve is asked to do, in plain types: the request of `cli`, ready for the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use rand::seq::IndexedRandom;

mod archive;
pub use archive::{Archive, ReceiveArchive, Receiver};

/// One build on one daemon.
#[derive(Clone)]
pub struct SolveSpec {
    /// 25 characters of `[0-9a-z]`; also the id in the daemon's history.
    pub reference: String,
    /// `dockerfile.v0` or `gateway.v0`.
    pub frontend: String,
    /// Frontend attributes (`filename`, `build-arg:K` …); sent in `Control.Solve` and in the gateway's `Solve`.
    pub attributes: BTreeMap<String, String>,
    /// Exporters in the order of the command line.
    pub exporters: Vec<Exporter>,
    /// Caches to write.
    pub cache_exports: Vec<CacheEntry>,
    /// Caches to read; also sent as attribute `cache-imports`.
    pub cache_imports: Vec<CacheEntry>,
    /// Entitlements such as `network.host`.
    pub entitlements: Vec<String>,
    /// Keep it out of the daemon's history.
    pub internal: bool,
    /// What the daemon may ask back for.
    pub session: SessionSpec,
}

/// One cache entry (`type` and attributes, already resolved).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheEntry {
    /// `registry`, `inline`, `local` …
    pub kind: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// One exporter and what becomes of what it sends to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// `image`, `local`, `tar`, `oci`, `docker`, `moby` …
    pub kind: String,
    /// Attributes sent to the daemon.
    pub attributes: BTreeMap<String, String>,
    /// Where its data goes on the client.
    pub target: ExportTarget,
}

/// Where an exporter's data goes on the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    /// Nothing comes to the client.
    None,
    /// Files below a folder (`local`).
    Folder {
        /// The folder, made when the first entry arrives.
        path: PathBuf,
        /// Mirror the destination: remove what was not sent (`mode=delete`).
        delete: bool,
    },
    /// One file, made with its parents when its first byte arrives.
    File(PathBuf),
    /// [`SessionSpec::output`].
    Stdout,
    /// A content store in OCI layout (`tar=false`).
    Layout(PathBuf),
    /// Somebody who takes the archive in while it comes, such as a container engine.
    Receiver(Receiver),
}

/// What the daemon may ask back for during a solve.
#[derive(Clone)]
pub struct SessionSpec {
    /// Stable per context, so that only changed files travel.
    pub shared_key: String,
    /// Local folders by mount name (`context`, `dockerfile` …).
    pub mounts: BTreeMap<String, PathBuf>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Registry credentials.
    pub registry: Arc<dyn RegistryCredentials>,
    /// OCI layouts the daemon may read, by the id in `oci-layout://<id>@…`.
    pub layouts: BTreeMap<String, PathBuf>,
    /// Archive from standard input by upload id (the last part of `http://buildkit-session/<id>`).
    pub upload: Option<Upload>,
    /// Where an export to standard output goes.
    pub output: StandardOutput,
}

/// A shared writer that stands for standard output.
#[derive(Clone)]
pub struct StandardOutput(Arc<Mutex<dyn Write + Send>>);

impl StandardOutput {
    /// What is exported goes to `writer`.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }
}

impl Default for StandardOutput {
    /// Forgets everything, for solves without such an export.
    fn default() -> Self {
        Self::new(std::io::sink())
    }
}

impl fmt::Debug for StandardOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandardOutput")
    }
}

impl Write for StandardOutput {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// An archive that the daemon pulls once.
#[derive(Clone)]
pub struct Upload {
    /// Last element of the URL path it is asked for with.
    pub id: String,
    /// Bytes already read while peeking; standard input follows.
    pub peeked: Bytes,
}

/// Where a secret comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file, read at each request; at most 500 KiB.
    File(PathBuf),
    /// A value, taken from the environment when the command started.
    Value(Bytes),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(..)"),
        }
    }
}

/// Credentials for one registry host.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    /// Empty when `secret` is an identity token.
    pub username: String,
    /// Password or identity token.
    pub secret: String,
    /// A ready registry token, handed out as it is.
    pub registry_token: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Source of registry credentials: the docker configuration and its helpers.
#[async_trait]
pub trait RegistryCredentials: Send + Sync {
    /// Credentials for `host`, as the daemon names it (`registry-1.docker.io` for Docker Hub). Nothing known is an
    /// empty credential, not an error; the error is a text for the user.
    async fn credentials(&self, host: &str) -> Result<Credential, String>;

    /// Credentials for a registry token with these scopes (`repository:<name>:<actions>`), which may have others than
    /// the rest of the host.
    async fn credentials_for(&self, host: &str, _scopes: &[String]) -> Result<Credential, String> {
        self.credentials(host).await
    }

    /// Folder in which the token seeds of [`Self::credentials`]' configuration live, if it may be written.
    fn seed_folder(&self) -> Option<PathBuf>;

    /// Whether registry tokens may be fetched on the client (`BUILDKIT_NO_CLIENT_TOKEN` unset). If not, the daemon asks
    /// for the password and fetches them itself.
    fn client_tokens(&self) -> bool {
        true
    }
}

/// What a finished solve gave back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solved {
    /// The exporters' response (`containerimage.digest` …).
    pub response: BTreeMap<String, String>,
    /// Metadata of the frontend's result (`containerimage.config`, `refs.platforms` …).
    pub metadata: BTreeMap<String, Bytes>,
}

/// Length of the ids of builds and sessions.
const ID_LENGTH: usize = 25;

/// A new id for a build or a session: 25 characters of `[0-9a-z]`, about 129 bits.
pub fn random_id() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = rand::rng();
    (0..ID_LENGTH)
        .filter_map(|_| DIGITS.choose(&mut random))
        .map(|digit| char::from(*digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_25_characters_and_differ() {
        let id = random_id();
        assert_eq!(id.len(), ID_LENGTH);
        assert!(id.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase()));
        assert_ne!(id, random_id());
    }
}
