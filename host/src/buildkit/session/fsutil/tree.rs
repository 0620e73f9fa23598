//! Writing below one folder and nowhere else, also when links stand in the way.
//!
//! Every path is opened relative to the destination with `openat2` and without following any link, so neither the
//! sender nor what already lies in the destination can lead a write out of it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bkhost_proto::fsutil::Stat;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::path::Arg;

use super::entry::{mode, unix_permissions};
use crate::fs::FileError;

/// A failure to write an entry.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {path}", path = path.display())]
pub struct TreeError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl TreeError {
    /// The folder, or one above it, could not be made.
    fn of_folder(error: FileError) -> Self {
        let (path, source) = match error {
            FileError::Io { path, source, .. } => (path, source),
            FileError::NotRegular { path, .. } => (path, io::ErrorKind::NotADirectory.into()),
        };
        Self {
            action: "create",
            path,
            source,
        }
    }
}

type TreeResult<T> = Result<T, TreeError>;

/// The destination of an export.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    root: Arc<OwnedFd>,
    /// The folder used last: entries come folder by folder.
    last_parent: Option<(String, Arc<OwnedFd>)>,
    links: Vec<Stat>,
    /// Folders that were opened to their owner for the time of writing, and the permissions they had.
    opened_up: BTreeMap<String, Mode>,
}

/// A transfer that breaks off leaves folders as closed as they were.
impl Drop for Tree {
    fn drop(&mut self) {
        // Children first: a closed folder is no way to what is below it.
        for (path, before) in self.opened_up.iter().rev() {
            if let Ok(folder) = open_below(&self.root, path) {
                let _ = rustix::fs::fchmod(&folder, *before);
            }
        }
    }
}

/// A file being written under a temporary name.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    parent: Arc<OwnedFd>,
    temporary: Temporary,
    path: PathBuf,
}

/// A temporary name, removed again unless it was renamed away.
#[derive(Debug)]
struct Temporary {
    parent: Arc<OwnedFd>,
    name: String,
    kept: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::empty());
        }
    }
}

