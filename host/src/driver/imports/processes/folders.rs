//! Where a node's daemon lives.

use std::path::{Component, Path, PathBuf};

use super::super::types::{Answer, Failure};
use crate::driver::bindings::types::ErrorKind;
use crate::driver::environment::HostEnvironment;
use crate::driver::node::NodeConfig;
use crate::keeper::exec::own_program;
use crate::keeper::paths::{Owner, Surroundings};
use crate::keeper::site::Site;

/// The user and their programs, as the keeper wants to know them.
pub(super) fn surroundings(environment: &HostEnvironment) -> Surroundings {
    Surroundings {
        uid: environment.user_id,
        path: Some(environment.path.clone()),
        // Never below the working folder: whatever lies there is not ours to run.
        programs: Some(environment.cache_dir.join("bin")).filter(|folder| folder.is_absolute()),
    }
}

/// The place of the node's daemon. It goes with the daemon's state folder: the value of the first of `options` that is
/// given, or the default of the node.
pub(super) fn site(config: &NodeConfig, environment: &HostEnvironment, options: &[String]) -> Answer<Site> {
    let mut given = options
        .iter()
        .filter_map(|name| Some((name, config.options.get(name)?)));
    let state = match given.find(|(_, value)| !value.is_empty()) {
        Some((name, value)) => state(Some(value), name, config, environment)?,
        None => default_state(config, environment)?,
    };
    let site = Site::new(
        surroundings(environment),
        Owner::of(&state),
        &environment.runtime_dir,
    );
    Ok(site.with_host_program(own_program(&environment.executable)))
}

/// The state folder: what the option names, or the default of the node.
pub(super) fn state(
    chosen: Option<&str>,
    option: &str,
    config: &NodeConfig,
    environment: &HostEnvironment,
) -> Answer<PathBuf> {
    let Some(chosen) = chosen else {
        return default_state(config, environment);
    };
    let path = Path::new(chosen);
    if is_clean(path) && path.parent().is_some() {
        return Ok(path.to_owned());
    }
    Err(Failure::new(
        ErrorKind::InvalidConfig,
        format!("Option `{option}` must be an absolute path without `..`: `{chosen}`"),
    ))
}

fn default_state(config: &NodeConfig, environment: &HostEnvironment) -> Answer<PathBuf> {
    if !environment.data_dir.is_absolute() {
        // Without a home there is none, and a relative path would be another folder wherever a command is typed.
        let message = "This user has no home in which the daemon's state could be kept";
        return Err(Failure::new(ErrorKind::InvalidConfig, message)
            .with_hint("Set `HOME` or `XDG_DATA_HOME`, or name a folder with `--driver-opt root=PATH`"));
    }
    let mut parts = Path::new(&config.node).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => Ok(environment.data_dir.join(name)),
        _ => Err(Failure::new(
            ErrorKind::InvalidConfig,
            format!("`{}` cannot be the name of a folder", config.node),
        )),
    }
}

fn is_clean(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// Whether `path` is one that [`state`] may have named: the default, or the value of an option. What is removed must
/// carry the node's own mark as well.
pub(super) fn is_state(path: &Path, config: &NodeConfig, environment: &HostEnvironment) -> bool {
    let is_default = default_state(config, environment).is_ok_and(|default| default == path);
    is_default || (is_clean(path) && config.options.values().any(|value| Path::new(value) == path))
}

/// A path as the contract has it.
pub(super) fn text(path: &Path) -> Answer<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::new(
            ErrorKind::InvalidConfig,
            format!("The path `{}` is not UTF-8", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> HostEnvironment {
        HostEnvironment {
            data_dir: "/data".into(),
            ..HostEnvironment::default()
        }
    }

    fn config(node: &str) -> NodeConfig {
        NodeConfig {
            node: node.to_owned(),
            options: [("root".to_owned(), "/srv/state".to_owned())].into(),
            ..NodeConfig::default()
        }
    }

    #[test]
    fn the_state_folder_is_the_options_or_the_nodes() {
        let (environment, config) = (environment(), config("b0"));
        let named = |chosen| state(chosen, "root", &config, &environment).ok();
        assert_eq!(named(None).unwrap(), Path::new("/data/b0"));
        assert_eq!(named(Some("/srv/state")).unwrap(), Path::new("/srv/state"));
        for refused in ["relative", "/", "/srv/../etc"] {
            assert_eq!(named(Some(refused)), None, "{refused}");
        }
    }

    #[test]
    fn without_a_home_nothing_is_looked_for_in_the_working_folder() {
        let homeless = HostEnvironment::default();
        assert!(default_state(&config("b0"), &homeless).is_err());
        assert!(!is_state(Path::new("b0"), &config("b0"), &homeless));
        assert_eq!(surroundings(&homeless).programs, None);
    }

    #[test]
    fn only_these_are_removed() {
        let environment = environment();
        assert!(is_state(Path::new("/data/b0"), &config("b0"), &environment));
        assert!(is_state(Path::new("/srv/state"), &config("b0"), &environment));
        assert!(!is_state(Path::new("/data/b1"), &config("b0"), &environment));
        assert!(!is_state(Path::new("/etc"), &config("b0"), &environment));
        assert!(default_state(&config(".."), &environment).is_err());
        assert!(default_state(&config("b0"), &HostEnvironment::default()).is_err());
        assert!(default_state(&config("a/b"), &environment).is_err());
    }
}
