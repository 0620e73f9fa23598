//! The daemon's files as a tar archive, to be unpacked in `/etc` of its container.

use bkhost_driver::{Config, Error, Result};

/// Folder of the archive's entries, and of the files in the container below `/etc`.
const FOLDER: &str = "buildkit";
/// The daemon's configuration.
pub const CONFIG_NAME: &str = "buildkitd.toml";
/// The facts of a GitHub Actions job; the host puts it among the files where there is one.
const GITHUB_FACTS: &str = "provenance.d/github_actions_context.json";
/// Unit of a tar archive.
const BLOCK: usize = 512;
/// Longest name that a header holds by itself.
const LONGEST_NAME: usize = 100;

/// A file with its name below `/etc/buildkit`.
pub type File = (String, Vec<u8>);

/// The daemon's files.
///
/// # Errors
/// `invalid-config` for a name that leads elsewhere, or is a folder of another one.
pub fn files(config: &Config, github_facts: bool) -> Result<Vec<File>> {
    let mut names = config.file_names();
    names.retain(|name| github_facts || name != GITHUB_FACTS);
    check(&names)?;
    Ok(names
        .into_iter()
        .map(|name| {
            let content = config.file(&name).unwrap_or_default();
            (name, content)
        })
        .collect())
}

/// Refuses names that no file can have.
pub fn check(names: &[String]) -> Result<()> {
    for name in names {
        let part_is_wrong = |part: &str| part.is_empty() || part == "." || part == "..";
        if name.split('/').any(part_is_wrong) || name.contains(['\\', '\0']) {
            return Err(Error::invalid_config(format!(
                "invalid config file path {name:?}"
            )));
        }
        if folders(names).any(|folder| folder == *name) {
            return Err(Error::invalid_config(format!(
                "config file path {name:?} conflicts with directory"
            )));
        }
    }
    Ok(())
}

/// A value that changes with what the files say; absent when there are none. Facts of one job are none of the builder's
/// configuration.
pub fn fingerprint(files: &[File]) -> Option<String> {
    let mut hash = Fingerprint::default();
    let mut any = false;
    for (name, content) in files.iter().filter(|(name, _)| name != GITHUB_FACTS) {
        hash.add(name.as_bytes());
        hash.add(content);
        any = true;
    }
    any.then(|| hash.text())
}

/// FNV-1a with lengths, 64 bits: tells whether something changed, and nothing else.
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Adds one part.
    pub fn add(&mut self, data: &[u8]) {
        let length = (data.len() as u64).to_le_bytes();
        for byte in length.iter().chain(data) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Its text: 16 hexadecimal digits.
    pub fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}

/// The archive: all folders, then all files, of root, at time 0, so that the same files make the same bytes.
pub fn pack(files: &[File]) -> Vec<u8> {
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let mut folders: Vec<String> = folders(&names).collect();
    folders.sort();
    folders.dedup();
    let mut archive = Vec::new();
    entry(&mut archive, &format!("{FOLDER}/"), b'5', "0000755", &[]);
    for folder in folders {
        entry(&mut archive, &format!("{FOLDER}/{folder}/"), b'5', "0000755", &[]);
    }
    let mut sorted: Vec<&File> = files.iter().collect();
    sorted.sort();
    for (name, content) in sorted {
        entry(
            &mut archive,
            &format!("{FOLDER}/{name}"),
            b'0',
            "0000644",
            content,
        );
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// All folders that these names lie in.
fn folders(names: &[String]) -> impl Iterator<Item = String> + '_ {
    names.iter().flat_map(|name| {
        name.match_indices('/')
            .filter_map(|(at, _)| name.get(..at))
            .map(str::to_owned)
    })
}

/// One entry. A name that is too long for the header gets an extended header (pax) in front.
fn entry(archive: &mut Vec<u8>, name: &str, kind: u8, mode: &str, content: &[u8]) {
    if name.len() > LONGEST_NAME {
        let record = pax_record("path", name);
        header(archive, "pax", b'x', "0000644", record.len());
        padded(archive, record.as_bytes());
    }
    header(archive, name, kind, mode, content.len());
    padded(archive, content);
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

fn header(archive: &mut Vec<u8>, name: &str, kind: u8, mode: &str, size: usize) {
    let mut block = Vec::with_capacity(BLOCK);
    let mut field = |data: &[u8], width: usize| {
        let data = data.get(..width).unwrap_or(data);
        block.extend_from_slice(data);
        block.resize(block.len() + width - data.len(), 0);
    };
    field(name.as_bytes(), LONGEST_NAME);
    field(mode.as_bytes(), 8);
    field(b"0000000", 8);
    field(b"0000000", 8);
    field(format!("{size:011o}").as_bytes(), 12);
    field(b"00000000000", 12);
    // While the checksum is made, its own field is blank.
    field(b"        ", 8);
    field(&[kind], 1);
    field(b"", LONGEST_NAME);
    field(b"ustar\x0000", 8);
    field(b"", BLOCK - 265);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let checksum = format!("{sum:06o}\0 ");
    block.splice(148..156, checksum.bytes());
    archive.append(&mut block);
}

fn padded(archive: &mut Vec<u8>, content: &[u8]) {
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}
