//! Writes a root file system as an image with one layer: an OCI image layout, and one archive that every engine loads.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::pack;
use crate::failure::{Failure, Result};
use crate::inputs;
use crate::process;

/// Debian's packages were for this machine.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How an image is called and started.
pub struct Image<'a> {
    /// Its repository with the registry.
    pub repository: &'a str,
    /// Its tag.
    pub tag: &'a str,
    /// The object `config` of its configuration, as JSON.
    pub config: &'a str,
}

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

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

impl Image<'_> {
    /// Writes `oci/` and `image.tar` beside `rootfs.tar` and `rootfs.tar.gz`.
    pub fn write(&self, folder: &Path) -> Result {
        let layout = folder.join("oci");
        let content = sha256(&folder.join("rootfs.tar"))?;
        let layer = store(&layout, &folder.join("rootfs.tar.gz"))?;
        let config = format!(
            "{{\"architecture\":\"{ARCHITECTURE}\",\"os\":\"linux\",\"config\":{},\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{content}\"]}}}}",
            self.config
        );
        let config = store_text(&layout, &config)?;
        self.write_index(&layout, &config, &layer)?;
        // Engines without a containerd store know images by this file alone.
        let list = format!(
            "[{{\"Config\":\"{}\",\"RepoTags\":[\"{}:{}\"],\"Layers\":[\"{}\"]}}]",
            config.path(),
            self.repository,
            self.tag,
            layer.path()
        );
        let list_file = layout.join("manifest.json");
        inputs::write(&list_file, list.as_bytes())?;
        pack(&layout, &folder.join("image.tar"))?;
        inputs::remove(&list_file)
    }

    fn write_index(&self, layout: &Path, config: &Blob, layer: &Blob) -> Result {
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{},\"layers\":[{}]}}",
            config.descriptor(CONFIG, ""),
            layer.descriptor(LAYER, "")
        );
        let manifest = store_text(layout, &manifest)?;
        let names = format!(
            ",\"annotations\":{{\"io.containerd.image.name\":\"{}:{}\",\
             \"org.opencontainers.image.ref.name\":\"{}\"}}",
            self.repository, self.tag, self.tag
        );
        let index = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{}]}}",
            manifest.descriptor(MANIFEST, &names)
        );
        inputs::write(&layout.join("index.json"), index.as_bytes())?;
        inputs::write(&layout.join("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}")
    }
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