impl Tree {
    /// The tree below `path`, which is made with mode 0700 (with its parents) if it is missing.
    pub fn create(path: &Path) -> TreeResult<Self> {
        crate::fs::create_dir_all(path, crate::fs::PRIVATE_DIR).map_err(TreeError::of_folder)?;
        let root = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            root: Arc::new(root),
            last_parent: None,
            links: Vec::new(),
            opened_up: BTreeMap::new(),
        })
    }

    /// Writes a folder, link, device or pipe.
    pub fn write_special(&mut self, stat: &Stat) -> TreeResult<()> {
        let (parent, name) = self.place(&stat.path)?;
        let full = self.path.join(&stat.path);
        if stat.mode & mode::DIR != 0 {
            let before = make_folder(&parent, name, &full)?;
            self.opened_up
                .extend(before.map(|mode| (stat.path.clone(), mode)));
            return Ok(());
        }
        let temporary = temporary_name(&parent);
        make_node(&parent, &temporary.name, stat).map_err(failed("create", &full))?;
        set_times(&parent, &temporary.name, stat.mod_time).map_err(failed("set the times of", &full))?;
        replace(temporary, name).map_err(failed("write", &full))
    }

    /// Begins a regular file under a temporary name.
    pub fn create_file(&mut self, stat: &Stat) -> TreeResult<OpenFile> {
        let (parent, _) = self.place(&stat.path)?;
        let temporary = temporary_name(&parent);
        let path = self.path.join(&stat.path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, &temporary.name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("create", &path))?;
        Ok(OpenFile {
            file: file.into(),
            parent,
            temporary,
            path,
        })
    }

    /// Gives a complete file its mode, attributes, time and name.
    pub fn finish_file(&mut self, open: OpenFile, stat: &Stat) -> TreeResult<()> {
        let OpenFile {
            file,
            parent,
            temporary,
            path,
        } = open;
        set_attributes(&file, stat);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(unix_permissions(stat.mode)))
            .map_err(failed("set the mode of", &path))?;
        set_times(&parent, &temporary.name, stat.mod_time).map_err(failed("set the times of", &path))?;
        let name = stat.path.rsplit('/').next().unwrap_or(&stat.path);
        replace(temporary, name).map_err(failed("write", &path))
    }

    /// Remembers a hard link until its target is there.
    pub fn defer_link(&mut self, stat: Stat) {
        self.links.push(stat);
    }

    /// Makes the hard links, in the order in which they were listed.
    pub fn make_links(&mut self) -> TreeResult<()> {
        for stat in std::mem::take(&mut self.links) {
            let full = self.path.join(&stat.path);
            let (target_parent, target_name) = self.place(&stat.linkname)?;
            let target_name = target_name.to_owned();
            let (parent, name) = self.place(&stat.path)?;
            let temporary = temporary_name(&parent);
            rustix::fs::linkat(
                &target_parent,
                &target_name,
                &parent,
                &temporary.name,
                AtFlags::empty(),
            )
            .map_err(failed("link", &full))?;
            replace(temporary, name).map_err(failed("link", &full))?;
        }
        Ok(())
    }

    /// Gives a folder its final mode, attributes and time.
    pub fn finish_folder(&mut self, stat: &Stat) -> TreeResult<()> {
        let full = self.path.join(&stat.path);
        let folder = open_below(&self.root, &stat.path).map_err(failed("open", &full))?;
        set_attributes(&folder, stat);
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(unix_permissions(stat.mode)))
            .map_err(failed("set the mode of", &full))?;
        self.opened_up.remove(&stat.path);
        rustix::fs::futimens(&folder, &times(stat.mod_time)).map_err(failed("set the times of", &full))
    }

    /// Removes every entry that is not in `wanted` (paths relative to the destination).
    pub fn remove_others(&mut self, wanted: &HashSet<String>) -> TreeResult<()> {
        let mut walk = walkdir::WalkDir::new(&self.path).min_depth(1).into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|error| TreeError {
                action: "list",
                path: self.path.clone(),
                source: error.into(),
            })?;
            let path = entry.path();
            let relative = path.strip_prefix(&self.path).unwrap_or(path);
            if wanted.contains(relative.to_string_lossy().as_ref()) {
                continue;
            }
            let parent = relative.parent().unwrap_or(Path::new("")).to_string_lossy();
            let parent = self.folder(&parent)?;
            let removed = if entry.file_type().is_dir() {
                // It may be closed to its owner, which the walk cannot change.
                walk.skip_current_dir();
                remove_folder(&parent, entry.file_name())
            } else {
                rustix::fs::unlinkat(&parent, entry.file_name(), AtFlags::empty())
            };
            removed.map_err(failed("remove", path))?;
        }
        Ok(())
    }

    fn place<'a>(&mut self, path: &'a str) -> TreeResult<(Arc<OwnedFd>, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.folder(parent)?, name))
    }

    /// A folder of the destination; its own path is empty.
    fn folder(&mut self, path: &str) -> TreeResult<Arc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((known, folder)) = &self.last_parent
            && known == path
        {
            return Ok(Arc::clone(folder));
        }
        let folder = open_below(&self.root, path).map_err(failed("open", &self.path.join(path)))?;
        let folder = Arc::new(folder);
        self.last_parent = Some((path.to_owned(), Arc::clone(&folder)));
        Ok(folder)
    }
}

impl OpenFile {
    /// Appends data.
    pub fn write(&mut self, data: &[u8]) -> TreeResult<()> {
        self.file.write_all(data).map_err(|source| TreeError {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> TreeError {
    let path = path.to_owned();
    move |errno| TreeError {
        action,
        path,
        source: errno.into(),
    }
}

/// Opens a folder below `root` without following a link anywhere on the way.
fn open_below(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that hide the call: one component at a time is the same.
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut folder = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
            for part in path.split('/') {
                folder = rustix::fs::openat(&folder, part, flags, Mode::empty())?;
            }
            Ok(folder)
        }
        opened => opened,
    }
}

/// A folder that is there stays, whatever is in it, but is opened to its owner: then the result is the permissions it
/// had. Anything else in its place goes.
fn make_folder(parent: &OwnedFd, name: &str, full: &Path) -> TreeResult<Option<Mode>> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => Ok(None),
        Err(Errno::EXIST) => {
            let stat =
                rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("read", full))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return open_up(parent, name, &stat).map_err(failed("set the mode of", full));
            }
            rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(failed("replace", full))?;
            rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed("create", full))?;
            Ok(None)
        }
        Err(errno) => Err(failed("create", full)(errno)),
    }
}

