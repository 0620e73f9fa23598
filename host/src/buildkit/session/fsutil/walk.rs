//! The entries of a folder in the order and selection in which they are sent.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bkhost_proto::fsutil::Stat;

use super::entry;
use super::follow;
use super::pattern::{Hits, PatternError, Patterns};

/// What is sent: matched by the include list, if there is one, and not by the exclude list.
#[derive(Debug, Default)]
pub struct Selection {
    include: Option<Patterns>,
    exclude: Patterns,
}

impl Selection {
    /// The selection that the metadata of a request describes; see [`follow::include_patterns`] for `follow_paths`.
    pub fn new(
        root: &Path,
        include: Vec<String>,
        exclude: &[String],
        follow_paths: &[String],
    ) -> Result<Self, PatternError> {
        let mut wanted = include;
        let followed = if follow_paths.is_empty() {
            None
        } else {
            Some(follow::include_patterns(root, follow_paths))
        };
        let everything = matches!(followed, Some(None));
        wanted.extend(followed.flatten().into_iter().flatten());
        let include = if everything || wanted.is_empty() {
            None
        } else {
            Some(Patterns::new(wanted)?)
        };
        Ok(Self {
            include,
            exclude: Patterns::new(exclude)?,
        })
    }

    fn judge(&self, path: &str, parent: &Judged) -> Judged {
        let (included, include_hits) = match &self.include {
            Some(patterns) => patterns.matches(path, Some(&parent.include_hits)),
            None => (true, Hits::default()),
        };
        let (excluded, exclude_hits) = self.exclude.matches(path, Some(&parent.exclude_hits));
        Judged {
            included,
            excluded,
            include_hits,
            exclude_hits,
        }
    }

    /// Whether anything below the folder `path` could be sent.
    fn reaches_below(&self, path: &str, judged: &Judged) -> bool {
        if judged.excluded && !self.exclude.may_except_below(path) {
            return false;
        }
        judged.included
            || self
                .include
                .as_ref()
                .is_none_or(|patterns| patterns.may_match_below(path))
    }
}

#[derive(Debug, Default)]
struct Judged {
    included: bool,
    excluded: bool,
    include_hits: Hits,
    exclude_hits: Hits,
}

impl Judged {
    fn sent(&self) -> bool {
        self.included && !self.excluded
    }
}

/// A failure to list a tree.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {path}", path = path.display())]
pub struct WalkError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Walks `root` and gives every selected entry to `send`, parents first, siblings in byte order of their names. Entries
/// that vanish meanwhile are skipped. `send` returning `false` ends the walk early.
pub fn walk(
    root: &Path,
    selection: &Selection,
    send: &mut dyn FnMut(Stat, &Path) -> bool,
) -> Result<(), WalkError> {
    let mut walk = Walk {
        selection,
        send,
        first_of_inode: HashMap::new(),
        stopped: false,
    };
    walk.folder(
        root,
        "",
        &Judged {
            included: true,
            ..Judged::default()
        },
        &mut Vec::new(),
    )
}

struct Walk<'a> {
    selection: &'a Selection,
    send: &'a mut dyn FnMut(Stat, &Path) -> bool,
    /// Path under which a file with several names was sent first, by device and inode.
    first_of_inode: HashMap<(u64, u64), String>,
    stopped: bool,
}

