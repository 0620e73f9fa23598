//! The program that compiles components ahead of time. It is the longest part of a first build and seldom changes, so it
//! is kept in the cache folder for the next checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::{Failure, Result};
use crate::inputs::{self, Inputs};
use crate::place::Place;
use crate::{guest, process};

const NAME: &str = "bkhost-aot";
/// How many versions are kept: for checkouts that are worked on in turns.
const KEPT: usize = 3;

/// Finds the program for this checkout's sources and dependencies, or builds it.
pub fn get(place: &Place) -> Result<PathBuf> {
    let folder = place.cache.join("compilers");
    let kept = folder.join(format!("{NAME}-{}", digest(place)?));
    if process::is_program(&kept) {
        return Ok(kept);
    }
    let mut build = guest::cargo();
    build.args(["build", "--package", "bkhost-engine"]);
    build.args(["--features", "compile", "--bin", NAME]);
    process::run(build.current_dir(&place.root))?;
    keep(&place.target.join("debug").join(NAME), &kept)?;
    drop_oldest(&folder)?;
    Ok(kept)
}

fn digest(place: &Place) -> Result<String> {
    let settings = ["Cargo.toml", "Cargo.lock"].map(|name| place.root.join(name));
    let inputs = settings
        .iter()
        .fold(Inputs::default(), |inputs, file| inputs.file(file));
    Ok(inputs.folder(&place.root.join("host/engine"))?.digest())
}

/// Puts a copy in its place in one piece: another checkout may be looking.
fn keep(built: &Path, kept: &Path) -> Result {
    if let Some(folder) = kept.parent() {
        inputs::make_folder(folder)?;
    }
    let fresh = kept.with_added_extension(format!("{}.new", std::process::id()));
    fs::copy(built, &fresh).map_err(|cause| Failure::io("write", &fresh, &cause))?;
    fs::rename(&fresh, kept).map_err(|cause| Failure::io("write", kept, &cause))
}

fn drop_oldest(folder: &Path) -> Result {
    let entries = fs::read_dir(folder).map_err(|cause| Failure::io("read", folder, &cause))?;
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    let surplus = files.len().saturating_sub(KEPT);
    files
        .iter()
        .take(surplus)
        .try_for_each(|(_, path)| inputs::remove(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_versions_stay() {
        let folder = std::env::temp_dir().join(format!("xtask-compilers-{}", std::process::id()));
        let names = ["a", "b", "c", "d", "e"];
        for (age, name) in names.iter().enumerate() {
            let path = folder.join(name);
            inputs::write(&path, b"").unwrap();
            let time = SystemTime::now() - std::time::Duration::from_secs(age as u64);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        drop_oldest(&folder).unwrap();
        let left: Vec<&&str> = names.iter().filter(|name| folder.join(name).exists()).collect();
        assert_eq!(left, [&"a", &"b", &"c"]);
        inputs::remove(&folder).unwrap();
    }

    #[test]
    fn what_is_kept_can_be_run() {
        let folder = std::env::temp_dir().join(format!("xtask-kept-{}", std::process::id()));
        let kept = folder.join("deep/true");
        keep(Path::new("/bin/true"), &kept).unwrap();
        assert!(process::is_program(&kept));
        inputs::remove(&folder).unwrap();
    }
}
