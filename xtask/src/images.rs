//! Root file systems and images made from Debian packages and the pinned programs: nothing is pulled, and no daemon is
//! needed.

mod buildkit;
mod layout;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::layout::Image;
use crate::failure::{Failure, Result};
use crate::inputs::{self, Inputs};
use crate::packages;
use crate::place::Place;
use crate::process;

/// A base that is made once. A new `edition` has it made again.
struct Base {
    name: &'static str,
    edition: &'static str,
    packages: &'static [&'static str],
    /// What nobody needs there: documentation, character sets, the host's settings.
    trim: &'static [&'static str],
}

/// A shell and the usual small programs in one static file.
const BUSYBOX: Base = Base {
    name: "busybox",
    edition: "2",
    packages: &["busybox-static"],
    trim: &["usr", "etc"],
};

/// That, and a C compiler with a C library to link statically: what `examples/hello` is built with.
const COMPILER: Base = Base {
    name: "compiler",
    edition: "2",
    packages: &["busybox-static", "tcc", "libtcc-dev", "musl", "musl-dev", "libc6"],
    trim: &[
        "etc",
        "usr/share",
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/x86_64-linux-gnu/audit",
    ],
};

/// That, and what makes certificates.
const CERTIFICATES: Base = Base {
    name: "openssl",
    edition: "1",
    packages: &["busybox-static", "openssl", "libssl3", "libc6"],
    trim: &[
        "usr/share",
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/x86_64-linux-gnu/audit",
        "usr/lib/x86_64-linux-gnu/perl-base",
    ],
};

/// Makes what tests use: `busybox/rootfs` (a folder), `busybox/rootfs.tar`, `busybox/oci` (an image layout) and
/// `busybox/image.tar` (what an engine loads).
pub fn for_tests(place: &Place) -> Result {
    BUSYBOX.make(place)?;
    COMPILER.make(place)?;
    CERTIFICATES.make(place)?;
    Ok(())
}

/// Makes what engines start builders from, out of the pinned programs: `buildkit/oci` and `buildkit/image.tar`.
pub fn for_engines(place: &Place) -> Result {
    buildkit::make(place)
}

/// Makes the base of `examples/hello` and gives its compressed archive.
pub fn compiler(place: &Place) -> Result<PathBuf> {
    Ok(COMPILER.make(place)?.join("rootfs.tar.gz"))
}

impl Base {
    /// Gives the base's folder.
    fn make(&self, place: &Place) -> Result<PathBuf> {
        let _held = inputs::lock(&place.images())?;
        let folder = place.images().join(self.name);
        let stamp = folder.join(".edition");
        let inputs = self
            .packages
            .iter()
            .fold(Inputs::default().word(self.edition), |inputs, name| {
                inputs.word(name)
            });
        let digest = inputs.digest();
        if inputs::is_current(&stamp, &digest) {
            return Ok(folder);
        }
        eprintln!("==> Making the root file system `{}`", self.name);
        inputs::remove(&folder)?;
        let rootfs = folder.join("rootfs");
        packages::unpack(self.packages, &rootfs, &folder.join("packages"))?;
        for path in self.trim {
            inputs::remove(&rootfs.join(path))?;
        }
        link_applets(&rootfs)?;
        write_base_files(&rootfs)?;
        let archive = folder.join("rootfs.tar");
        pack(&rootfs, &archive)?;
        compress(&archive, "-6")?;
        let image = Image {
            repository: &format!("docker.io/library/{}", self.name),
            tag: "latest",
            config: "{\"Env\":[\"PATH=/bin:/usr/bin\"],\"Cmd\":[\"/bin/sh\"]}",
        };
        image.write(&folder)?;
        inputs::keep(&stamp, &digest)?;
        Ok(folder)
    }
}

/// Every small program is a link to the one file.
fn link_applets(rootfs: &Path) -> Result {
    let applets = process::output(Command::new(rootfs.join("bin/busybox")).arg("--list-full"))?;
    for applet in applets.lines() {
        // Debian's root has `/bin` and `/usr/bin` in one: one place is enough, and `/bin` is on every PATH.
        let name = applet.rsplit('/').next().unwrap_or(applet);
        let link = rootfs.join("bin").join(name);
        if link.symlink_metadata().is_ok() {
            continue;
        }
        std::os::unix::fs::symlink("busybox", &link).map_err(|cause| Failure::io("link", &link, &cause))?;
    }
    Ok(())
}

fn write_base_files(rootfs: &Path) -> Result {
    for folder in ["tmp", "root", "var", "etc", "usr/bin"] {
        inputs::make_folder(&rootfs.join(folder))?;
    }
    let env = rootfs.join("usr/bin/env");
    if env.symlink_metadata().is_err() {
        std::os::unix::fs::symlink("/bin/busybox", &env)
            .map_err(|cause| Failure::io("link", &env, &cause))?;
    }
    open_to_all(&rootfs.join("tmp"))?;
    inputs::write(
        &rootfs.join("etc/passwd"),
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    inputs::write(&rootfs.join("etc/group"), b"root:x:0:\nnogroup:x:65534:\n")
}

fn open_to_all(folder: &Path) -> Result {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o1777))
        .map_err(|cause| Failure::io("change", folder, &cause))
}

/// The same files give the same archive: names are sorted, times and owners are fixed.
fn pack(folder: &Path, archive: &Path) -> Result {
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ]);
    tar.arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(folder)
        .arg(".");
    process::run_quietly(&mut tar)
}

/// Makes `<archive>.gz` beside it.
fn compress(archive: &Path, level: &str) -> Result {
    let mut gzip = Command::new("gzip");
    gzip.args(["--keep", "--no-name", level]).arg(archive);
    process::run_quietly(&mut gzip)
}
