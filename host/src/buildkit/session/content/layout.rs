//! A content store on disk in OCI layout: `blobs/<algorithm>/<hex>`, with unfinished writes under `ingest/`.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256, Sha512};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes read at a time when hashing.
const PIECE: usize = 256 * 1024;

/// A failure of a store, by what the other side makes of it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The digest is no digest of a known algorithm.
    #[error("invalid digest {0:?}")]
    InvalidDigest(String),
    /// There is no such blob.
    #[error("content {0}: not found")]
    NotFound(String),
    /// The blob is there already, so nothing needs to travel.
    #[error("content {0}: already exists")]
    AlreadyExists(String),
    /// A read or write outside of what is there.
    #[error("offset {offset} is out of range: {have} bytes are there")]
    OutOfRange {
        /// The offset asked for.
        offset: i64,
        /// Bytes there.
        have: i64,
    },
    /// What arrived is not what was announced.
    #[error("unexpected {what}: expected {wanted}, got {got}")]
    Mismatch {
        /// `digest` or `size`.
        what: &'static str,
        /// Announced.
        wanted: String,
        /// Found.
        got: String,
    },
    /// Another write with the same reference is under way.
    #[error("ref {0} locked: unavailable")]
    Locked(String),
    /// The disk failed.
    #[error("failed to {action} {path}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

/// One layout folder.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
    writing: Mutex<HashSet<String>>,
}

