//! Servers from Debian's packages, which are unpacked and never installed: the machine and its services stay as they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::stamp;
use crate::failure::{Failure, Result};
use crate::inputs::{self, Inputs};
use crate::packages;
use crate::place::{self, Place};
use crate::process;

/// Files out of Debian's packages. A new `edition` has them taken again.
#[derive(Debug)]
pub struct Packaged {
    name: &'static str,
    edition: &'static str,
    packages: &'static [&'static str],
    /// Folder among those of all engines.
    folder: &'static str,
    /// Files in the packages, and their paths in the folder.
    files: &'static [(&'static str, &'static str)],
    /// Files of this project that go there as well, from `tests/engines/`.
    ours: &'static [(&'static str, &'static str)],
    /// What a program must say of its version.
    version: Option<(&'static str, &'static str)>,
}

/// What the current engine starts first in containers that ask for it.
pub const DOCKER_INIT: Packaged = Packaged {
    name: "docker-init",
    edition: "1",
    packages: &["tini"],
    folder: place::DOCKER,
    files: &[("usr/bin/tini-static", "docker-init")],
    ours: &[],
    version: None,
};

/// A Docker Engine of 2020: overlay2, BuildKit 0.8, no containerd store. Its docker command calls plugins as they were
/// called then.
pub const OLD_DOCKER: Packaged = Packaged {
    name: "docker-20.10",
    edition: "1",
    packages: &["docker.io", "containerd", "runc", "tini", "libdevmapper1.02.1"],
    folder: place::OLD_DOCKER,
    files: &[
        ("usr/sbin/dockerd", "dockerd"),
        ("usr/bin/docker", "docker"),
        ("usr/sbin/docker-proxy", "docker-proxy"),
        ("usr/bin/containerd", "containerd"),
        ("usr/bin/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
        ("usr/sbin/runc", "debian-runc"),
        ("usr/bin/tini-static", "docker-init"),
        (
            "lib/x86_64-linux-gnu/libdevmapper.so.1.02.1",
            "lib/libdevmapper.so.1.02.1",
        ),
    ],
    ours: &[("docker-20.10/runc", "runc")],
    version: Some(("dockerd", "Docker version 20.10.")),
};

/// Podman, which needs no service, with the libraries that not every machine has. It runs containers with the pinned runc.
pub const PODMAN: Packaged = Packaged {
    name: "podman",
    edition: "1",
    packages: &[
        "podman",
        "conmon",
        "libassuan0",
        "libdevmapper1.02.1",
        "libglib2.0-0",
        "libgpgme11",
        "libsubid4",
    ],
    folder: place::PODMAN,
    files: &[
        ("usr/bin/podman", "podman"),
        ("usr/bin/conmon", "conmon"),
        (
            "usr/lib/x86_64-linux-gnu/libassuan.so.0.8.5",
            "lib/libassuan.so.0",
        ),
        (
            "lib/x86_64-linux-gnu/libdevmapper.so.1.02.1",
            "lib/libdevmapper.so.1.02.1",
        ),
        (
            "usr/lib/x86_64-linux-gnu/libglib-2.0.so.0.7400.6",
            "lib/libglib-2.0.so.0",
        ),
        (
            "usr/lib/x86_64-linux-gnu/libgpgme.so.11.27.0",
            "lib/libgpgme.so.11",
        ),
        ("usr/lib/x86_64-linux-gnu/libsubid.so.4.0.0", "lib/libsubid.so.4"),
    ],
    ours: &[],
    version: Some(("podman", "podman version 4.")),
};

const WHERE_IT_IS: &str = "Debian 12 on amd64 has it: test there, or leave these tests out with `--without docker --without podman`";

/// All of them.
pub const ALL: [&Packaged; 3] = [&DOCKER_INIT, &OLD_DOCKER, &PODMAN];

/// Takes those that are missing or that were taken by another edition.
pub fn install(place: &Place, wanted: &[&Packaged]) -> Result {
    let _held = inputs::lock(&place.cache.join("engines"))?;
    wanted.iter().try_for_each(|packaged| packaged.install(place))
}

impl Packaged {
    fn install(&self, place: &Place) -> Result {
        let (stamp, digest) = (stamp(place, self.name), self.digest(place));
        let folder = place.engines().join(self.folder);
        if inputs::is_current(&stamp, &digest) && self.is_there(&folder) {
            return Ok(());
        }
        eprintln!("==> Unpacking {} (once, into {})", self.name, folder.display());
        let fresh = place
            .cache
            .join("engines")
            .join(format!("new-{}", std::process::id()));
        inputs::remove(&fresh)?;
        packages::unpack(self.packages, &fresh.join("root"), &fresh.join("packages"))?;
        for (from, to) in self.files {
            take(&fresh.join("root").join(from), &folder.join(to))
                .map_err(|failure| failure.hint(WHERE_IT_IS))?;
        }
        inputs::remove(&fresh)?;
        for (from, to) in self.ours {
            lend(&place.root.join("tests/engines").join(from), &folder.join(to))?;
        }
        self.check_version(&folder)?;
        inputs::keep(&stamp, &digest)
    }

    fn digest(&self, place: &Place) -> String {
        let words = self.packages.iter().chain(self.files.iter().map(|(_, to)| to));
        let inputs = words.fold(Inputs::default().word(self.edition), |inputs, word| {
            inputs.word(word)
        });
        let ours = self
            .ours
            .iter()
            .map(|(from, _)| place.root.join("tests/engines").join(from));
        ours.fold(inputs, |inputs, file| inputs.file(&file)).digest()
    }

    fn is_there(&self, folder: &Path) -> bool {
        let all = self.files.iter().chain(self.ours);
        all.map(|(_, to)| folder.join(to)).all(|file| file.is_file())
    }

    /// Another Debian has another version, and a test against an old server needs an old one.
    fn check_version(&self, folder: &Path) -> Result {
        let Some((program, wanted)) = self.version else {
            return Ok(());
        };
        let mut ask = Command::new(folder.join(program));
        ask.arg("--version").env("LD_LIBRARY_PATH", folder.join("lib"));
        let said = process::output(&mut ask)?;
        if said.starts_with(wanted) {
            return Ok(());
        }
        Err(Failure::new(format!("`{wanted}…` is needed here, and Debian has: {said}")).hint(WHERE_IT_IS))
    }
}

/// Moves one file; a running program keeps its own.
fn take(from: &Path, to: &Path) -> Result {
    to.parent().map_or(Ok(()), inputs::make_folder)?;
    fs::rename(from, to).map_err(|cause| Failure::io("move", from, &cause))
}

fn lend(from: &Path, to: &Path) -> Result {
    inputs::remove(to)?;
    fs::copy(from, to)
        .map(drop)
        .map_err(|cause| Failure::io("copy", from, &cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_project_adds_is_a_program() {
        let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/engines");
        for (from, _) in OLD_DOCKER.ours {
            assert!(process::is_program(&engines.join(from)), "{from}");
        }
    }
}
