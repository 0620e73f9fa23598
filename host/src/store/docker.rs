//! The docker client's own files and variables: contexts, hosts, registry credentials, proxies, plugins. Nothing here
//! writes them.

pub mod aliases;
pub mod config;
pub mod contexts;
pub mod credentials;
pub mod helper;
pub mod host;
pub mod plugins;
pub mod scoped;

use std::path::PathBuf;

use contexts::TlsFiles;

/// The variables of the docker client, as they were when the command started; empty ones count as absent.
#[derive(Clone, Debug, Default)]
pub struct DockerEnvironment {
    /// Folder of `config.json` and the contexts.
    pub folder: PathBuf,
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// `DOCKER_TLS` is set, whatever its value.
    pub tls: bool,
    /// `DOCKER_TLS_VERIFY` is set, whatever its value.
    pub tls_verify: bool,
    /// `DOCKER_CERT_PATH`.
    pub cert_path: Option<PathBuf>,
    /// Files that docker's own flags name; they come before those of `cert_path`.
    pub tls_files: TlsFiles,
    /// `DOCKER_AUTH_CONFIG`.
    pub auth_config: Option<String>,
    /// Where helper programs are looked for (`PATH`).
    pub path: String,
}
