//! One entry of a tree, between the file system and the wire.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use bkhost_proto::fsutil::Stat;
use bytes::Bytes;

/// Type and permission bits as Go's `os.FileMode` has them: what the wire carries instead of `st_mode`.
pub mod mode {
    /// Folder.
    pub const DIR: u32 = 1 << 31;
    /// Symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// Device; a character device together with [`CHAR_DEVICE`].
    pub const DEVICE: u32 = 1 << 26;
    /// Named pipe.
    pub const FIFO: u32 = 1 << 25;
    /// Socket.
    pub const SOCKET: u32 = 1 << 24;
    /// Set user id.
    pub const SETUID: u32 = 1 << 23;
    /// Set group id.
    pub const SETGID: u32 = 1 << 22;
    /// Character device.
    pub const CHAR_DEVICE: u32 = 1 << 21;
    /// Sticky.
    pub const STICKY: u32 = 1 << 20;
    /// None of the others.
    pub const IRREGULAR: u32 = 1 << 19;
    /// All bits that say what kind of entry it is; a regular file has none.
    pub const TYPE: u32 = DIR | SYMLINK | DEVICE | FIFO | SOCKET | CHAR_DEVICE | IRREGULAR;
    /// Permission bits.
    pub const PERMISSIONS: u32 = 0o777;
}

/// Whether the wire mode is that of a regular file (or a hard link to one).
pub fn is_regular(wire_mode: u32) -> bool {
    wire_mode & mode::TYPE == 0
}

/// Go's file mode for what the file system says. A socket loses its type, as upstream's senders do it: it looks like a
/// regular file without data.
pub fn wire_mode(metadata: &Metadata) -> u32 {
    let kind = metadata.file_type();
    let raw = metadata.mode();
    let type_bits = if kind.is_dir() {
        mode::DIR
    } else if kind.is_symlink() {
        mode::SYMLINK
    } else if kind.is_char_device() {
        mode::DEVICE | mode::CHAR_DEVICE
    } else if kind.is_block_device() {
        mode::DEVICE
    } else if kind.is_fifo() {
        mode::FIFO
    } else {
        0
    };
    let special = [
        (0o4000, mode::SETUID),
        (0o2000, mode::SETGID),
        (0o1000, mode::STICKY),
    ];
    let special = special
        .iter()
        .filter(|(bit, _)| raw & bit != 0)
        .map(|(_, wire)| wire)
        .sum::<u32>();
    type_bits | special | (raw & mode::PERMISSIONS)
}

/// Permission and special bits of a wire mode as `chmod` takes them.
pub fn unix_permissions(wire_mode: u32) -> u32 {
    let special = [
        (mode::SETUID, 0o4000),
        (mode::SETGID, 0o2000),
        (mode::STICKY, 0o1000),
    ];
    let special = special
        .iter()
        .filter(|(wire, _)| wire_mode & wire != 0)
        .map(|(_, bit)| bit)
        .sum::<u32>();
    special | (wire_mode & mode::PERMISSIONS)
}

/// The wire form of one entry of a local source. Owner and group are always root's, so that who uploads a context does
/// not change its digest.
pub fn source_stat(full: &Path, path: &str, metadata: &Metadata) -> io::Result<Stat> {
    let kind = metadata.file_type();
    let linkname = if kind.is_symlink() {
        std::fs::read_link(full)?.to_string_lossy().into_owned()
    } else {
        String::new()
    };
    let device = if kind.is_char_device() || kind.is_block_device() {
        metadata.rdev()
    } else {
        0
    };
    Ok(Stat {
        path: path.to_owned(),
        mode: wire_mode(metadata),
        size: if kind.is_file() {
            i64::try_from(metadata.size()).unwrap_or(i64::MAX)
        } else {
            0
        },
        mod_time: metadata
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(metadata.mtime_nsec()),
        linkname,
        devmajor: i64::from(rustix::fs::major(device)),
        devminor: i64::from(rustix::fs::minor(device)),
        xattrs: if kind.is_symlink() {
            BTreeMap::new()
        } else {
            extended_attributes(full)
        },
        ..Stat::default()
    })
}

/// All readable extended attributes but those of macOS itself. What cannot be read is left out: an attribute is never
/// a reason to fail an upload.
fn extended_attributes(full: &Path) -> BTreeMap<String, Bytes> {
    let Ok(names) = xattr::list(full) else {
        return BTreeMap::new();
    };
    names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with("com.apple."))
        .filter_map(|name| Some((name.clone(), Bytes::from(xattr::get(full, &name).ok()??))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn modes_translate_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o4751)).unwrap();
        let wire = wire_mode(&std::fs::symlink_metadata(&file).unwrap());
        assert_eq!(wire, mode::SETUID | 0o751);
        assert_eq!(unix_permissions(wire), 0o4751);
        assert!(is_regular(wire));
        let wire = wire_mode(&std::fs::symlink_metadata(dir.path()).unwrap());
        assert_eq!(wire & mode::TYPE, mode::DIR);
    }

    #[test]
    fn a_source_entry_belongs_to_root_and_keeps_its_link_raw() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("../../etc/passwd", &link).unwrap();
        let stat = source_stat(&link, "link", &std::fs::symlink_metadata(&link).unwrap()).unwrap();
        assert_eq!((stat.uid, stat.gid, stat.size), (0, 0, 0));
        assert_eq!(stat.linkname, "../../etc/passwd");
    }
}
