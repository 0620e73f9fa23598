//! The pinned real servers: Go modules under `tests/engines/`, built once into the user's cache folder.

pub mod debian;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::inputs::{self, Inputs};
use crate::packages::{self, Needed};
use crate::place::{self, Place};
use crate::process;

/// What is built from one Go module under `tests/engines/`, and how. Two engines may share a module: what both need is
/// compiled once, and each is built only when it is wanted.
#[derive(Debug)]
pub struct Engine {
    /// What it is called in messages and stamps.
    pub name: &'static str,
    module: &'static str,
    programs: &'static [&'static str],
    /// Folder of the programs among those of all engines; empty for those that are on the `PATH` of every test.
    folder: &'static str,
    /// Go package whose version the module pins.
    package: &'static str,
    /// Versions that clients show; a program built from a module does not know its own.
    told: &'static [Told],
    /// Built with a C compiler and linked statically.
    cgo_tags: Option<&'static str>,
}

/// A version that is linked in.
#[derive(Debug)]
struct Told {
    /// The variable that holds it.
    variable: &'static str,
    /// The package whose pin it is.
    package: &'static str,
    /// How its releases write it.
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// `v1.2.3`, as the pin is written.
    Tag,
    /// `1.2.3`.
    Number,
}

const PLAIN: Engine = Engine {
    name: "",
    module: "",
    programs: &[],
    folder: "",
    package: "",
    told: &[],
    cgo_tags: None,
};

/// buildkitd and buildctl.
pub const BUILDKIT: Engine = Engine {
    name: "buildkit",
    module: "moby",
    programs: &["buildkitd", "buildctl"],
    package: "github.com/moby/buildkit",
    told: &[Told {
        variable: "github.com/moby/buildkit/version.Version",
        package: "github.com/moby/buildkit",
        form: Form::Tag,
    }],
    ..PLAIN
};

/// A current Docker Engine, with the containerd that it starts for itself.
pub const DOCKER: Engine = Engine {
    name: "docker",
    module: "moby",
    programs: &["dockerd", "docker-proxy", "containerd", "containerd-shim-runc-v2"],
    folder: place::DOCKER,
    package: "github.com/moby/moby/v2",
    told: &[
        Told {
            variable: "github.com/moby/moby/v2/dockerversion.Version",
            package: "github.com/moby/moby/v2",
            form: Form::Number,
        },
        Told {
            variable: "github.com/containerd/containerd/v2/version.Version",
            package: "github.com/containerd/containerd/v2",
            form: Form::Tag,
        },
    ],
    ..PLAIN
};

/// The docker command: contexts are made with it, and plugins are called through it.
pub const DOCKER_CLI: Engine = Engine {
    name: "docker-cli",
    module: "moby",
    programs: &["docker"],
    folder: place::DOCKER,
    package: "github.com/docker/cli",
    told: &[Told {
        variable: "github.com/docker/cli/cli/version.Version",
        package: "github.com/docker/cli",
        form: Form::Number,
    }],
    ..PLAIN
};

/// What buildkitd and the engine run steps and containers with. Without seccomp, containers do not start.
pub const RUNC: Engine = Engine {
    name: "runc",
    module: "runc",
    programs: &["runc"],
    package: "github.com/opencontainers/runc",
    cgo_tags: Some("seccomp netgo osusergo"),
    ..PLAIN
};

/// What starts buildkitd for an ordinary user.
pub const ROOTLESSKIT: Engine = Engine {
    name: "rootlesskit",
    module: "rootlesskit",
    programs: &["rootlesskit"],
    package: "github.com/rootless-containers/rootlesskit/v2",
    ..PLAIN
};

/// The other client: a peer in benchmarks, and the other side of a shared builder store.
pub const BUILDX: Engine = Engine {
    name: "buildx",
    module: "buildx",
    programs: &["buildx"],
    package: "github.com/docker/buildx",
    told: &[Told {
        variable: "github.com/docker/buildx/version.Version",
        package: "github.com/docker/buildx",
        form: Form::Tag,
    }],
    ..PLAIN
};

/// The registry that images are pushed to.
pub const REGISTRY: Engine = Engine {
    name: "registry",
    module: "registry",
    programs: &["registry"],
    package: "github.com/distribution/distribution/v3",
    told: &[Told {
        variable: "github.com/distribution/distribution/v3/version.version",
        package: "github.com/distribution/distribution/v3",
        form: Form::Tag,
    }],
    ..PLAIN
};

/// containerd's own command, which enters containers of an engine's containerd. Its newest major version is not to be had:
/// the checksum database of Go modules does not know it.
pub const NERDCTL: Engine = Engine {
    name: "nerdctl",
    module: "nerdctl",
    programs: &["nerdctl"],
    folder: place::DOCKER,
    package: "github.com/containerd/nerdctl",
    told: &[Told {
        variable: "github.com/containerd/nerdctl/pkg/version.Version",
        package: "github.com/containerd/nerdctl",
        form: Form::Tag,
    }],
    ..PLAIN
};

/// Every engine that tests use.
pub const ALL: [&Engine; 8] = [
    &BUILDKIT,
    &RUNC,
    &ROOTLESSKIT,
    &BUILDX,
    &REGISTRY,
    &DOCKER,
    &DOCKER_CLI,
    &NERDCTL,
];

/// Builds those that are missing or that were built from other pins.
pub fn install(place: &Place, engines: &[&Engine]) -> Result {
    let folder = place.cache.join("engines");
    let _held = inputs::lock(&folder)?;
    for engine in engines {
        let source = place.root.join("tests/engines").join(engine.module);
        let flags = engine.flags(&source)?;
        let digest = engine.digest(&source, &flags);
        let stamp = stamp(place, engine.name);
        if inputs::is_current(&stamp, &digest) && engine.is_built(place) {
            continue;
        }
        engine.build(&source, &flags, place)?;
        inputs::keep(&stamp, &digest)?;
    }
    Ok(())
}

