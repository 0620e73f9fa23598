//! Every environment variable that is honoured, one constant each, and the environment as it was at the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Default of `--builder`.
pub const BUILDX_BUILDER: &str = "BUILDX_BUILDER";
/// Folder of the builder store; default `buildx` in the docker client's folder.
pub const BUILDX_CONFIG: &str = "BUILDX_CONFIG";
/// Address of a running buildkitd: the endpoint of `create` when none is typed, and the builder to use when none is
/// selected (as `buildctl` does).
pub const BUILDKIT_HOST: &str = "BUILDKIT_HOST";
/// A boolean: registry tokens are not fetched on the client, and the daemon is given the passwords instead.
pub const BUILDKIT_NO_CLIENT_TOKEN: &str = "BUILDKIT_NO_CLIENT_TOKEN";
/// Turns colours off when it has any value.
pub const NO_COLOR: &str = "NO_COLOR";
/// The kind of terminal; on `dumb` nothing is redrawn or coloured unless asked for.
pub const TERM: &str = "TERM";
/// Same as `--debug` when it has any value.
pub const DEBUG: &str = "DEBUG";
/// Folder of the docker client's `config.json` and contexts; default `~/.docker`.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Address of the docker engine of the context `default`.
pub const DOCKER_HOST: &str = "DOCKER_HOST";
/// The active docker context.
pub const DOCKER_CONTEXT: &str = "DOCKER_CONTEXT";
/// Turns TLS on for the context `default`, whatever the value.
pub const DOCKER_TLS: &str = "DOCKER_TLS";
/// Turns TLS with verification on for the context `default`, whatever the value.
pub const DOCKER_TLS_VERIFY: &str = "DOCKER_TLS_VERIFY";
/// Folder of the TLS files of the context `default`.
pub const DOCKER_CERT_PATH: &str = "DOCKER_CERT_PATH";
/// Registry credentials as JSON; come before those of `config.json`.
pub const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";
/// Default of `--platform` of `build` and `dial-stdio`.
pub const DOCKER_DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";
/// The user's home folder.
pub const HOME: &str = "HOME";
/// Where credential helpers and daemons are looked for.
pub const PATH: &str = "PATH";
/// Set by sudo; together with the next two it decides who owns new files of the store.
pub const SUDO_COMMAND: &str = "SUDO_COMMAND";
/// User who called sudo.
pub const SUDO_UID: &str = "SUDO_UID";
/// Group of the user who called sudo.
pub const SUDO_GID: &str = "SUDO_GID";

/// The process's environment, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The home folder that the user's account names, for when `HOME` does not.
    account_home: Option<PathBuf>,
    /// The working folder.
    pub folder: PathBuf,
}

impl Environment {
    /// What this process was started with.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            account_home: std::env::home_dir(),
            folder: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// An environment of these variables alone.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, folder: &Path) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            account_home: None,
            folder: folder.to_owned(),
        }
    }

    /// The value of a variable, if it has one that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether nothing shall be coloured: the user says so, or the terminal cannot.
    pub fn is_colourless(&self) -> bool {
        self.get(NO_COLOR).is_some() || self.get(TERM) == Some("dumb")
    }

    /// Whether the variable exists, even if it is empty.
    pub fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    /// All variables.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// The home folder: `HOME`, else that of the user's account, as the docker command line has it. Timers and service
    /// managers start programs without the variable. Absent when neither is known.
    pub fn known_home(&self) -> Option<PathBuf> {
        self.get(HOME)
            .map(PathBuf::from)
            .or_else(|| self.account_home.clone())
    }

    /// The home folder, or `/` when none is known.
    pub fn home(&self) -> PathBuf {
        self.known_home().unwrap_or_else(|| "/".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_is_the_accounts_when_the_variable_is_unset_or_empty() {
        for variables in [vec![], vec![(HOME, "")]] {
            let nameless = Environment::of(variables, Path::new("/"));
            assert_eq!(nameless.known_home(), None);
            let known = Environment {
                account_home: Some("/home/u".into()),
                ..nameless
            };
            assert_eq!(known.known_home(), Some("/home/u".into()));
        }
        let set = Environment {
            account_home: Some("/home/u".into()),
            ..Environment::of([(HOME, "/elsewhere")], Path::new("/"))
        };
        assert_eq!(set.home(), Path::new("/elsewhere"));
    }
}
