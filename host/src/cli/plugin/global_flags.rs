//! Docker's own flags, which stand before the plugin's name: they come to count as the variables of the same meaning.

use std::path::PathBuf;

use crate::cli::env_vars::{self, Environment};
use crate::cli::values;
use crate::store::docker::contexts::{DEFAULT, TlsFiles};

/// Levels at which docker's own log has no warnings.
const WITHOUT_WARNINGS: [&str; 3] = ["error", "fatal", "panic"];
/// Levels that show as much as `--debug`.
const DEBUG: [&str; 2] = ["debug", "trace"];

/// Docker's flags, as far as they were given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalFlags {
    config: Option<String>,
    context: Option<String>,
    host: Option<String>,
    debug: Option<bool>,
    log_level: Option<String>,
    tls: Option<bool>,
    tls_verify: Option<bool>,
    tls_files: TlsFiles,
    help: bool,
}

impl GlobalFlags {
    /// Takes the flags from the begin of `arguments` and gives the rest, which begins with docker's command. `None` when
    /// something there is no flag of docker's.
    pub fn split(arguments: &[String]) -> Option<(Self, &[String])> {
        let mut flags = Self::default();
        let mut rest = arguments;
        while let [first, others @ ..] = rest {
            if !first.starts_with('-') {
                break;
            }
            rest = match first.strip_prefix("--") {
                Some(long) => flags.long(long, others)?,
                None => flags.cluster(first.get(1..)?, others)?,
            };
        }
        Some((flags, rest))
    }

