//! Debian packages: what is missing is installed as root; anybody else is told the line to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::inputs;
use crate::process;

/// What must be there before something else can run: a package, and a file that shows it is there.
#[derive(Debug, Clone, Copy)]
pub struct Needed {
    /// The package's name.
    pub package: &'static str,
    /// A program on `PATH`, or an absolute path, that the package brings.
    pub proof: &'static str,
}

/// Installs the packages whose proof is missing.
pub fn install(needed: &[Needed]) -> Result {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|one| !is_there(one.proof))
        .map(|one| one.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut install = Command::new("apt-get");
    // Nothing that somebody installed may go: some of these packages conflict with others of Debian's.
    install
        .args([
            "install",
            "--yes",
            "--quiet",
            "--no-remove",
            "--no-install-recommends",
        ])
        .args(&missing);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    let line = format!("apt-get update && {}", process::shown(&install));
    if process::on_path("apt-get").is_none() {
        return Err(Failure::new(format!("Missing on this machine: {}", missing.join(", "))).hint(
            "There is no `apt-get` here; install what these Debian packages hold with the system's own package manager",
        ));
    }
    if !process::is_root() {
        return Err(
            Failure::new(format!("Missing on this machine: {}", missing.join(", ")))
                .hint(format!("As root, run: {line}")),
        );
    }
    eprintln!("==> Installing Debian packages: {}", missing.join(" "));
    refresh_lists()?;
    process::run_quietly(&mut install)
        .map_err(|failure| failure.hint(format!("Look at what stands in the way, then run: {line}")))
}

/// Whether nothing is missing.
pub fn are_there(needed: &[Needed]) -> bool {
    needed.iter().all(|one| is_there(one.proof))
}

/// Unpacks packages into a folder without installing them, which needs no root.
pub fn unpack(packages: &[&str], into: &Path, scratch: &Path) -> Result {
    inputs::remove(scratch)?;
    inputs::make_folder(scratch)?;
    if let Err(failure) = download(packages, scratch) {
        // Nearly always the lists of packages are missing or old.
        if !process::is_root() {
            return Err(failure.hint("As root, run: apt-get update"));
        }
        refresh_lists()?;
        download(packages, scratch)?;
    }
    inputs::make_folder(into)?;
    for package in archives(scratch)? {
        process::run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(into))?;
    }
    inputs::remove(scratch)
}

fn download(packages: &[&str], scratch: &Path) -> Result {
    // As root apt downloads as the user `_apt`, who cannot write here; it warns and goes on as root.
    let mut download = Command::new("apt-get");
    download
        .args(["download", "--quiet", "-o", "APT::Sandbox::User=root"])
        .args(packages)
        .current_dir(scratch);
    process::run_quietly(&mut download)
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = folder
        .read_dir()
        .map_err(|cause| Failure::io("read", folder, &cause))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    found.sort();
    Ok(found)
}

fn refresh_lists() -> Result {
    process::run_quietly(Command::new("apt-get").args(["update", "--quiet"]))
}

fn is_there(proof: &str) -> bool {
    if proof.starts_with('/') {
        return Path::new(proof).exists();
    }
    // An ordinary user's PATH often lacks the folders of system programs.
    let system = [Path::new("/usr/sbin"), Path::new("/sbin")];
    process::on_path(proof).is_some()
        || system
            .iter()
            .any(|folder| process::is_program(&folder.join(proof)))
}