impl Layout {
    /// The store in this folder, which need not be there yet.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            writing: Mutex::default(),
        }
    }

    /// Where a blob is or would be.
    pub fn blob_path(&self, digest: &str) -> Result<PathBuf, StoreError> {
        let invalid = || StoreError::InvalidDigest(digest.to_owned());
        let (algorithm, hex) = digest.split_once(':').ok_or_else(invalid)?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(invalid()),
        };
        let plain = hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !plain {
            return Err(invalid());
        }
        Ok(self.root.join("blobs").join(algorithm).join(hex))
    }

    /// Size and time of a blob.
    pub async fn metadata(&self, digest: &str) -> Result<std::fs::Metadata, StoreError> {
        let path = self.blob_path(digest)?;
        match tokio::fs::metadata(&path).await {
            Ok(metadata) => Ok(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::NotFound(digest.to_owned()))
            }
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// Opens a blob at an offset; returns the file and how many bytes to read.
    pub async fn open(&self, digest: &str, offset: i64, size: i64) -> Result<(File, u64), StoreError> {
        let have = self.metadata(digest).await?.len();
        let offset = u64::try_from(offset).unwrap_or(0);
        if offset > have {
            let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            return Err(StoreError::OutOfRange {
                offset: signed(offset),
                have: signed(have),
            });
        }
        let path = self.blob_path(digest)?;
        let mut file = File::open(&path).await.map_err(failed("open", &path))?;
        tokio::io::AsyncSeekExt::seek(&mut file, io::SeekFrom::Start(offset))
            .await
            .map_err(failed("read", &path))?;
        let rest = have - offset;
        let wanted = u64::try_from(size)
            .ok()
            .filter(|size| *size > 0)
            .map_or(rest, |size| size.min(rest));
        Ok((file, wanted))
    }

    /// Removes a blob.
    pub async fn remove(&self, digest: &str) -> Result<(), StoreError> {
        self.metadata(digest).await?;
        let path = self.blob_path(digest)?;
        tokio::fs::remove_file(&path)
            .await
            .map_err(failed("remove", &path))
    }

    /// Digests of all blobs.
    pub async fn digests(&self) -> Vec<String> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let Ok(mut entries) = tokio::fs::read_dir(self.root.join("blobs").join(algorithm)).await else {
                continue;
            };
            while let Ok(Some(entry)) = entries.next_entry().await {
                digests.push(format!("{algorithm}:{}", entry.file_name().to_string_lossy()));
            }
        }
        digests
    }

    /// Begins a write; one per reference at a time. What an earlier one left behind is thrown away: its hash state is
    /// lost, and blobs of a local cache are cheap to send again.
    pub async fn begin(self: &std::sync::Arc<Self>, reference: &str) -> Result<Ingest, StoreError> {
        if !self.lock().insert(reference.to_owned()) {
            return Err(StoreError::Locked(reference.to_owned()));
        }
        let claim = Claim {
            layout: std::sync::Arc::clone(self),
            reference: reference.to_owned(),
        };
        let folder = self.root.join("ingest");
        let path = folder.join(hex(&Sha256::digest(reference.as_bytes())));
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(failed("create folder", &folder))?;
        let file = File::create(&path).await.map_err(failed("create", &path))?;
        Ok(Ingest {
            claim,
            path,
            file,
            hasher: Sha256::new(),
            offset: 0,
            committed: false,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Claim {
    layout: std::sync::Arc<Layout>,
    reference: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.layout.lock().remove(&self.reference);
    }
}

/// An unfinished blob; its file vanishes unless it is committed.
#[derive(Debug)]
pub struct Ingest {
    claim: Claim,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    offset: i64,
    committed: bool,
}

impl Ingest {
    /// Bytes written so far.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// SHA-256 of what was written so far.
    pub fn digest(&self) -> String {
        format!("sha256:{}", hex(&self.hasher.clone().finalize()))
    }

    /// Writes at `offset`, which must be where the last write ended; 0 begins anew.
    pub async fn write(&mut self, offset: i64, data: &[u8]) -> Result<(), StoreError> {
        if offset == 0 && self.offset > 0 {
            self.truncate().await?;
        } else if offset > 0 && offset != self.offset {
            return Err(StoreError::OutOfRange {
                offset,
                have: self.offset,
            });
        }
        self.file
            .write_all(data)
            .await
            .map_err(failed("write", &self.path))?;
        self.hasher.update(data);
        self.offset += i64::try_from(data.len()).unwrap_or(i64::MAX);
        Ok(())
    }

    async fn truncate(&mut self) -> Result<(), StoreError> {
        self.file = File::create(&self.path)
            .await
            .map_err(failed("create", &self.path))?;
        self.hasher = Sha256::new();
        self.offset = 0;
        Ok(())
    }

    /// Checks size and digest, where they are known, and gives the blob its name. Returns the digest.
    pub async fn commit(mut self, total: i64, expected: &str) -> Result<String, StoreError> {
        // Writes are handed to another thread: only a flush tells that one of them failed.
        self.file.flush().await.map_err(failed("write", &self.path))?;
        self.file.sync_all().await.map_err(failed("write", &self.path))?;
        let mismatch = |what, wanted: String, got: String| Err(StoreError::Mismatch { what, wanted, got });
        if total > 0 && total != self.offset {
            return mismatch("size", total.to_string(), self.offset.to_string());
        }
        let digest = if expected.starts_with("sha512:") {
            self.sha512().await?
        } else {
            self.digest()
        };
        if !expected.is_empty() && expected != digest {
            return mismatch("digest", expected.to_owned(), digest);
        }
        let destination = self.claim.layout.blob_path(&digest)?;
        if let Some(folder) = destination.parent() {
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(failed("create folder", folder))?;
        }
        tokio::fs::rename(&self.path, &destination)
            .await
            .map_err(failed("write", &destination))?;
        self.committed = true;
        Ok(digest)
    }

    async fn sha512(&self) -> Result<String, StoreError> {
        let mut file = File::open(&self.path).await.map_err(failed("read", &self.path))?;
        let mut hasher = Sha512::new();
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).await.map_err(failed("read", &self.path))?;
            match piece.get(..count) {
                Some(data) if count > 0 => hasher.update(data),
                _ => return Ok(format!("sha512:{}", hex(&hasher.finalize()))),
            }
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[tokio::test]
    async fn a_blob_is_there_only_after_a_good_commit() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Arc::new(Layout::new(dir.path().to_owned()));
        let mut ingest = layout.begin("r").await.unwrap();
        ingest.write(0, b"hel").await.unwrap();
        ingest.write(3, b"lo").await.unwrap();
        assert_eq!(ingest.digest(), HELLO);
        assert!(matches!(
            ingest.write(9, b"x").await,
            Err(StoreError::OutOfRange { offset: 9, have: 5 })
        ));
        assert!(matches!(layout.begin("r").await, Err(StoreError::Locked(_))));
        assert_eq!(ingest.commit(5, HELLO).await.unwrap(), HELLO);
        let (_, size) = layout.open(HELLO, 2, 0).await.unwrap();
        assert_eq!(size, 3);
        assert!(matches!(
            layout.open(HELLO, 6, 0).await,
            Err(StoreError::OutOfRange { .. })
        ));
    }

    #[tokio::test]
    async fn a_wrong_digest_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Arc::new(Layout::new(dir.path().to_owned()));
        let mut ingest = layout.begin("r").await.unwrap();
        ingest.write(0, b"other").await.unwrap();
        assert!(matches!(
            ingest.commit(0, HELLO).await,
            Err(StoreError::Mismatch { what: "digest", .. })
        ));
        assert!(matches!(
            layout.metadata(HELLO).await,
            Err(StoreError::NotFound(_))
        ));
        assert_eq!(std::fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_full_disk_leaves_no_blob() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Arc::new(Layout::new(dir.path().to_owned()));
        let mut ingest = layout.begin("r").await.unwrap();
        ingest.file = File::options().write(true).open("/dev/full").await.unwrap();
        ingest.write(0, b"hello").await.unwrap();
        let error = ingest.commit(5, HELLO).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
            "{error:?}"
        );
        assert!(layout.metadata(HELLO).await.is_err());
    }

    #[tokio::test]
    async fn offset_zero_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Arc::new(Layout::new(dir.path().to_owned()));
        let mut ingest = layout.begin("r").await.unwrap();
        ingest.write(0, b"wrong").await.unwrap();
        ingest.write(0, b"hello").await.unwrap();
        ingest.commit(5, HELLO).await.unwrap();
    }

    #[test]
    fn a_digest_is_no_path() {
        let layout = Layout::new("/x".into());
        for digest in ["sha256:../../etc/passwd", "md5:00", "sha256", "sha256:ABC"] {
            assert!(
                matches!(layout.blob_path(digest), Err(StoreError::InvalidDigest(_))),
                "{digest}"
            );
        }
    }
}