/// Lets the owner change a folder that its mode keeps from them, as an earlier export may have left it. The result is
/// the permissions it had if that was needed. In a folder of somebody else nothing can be done about it: writing fails.
fn open_up(parent: &OwnedFd, name: impl Arg, stat: &rustix::fs::Stat) -> rustix::io::Result<Option<Mode>> {
    let before = Mode::from_raw_mode(stat.st_mode);
    if before.contains(Mode::RWXU) || stat.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // Without the right to read it, no handle but such a path can be had, for which there is no `fchmod`.
    let path = format!("/proc/self/fd/{}", folder.as_raw_fd());
    rustix::fs::chmod(path, before | Mode::RWXU)?;
    Ok(Some(before))
}

fn make_node(parent: &OwnedFd, name: &str, stat: &Stat) -> rustix::io::Result<()> {
    if stat.mode & mode::SYMLINK != 0 {
        return rustix::fs::symlinkat(stat.linkname.as_str(), parent, name);
    }
    let kind = if stat.mode & mode::FIFO != 0 {
        FileType::Fifo
    } else if stat.mode & mode::CHAR_DEVICE != 0 {
        FileType::CharacterDevice
    } else if stat.mode & mode::DEVICE != 0 {
        FileType::BlockDevice
    } else {
        FileType::Socket
    };
    let number = |value: i64| u32::try_from(value).unwrap_or(0);
    let device = rustix::fs::makedev(number(stat.devmajor), number(stat.devminor));
    let permissions = Mode::from_raw_mode(unix_permissions(stat.mode));
    rustix::fs::mknodat(parent, name, kind, permissions, device)?;
    // The umask does not count for what was asked for.
    rustix::fs::chmodat(parent, name, permissions, AtFlags::empty())
}

fn temporary_name(parent: &Arc<OwnedFd>) -> Temporary {
    Temporary {
        parent: Arc::clone(parent),
        name: format!(".tmp.{}", rand::random::<u64>()),
        kept: false,
    }
}

/// Renames to the final name. A folder in its place goes first, with all that is in it.
fn replace(mut temporary: Temporary, name: &str) -> rustix::io::Result<()> {
    let parent = Arc::clone(&temporary.parent);
    let renamed = match rustix::fs::renameat(&parent, &temporary.name, &parent, name) {
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
            remove_folder(&parent, name)?;
            rustix::fs::renameat(&parent, &temporary.name, &parent, name)
        }
        renamed => renamed,
    };
    // Renaming one name of a file to another of its names changes nothing and leaves both.
    temporary.kept =
        renamed.is_ok() && rustix::fs::statat(&parent, &temporary.name, AtFlags::SYMLINK_NOFOLLOW).is_err();
    renamed
}

fn remove_folder(parent: &OwnedFd, name: impl Arg + Copy) -> rustix::io::Result<()> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    open_up(parent, name, &stat)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let folder = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&folder, child, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove_folder(&folder, child)?,
            removed => removed?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Attributes that the file system or the user's rights do not allow are left out, as upstream's receiver does it.
fn set_attributes(target: &impl AsFd, stat: &Stat) {
    for (name, value) in &stat.xattrs {
        let _ = rustix::fs::fsetxattr(target, name.as_str(), value, rustix::fs::XattrFlags::empty());
    }
}

fn set_times(parent: &OwnedFd, name: &str, mod_time: i64) -> rustix::io::Result<()> {
    rustix::fs::utimensat(parent, name, &times(mod_time), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(mod_time: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mod_time.div_euclid(1_000_000_000),
        tv_nsec: mod_time.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
