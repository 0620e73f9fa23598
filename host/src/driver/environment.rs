//! The machine and the user as drivers may come to know them, gathered once by the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::job_facts::JobFacts;
use crate::docker::Engines;

/// Facts and places of the host. Nothing in it is looked up again: a driver's answer depends on nothing else.
#[derive(Clone, Debug, Default)]
pub struct HostEnvironment {
    /// Version of this program.
    pub version: String,
    /// This program's own file; the keeper of a daemon is started from it.
    pub executable: PathBuf,
    /// Folder below which runtime folders of nodes are made: `$XDG_RUNTIME_DIR/bkhost`, `/run/bkhost` as root, or a
    /// private one below `/tmp`.
    pub runtime_dir: PathBuf,
    /// Folder for what can be made again: programs, compiled drivers.
    pub cache_dir: PathBuf,
    /// Folder for the state of daemons.
    pub data_dir: PathBuf,
    /// The user's home; absent when there is none.
    pub home: Option<PathBuf>,
    /// Value of `PATH`.
    pub path: OsString,
    /// Effective user id.
    pub user_id: u32,
    /// Value of `KUBECONFIG`; absent when it is not set.
    pub kubeconfig: Option<String>,
    /// The Docker Engines that the docker client knows.
    pub engines: Arc<Engines>,
    /// The GitHub Actions job that this runs in.
    pub job: Option<Arc<JobFacts>>,
    /// Name of the WSL distribution this runs in.
    pub wsl: Option<String>,
    /// Whether `/usr/lib/wsl` is a folder.
    pub wsl_lib: bool,
}

impl HostEnvironment {
    /// Whether the user is root.
    pub fn is_root(&self) -> bool {
        self.user_id == 0
    }

    /// A fact by the key that the contract documents; absent when unknown.
    pub fn fact(&self, name: &str) -> Option<String> {
        match name {
            "os" => Some(std::env::consts::OS.to_owned()),
            "arch" => Some(oci_arch(std::env::consts::ARCH).to_owned()),
            "privileged" => Some(self.is_root().to_string()),
            "user-id" => Some(self.user_id.to_string()),
            "host-version" => Some(self.version.clone()),
            "home" => self.home.as_ref().map(|home| home.display().to_string()),
            "kubeconfig" => self.kubeconfig.clone(),
            "docker-context" => Some(self.engines.active()),
            "wsl" => self.wsl.clone(),
            "wsl-lib" => self.wsl_lib.then(|| "true".to_owned()),
            _ => None,
        }
    }
}

/// Rust's name of an architecture as platforms are written.
fn oci_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_known_by_their_documented_keys() {
        let environment = HostEnvironment {
            user_id: 1000,
            kubeconfig: Some("/k".to_owned()),
            ..HostEnvironment::default()
        };
        assert_eq!(environment.fact("privileged").as_deref(), Some("false"));
        assert_eq!(environment.fact("kubeconfig").as_deref(), Some("/k"));
        assert_eq!(environment.fact("os").as_deref(), Some("linux"));
        assert_eq!(environment.fact("wsl"), None);
        assert_eq!(environment.fact("unheard-of"), None);
    }
}
