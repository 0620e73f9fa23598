//! Builds driver components and compiles them ahead of time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::guest::{self, Toolchain};
use crate::inputs::{self, Inputs};
use crate::manifest::{self, Guest};
use crate::place::Place;
use crate::process;

/// A workspace of guests, and where its components go below the drivers' folder.
struct Guests {
    folder: &'static str,
    into: &'static str,
    what: &'static str,
}

const SHIPPED: Guests = Guests {
    folder: "drivers",
    into: "",
    what: "drivers",
};
const FIXTURES: Guests = Guests {
    folder: "tests/fixtures/drivers",
    into: "fixtures",
    what: "fixture drivers",
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
    let toolchain = Toolchain::get(place)?;
    build_one(place, &toolchain, &SHIPPED)?;
    if which == Which::WithFixtures {
        build_one(place, &toolchain, &FIXTURES)?;
    }
    Ok(())
}

fn build_one(place: &Place, toolchain: &Toolchain, guests: &Guests) -> Result {
    let workspace = place.root.join(guests.folder);
    let into = place.drivers().join(guests.into);
    inputs::make_folder(&into)?;
    let members = manifest::guests(&workspace)?;
    drop_strangers(&into, &members)?;
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
    compile_ahead(place, &into, &members)
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

/// Removes components of guests that are gone: the host would embed them.
fn drop_strangers(into: &Path, members: &[Guest]) -> Result {
    let entries = fs::read_dir(into).map_err(|cause| Failure::io("read", into, &cause))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path
            .extension()
            .is_some_and(|kind| kind == "wasm" || kind == "cwasm");
        let known = members
            .iter()
            .any(|guest| path.file_stem() == Some(guest.name.as_ref()));
        if ours && !known {
            inputs::remove(&path)?;
        }
    }
    Ok(())
}

/// Compiles what has changed, in one run of the host's own compiler program.
fn compile_ahead(place: &Place, into: &Path, members: &[Guest]) -> Result {
    let engine = engine_digest(place)?;
    let stale: Vec<Ahead> = members
        .iter()
        .map(|guest| Ahead::of(guest, into, &engine))
        .filter(Ahead::is_stale)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    eprintln!("==> Compiling {} components ahead of time", stale.len());
    let mut compiler = Command::new(compiler(place)?);
    for one in &stale {
        compiler.arg(&one.component).arg(&one.fresh);
    }
    process::run(&mut compiler)?;
    for one in &stale {
        let code = fs::read(&one.fresh).map_err(|cause| Failure::io("read", &one.fresh, &cause))?;
        replace(&one.code, &code)?;
        inputs::remove(&one.fresh)?;
        inputs::keep(&one.stamp, &one.digest)?;
    }
    Ok(())
}

/// One component and its machine code.
struct Ahead {
    component: PathBuf,
    code: PathBuf,
    fresh: PathBuf,
    stamp: PathBuf,
    digest: String,
}

impl Ahead {
    fn of(guest: &Guest, into: &Path, engine: &str) -> Self {
        let component = into.join(guest.file("wasm"));
        let digest = Inputs::default().word(engine).file(&component).digest();
        Self {
            code: into.join(guest.file("cwasm")),
            fresh: into.join(guest.file("cwasm.new")),
            stamp: into.join(format!(".{}", guest.name)),
            component,
            digest,
        }
    }

    fn is_stale(&self) -> bool {
        !self.code.is_file() || !inputs::is_current(&self.stamp, &self.digest)
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

fn compiler(place: &Place) -> Result<PathBuf> {
    let mut build = guest::cargo();
    build.args([
        "build",
        "--quiet",
        "--package",
        "bkhost-engine",
        "--features",
        "compile",
        "--bin",
        "bkhost-aot",
    ]);
    process::run(build.current_dir(&place.root))?;
    Ok(place.target.join("debug/bkhost-aot"))
}
