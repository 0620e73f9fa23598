//! Control groups of containers whose engine was killed: nobody else removes them.

use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
/// Where engines put containers, and where clients ask them to put builders.
const PARENTS: [&str; 4] = ["docker", "docker/buildx", "default", "libpod_parent"];

/// Removes the groups of these containers, which have no processes any more, with what steps left below them.
pub fn remove(containers: &[String]) {
    for hierarchy in hierarchies() {
        for (parent, id) in PARENTS
            .iter()
            .flat_map(|parent| containers.iter().map(move |id| (parent, id)))
        {
            remove_tree(&hierarchy.join(parent).join(id));
        }
        // Those of another engine's containers keep them.
        for parent in PARENTS.iter().rev() {
            let _ = std::fs::remove_dir(hierarchy.join(parent));
        }
    }
}

/// The groups of a container that are there.
pub fn of(container: &str) -> Vec<PathBuf> {
    let places = hierarchies()
        .into_iter()
        .flat_map(|hierarchy| PARENTS.map(|parent| hierarchy.join(parent).join(container)));
    places.filter(|group| group.exists()).collect()
}

/// One hierarchy with version 2, one for each controller with version 1.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    folders(root).into_iter().chain([root.to_owned()]).collect()
}

/// The files in a group are the kernel's: only folders are removed, the innermost first.
fn remove_tree(group: &Path) {
    folders(group).iter().for_each(|below| remove_tree(below));
    let _ = std::fs::remove_dir(group);
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}
