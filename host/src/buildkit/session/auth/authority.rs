//! Proof that two sessions have the same credentials, so that a daemon may share a fetched token between them.
//!
//! The key comes from the daemon's salt and a seed kept beside the docker configuration; without a secret for a host
//! the seed is empty, so that everybody without credentials is one party.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::fs::{self, FileError, FileLock, LockMode};

/// The file with the seeds, in the folder of the docker configuration.
const SEED_FILE: &str = ".token_seed";
/// Its lock, shared with other clients.
const SEED_LOCK: &str = ".token_seed.lock";
/// Length of a seed in bytes.
const SEED_LENGTH: usize = 16;

/// A key that proves the possession of a seed.
pub(super) struct Authority {
    key: SigningKey,
}

impl Authority {
    /// The key for `host` under `salt`; without a folder the seed is empty. A seed is made when there is none. Blocks.
    pub(super) fn of(salt: &[u8], folder: Option<&Path>, host: &str) -> Result<Self, FileError> {
        let seed = match folder {
            Some(folder) => seed(folder, host)?,
            None => Vec::new(),
        };
        Ok(Self::derive(salt, &seed))
    }

    fn derive(salt: &[u8], seed: &[u8]) -> Self {
        // HMAC takes keys of any length, so the error cannot happen; an empty key would only fail to prove anything.
        let mut mac =
            Hmac::<Sha256>::new_from_slice(salt).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
        mac.update(seed);
        Self {
            key: SigningKey::from_bytes(&mac.finalize().into_bytes().into()),
        }
    }

    /// The public half, 32 bytes.
    pub(super) fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.key.verifying_key().as_bytes())
    }

    /// NaCl's `sign`: the signature, then the payload.
    pub(super) fn sign(&self, payload: &[u8]) -> Bytes {
        let mut signed = self.key.sign(payload).to_vec();
        signed.extend_from_slice(payload);
        signed.into()
    }
}

#[derive(Serialize, Deserialize)]
struct Seed {
    #[serde(rename = "Seed")]
    seed: String,
}

/// The seed of `host`, made and kept when there is none. One that cannot be kept still serves this build.
fn seed(folder: &Path, host: &str) -> Result<Vec<u8>, FileError> {
    let path = folder.join(SEED_FILE);
    let lock = match FileLock::acquire(&folder.join(SEED_LOCK), LockMode::Exclusive) {
        Err(error) if is_unwritable(&error) => None,
        lock => Some(lock?),
    };
    let mut seeds: BTreeMap<String, Seed> = match fs::read_if_exists(&path)? {
        Some(text) => serde_json::from_slice(&text).unwrap_or_default(),
        None => BTreeMap::new(),
    };
    if let Some(seed) = seeds.get(host).and_then(|seed| STANDARD.decode(&seed.seed).ok()) {
        return Ok(seed);
    }
    let seed: [u8; SEED_LENGTH] = rand::random();
    seeds.insert(
        host.to_owned(),
        Seed {
            seed: STANDARD.encode(seed),
        },
    );
    if lock.is_some() {
        keep(&path, &seeds)?;
    }
    Ok(seed.to_vec())
}

fn keep(path: &Path, seeds: &BTreeMap<String, Seed>) -> Result<(), FileError> {
    let text = serde_json::to_vec(seeds).unwrap_or_default();
    match fs::write_beside(path, &text, fs::PRIVATE_FILE) {
        Err(error) if is_unwritable(&error) => Ok(()),
        outcome => outcome,
    }
}

fn is_unwritable(error: &FileError) -> bool {
    matches!(
        error.io_kind(),
        Some(io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 8032, 7.1, test 1: the key is the one of that seed.
    #[test]
    fn keys_and_signatures_are_ed25519() {
        let seed: [u8; 32] = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
            0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let authority = Authority {
            key: SigningKey::from_bytes(&seed),
        };
        assert_eq!(
            hex(&authority.public_key()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            hex(&authority.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
        let signed = authority.sign(b"payload");
        assert_eq!(signed.len(), 64 + 7);
        assert!(signed.ends_with(b"payload"));
    }

    /// RFC 4231, test case 2, gives the seed of the key.
    #[test]
    fn the_key_comes_from_hmac_of_salt_and_seed() {
        let authority = Authority::derive(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex(&authority.key.to_bytes()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_seed_is_made_once_for_each_host() {
        let folder = tempfile::tempdir().unwrap();
        let first = seed(folder.path(), "a").unwrap();
        assert_eq!(first.len(), SEED_LENGTH);
        assert_eq!(seed(folder.path(), "a").unwrap(), first);
        assert_ne!(seed(folder.path(), "b").unwrap(), first);
        assert_eq!(seed(folder.path(), "a").unwrap(), first);
        let text = std::fs::read_to_string(folder.path().join(SEED_FILE)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["a"]["Seed"], STANDARD.encode(&first));
    }

    #[test]
    fn a_folder_that_is_not_there_gives_a_seed_for_this_build() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/deeper");
        assert_eq!(seed(&missing, "a").unwrap().len(), SEED_LENGTH);
    }
}