/// A folder that is sent only once something below it is.
struct Pending {
    full: PathBuf,
    path: String,
    metadata: Metadata,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        full: &Path,
        path: &str,
        judged: &Judged,
        pending: &mut Vec<Pending>,
    ) -> Result<(), WalkError> {
        let names = match sorted_names(full) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if !path.is_empty() && !judged.sent() => return Ok(()),
            Err(source) => {
                return Err(WalkError {
                    path: full.to_owned(),
                    source,
                });
            }
        };
        for name in names {
            if self.stopped {
                break;
            }
            let child_path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            self.entry(full.join(&name), child_path, judged, pending)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        full: PathBuf,
        path: String,
        parent: &Judged,
        pending: &mut Vec<Pending>,
    ) -> Result<(), WalkError> {
        let metadata = match std::fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(WalkError { path: full, source }),
        };
        let judged = self.selection.judge(&path, parent);
        if !metadata.is_dir() {
            return if judged.sent() {
                self.flush_and_emit(&full, &path, &metadata, pending)
            } else {
                Ok(())
            };
        }
        if judged.sent() {
            self.flush_and_emit(&full, &path, &metadata, pending)?;
            return self.folder(&full, &path, &judged, pending);
        }
        if self.selection.reaches_below(&path, &judged) {
            let depth = pending.len();
            pending.push(Pending {
                full: full.clone(),
                path: path.clone(),
                metadata,
            });
            self.folder(&full, &path, &judged, pending)?;
            pending.truncate(depth);
        }
        Ok(())
    }

    fn flush_and_emit(
        &mut self,
        full: &Path,
        path: &str,
        metadata: &Metadata,
        pending: &mut Vec<Pending>,
    ) -> Result<(), WalkError> {
        for parent in std::mem::take(pending) {
            self.emit(&parent.full, &parent.path, &parent.metadata)?;
        }
        self.emit(full, path, metadata)
    }

    fn emit(&mut self, full: &Path, path: &str, metadata: &Metadata) -> Result<(), WalkError> {
        let mut stat = match entry::source_stat(full, path, metadata) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(WalkError {
                    path: full.to_owned(),
                    source,
                });
            }
        };
        if metadata.is_file() && metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            match self.first_of_inode.get(&inode) {
                Some(first) => {
                    stat.linkname = first.clone();
                    stat.size = 0;
                }
                None => {
                    self.first_of_inode.insert(inode, path.to_owned());
                }
            }
        }
        if !self.stopped && !(self.send)(stat, full) {
            self.stopped = true;
        }
        Ok(())
    }
}

/// Names that are not UTF-8 cannot travel in a protobuf string; they are skipped like what cannot be seen.
fn sorted_names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        dir
    }

    fn listed(root: &Path, include: &[&str], exclude: &[&str], follow: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(root, owned(include), &owned(exclude), &owned(follow)).unwrap();
        let mut paths = Vec::new();
        walk(root, &selection, &mut |stat, _| {
            paths.push(stat.path);
            true
        })
        .unwrap();
        paths
    }

    #[test]
    fn folders_come_before_their_content_and_sort_below_other_bytes() {
        let dir = tree(&["d/b", "d-x", "a"]);
        assert_eq!(listed(dir.path(), &[], &[], &[]), ["a", "d", "d/b", "d-x"]);
    }

    #[test]
    fn parents_of_what_is_sent_come_with_it() {
        let dir = tree(&["src/lib/main.rs", "src/readme", "target/x"]);
        assert_eq!(
            listed(dir.path(), &["src/lib/*.rs"], &[], &[]),
            ["src", "src/lib", "src/lib/main.rs"]
        );
    }

    #[test]
    fn an_exception_brings_back_one_file_of_an_excluded_folder() {
        let dir = tree(&["node_modules/a/x", "node_modules/keep", "z"]);
        assert_eq!(
            listed(dir.path(), &[], &["node_modules", "!node_modules/keep"], &[]),
            ["node_modules", "node_modules/keep", "z"]
        );
    }

    #[test]
    fn followed_paths_limit_what_is_sent() {
        let dir = tree(&["Dockerfile", "Dockerfile.dockerignore", "src/a"]);
        assert_eq!(
            listed(
                dir.path(),
                &[],
                &[],
                &["Dockerfile", "Dockerfile.dockerignore", "dockerfile"]
            ),
            ["Dockerfile", "Dockerfile.dockerignore"]
        );
    }

    #[test]
    fn later_names_of_a_file_are_links_to_the_first_that_is_sent() {
        let dir = tree(&["a", "b"]);
        std::fs::hard_link(dir.path().join("a"), dir.path().join("c")).unwrap();
        let selection = Selection::default();
        let mut links = Vec::new();
        walk(dir.path(), &selection, &mut |stat, _| {
            links.push((stat.path, stat.linkname, stat.size));
            true
        })
        .unwrap();
        assert_eq!(links[2], ("c".to_owned(), "a".to_owned(), 0));
        assert_eq!(listed(dir.path(), &[], &["a"], &[]), ["b", "c"]);
    }
}
