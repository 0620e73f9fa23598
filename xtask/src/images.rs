//! Root file systems made from Debian packages: nothing is pulled, and no daemon is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    edition: "1",
    packages: &["busybox-static"],
    trim: &["usr", "etc"],
};

/// That, and a C compiler with a C library to link statically: what `examples/hello` is built with.
const COMPILER: Base = Base {
    name: "compiler",
    edition: "1",
    packages: &["busybox-static", "tcc", "libtcc-dev", "musl", "musl-dev", "libc6"],
    trim: &[
        "etc",
        "usr/share",
        "usr/lib/x86_64-linux-gnu/gconv",
        "usr/lib/x86_64-linux-gnu/audit",
    ],
};

/// Makes what tests use: `busybox/rootfs` (a folder), `busybox/rootfs.tar` and `busybox/oci` (an image layout).
pub fn for_tests(place: &Place) -> Result {
    BUSYBOX.make(place)?;
    COMPILER.make(place)?;
    Ok(())
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
        archive(&folder)?;
        layout::write(&folder, self.name)?;
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
fn archive(folder: &Path) -> Result {
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
        .arg(folder.join("rootfs.tar"))
        .arg("--directory")
        .arg(folder.join("rootfs"))
        .arg(".");
    process::run_quietly(&mut tar)?;
    process::run_quietly(
        Command::new("gzip")
            .args(["--keep", "--no-name"])
            .arg(folder.join("rootfs.tar")),
    )
}

/// An OCI image layout with one layer.
mod layout {
    use super::{Command, Failure, Path, Result, fs, inputs, process};

    /// Debian's packages were for this machine.
    const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    struct Blob {
        digest: String,
        size: u64,
    }

    impl Blob {
        fn descriptor(&self, media_type: &str, more: &str) -> String {
            format!(
                "{{\"mediaType\":\"{media_type}\",\"digest\":\"sha256:{}\",\"size\":{}{more}}}",
                self.digest, self.size
            )
        }
    }

    /// Writes `oci/` beside the archives, with the tag `latest`.
    pub fn write(folder: &Path, name: &str) -> Result {
        let layout = folder.join("oci");
        let content = sha256(&folder.join("rootfs.tar"))?;
        let layer = store(&layout, &folder.join("rootfs.tar.gz"))?;
        let config = format!(
            "{{\"architecture\":\"{ARCHITECTURE}\",\"os\":\"linux\",\"config\":{{\"Env\":[\"PATH=/bin:/usr/bin\"],\"Cmd\":[\"/bin/sh\"]}},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{content}\"]}}}}"
        );
        let config = store_text(&layout, &config)?;
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{},\"layers\":[{}]}}",
            config.descriptor(CONFIG, ""),
            layer.descriptor(LAYER, "")
        );
        let manifest = store_text(&layout, &manifest)?;
        let names = format!(
            ",\"annotations\":{{\"io.containerd.image.name\":\"docker.io/library/{name}:latest\",\
             \"org.opencontainers.image.ref.name\":\"latest\"}}"
        );
        let index = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{}]}}",
            manifest.descriptor(MANIFEST, &names)
        );
        inputs::write(&layout.join("index.json"), index.as_bytes())?;
        inputs::write(&layout.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}")
    }

    fn store_text(layout: &Path, text: &str) -> Result<Blob> {
        let file = layout.join("text");
        inputs::write(&file, text.as_bytes())?;
        let blob = store(layout, &file)?;
        inputs::remove(&file)?;
        Ok(blob)
    }

    fn store(layout: &Path, file: &Path) -> Result<Blob> {
        let digest = sha256(file)?;
        let place = layout.join("blobs/sha256").join(&digest);
        inputs::make_folder(&layout.join("blobs/sha256"))?;
        let size = fs::copy(file, &place).map_err(|cause| Failure::io("copy", file, &cause))?;
        Ok(Blob { digest, size })
    }

    fn sha256(file: &Path) -> Result<String> {
        let line = process::output(Command::new("sha256sum").arg("--").arg(file))?;
        line.split_whitespace()
            .next()
            .map(str::to_owned)
            .ok_or_else(|| Failure::new("`sha256sum` said nothing"))
    }
}
