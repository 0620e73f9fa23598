//! The version of a daemon that is too old to tell it: asked of its program once a container, and remembered with the node.

use std::time::Duration;

use bkhost_driver::{Memory, log};

use crate::DockerContainer;
use crate::api::{self, Container};

/// Key in the node's memory: `ID VERSION`, or `ID ` where the program says something else.
const KEY: &str = "version";

/// The version that was remembered for this container.
pub fn recall(memory: &Memory, container: &Container) -> Option<String> {
    answer(memory, container).filter(|version| !version.is_empty())
}

/// What was answered for this container; empty when it was no version.
fn answer(memory: &Memory, container: &Container) -> Option<String> {
    let remembered = memory.get(KEY).ok()??;
    let (id, version) = remembered.split_once(' ')?;
    (id == container.id()).then(|| version.to_owned())
}

impl DockerContainer {
    /// Asks for the version and remembers it, unless it is remembered of this very container: another client may have made
    /// it anew. Nobody fails for want of it.
    pub fn renew_version(&self, timeout: Duration) {
        let memory = self.config.memory();
        let Ok(Some(container)) = api::inspect(&self.name, timeout) else {
            return;
        };
        if answer(&memory, &container).is_some() {
            return;
        }
        let Ok(outcome) = api::run(&self.name, &["buildkitd", "--version"], timeout) else {
            return;
        };
        let version = parse(&outcome.output);
        if version.is_none() {
            log::debug(format!(
                "unexpected version format: {}",
                outcome.output.trim_end()
            ));
        }
        let value = format!("{} {}", container.id(), version.unwrap_or_default());
        // Without it a version is not shown, and nothing else.
        let _ = memory.update(KEY, |_| Some(value.clone()));
    }
}

/// `buildkitd github.com/moby/buildkit v0.8.3 81c2cbd…`: the third word. The last one, the revision, may be missing.
fn parse(output: &str) -> Option<&str> {
    let fields: Vec<&str> = output.split_whitespace().collect();
    match fields.as_slice() {
        [_, _, version] | [_, _, version, _] => Some(version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_word_is_the_version() {
        assert_eq!(parse("buildkitd github.com/x/y v0.8.3 81c2cbd\n"), Some("v0.8.3"));
        assert_eq!(parse("buildkitd github.com/x/y v0.33.0 \n"), Some("v0.33.0"));
        assert_eq!(parse("buildkitd v0.8.3"), None);
    }
}
