//! Embeds the drivers that `cargo xtask drivers` has compiled. Without them it builds a host that says so.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const COMMAND: &str = "cargo xtask drivers";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=BKHOST_DRIVERS_DIR");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo did not say where to write")?);
    let folder = match std::env::var_os("BKHOST_DRIVERS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = target_folder(&out)?.join("drivers");
            // A path that is missing counts as changed, so that everything would be compiled again each time.
            std::fs::create_dir_all(&folder)?;
            folder
        }
    };
    // The folder itself, so that new drivers are noticed.
    println!("cargo::rerun-if-changed={}", folder.display());
    let drivers = find(&folder)?;
    std::fs::write(out.join("drivers.rs"), table(&drivers)?)?;
    Ok(())
}

/// The build folder: `OUT_DIR` is `<target>/[<triple>/]<profile>/build/<package>/out`.
fn target_folder(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    out.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
        .ok_or_else(|| format!("`{}` is in no build folder of cargo", out.display()).into())
}

/// Name, code and manifest of a compiled driver.
type Driver = (String, PathBuf, PathBuf);

/// Compiled drivers with their manifests beside them, sorted by name.
fn find(folder: &Path) -> Result<Vec<Driver>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        format!(
            "`{}`, where drivers should be, cannot be read: {error}",
            folder.display()
        )
    })?;
    let mut drivers = Vec::new();
    for entry in entries {
        let code = entry?.path();
        if code.extension().is_none_or(|extension| extension != "cwasm") {
            continue;
        }
        let manifest = code.with_extension("manifest.toml");
        if !manifest.is_file() {
            return Err(format!(
                "`{}` has no manifest beside it: run `{COMMAND}` again",
                code.display()
            )
            .into());
        }
        let name = code
            .file_stem()
            .and_then(|name| name.to_str())
            .ok_or_else(|| format!("`{}` is not named like a driver", code.display()))?
            .to_owned();
        println!("cargo::rerun-if-changed={}", code.display());
        println!("cargo::rerun-if-changed={}", manifest.display());
        drivers.push((name, code, manifest));
    }
    drivers.sort();
    Ok(drivers)
}

fn table(drivers: &[Driver]) -> Result<String, Box<dyn Error>> {
    let mut table = String::from(
        "/// Name, compiled code and manifest of each built-in driver.\n\
         pub(super) static DRIVERS: &[(&str, &Embedded, &str)] = &[\n",
    );
    for (name, code, manifest) in drivers {
        writeln!(
            table,
            "    ({name:?}, &Embedded(*include_bytes!({code:?})), include_str!({manifest:?})),"
        )?;
    }
    table.push_str("];\n");
    let hint = if drivers.is_empty() {
        format!("Some(\"This bkhost was built without drivers: run `{COMMAND}` and build it again\")")
    } else {
        "None".to_owned()
    };
    writeln!(
        table,
        "/// What to do about a program without drivers.\npub(super) const HINT: Option<&str> = {hint};"
    )?;
    Ok(table)
}