    /// Makes the flags count.
    pub fn apply(&self, environment: &mut Environment) {
        let mut set = |name: &str, value: &Option<String>| {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                environment.set(name, value);
            }
        };
        set(env_vars::DOCKER_CONFIG, &self.config);
        set(env_vars::DOCKER_HOST, &self.host);
        set(env_vars::DOCKER_CONTEXT, &self.context);
        let context = self.context.as_deref().unwrap_or_default();
        if !matches!(context, "" | DEFAULT) {
            // A context that is typed comes before the variable, of which the context `default` is made.
            environment.unset(env_vars::DOCKER_HOST);
        }
        self.apply_tls(environment);
        let level = self.log_level.as_deref().unwrap_or_default();
        environment.called.has_typed_context = !context.is_empty();
        environment.called.tls_files = self.tls_files.clone();
        environment.called.without_warnings = WITHOUT_WARNINGS.contains(&level);
    }

    fn apply_tls(&self, environment: &mut Environment) {
        let mut switch = |name: &str, on: Option<bool>| match on {
            Some(true) => environment.set(name, "1"),
            Some(false) => environment.unset(name),
            None => {}
        };
        switch(env_vars::DOCKER_TLS, self.tls);
        switch(env_vars::DOCKER_TLS_VERIFY, self.tls_verify);
        if self.tls_verify == Some(false) {
            // Not to verify is still to use TLS.
            environment.set(env_vars::DOCKER_TLS, "1");
        }
    }

    /// The plugin's own arguments, with those of docker's flags that it has as well.
    pub fn passed_on(&self, arguments: Vec<String>) -> Vec<String> {
        let level = self.log_level.as_deref().unwrap_or_default();
        let debug = self.debug.unwrap_or(DEBUG.contains(&level));
        let flags = [("--debug", debug), ("--help", self.help)];
        let flags = flags
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| flag.to_owned());
        flags.chain(arguments).collect()
    }

    fn long<'a>(&mut self, text: &str, rest: &'a [String]) -> Option<&'a [String]> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let switch = match name {
            "debug" => Some(&mut self.debug),
            "tls" => Some(&mut self.tls),
            "tlsverify" => Some(&mut self.tls_verify),
            "help" => {
                self.help = true;
                return Some(rest);
            }
            _ => None,
        };
        if let Some(switch) = switch {
            *switch = Some(values::boolean(attached.unwrap_or("true")).ok()?);
            return Some(rest);
        }
        let (value, rest) = match attached {
            Some(value) => (value, rest),
            None => rest.split_first().map(|(value, rest)| (value.as_str(), rest))?,
        };
        self.valued(name, value)?;
        Some(rest)
    }

    fn valued(&mut self, name: &str, value: &str) -> Option<()> {
        let text = Some(value.to_owned());
        let file = Some(PathBuf::from(value));
        match name {
            "config" => self.config = text,
            "context" => self.context = text,
            "host" => self.host = text,
            "log-level" => self.log_level = text,
            "tlscacert" => self.tls_files.ca = file,
            "tlscert" => self.tls_files.cert = file,
            "tlskey" => self.tls_files.key = file,
            _ => return None,
        }
        Some(())
    }

    /// Short flags in one word: `-D`, `-Dl debug`, `-cprod`.
    fn cluster<'a>(&mut self, letters: &str, rest: &'a [String]) -> Option<&'a [String]> {
        let mut left = letters.chars();
        loop {
            let name = match left.next() {
                None => return (!letters.is_empty()).then_some(rest),
                Some('D') => {
                    self.debug = Some(true);
                    continue;
                }
                Some('h') => {
                    self.help = true;
                    continue;
                }
                Some('c') => "context",
                Some('H') => "host",
                Some('l') => "log-level",
                Some(_) => return None,
            };
            let attached = left.as_str();
            if attached.is_empty() {
                return self.long(name, rest);
            }
            self.valued(name, attached.strip_prefix('=').unwrap_or(attached))?;
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn split(line: &str) -> Option<(GlobalFlags, Vec<String>)> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        GlobalFlags::split(&words).map(|(flags, rest)| (flags, rest.to_vec()))
    }

    fn environment(line: &str) -> Environment {
        let known = [("DOCKER_HOST", "unix:///old"), ("DOCKER_TLS_VERIFY", "1")];
        let mut environment = Environment::of(known, Path::new("/"));
        split(line).unwrap().0.apply(&mut environment);
        environment
    }

    #[test]
    fn every_form_of_a_flag_is_understood() {
        for line in [
            "--debug --context prod buildx ls --x",
            "-D -c prod buildx ls --x",
            "-Dcprod buildx ls --x",
            "-c=prod --debug=1 buildx ls --x",
        ] {
            let (flags, rest) = split(line).unwrap();
            assert_eq!(rest, ["buildx", "ls", "--x"], "{line}");
            assert_eq!(
                (flags.debug, flags.context.as_deref()),
                (Some(true), Some("prod")),
                "{line}"
            );
        }
        for line in [
            "--x buildx",
            "-x buildx",
            "--context",
            "--tls=maybe buildx",
            "- buildx",
        ] {
            assert_eq!(split(line), None, "{line}");
        }
    }

    #[test]
    fn a_typed_context_comes_before_the_host_of_the_environment_unless_it_is_the_default() {
        let chosen = environment("--context prod buildx");
        assert_eq!(chosen.get("DOCKER_CONTEXT"), Some("prod"));
        assert_eq!(chosen.get("DOCKER_HOST"), None);
        for line in ["--context default buildx", "--context= buildx", "buildx"] {
            assert_eq!(
                environment(line).get("DOCKER_HOST"),
                Some("unix:///old"),
                "{line}"
            );
        }
        let chosen = environment("-H tcp://h:1 --config /c buildx");
        assert_eq!(chosen.get("DOCKER_HOST"), Some("tcp://h:1"));
        assert_eq!(chosen.get("DOCKER_CONFIG"), Some("/c"));
    }

    #[test]
    fn tls_without_verification_is_tls() {
        let chosen = environment("--tlsverify=false --tlscacert /ca buildx");
        assert_eq!(chosen.get("DOCKER_TLS_VERIFY"), None);
        assert_eq!(chosen.get("DOCKER_TLS"), Some("1"));
        assert_eq!(chosen.called.tls_files.ca, Some("/ca".into()));
        let chosen = environment("--tls=false buildx");
        assert_eq!(chosen.get("DOCKER_TLS_VERIFY"), Some("1"));
    }

    #[test]
    fn debug_is_passed_on() {
        let passed = |line: &str| {
            let (flags, rest) = split(line).unwrap();
            flags.passed_on(rest[1..].to_vec()).join(" ")
        };
        assert_eq!(passed("-l debug buildx ls"), "--debug ls");
        assert_eq!(passed("--help buildx"), "--help");
        assert_eq!(passed("--log-level warn buildx ls"), "ls");
    }
}
