//! Where things lie: the checkout, cargo's target folder and the user's cache folder.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// Folder of the current Docker Engine's programs, below that of all servers. They are on no other test's `PATH`.
pub const DOCKER: &str = "docker-engine";
/// Folder of an old Docker Engine's programs, which must never meet the current ones.
pub const OLD_DOCKER: &str = "docker-engine-20.10";
/// Folder of Podman and its libraries.
pub const PODMAN: &str = "podman";

/// The folders that tasks work in.
#[derive(Debug, Clone)]
pub struct Place {
    /// The project's root.
    pub root: PathBuf,
    /// Cargo's target folder of the host's workspace.
    pub target: PathBuf,
    /// `$XDG_CACHE_HOME/bkhost`, or `~/.cache/bkhost`.
    pub cache: PathBuf,
}

impl Place {
    /// Finds them from the environment.
    pub fn find() -> Result<Self> {
        // Cargo names the folder at run time too. What was compiled in may be another checkout's, when two share a
        // target folder: cargo takes their crates for the same.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = PathBuf::from(manifest);
        let root = manifest.parent().unwrap_or(&manifest).to_path_buf();
        let target = match absolute("CARGO_TARGET_DIR", &root) {
            Some(given) => given,
            None => root.join("target"),
        };
        Ok(Self {
            target,
            cache: cache_home()?.join("bkhost"),
            root,
        })
    }

    /// Target folder of the guests' workspaces. It is not the host's, because another compiler may write it.
    pub fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// Compiled drivers; the host's build script embeds what lies here.
    pub fn drivers(&self) -> PathBuf {
        self.target.join("drivers")
    }

    /// The pinned servers' programs.
    pub fn engines(&self) -> PathBuf {
        self.cache.join("engines/bin")
    }

    /// Root file systems and image layouts for tests and the demo.
    pub fn images(&self) -> PathBuf {
        self.cache.join("images")
    }

    /// Programs that bkhost itself looks for when they are not on `PATH`.
    pub fn programs(&self) -> PathBuf {
        self.cache.join("bin")
    }
}

fn absolute(variable: &str, base: &Path) -> Option<PathBuf> {
    let value = env::var_os(variable).filter(|value| !value.is_empty())?;
    Some(base.join(PathBuf::from(value)))
}

fn cache_home() -> Result<PathBuf> {
    // The XDG specification has relative paths ignored.
    if let Some(path) = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    {
        return Ok(path);
    }
    env::home_dir()
        .filter(|home| home.is_absolute())
        .map(|home| home.join(".cache"))
        .ok_or_else(|| Failure::new("There is no home folder").hint("Set `HOME` or `XDG_CACHE_HOME`"))
}