/// The file that says what a server was built from.
pub fn stamp(place: &Place, name: &str) -> PathBuf {
    place.cache.join("engines/stamps").join(name)
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
        let go_mod = go_mod(source)?;
        for told in self.told {
            let version = told.form.of(&pinned(&go_mod, told.package)?);
            link.push_str(&format!(" -X {}={version}", told.variable));
        }
        flags.push(format!("-ldflags={link}"));
        Ok(flags)
    }

    /// The version that `go.mod` pins, as it is written there.
    fn version(&self, source: &Path) -> Result<String> {
        pinned(&go_mod(source)?, self.package)
    }

    /// The Go packages of its programs.
    fn packages(&self, source: &Path) -> Result<Vec<String>> {
        let go_mod = go_mod(source)?;
        self.programs
            .iter()
            .map(|program| tool(&go_mod, program))
            .collect()
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

    fn is_built(&self, place: &Place) -> bool {
        let folder = place.engines().join(self.folder);
        self.programs
            .iter()
            .all(|program| process::is_program(&folder.join(program)))
    }

    fn build(&self, source: &Path, flags: &[String], place: &Place) -> Result {
        let version = self.version(source)?;
        if process::on_path("go").is_none() {
            return Err(
                Failure::new(format!("Go is needed to build {} {version}", self.name)).hint(
                    "Install Go 1.26 or newer (https://go.dev/dl), or put the programs on `PATH` yourself",
                ),
            );
        }
        if self.cgo_tags.is_some() {
            packages::install(&CGO)?;
        }
        let into = place.engines().join(self.folder);
        eprintln!(
            "==> Building {} {version} (once, into {})",
            self.programs.join(", "),
            into.display()
        );
        let fresh = place
            .cache
            .join("engines")
            .join(format!("new-{}", std::process::id()));
        let mut go = Command::new("go");
        go.arg("install").args(flags).args(self.packages(source)?);
        go.current_dir(source);
        go.env("GOBIN", &fresh).env("GOFLAGS", "").env("GOWORK", "off");
        go.env("CGO_ENABLED", if self.cgo_tags.is_some() { "1" } else { "0" });
        process::run(&mut go)?;
        self.publish(&fresh, &into)
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

impl Form {
    /// A pin in this form. Modules without a `go.mod` of their own have `+incompatible` in theirs.
    fn of(&self, pin: &str) -> String {
        let tag = pin.trim_end_matches("+incompatible");
        match self {
            Self::Tag => tag.to_owned(),
            Self::Number => tag.trim_start_matches('v').to_owned(),
        }
    }
}

fn go_mod(source: &Path) -> Result<String> {
    let path = source.join("go.mod");
    fs::read_to_string(&path).map_err(|cause| Failure::io("read", &path, &cause))
}

/// Finds `package vX.Y.Z` among a go.mod's requirements.
fn pinned(go_mod: &str, package: &str) -> Result<String> {
    let found = go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(package)).then(|| words.next().map(str::to_owned))?
    });
    found.ok_or_else(|| Failure::new(format!("The `go.mod` does not pin `{package}`")))
}

/// Finds the package of a program among a go.mod's tools: its last word is the program's name.
fn tool(go_mod: &str, program: &str) -> Result<String> {
    let mut lines = go_mod.lines().map(|line| line.trim().trim_start_matches("tool "));
    lines
        .find(|line| !line.contains(' ') && line.rsplit('/').next() == Some(program))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("The `go.mod` has no tool `{program}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_the_packages_own() {
        let text = "module x\n\ntool (\n\texample.org/a/cmd/a\n)\n\nrequire (\n\texample.org/a/sub v9.0.0\n\texample.org/a v1.2.3 // indirect\n)\n";
        assert_eq!(pinned(text, "example.org/a").unwrap(), "v1.2.3");
        assert!(pinned(text, "example.org/b").is_err());
        assert_eq!(
            pinned("require example.org/c v0.1.0", "example.org/c").unwrap(),
            "v0.1.0"
        );
    }

    #[test]
    fn a_program_is_built_from_the_tool_of_its_name() {
        let text =
            "tool (\n\texample.org/a/cmd/a\n\texample.org/a/cmd/a-proxy\n)\nrequire example.org/a v1.2.3\n";
        assert_eq!(tool(text, "a").unwrap(), "example.org/a/cmd/a");
        assert_eq!(tool(text, "a-proxy").unwrap(), "example.org/a/cmd/a-proxy");
        assert_eq!(tool("tool example.org/b", "b").unwrap(), "example.org/b");
        assert!(tool(text, "b").is_err());
    }

    #[test]
    fn versions_are_told_as_their_releases_write_them() {
        assert_eq!(Form::Tag.of("v1.2.3"), "v1.2.3");
        assert_eq!(Form::Number.of("v29.7.2+incompatible"), "29.7.2");
    }

    #[test]
    fn every_engine_is_pinned_and_tells_its_version() {
        let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/engines");
        for engine in ALL {
            let source = engines.join(engine.module);
            let version = engine.version(&source).unwrap();
            assert!(version.starts_with('v'), "{}: {version}", engine.name);
            assert!(source.join("go.sum").is_file(), "{}", engine.name);
            assert_eq!(
                engine.packages(&source).unwrap().len(),
                engine.programs.len(),
                "{}",
                engine.name
            );
            let flags = engine.flags(&source).unwrap().join(" ");
            let number = Form::Number.of(&version);
            assert_eq!(flags.contains(&number), !engine.told.is_empty(), "{flags}");
        }
    }
}
