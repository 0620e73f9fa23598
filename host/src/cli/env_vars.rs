//! Every environment variable that is honoured, one constant each, and the environment as it was at the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plugin::Called;

/// Makes a constant of each name, and [`ALL`] for the reference page.
macro_rules! variables {
    ($($(#[doc = $line:literal])+ $name:ident,)+) => {
        $(
            $(#[doc = $line])+
            pub const $name: &str = stringify!($name);
        )+

        /// Every variable with what it does.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), concat!($($line),+))),+];
    };
}

variables! {
    /// A boolean: caches of `type=gha` use the second version of the service.
    ACTIONS_CACHE_SERVICE_V2,
    /// Address of the cache service of a GitHub Actions job, for `type=gha`.
    ACTIONS_CACHE_URL,
    /// Address of the second version of that service.
    ACTIONS_RESULTS_URL,
    /// Token for that service.
    ACTIONS_RUNTIME_TOKEN,
    /// Set when a call of docker's plugin is handed to another program, so that it never comes back here.
    BKHOST_HANDED_OVER,
    /// Colours of the terminal display (`run=blue:warning=yellow`).
    BUILDKIT_COLORS,
    /// Address of a running buildkitd: the endpoint of `create` when none is typed, and the builder to use when none is
    /// selected (as `buildctl` does).
    BUILDKIT_HOST,
    /// A boolean: registry tokens are not fetched on the client, and the daemon is given the passwords instead.
    BUILDKIT_NO_CLIENT_TOKEN,
    /// The display where `--progress` says `auto` or nothing.
    BUILDKIT_PROGRESS,
    /// Lines of output shown below a running step; default 6.
    BUILDKIT_TTY_LOG_LINES,
    /// Default of `--builder`.
    BUILDX_BUILDER,
    /// Folder of the builder store; default `buildx` in the docker client's folder.
    BUILDX_CONFIG,
    /// A boolean: the signature of BuildKit's image must be verified before it is run. This program cannot, and says so.
    BUILDX_DEFAULT_POLICY,
    /// A boolean: a changed work tree marks the revision with `-dirty`.
    BUILDX_GIT_CHECK_DIRTY,
    /// A boolean, `true` by default: revision and address of the context's repository go into the provenance.
    BUILDX_GIT_INFO,
    /// A boolean, or `full`: they become labels of the image.
    BUILDX_GIT_LABELS,
    /// How much provenance goes to the metadata file: `min` (default), `max` or `disabled`.
    BUILDX_METADATA_PROVENANCE,
    /// A boolean: warnings of the build go to the metadata file.
    BUILDX_METADATA_WARNINGS,
    /// A boolean: no provenance is made unless a flag asks for it.
    BUILDX_NO_DEFAULT_ATTESTATIONS,
    /// A boolean: results are not loaded into a Docker Engine unless a flag asks for it.
    BUILDX_NO_DEFAULT_LOAD,
    /// A boolean: attestations are not stored as OCI artifacts unless a flag asks for it.
    BUILDX_NO_DEFAULT_OCI_ARTIFACT,
    /// Same as `--debug` when it has any value.
    DEBUG,
    /// The version of the Docker Engine API to speak; it is agreed on with the engine otherwise.
    DOCKER_API_VERSION,
    /// Registry credentials as JSON; come before those of `config.json`.
    DOCKER_AUTH_CONFIG,
    /// Folder of the TLS files of the context `default`.
    DOCKER_CERT_PATH,
    /// Set by docker when it calls a plugin: this program is its plugin `buildx` then, if that word follows.
    DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND,
    /// Set by docker: the socket whose end tells a plugin to stop.
    DOCKER_CLI_PLUGIN_SOCKET,
    /// Folder of the docker client's `config.json` and contexts; default `~/.docker`.
    DOCKER_CONFIG,
    /// The active docker context.
    DOCKER_CONTEXT,
    /// Default of `--platform` of `build` and `dial-stdio`.
    DOCKER_DEFAULT_PLATFORM,
    /// Address of the docker engine of the context `default`.
    DOCKER_HOST,
    /// Turns TLS on for the context `default`, whatever the value.
    DOCKER_TLS,
    /// Turns TLS with verification on for the context `default`, whatever the value.
    DOCKER_TLS_VERIFY,
    /// A boolean: this is a GitHub Actions job, whose facts daemons add to the provenance of builds, if its event is known
    /// as well. They are those of `GITHUB_*` and `RUNNER_*`, `ImageOS` and `ImageVersion`.
    GITHUB_ACTIONS,
    /// Name of the event that the job is for.
    GITHUB_EVENT_NAME,
    /// File with the payload of that event.
    GITHUB_EVENT_PATH,
    /// The user's home folder.
    HOME,
    /// Proxy on the way to a Docker Engine at `tcp://…` without TLS; also written in lower case.
    HTTP_PROXY,
    /// Proxy on the way to a Docker Engine that speaks TLS; also written in lower case.
    HTTPS_PROXY,
    /// Kubernetes configuration, for drivers that ask for it.
    KUBECONFIG,
    /// Turns colours off when it has any value.
    NO_COLOR,
    /// Hosts of Docker Engines that are reached without a proxy, a comma list; also written in lower case.
    NO_PROXY,
    /// Where credential helpers and daemons are looked for.
    PATH,
    /// `0`: plain output cuts long names of steps.
    PROGRESS_NO_TRUNC,
    /// Default of the build argument of that name.
    SOURCE_DATE_EPOCH,
    /// Set by sudo; together with `SUDO_UID` and `SUDO_GID` it decides who owns new files of the store.
    SUDO_COMMAND,
    /// Group of the user who called sudo.
    SUDO_GID,
    /// User who called sudo; see `SUDO_COMMAND`.
    SUDO_UID,
    /// The kind of terminal; on `dumb` nothing is redrawn or coloured unless asked for.
    TERM,
    /// Milliseconds between two refreshes of the terminal display.
    TTY_DISPLAY_RATE,
    /// Name of the WSL distribution, for drivers that ask for it.
    WSL_DISTRO_NAME,
    /// Folder for programs and caches; default `~/.cache`.
    XDG_CACHE_HOME,
    /// Folder for the state of local daemons; default `~/.local/share`.
    XDG_DATA_HOME,
    /// Folder for the sockets of local daemons.
    XDG_RUNTIME_DIR,
}

/// The process's environment, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The home folder that the user's account names, for when `HOME` does not.
    account_home: Option<PathBuf>,
    /// The working folder.
    pub folder: PathBuf,
    /// How this program was called.
    pub called: Called,
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
            called: Called::default(),
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
            called: Called::default(),
        }
    }

    /// Gives a variable a value, for this program alone.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Takes a variable away, for this program alone.
    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
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

    /// Text of the command line's sources, tests left out.
    fn sources() -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
        let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
        let files = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
        files
            .filter(|file| file.file_name() != "tests.rs" && file.file_name() != "env_vars.rs")
            .map(|file| std::fs::read_to_string(file.path()).unwrap())
            .map(|text| text.split("#[cfg(test)]").next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_variable_is_in_the_list_and_asked_for_by_its_constant() {
        let sources = sources();
        assert!(sources.len() > 100_000, "no sources");
        let asked = r#"\b(get|has|environment|variable|strict|folder)\("([A-Z][A-Z0-9_]+)"\)"#;
        let asked = regex::Regex::new(asked).unwrap();
        let literals: Vec<&str> = asked
            .captures_iter(&sources)
            // Arguments of a build are no variables.
            .filter(|found| !sources[..found.get(0).unwrap().start()].ends_with("build_args."))
            .map(|found| found.get(2).unwrap().as_str())
            .collect();
        assert_eq!(literals, [""; 0]);
        let unused = ALL.iter().filter(|(name, _)| !sources.contains(name));
        let unused: Vec<_> = unused.collect();
        assert!(unused.iter().all(|(name, _)| MAIN.contains(name)), "{unused:?}");
        assert!(ALL.iter().all(|(_, does)| does.ends_with('.')));
    }

    /// Asked for by `main.rs`, or here.
    const MAIN: [&str; 2] = [NO_COLOR, HOME];
}
