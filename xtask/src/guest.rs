//! The toolchain that compiles guests to components: rustup's target where it can be had, else Debian's packages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use crate::failure::{Failure, Result};
use crate::packages::{self, Needed};
use crate::place::Place;
use crate::process;

const TARGET: &str = "wasm32-unknown-unknown";
/// Long enough for a slow line, short enough where nothing can be downloaded.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(120);

/// Debian's compiler for that target, with the standard library's source. The proofs name the packages,
/// because another package's `/usr/bin/rustc` is too old.
const DEBIAN: [Needed; 3] = [
    Needed {
        package: "rustc-web",
        proof: "/usr/share/doc/rustc-web",
    },
    Needed {
        package: "cargo-web",
        proof: "/usr/share/doc/cargo-web",
    },
    Needed {
        package: "rust-web-src",
        proof: "/usr/share/doc/rust-web-src",
    },
];

/// A toolchain that was found or installed.
#[derive(Debug)]
pub struct Toolchain {
    kind: Kind,
    /// The project toolchain's folder with `wasm-component-ld`.
    linkers: PathBuf,
    version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The project's own toolchain with a compiled standard library for the target.
    Target,
    /// Debian's compiler, which compiles the standard library along.
    Source,
}

impl Toolchain {
    /// Finds one, or installs what is missing. `BKHOST_GUEST_TOOLCHAIN=target|source` allows only one of the two.
    pub fn get(place: &Place) -> Result<Self> {
        let sysroot = PathBuf::from(process::output(rustc(place).args(["--print", "sysroot"]))?);
        let linkers = linkers(place, &sysroot)?;
        let kind = choose(
            place,
            &sysroot,
            env::var("BKHOST_GUEST_TOOLCHAIN").ok().as_deref(),
        )?;
        let version = match kind {
            Kind::Target => process::output(rustc(place).arg("--version"))?,
            Kind::Source => process::output(Command::new("/usr/bin/rustc").arg("--version"))?,
        };
        Ok(Self {
            kind,
            linkers,
            version,
        })
    }

    /// What a guest's machine code depends on besides its sources.
    pub fn identity(&self) -> String {
        format!("{:?} {}", self.kind, self.version)
    }

    /// A release build of a guest workspace. Components appear in `artifacts`' folder of the target.
    pub fn build(&self, place: &Place) -> Command {
        let mut command = match self.kind {
            Kind::Target => cargo(),
            Kind::Source => cargo_with_source(),
        };
        command.args(["build", "--release", "--target", TARGET]);
        if self.kind == Kind::Source {
            command.args(["-Z", "build-std=std,panic_abort"]);
        }
        command.env("CARGO_TARGET_DIR", place.guests());
        // The linker of the toolchain also wraps the module as a component; `none`: guests import no WASI.
        command.env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            self.linkers.join("wasm-component-ld"),
        );
        command.env("CARGO_ENCODED_RUSTFLAGS", self.flags());
        command
    }

    /// Where a guest workspace's components lie after a build.
    pub fn artifacts(place: &Place) -> PathBuf {
        place.guests().join(TARGET).join("release")
    }

    fn flags(&self) -> String {
        let linker = format!(
            "link-arg=--wasm-ld-path={}",
            self.linkers.join("gcc-ld/wasm-ld").display()
        );
        ["-C", &linker, "-C", "link-arg=--wasi-adapter=none"].join("\u{1f}")
    }
}

/// Cargo of the project's toolchain.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn choose(place: &Place, sysroot: &Path, wanted: Option<&str>) -> Result<Kind> {
    match wanted.unwrap_or_default() {
        "" if has_target(sysroot) => Ok(Kind::Target),
        // Not asked again at every build: where this was installed, nothing could be downloaded.
        "" if packages::are_there(&DEBIAN) => Ok(Kind::Source),
        "" if add_target(place, sysroot) => Ok(Kind::Target),
        "" | "source" => packages::install(&DEBIAN).map(|()| Kind::Source),
        "target" if has_target(sysroot) || add_target(place, sysroot) => Ok(Kind::Target),
        "target" => Err(Failure::new(format!("The target `{TARGET}` cannot be installed"))
            .hint(format!("Run: rustup target add {TARGET}"))),
        other => Err(Failure::new(format!("`BKHOST_GUEST_TOOLCHAIN` is `{other}`"))
            .hint("It takes `target` (rustup's) or `source` (Debian's packages)")),
    }
}

fn cargo_with_source() -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    command.env("PATH", path_with("/usr/bin"));
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC_WRAPPER");
    // `cargo run` names the other toolchain's libraries there.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

fn rustc(place: &Place) -> Command {
    let mut command = Command::new("rustc");
    command.current_dir(&place.root);
    command
}

fn linkers(place: &Place, sysroot: &Path) -> Result<PathBuf> {
    let host = process::output(rustc(place).args(["--print", "host-tuple"]))?;
    let folder = sysroot.join("lib/rustlib").join(host).join("bin");
    if process::is_program(&folder.join("wasm-component-ld")) {
        return Ok(folder);
    }
    Err(
        Failure::new(format!("`{}` has no `wasm-component-ld`", folder.display()))
            .hint("Use a Rust toolchain from https://rustup.rs: it brings this linker"),
    )
}

fn has_target(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let Ok(entries) = fs::read_dir(libraries) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn add_target(place: &Place, sysroot: &Path) -> bool {
    if process::on_path("rustup").is_none() {
        return false;
    }
    eprintln!("==> Adding the target {TARGET} with rustup");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(&place.root);
    process::succeeds_within(&mut rustup, DOWNLOAD_LIMIT) && has_target(sysroot)
}

fn path_with(first: &str) -> std::ffi::OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from(first)).chain(env::split_paths(&rest));
    env::join_paths(folders).unwrap_or(rest)
}
