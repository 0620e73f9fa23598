//! Builds driver components and compiles them ahead of time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compiler;
use crate::enlarged::{self, Enlarged};
use crate::failure::{Failure, Result};
use crate::guest::Toolchain;
use crate::inputs::{self, Inputs};
use crate::manifest::{self, Guest};
use crate::place::Place;
use crate::process;

/// A workspace of guests, and where its components go below the drivers' folder.
struct Guests {
    folder: &'static str,
    into: &'static str,
    what: &'static str,
    /// What is made of their components.
    enlarged: &'static [Enlarged],
}

const SHIPPED: Guests = Guests {
    folder: "drivers",
    into: "",
    what: "drivers",
    enlarged: &[],
};
const FIXTURES: Guests = Guests {
    folder: "tests/fixtures/drivers",
    into: "fixtures",
    what: "fixture drivers",
    enlarged: &enlarged::FIXTURES,
};

/// Which guests are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What the host embeds.
    Shipped,
    /// Those, and what tests load.
    WithFixtures,
}

/// Brings `<target>/drivers` up to date: `NAME.wasm` and `NAME.cwasm` for every guest, fixtures in a folder of their own.
/// Files whose content stays the same are not touched, so that the host is not compiled again.
pub fn build(place: &Place, which: Which) -> Result {
    // Not in the drivers' own folder: whatever changes there has the host compiled again.
    let _held = inputs::lock(&place.guests())?;
    let toolchain = Toolchain::get(place)?;
    let both = [SHIPPED, FIXTURES].map(|guests| manifest::guests(&place.root.join(guests.folder)));
    let [shipped, fixtures] = both;
    check_names(&shipped?, &fixtures?)?;
    build_one(place, &toolchain, &SHIPPED)?;
    if which == Which::WithFixtures {
        build_one(place, &toolchain, &FIXTURES)?;
    }
    Ok(())
}

/// Both workspaces are built in one target folder, where crates of one name are taken for the same.
fn check_names(shipped: &[Guest], fixtures: &[Guest]) -> Result {
    let taken = |guest: &&Guest| shipped.iter().any(|other| other.artifact == guest.artifact);
    match fixtures.iter().find(taken) {
        None => Ok(()),
        Some(guest) => Err(Failure::new(format!(
            "The fixture `{}` has the crate name of a shipped driver",
            guest.name
        ))
        .hint("Rename its package: both are built in one target folder")),
    }
}

fn build_one(place: &Place, toolchain: &Toolchain, guests: &Guests) -> Result {
    let workspace = place.root.join(guests.folder);
    let into = place.drivers().join(guests.into);
    inputs::make_folder(&into)?;
    let members = manifest::guests(&workspace)?;
    let mut all = members.clone();
    all.extend(guests.enlarged.iter().map(Enlarged::guest));
    drop_strangers(&into, &all)?;
    if members.is_empty() {
        return Ok(());
    }
    let digest = source_digest(place, toolchain, &workspace)?;
    let stamp = into.join(".sources");
    let complete = members
        .iter()
        .all(|guest| into.join(guest.file("wasm")).is_file());
    if !complete || !inputs::is_current(&stamp, &digest) {
        eprintln!("==> Building {} {}", members.len(), guests.what);
        process::run(toolchain.build(place).arg("--workspace").current_dir(&workspace))?;
        publish(&Toolchain::artifacts(place), &into, &members)?;
        // A first build may have written the lock file, which is an input.
        inputs::keep(&stamp, &source_digest(place, toolchain, &workspace)?)?;
    }
    for one in guests.enlarged {
        replace(&into.join(one.guest().file("wasm")), &one.component(&into)?)?;
    }
    compile_ahead(place, &into, &all)
}

/// Everything a component is made from.
fn source_digest(place: &Place, toolchain: &Toolchain, workspace: &Path) -> Result<String> {
    let inputs = Inputs::default()
        .word(&toolchain.identity())
        .file(&place.root.join("Cargo.toml"));
    let inputs = inputs
        .folder(workspace)?
        .folder(&place.root.join("sdk"))?
        .folder(&place.root.join("wit"))?;
    Ok(inputs.digest())
}

fn publish(artifacts: &Path, into: &Path, members: &[Guest]) -> Result {
    for guest in members {
        let built = artifacts.join(&guest.artifact);
        let content = fs::read(&built).map_err(|cause| Failure::io("read", &built, &cause))?;
        replace(&into.join(guest.file("wasm")), &content)?;
    }
    Ok(())
}

fn replace(path: &Path, content: &[u8]) -> Result {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    inputs::write(path, content)
}

