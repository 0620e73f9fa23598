//! This program as docker's plugin `buildx`: how docker calls it, and what becomes of a call that it cannot serve.

pub mod global_flags;
pub mod handover;
pub mod lacking;
pub mod metadata;
pub mod socket;

use std::ffi::OsString;
use std::path::Path;

use super::env_vars::{self, Environment};
use crate::store::docker::contexts::TlsFiles;
use crate::store::docker::plugins;
use global_flags::GlobalFlags;

/// The word by which docker calls the plugin.
const NAME: &str = "buildx";
/// How docker asks for completion; the second one wants no descriptions.
const COMPLETE: [&str; 2] = ["__complete", "__completeNoDesc"];

/// How this program was called.
#[derive(Clone, Debug, Default)]
pub struct Called {
    /// By docker, as its plugin.
    pub is_plugin: bool,
    /// As, or in the place of, `docker-buildx`: what is not there is handed to the next one of that name.
    pub hands_over: bool,
    /// The program's name and all arguments, as they came.
    pub words: Vec<OsString>,
    /// TLS files that docker's own flags name.
    pub tls_files: TlsFiles,
    /// The docker context was typed.
    pub has_typed_context: bool,
    /// Warnings are not wanted (`--log-level error`).
    pub without_warnings: bool,
}

impl Called {
    /// What a user types to run this program.
    pub fn typed(&self) -> &'static str {
        if self.is_plugin { "docker buildx" } else { "bkhost" }
    }

    /// A text that names this program's commands, with the commands as they are typed here.
    pub fn respelled(&self, text: &str) -> String {
        if self.is_plugin {
            text.replace("`bkhost ", "`docker buildx ")
        } else {
            text.to_owned()
        }
    }
}

/// Takes the command line of this process apart: gives the arguments of this program, and the environment with what
/// docker's own flags say.
pub fn receive(words: Vec<OsString>, mut environment: Environment) -> (Vec<String>, Environment) {
    let arguments: Vec<String> = words
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let is_named = words.first().is_some_and(is_plugin_file);
    // The variable alone does not count: other plugins of docker call this program, too.
    let by_docker = is_named
        || environment
            .get(env_vars::DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND)
            .is_some();
    let call = by_docker.then(|| plugin_call(&arguments)).flatten();
    environment.called.words = words;
    environment.called.hands_over = is_named || call.is_some();
    environment.called.is_plugin = call.is_some();
    match call {
        Some((flags, arguments)) => {
            flags.apply(&mut environment);
            (flags.passed_on(arguments), environment)
        }
        None => (arguments, environment),
    }
}

fn is_plugin_file(program: &OsString) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == plugins::FILE)
}

/// Docker's own flags and the plugin's arguments, if this is a call of the plugin.
fn plugin_call(arguments: &[String]) -> Option<(GlobalFlags, Vec<String>)> {
    let (flags, rest) = GlobalFlags::split(arguments)?;
    let own = match rest {
        [name, own @ ..] if name == NAME => match own {
            [help, command @ ..] if help == "help" && !command.is_empty() => help_of(command),
            own => own.to_vec(),
        },
        [complete, name, own @ ..] if COMPLETE.contains(&complete.as_str()) && name == NAME => {
            let begin = [complete.clone(), "--".to_owned()];
            begin.into_iter().chain(own.iter().cloned()).collect()
        }
        [help, name, command @ ..] if help == "help" && name == NAME => help_of(command),
        _ => return None,
    };
    Some((flags, own))
}

fn help_of(command: &[String]) -> Vec<String> {
    let help = "--help".to_owned();
    command.iter().cloned().chain([help]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(program: &str, line: &str, variables: &[(&str, &str)]) -> (String, Environment) {
        let environment = Environment::of(variables.iter().copied(), Path::new("/"));
        let words = std::iter::once(program).chain(line.split(' ').filter(|word| !word.is_empty()));
        let (arguments, environment) = receive(words.map(OsString::from).collect(), environment);
        (arguments.join(" "), environment)
    }

    const BY_DOCKER: [(&str, &str); 1] = [("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker")];

    #[test]
    fn docker_calls_it_with_its_own_flags_before_the_name() {
        let line = "-D --context=prod --log-level error buildx ls --builder x";
        let (arguments, environment) = call("/p/docker-buildx", line, &BY_DOCKER);
        assert_eq!(arguments, "--debug ls --builder x");
        assert_eq!(environment.get("DOCKER_CONTEXT"), Some("prod"));
        let called = &environment.called;
        assert!(called.is_plugin && called.hands_over && called.without_warnings);
        assert_eq!(called.words.len(), 9);
        assert_eq!(called.typed(), "docker buildx");
        assert_eq!(
            called.respelled("`bkhost ls` of bkhost"),
            "`docker buildx ls` of bkhost"
        );
    }

    #[test]
    fn help_and_completion_have_the_name_in_the_second_place() {
        let asked = |line: &str| call("docker-buildx", line, &BY_DOCKER).0;
        assert_eq!(asked("help buildx"), "--help");
        assert_eq!(asked("help buildx bake"), "bake --help");
        assert_eq!(asked("buildx help du"), "du --help");
        assert_eq!(asked("__complete buildx ls --no"), "__complete -- ls --no");
        assert_eq!(asked("__completeNoDesc buildx l"), "__completeNoDesc -- l");
    }

    #[test]
    fn the_same_program_by_its_own_name_is_no_plugin_even_below_docker() {
        let (arguments, environment) = call("bkhost", "--debug ls", &BY_DOCKER);
        assert_eq!(arguments, "--debug ls");
        assert!(!environment.called.is_plugin && !environment.called.hands_over);
        let (arguments, environment) = call("bkhost", "buildx ls", &[]);
        assert_eq!(arguments, "buildx ls");
        assert!(!environment.called.is_plugin);
    }

    /// As other programs call the plugin's file.
    #[test]
    fn the_plugins_file_called_directly_speaks_for_itself_and_hands_over() {
        let (arguments, environment) = call("/p/docker-buildx", "bake --file -", &[]);
        assert_eq!(arguments, "bake --file -");
        assert!(!environment.called.is_plugin && environment.called.hands_over);
    }
}
