//! The pinned real servers: Go modules under `tests/engines/`, built once into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::inputs::{self, Inputs};
use crate::packages::{self, Needed};
use crate::place::Place;
use crate::process;

/// One Go module under `tests/engines/` and how its programs are built.
#[derive(Debug)]
pub struct Engine {
    /// The module's folder.
    pub module: &'static str,
    programs: &'static [&'static str],
    /// Go package whose version the module pins.
    package: &'static str,
    /// Variable that tells the version to clients; a program built from a module does not know its own.
    version_variable: Option<&'static str>,
    /// Built with a C compiler and linked statically.
    cgo_tags: Option<&'static str>,
}

/// buildkitd and buildctl.
pub const BUILDKIT: Engine = Engine {
    module: "buildkit",
    programs: &["buildkitd", "buildctl"],
    package: "github.com/moby/buildkit",
    version_variable: Some("github.com/moby/buildkit/version.Version"),
    cgo_tags: None,
};

/// What buildkitd runs steps with. Without seccomp, containers do not start.
pub const RUNC: Engine = Engine {
    module: "runc",
    programs: &["runc"],
    package: "github.com/opencontainers/runc",
    version_variable: None,
    cgo_tags: Some("seccomp netgo osusergo"),
};

/// What starts buildkitd for an ordinary user.
pub const ROOTLESSKIT: Engine = Engine {
    module: "rootlesskit",
    programs: &["rootlesskit"],
    package: "github.com/rootless-containers/rootlesskit/v2",
    version_variable: None,
    cgo_tags: None,
};

/// The other client: a peer in benchmarks, and the other side of a shared builder store.
pub const BUILDX: Engine = Engine {
    module: "buildx",
    programs: &["buildx"],
    package: "github.com/docker/buildx",
    version_variable: Some("github.com/docker/buildx/version.Version"),
    cgo_tags: None,
};

/// The registry that images are pushed to.
pub const REGISTRY: Engine = Engine {
    module: "registry",
    programs: &["registry"],
    package: "github.com/distribution/distribution/v3",
    version_variable: Some("github.com/distribution/distribution/v3/version.version"),
    cgo_tags: None,
};

/// Every engine that tests use.
pub const ALL: [&Engine; 5] = [&BUILDKIT, &RUNC, &ROOTLESSKIT, &BUILDX, &REGISTRY];

/// Builds those that are missing or that were built from other pins.
pub fn install(place: &Place, engines: &[&Engine]) -> Result {
    let folder = place.cache.join("engines");
    let _held = inputs::lock(&folder)?;
    for engine in engines {
        let source = place.root.join("tests/engines").join(engine.module);
        let flags = engine.flags(&source)?;
        let digest = engine.digest(&source, &flags);
        let stamp = folder.join("stamps").join(engine.module);
        if inputs::is_current(&stamp, &digest) && engine.is_built(&place.engines()) {
            continue;
        }
        engine.build(&source, &flags, place)?;
        inputs::keep(&stamp, &digest)?;
    }
    Ok(())
}

/// Offers built programs to bkhost itself, which looks in its own cache folder when `PATH` has none.
pub fn offer(place: &Place, engines: &[&Engine]) -> Result {
    inputs::make_folder(&place.programs())?;
    for program in engines.iter().flat_map(|engine| engine.programs) {
        let (link, target) = (place.programs().join(program), place.engines().join(program));
        if fs::read_link(&link).is_ok_and(|current| current == target) {
            continue;
        }
        inputs::remove(&link)?;
        std::os::unix::fs::symlink(&target, &link).map_err(|cause| Failure::io("link", &link, &cause))?;
    }
    Ok(())
}

impl Engine {
    fn flags(&self, source: &Path) -> Result<Vec<String>> {
        // `-mod=readonly`: what is built is what go.sum says, or nothing.
        let mut flags: Vec<String> = ["-mod=readonly", "-buildvcs=false", "-trimpath"]
            .map(str::to_owned)
            .into();
        let mut link = String::from("-s -w");
        if let Some(tags) = self.cgo_tags {
            flags.push(format!("-tags={tags}"));
            link.push_str(" -extldflags \"-static\"");
        }
        if let Some(variable) = self.version_variable {
            link.push_str(&format!(" -X {variable}={}", self.version(source)?));
        }
        flags.push(format!("-ldflags={link}"));
        Ok(flags)
    }

