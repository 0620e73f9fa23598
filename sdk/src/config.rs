//! The node's configuration and the driver's memory of it.

use crate::{Result, host};

/// One node of a builder as the user configured it, read lazily.
#[derive(Debug)]
pub struct Config(host::config::NodeConfig);

impl Config {
    // Natively only tests open a node.
    #[cfg(any(target_arch = "wasm32", test, feature = "testing"))]
    pub(crate) fn new(config: host::config::NodeConfig) -> Self {
        Self(config)
    }

    /// Name of the builder as the user spelled it.
    pub fn builder(&self) -> String {
        self.0.builder()
    }

    /// Name of the node: lower case, unique within the builder.
    pub fn node(&self) -> String {
        self.0.node()
    }

    /// Endpoint as typed or stored; empty when none was given.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// Value of one driver option; an empty value was given empty.
    pub fn option(&self, name: &str) -> Option<String> {
        self.0.driver_option(name)
    }

    /// All driver options, sorted by name. [`Options`](crate::Options) reads and checks them.
    pub fn options(&self) -> Vec<(String, String)> {
        let options = self.0.driver_options();
        options.into_iter().map(|pair| (pair.key, pair.value)).collect()
    }

    /// Fixed platforms in printed form (`linux/arm64`).
    pub fn platforms(&self) -> Vec<String> {
        self.0.platforms()
    }

    /// Arguments for buildkitd.
    pub fn daemon_flags(&self) -> Vec<String> {
        self.0.daemon_flags()
    }

    /// Names of the files for the daemon: clean relative slash paths below `/etc/buildkit`, sorted.
    pub fn file_names(&self) -> Vec<String> {
        self.0.file_names()
    }

    /// Content of one of these files.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.0.file(name)
    }

    /// A fact about the host; absent when unknown. Names: `os`, `arch`, `privileged` (`true` for root), `user-id`, `home`,
    /// `host-version`, `wsl` (name of the WSL distribution), `wsl-lib` (`true` when `/usr/lib/wsl` is a folder),
    /// `kubeconfig` (the variable `KUBECONFIG`), `docker-context` (the active one).
    pub fn fact(&self, name: &str) -> Option<String> {
        self.0.fact(name)
    }

    /// What the driver remembers about this node between operations.
    pub fn memory(&self) -> Memory {
        Memory(self.0.state())
    }
}

/// A small map kept with the node, shared by all processes that use the builder, gone with the builder. At most 64 keys
/// of 64 bytes with values of 16 KiB. Read-only in `status` and `instances`.
#[derive(Debug)]
pub struct Memory(host::state::NodeState);

impl Memory {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Result<Option<String>> {
        Ok(self.0.get(key)?)
    }

    /// Replaces the value if it still is `expected`; absent means no value. Returns whether it did: `false` means that
    /// somebody else was faster.
    pub fn swap(&self, key: &str, expected: Option<&str>, new: Option<&str>) -> Result<bool> {
        Ok(self.0.swap(key, expected, new)?)
    }

    /// Changes the value of a key, as often as somebody else is faster, and returns the new one.
    pub fn update(
        &self,
        key: &str,
        change: impl Fn(Option<&str>) -> Option<String>,
    ) -> Result<Option<String>> {
        loop {
            let old = self.get(key)?;
            let new = change(old.as_deref());
            if self.swap(key, old.as_deref(), new.as_deref())? {
                return Ok(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ErrorKind;
    use crate::testing::Host;

    #[test]
    fn memory_is_changed_only_as_expected() {
        let host = Host::new();
        let memory = host.config().memory();
        assert_eq!(memory.swap("pod", Some("a"), Some("b")), Ok(false));
        assert_eq!(memory.swap("pod", None, Some("a")), Ok(true));
        let next = memory.update("pod", |old| old.map(|old| format!("{old}b")));
        assert_eq!(next, Ok(Some("ab".into())));
        let exhausted = |key: &str, value: &str| {
            let refused = memory.swap(key, None, Some(value));
            refused.map_err(|error| error.kind()) == Err(ErrorKind::Exhausted)
        };
        assert!(exhausted(&"k".repeat(65), "") && exhausted("k", &"v".repeat(16_385)));
        host.read_only_memory();
        let refused = memory.swap("pod", Some("ab"), None);
        assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Denied));
        assert_eq!(memory.get("pod"), Ok(Some("ab".into())));
    }
}
