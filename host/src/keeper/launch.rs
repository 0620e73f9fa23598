//! How a daemon is started, as a command tells it to the keeper on its stdin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the keeper starts. Variables lie in memory and on a pipe only, since they may be secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Launch {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables on top of the user's environment.
    pub env: Vec<(String, String)>,
    /// Folders that come first on its PATH, first one first.
    pub path_first: Vec<PathBuf>,
    /// The socket it will listen on.
    pub socket: Option<PathBuf>,
    /// Nanoseconds without a lease and without a build after which it is stopped; 0 means never.
    pub idle_timeout: u64,
    /// Words that tell two launches apart.
    pub fingerprint: String,
    /// Its state folder, which one daemon uses at a time.
    pub state: Option<PathBuf>,
    /// Programs that it may start, to be found again when its state is removed.
    pub programs: Vec<PathBuf>,
}

impl Launch {
    /// A launch of `program` with nothing else said.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self {
            programs: vec![program.clone()],
            program,
            ..Self::default()
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// How long the daemon may be without use; `None` means for ever.
    pub fn idle(&self) -> Option<Duration> {
        (self.idle_timeout > 0).then(|| Duration::from_nanos(self.idle_timeout))
    }

    /// Notes a program that the daemon may start.
    pub fn note_program(&mut self, program: &Path) {
        if !self.programs.iter().any(|known| known == program) {
            self.programs.push(program.to_owned());
        }
    }

    /// The daemon's PATH: the folders that come first, then `inherited`.
    pub fn path(&self, inherited: Option<&std::ffi::OsStr>) -> Option<std::ffi::OsString> {
        if self.path_first.is_empty() {
            return None;
        }
        let inherited = inherited.unwrap_or_default();
        let rest = std::env::split_paths(inherited).filter(|folder| !folder.as_os_str().is_empty());
        std::env::join_paths(self.path_first.iter().cloned().chain(rest)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_helpers_come_first_on_the_path() {
        let mut launch = Launch::new("/bin/true");
        assert_eq!(launch.path(Some("/usr/bin".as_ref())), None);
        launch.path_first = vec!["/a".into(), "/b".into()];
        assert_eq!(launch.path(Some("/usr/bin".as_ref())).unwrap(), "/a:/b:/usr/bin");
        assert_eq!(launch.path(None).unwrap(), "/a:/b");
    }
}
