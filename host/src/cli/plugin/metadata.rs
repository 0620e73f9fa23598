//! What a plugin says of itself to docker: ours, and that of others.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The argument with which docker asks.
pub const ASK: &str = "docker-cli-plugin-metadata";
/// The version of buildx whose command line this program takes. Other programs ask the plugin for it before they use what
/// a version has brought.
pub const BUILDX: &str = "0.37.1";
/// Who makes this program.
pub const VENDOR: &str = "bkhost";
/// Longest wait for another plugin's answer.
const LIMIT: Duration = Duration::from_secs(5);

/// The answer, in docker's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    /// Version of this format.
    pub schema_version: String,
    /// Who makes it.
    pub vendor: String,
    /// Its version.
    pub version: String,
    /// One line for docker's help.
    pub short_description: String,
    /// Where it comes from.
    #[serde(rename = "URL", skip_serializing_if = "String::is_empty")]
    pub url: String,
}

impl Metadata {
    /// That of this program.
    pub fn own() -> Self {
        Self {
            schema_version: "0.1.0".to_owned(),
            vendor: VENDOR.to_owned(),
            version: version(),
            short_description: "Builders for BuildKit, wherever their daemons run".to_owned(),
            url: env!("CARGO_PKG_REPOSITORY").to_owned(),
        }
    }

    /// Asks the plugin in a file; `None` when it does not answer as a plugin does.
    pub async fn ask(plugin: &Path) -> Option<Self> {
        let answer = tokio::process::Command::new(plugin)
            .arg(ASK)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let answer = tokio::time::timeout(LIMIT, answer).await.ok()?.ok()?;
        serde_json::from_slice(&answer.stdout).ok()
    }
}

/// The version as a plugin: that of the command line, then our own.
pub fn version() -> String {
    format!("v{BUILDX}+bkhost.{}", env!("CARGO_PKG_VERSION"))
}
