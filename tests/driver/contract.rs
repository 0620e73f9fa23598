//! The text of the contract, which may not change under a version that components were built against.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const FOLDERS: [&str; 2] = ["driver", "host"];

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

/// Both packages as components see them: without comments and empty lines, which may change at any time.
fn text() -> String {
    let mut text = String::new();
    for folder in FOLDERS {
        let files = std::fs::read_dir(wit().join(folder)).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            writeln!(text, "{folder}/{}", file.file_name().unwrap().display()).unwrap();
            let content = std::fs::read_to_string(&file).unwrap();
            let lines = content
                .lines()
                .map(|line| line.split("//").next().unwrap_or("").trim());
            for line in lines.filter(|line| !line.is_empty()) {
                writeln!(text, "{line}").unwrap();
            }
        }
    }
    text
}

/// The version in every `package` line.
fn version(text: &str) -> String {
    let packages: Vec<&str> = text.lines().filter(|line| line.starts_with("package ")).collect();
    let versions = packages
        .iter()
        .map(|line| line.rsplit_once('@').unwrap().1.trim_end_matches(';'));
    let mut versions: Vec<&str> = versions.collect();
    versions.dedup();
    assert_eq!(versions.len(), 1, "one version for both packages: {packages:?}");
    versions[0].to_owned()
}

#[test]
fn a_version_of_the_contract_never_changes() {
    let text = text();
    let version = version(&text);
    let digest = Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut digest, byte| {
            write!(digest, "{byte:02x}").unwrap();
            digest
        });
    let recorded = std::fs::read_to_string(wit().join("CHECKSUMS")).unwrap();
    let line = recorded
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{version} ")));
    assert_eq!(
        line,
        Some(digest.as_str()),
        "the text of {FOLDERS:?} in wit/ is not what `wit/CHECKSUMS` has for {version}. Components were built against that: \
         give the contract its next version as `wit/README.md` says (raise N in `-rc.N` everywhere), and add the line \
         `NEW-VERSION DIGEST` that this test then asks for. A line that is there is never edited"
    );
    let mut versions: Vec<&str> = recorded
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    versions.retain(|version| *version != "#");
    let count = versions.len();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), count, "`wit/CHECKSUMS` has a version twice");
}