    /// The version that `go.mod` pins, with its leading `v`.
    fn version(&self, source: &Path) -> Result<String> {
        let path = source.join("go.mod");
        let text = fs::read_to_string(&path).map_err(|cause| Failure::io("read", &path, &cause))?;
        pinned(&text, self.package)
            .ok_or_else(|| Failure::new(format!("`{}` does not pin `{}`", path.display(), self.package)))
    }

    fn digest(&self, source: &Path, flags: &[String]) -> String {
        let files = ["go.mod", "go.sum"].map(|name| source.join(name));
        let inputs = files
            .iter()
            .fold(Inputs::default(), |inputs, file| inputs.file(file));
        flags
            .iter()
            .fold(inputs, |inputs, flag| inputs.word(flag))
            .digest()
    }

    fn is_built(&self, folder: &Path) -> bool {
        self.programs
            .iter()
            .all(|program| process::is_program(&folder.join(program)))
    }

    fn build(&self, source: &Path, flags: &[String], place: &Place) -> Result {
        let version = self.version(source)?;
        if process::on_path("go").is_none() {
            return Err(
                Failure::new(format!("Go is needed to build {} {version}", self.module)).hint(
                    "Install Go 1.26 or newer (https://go.dev/dl), or put the programs on `PATH` yourself",
                ),
            );
        }
        if self.cgo_tags.is_some() {
            packages::install(&CGO)?;
        }
        eprintln!(
            "==> Building {} {version} (once, into {})",
            self.programs.join(" and "),
            place.engines().display()
        );
        let fresh = place
            .cache
            .join("engines")
            .join(format!("new-{}", std::process::id()));
        let mut go = Command::new("go");
        go.arg("install").args(flags).arg("tool").current_dir(source);
        go.env("GOBIN", &fresh).env("GOFLAGS", "").env("GOWORK", "off");
        go.env("CGO_ENABLED", if self.cgo_tags.is_some() { "1" } else { "0" });
        process::run(&mut go)?;
        self.publish(&fresh, &place.engines())
    }

    /// Moves the programs to their place: a running one keeps its file.
    fn publish(&self, fresh: &Path, into: &Path) -> Result {
        inputs::make_folder(into)?;
        for program in self.programs {
            let (from, to): (PathBuf, PathBuf) = (fresh.join(program), into.join(program));
            fs::rename(&from, &to).map_err(|cause| Failure::io("move", &from, &cause))?;
        }
        inputs::remove(fresh)
    }
}

const CGO: [Needed; 3] = [
    Needed {
        package: "libseccomp-dev",
        proof: "/usr/include/seccomp.h",
    },
    Needed {
        package: "pkg-config",
        proof: "pkg-config",
    },
    Needed {
        package: "gcc",
        proof: "gcc",
    },
];

/// Finds `package vX.Y.Z` among a go.mod's requirements.
fn pinned(go_mod: &str, package: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(package)).then(|| words.next().map(str::to_owned))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_the_packages_own() {
        let text = "module x\n\ntool (\n\texample.org/a/cmd/a\n)\n\nrequire (\n\texample.org/a/sub v9.0.0\n\texample.org/a v1.2.3 // indirect\n)\n";
        assert_eq!(pinned(text, "example.org/a").as_deref(), Some("v1.2.3"));
        assert_eq!(pinned(text, "example.org/b"), None);
        assert_eq!(
            pinned("require example.org/c v0.1.0", "example.org/c").as_deref(),
            Some("v0.1.0")
        );
    }

    #[test]
    fn every_engine_is_pinned_and_tells_its_version() {
        let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/engines");
        for engine in ALL {
            let source = engines.join(engine.module);
            let version = engine.version(&source).unwrap();
            assert!(version.starts_with('v'), "{}: {version}", engine.module);
            assert!(source.join("go.sum").is_file(), "{}", engine.module);
            let flags = engine.flags(&source).unwrap().join(" ");
            assert_eq!(
                flags.contains(&version),
                engine.version_variable.is_some(),
                "{flags}"
            );
        }
    }
}
