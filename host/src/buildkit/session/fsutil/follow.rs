//! `followpaths`: which paths must be sent so that a given path, links resolved, can be read on the other side.

use std::collections::BTreeSet;
use std::path::Path;

use super::pattern::{Patterns, clean};

/// More links than this on the way of one path are a loop (the kernel's own limit is 40).
const MAX_LINKS: usize = 255;

/// The include patterns for `paths` inside `root`, sorted, children of a listed path dropped; `None` when one of them
/// is the root itself, so that everything is included.
///
/// Each path is resolved one component at a time without leaving the root. A component that is a link is recorded, and
/// resolving goes on at its target. In a component with a wildcard only the links among its matches are followed; the
/// pattern itself is recorded as it is. A missing path is fine.
pub fn include_patterns(root: &Path, paths: &[String]) -> Option<Vec<String>> {
    let mut resolver = Resolver {
        root,
        found: BTreeSet::new(),
    };
    for path in paths {
        resolver.resolve(path);
    }
    if resolver.found.contains(".") {
        return None;
    }
    Some(without_children(resolver.found))
}

struct Resolver<'a> {
    root: &'a Path,
    found: BTreeSet<String>,
}

impl Resolver<'_> {
    fn resolve(&mut self, path: &str) {
        let mut pending = vec![relative(path)];
        let mut links = 0;
        while let Some(path) = pending.pop() {
            let targets = self.resolve_once(&path);
            links += targets.len();
            if links > MAX_LINKS {
                return;
            }
            pending.extend(targets);
        }
    }

    /// Walks along `path` to its first link or wildcard; records what was found and returns the paths to go on with.
    fn resolve_once(&mut self, path: &str) -> Vec<String> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut current = String::new();
        for (index, part) in parts.iter().enumerate() {
            let rest = parts.get(index + 1..).unwrap_or_default().join("/");
            if part.contains(['*', '?', '[']) {
                self.found.insert(path.to_owned());
                return self.wildcard_links(&current, part, &rest);
            }
            let next = join(&current, part);
            if let Some(target) = self.link_target(&current, &next) {
                self.found.insert(next);
                return vec![relative(&join(&target, &rest))];
            }
            current = next;
        }
        self.found.insert(if current.is_empty() {
            ".".to_owned()
        } else {
            current
        });
        Vec::new()
    }

    fn wildcard_links(&mut self, dir: &str, pattern: &str, rest: &str) -> Vec<String> {
        let Ok(patterns) = Patterns::new([pattern]) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(self.root.join(dir)) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| patterns.matches(name, None).0)
            .filter_map(|name| self.link_target(dir, &join(dir, &name)))
            .map(|target| relative(&join(&target, rest)))
            .collect()
    }

    /// The target of the link `path` in folder `dir`, both relative to the root; `None` when it is no link.
    fn link_target(&self, dir: &str, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.root.join(path))
            .ok()?
            .into_os_string()
            .into_string()
            .ok()?;
        Some(if target.starts_with('/') {
            target
        } else {
            join(dir, &target)
        })
    }
}

fn join(dir: &str, name: &str) -> String {
    match (dir.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => dir.to_owned(),
        _ => format!("{dir}/{name}"),
    }
}

/// A path inside the root: `..` at the root stays at the root, as in a chroot.
fn relative(path: &str) -> String {
    let cleaned = clean(&format!("/{path}"));
    cleaned.trim_start_matches('/').to_owned()
}

fn without_children(found: BTreeSet<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for path in &found {
        let mut parents = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        if !parents.any(|parent| found.contains(parent)) {
            kept.push(path.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn patterns(root: &Path, paths: &[&str]) -> Option<Vec<String>> {
        include_patterns(
            root,
            &paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn links_are_recorded_and_followed_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("real/sub")).unwrap();
        symlink("real", root.join("a")).unwrap();
        symlink("/real/sub", root.join("abs")).unwrap();
        symlink("../../../../real", root.join("out")).unwrap();
        assert_eq!(patterns(root, &["a/sub"]).unwrap(), ["a", "real/sub"]);
        assert_eq!(patterns(root, &["abs/x"]).unwrap(), ["abs", "real/sub/x"]);
        assert_eq!(patterns(root, &["out"]).unwrap(), ["out", "real"]);
        assert_eq!(patterns(root, &["missing"]).unwrap(), ["missing"]);
    }

    #[test]
    fn wildcards_keep_the_pattern_and_follow_links_among_the_matches() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::write(root.join("target"), "").unwrap();
        symlink("target", root.join("l1")).unwrap();
        assert_eq!(patterns(root, &["l*"]).unwrap(), ["l*", "target"]);
    }

    #[test]
    fn the_root_means_everything_and_loops_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        assert_eq!(patterns(dir.path(), &["."]), None);
        assert_eq!(patterns(dir.path(), &["loop"]).unwrap(), ["loop"]);
    }

    #[test]
    fn children_of_a_listed_path_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(patterns(dir.path(), &["a", "a/b", "ab"]).unwrap(), ["a", "ab"]);
    }
}
