//! The image that builders in containers start: made of the pinned programs, under the name that clients ask for.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::layout::Image;
use super::{BUSYBOX, compress, pack};
use crate::engines;
use crate::failure::{Failure, Result};
use crate::inputs::{self, Inputs};
use crate::place::Place;
use crate::process;

/// A new edition has the image made again.
const EDITION: &str = "1";
/// Pinned programs, and their paths in the image.
const PROGRAMS: [(&str, &str); 3] = [
    ("buildkitd", "usr/bin/buildkitd"),
    ("buildctl", "usr/bin/buildctl"),
    ("runc", "usr/bin/buildkit-runc"),
];

const IMAGE: Image<'_> = Image {
    repository: "docker.io/moby/buildkit",
    tag: "buildx-stable-1",
    config: "{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],\
             \"Entrypoint\":[\"buildkitd\"],\"Volumes\":{\"/var/lib/buildkit\":{}}}",
};

/// Makes `buildkit/oci` and `buildkit/image.tar`, when the programs are newer than what is there.
pub fn make(place: &Place) -> Result {
    let base = BUSYBOX.make(place)?;
    let _held = inputs::lock(&place.images())?;
    let folder = place.images().join("buildkit");
    let stamp = folder.join(".edition");
    let digest = digest(place, &base);
    if inputs::is_current(&stamp, &digest) {
        return Ok(());
    }
    eprintln!("==> Making the image `{}:{}`", IMAGE.repository, IMAGE.tag);
    inputs::remove(&folder)?;
    let rootfs = folder.join("rootfs");
    inputs::make_folder(&folder)?;
    let mut copy = Command::new("cp");
    copy.arg("--archive").arg(base.join("rootfs")).arg(&rootfs);
    process::run_quietly(&mut copy)?;
    for (program, path) in PROGRAMS {
        let (from, to) = (place.engines().join(program), rootfs.join(path));
        fs::copy(&from, &to).map_err(|cause| Failure::io("copy", &from, &cause))?;
    }
    let archive = folder.join("rootfs.tar");
    pack(&rootfs, &archive)?;
    compress(&archive, "--fast")?;
    IMAGE.write(&folder)?;
    for made in ["rootfs", "rootfs.tar", "rootfs.tar.gz"] {
        inputs::remove(&folder.join(made))?;
    }
    inputs::keep(&stamp, &digest)
}

fn digest(place: &Place, base: &Path) -> String {
    let built = [&engines::BUILDKIT, &engines::RUNC].map(|engine| engines::stamp(place, engine.name));
    let inputs = Inputs::default().word(EDITION).file(&base.join(".edition"));
    built
        .iter()
        .fold(inputs, |inputs, stamp| inputs.file(stamp))
        .digest()
}
