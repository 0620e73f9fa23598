//! What a build asks git about its context, as the environment switches it.

use super::value::parse_bool;
use crate::cli::env_vars::{BUILDX_GIT_CHECK_DIRTY, BUILDX_GIT_INFO, BUILDX_GIT_LABELS, Environment};
use crate::git::Wishes;

/// Reads the variables; a value that is no boolean leaves the default.
pub fn wishes(environment: &Environment) -> Wishes {
    let value = |name: &str| environment.variables().get(name);
    let switch = |name: &str, default: bool| {
        value(name)
            .and_then(|value| parse_bool(value).ok())
            .unwrap_or(default)
    };
    let full = value(BUILDX_GIT_LABELS).is_some_and(|value| value == "full");
    Wishes {
        info: switch(BUILDX_GIT_INFO, true),
        labels: full || switch(BUILDX_GIT_LABELS, false),
        dirty: switch(BUILDX_GIT_CHECK_DIRTY, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> Wishes {
        wishes(&Environment::of([(name, value)], std::path::Path::new("/")))
    }

    #[test]
    fn the_environment_switches() {
        let defaults = Wishes {
            info: true,
            labels: false,
            dirty: false,
        };
        assert_eq!(of("ANYTHING", "else"), defaults);
        assert_eq!(of("BUILDX_GIT_INFO", "no boolean"), defaults);
        assert!(!of("BUILDX_GIT_INFO", "false").info);
        assert!(of("BUILDX_GIT_LABELS", "full").labels);
        assert!(of("BUILDX_GIT_CHECK_DIRTY", "true").dirty);
    }
}
