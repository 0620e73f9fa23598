//! Handing a command line to the next plugin `buildx`: the process becomes that program.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::lacking::Lack;
use crate::cli::env_vars::{self, Environment};
use crate::cli::settings;
use crate::error::{CommandError, ErrorKind};
use crate::store::docker::config::DockerConfig;
use crate::store::docker::plugins::{Found, KEPT, PluginFolders, Search};

/// Who has had this call already, so that it never goes round: also a script may stand in a folder of plugins.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Trail {
    /// The socket by which docker follows this very call; another call has another one.
    socket: Option<String>,
    files: Vec<PathBuf>,
}

impl Trail {
    fn of(environment: &Environment) -> Self {
        let socket = environment
            .get(env_vars::DOCKER_CLI_PLUGIN_SOCKET)
            .map(str::to_owned);
        let known = environment.get(env_vars::BKHOST_HANDED_OVER);
        let known = known.and_then(|text| serde_json::from_str::<Self>(text).ok());
        known.filter(|trail| trail.socket == socket).unwrap_or(Self {
            socket,
            files: Vec::new(),
        })
    }
}

/// The folders of plugins of the docker client that is used.
pub fn folders(environment: &Environment) -> PluginFolders {
    let folder = settings::docker_folder(environment);
    // What is wrong with the file, commands say that read it.
    let (config, _) = DockerConfig::load(&folder);
    PluginFolders::new(&config, &folder)
}

/// Looks for the plugin that would get what is not here.
pub fn search(environment: &Environment) -> Search {
    let ourselves = std::env::current_exe().unwrap_or_default();
    folders(environment).search(&ourselves, &Trail::of(environment).files)
}

/// Becomes the next plugin, with the arguments, the environment, the streams and the process id of this one. Returns only
/// when that fails.
pub fn hand_over(environment: &Environment, lack: &Lack) -> CommandError {
    let search = search(environment);
    match search.next() {
        Some(next) => {
            let error = become_program(next, &search, environment);
            CommandError::user(format!(
                "Cannot hand the {lack} to `{next}`",
                next = next.display()
            ))
            .with_source(error)
        }
        None => nobody(environment, lack, &search),
    }
}

fn become_program(next: &Path, search: &Search, environment: &Environment) -> std::io::Error {
    let mut trail = Trail::of(environment);
    trail
        .files
        .extend(search.looked.iter().map(|(file, _)| file.clone()));
    let trail = serde_json::to_string(&trail).unwrap_or_default();
    Command::new(next)
        .args(environment.called.words.iter().skip(1))
        .env(env_vars::BKHOST_HANDED_OVER, trail)
        .exec()
}

fn nobody(environment: &Environment, lack: &Lack, search: &Search) -> CommandError {
    let kept = folders(environment).own().join(KEPT);
    CommandError::new(
        ErrorKind::Usage,
        format!("bkhost has no {lack} yet, and there is no other `docker-buildx` to hand it to"),
    )
    .with_hint(format!("Looked for it at {}", places(search)))
    .with_hint(format!(
        "Install buildx, for example with the package `docker-buildx-plugin`, or save it as `{}`",
        kept.display()
    ))
}

/// The places that were looked at, with what was there.
pub fn places(search: &Search) -> String {
    let place = |(file, found): &(PathBuf, Found)| {
        let remark = match found {
            Found::Ourselves => " (bkhost itself)",
            Found::Passed => " (handed it on already)",
            Found::NoProgram => " (not executable)",
            Found::Nothing | Found::Other => "",
        };
        format!("`{}`{remark}", file.display())
    };
    search.looked.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// What a user is told who typed, by this program's own name, what it does not have.
pub fn advice(environment: &Environment, lack: &Lack) -> String {
    match search(environment).next() {
        Some(next) => format!(
            "bkhost has no {lack} yet: `docker buildx` has it, from `{}`",
            next.display()
        ),
        None => format!("bkhost has no {lack} yet: `docker buildx` has it once buildx is installed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_counts_for_the_call_that_it_was_made_for() {
        let known = r#"{"socket":"@a","files":["/p/docker-buildx"]}"#;
        let files = |socket: &[(&'static str, &'static str)]| {
            let variables = [("BKHOST_HANDED_OVER", known)].into_iter();
            let variables = variables.chain(socket.iter().copied());
            Trail::of(&Environment::of(variables, Path::new("/"))).files.len()
        };
        assert_eq!(files(&[("DOCKER_CLI_PLUGIN_SOCKET", "@a")]), 1);
        assert_eq!(files(&[("DOCKER_CLI_PLUGIN_SOCKET", "@b")]), 0);
        assert_eq!(files(&[]), 0);
    }
}
