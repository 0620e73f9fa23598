//! Words that tell two launches apart, part by part, so that a difference can be named.

use bkhost_driver::Config;

use crate::launch::PROVENANCE_FOLDER;
use crate::options::Settings;

/// `part=digest,…`: what the daemon is started with. Digests, because variables may hold secrets. Facts of the job that a
/// command runs in are none of the builder's configuration.
pub fn of(settings: &Settings, config: &Config) -> String {
    let mut names = config.file_names();
    names.retain(|name| !name.starts_with(PROVENANCE_FOLDER));
    let files = names.into_iter().flat_map(|name| {
        let content = config.file(&name).unwrap_or_default();
        [name.into_bytes(), content]
    });
    let env = settings
        .env
        .iter()
        .flat_map(|(name, value)| [name.clone(), value.clone()]);
    let parts = [
        ("binary", digest(settings.binary.iter())),
        ("rootless", digest([settings.rootless.to_string()])),
        ("rootlesskit", digest(settings.rootlesskit.iter())),
        ("root", digest(settings.root.iter())),
        (
            "idle-timeout",
            digest([settings.idle_timeout.as_nanos().to_string()]),
        ),
        ("env", digest(env)),
        ("flags", digest(config.daemon_flags())),
        ("files", digest(files)),
    ];
    let words: Vec<String> = parts
        .iter()
        .map(|(name, digest)| format!("{name}={digest:08x}"))
        .collect();
    words.join(",")
}

/// Names of the parts in which two launches differ; absent when in none.
pub fn drift(running: &str, wanted: &str) -> Option<String> {
    let has = |fingerprint: &str, part: &str| fingerprint.split(',').any(|other| other == part);
    let changed = wanted.split(',').filter(|part| !has(running, part));
    let names: Vec<&str> = changed.filter_map(|part| part.split('=').next()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// FNV-1a over the items, each closed by a byte that no text has. It tells changes apart; it is no protection.
fn digest<I: AsRef<[u8]>>(items: impl IntoIterator<Item = I>) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    items.into_iter().fold(0x811c_9dc5, |hash, item| {
        let hash = item.as_ref().iter().copied().fold(hash, step);
        step(hash, 0xff)
    })
}