/// Removes what belongs to guests that are gone: the host would embed it.
fn drop_strangers(into: &Path, members: &[Guest]) -> Result {
    for path in files_in(into)? {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.split('.').next().unwrap_or_default();
        // Stamps are hidden files, and have no name before their point.
        if !name.is_empty() && !members.iter().any(|guest| guest.name == name) {
            inputs::remove(&path)?;
        }
    }
    Ok(())
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|cause| Failure::io("read", folder, &cause))?;
    Ok(entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect())
}

/// Compiles what has changed, in one run of the host's own compiler program.
fn compile_ahead(place: &Place, into: &Path, members: &[Guest]) -> Result {
    let engine = engine_digest(place)?;
    let all = members.iter().map(|guest| Ahead::of(guest, into, &engine));
    let stale: Vec<Ahead> = all.filter(Ahead::is_stale).collect();
    if stale.is_empty() {
        return Ok(());
    }
    eprintln!("==> Compiling {} components ahead of time", stale.len());
    let fresh = into.join(".new");
    inputs::remove(&fresh)?;
    inputs::make_folder(&fresh)?;
    let mut compiler = Command::new(compiler::get(place)?);
    for one in &stale {
        compiler.arg(&one.component).arg(fresh.join(&one.code));
    }
    process::run(&mut compiler)?;
    // The compiler writes more than machine code: what it found in the component goes into a file beside it.
    for file in files_in(&fresh)? {
        let content = fs::read(&file).map_err(|cause| Failure::io("read", &file, &cause))?;
        replace(&into.join(file.file_name().unwrap_or_default()), &content)?;
    }
    for one in &stale {
        inputs::keep(&one.stamp, &one.digest)?;
    }
    inputs::remove(&fresh)
}

/// One component and its machine code.
struct Ahead {
    component: PathBuf,
    code: String,
    stamp: PathBuf,
    digest: String,
    is_there: bool,
}

impl Ahead {
    fn of(guest: &Guest, into: &Path, engine: &str) -> Self {
        let component = into.join(guest.file("wasm"));
        let digest = Inputs::default().word(engine).file(&component).digest();
        let code = guest.file("cwasm");
        let is_there = into.join(&code).is_file();
        Self {
            stamp: into.join(format!(".{}", guest.name)),
            component,
            code,
            digest,
            is_there,
        }
    }

    fn is_stale(&self) -> bool {
        !self.is_there || !inputs::is_current(&self.stamp, &self.digest)
    }
}

/// The engine's version and configuration: machine code fits no other.
fn engine_digest(place: &Place) -> Result<String> {
    let lock = fs::read_to_string(place.root.join("Cargo.lock")).unwrap_or_default();
    let version = manifest::locked_version(&lock, "wasmtime").unwrap_or_default();
    Ok(Inputs::default()
        .word(&version)
        .folder(&place.root.join("host/engine"))?
        .digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_guest_that_is_gone_goes() {
        let folder = std::env::temp_dir().join(format!("xtask-strangers-{}", std::process::id()));
        let names = [
            "kept.wasm",
            "kept.cwasm",
            ".kept",
            ".gone",
            "gone.wasm",
            "gone.cwasm",
            "gone.manifest.toml",
        ];
        for name in names {
            inputs::write(&folder.join(name), b"").unwrap();
        }
        let kept = Guest {
            name: "kept".into(),
            artifact: "kept.wasm".into(),
        };
        drop_strangers(&folder, &[kept]).unwrap();
        let mut left: Vec<String> = files_in(&folder)
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(left, [".gone", ".kept", "kept.cwasm", "kept.wasm"]);
        inputs::remove(&folder).unwrap();
    }

    #[test]
    fn a_fixture_may_not_be_taken_for_a_driver() {
        let guest = |artifact: &str| {
            vec![Guest {
                name: "x".into(),
                artifact: artifact.into(),
            }]
        };
        assert!(check_names(&guest("remote.wasm"), &guest("remote_fixture.wasm")).is_ok());
        assert!(check_names(&guest("remote.wasm"), &guest("remote.wasm")).is_err());
    }

    #[test]
    fn content_that_stays_the_same_is_not_written_again() {
        let file = std::env::temp_dir().join(format!("xtask-replace-{}", std::process::id()));
        replace(&file, b"a").unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        replace(&file, b"a").unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), before);
        replace(&file, b"b").unwrap();
        assert_ne!(file.metadata().unwrap().modified().unwrap(), before);
        inputs::remove(&file).unwrap();
    }
}
