//! A driver's manifest: what it is, and the grants it wants.
//!
//! Its TOML lies in the component's custom section `bkhost:manifest`; tools copy it beside compiled code.

use serde::Deserialize;

use super::grants::endpoint::Helper;
use super::grants::rules::RuleText;

/// Newest schema of manifests that this program reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest manifest, in bytes.
pub const LIMIT: usize = bkhost_engine::MANIFEST_LIMIT;

/// Longest name of a driver.
const NAME: usize = 64;

/// Longest of the other texts.
const TEXT: usize = 500;

/// Most rules of one interface; the largest known driver needs thirty.
const RULES: usize = 200;

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Too many bytes.
    #[error("The manifest has {0} bytes; at most {LIMIT} are allowed")]
    Large(usize),
    /// No TOML, or not of the schema.
    #[error("The manifest cannot be read")]
    Toml(#[source] Box<toml::de::Error>),
    /// Of a schema that this program does not know.
    #[error("The manifest has schema version {0}; this bkhost reads up to {SCHEMA_VERSION}")]
    Newer(u32),
    /// A field breaks a rule.
    #[error("The manifest's field `{field}` {problem}")]
    Field {
        /// Dotted path of the field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A parsed manifest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// Generation of the manifest's own format.
    pub schema_version: u32,
    /// Name as typed after `--driver`: lower-case letters, digits and `-`.
    pub name: String,
    /// The driver's version.
    pub version: String,
    /// One line about it.
    #[serde(default)]
    pub description: String,
    /// SPDX expression of its licence.
    #[serde(default)]
    pub licence: String,
    /// What it wants to reach.
    #[serde(default)]
    pub grants: Wanted,
    /// What the file says about its making; written by tools, never by authors.
    #[serde(default)]
    pub built_with: BuiltWith,
}

/// The table that tools add when they copy the manifest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuiltWith {
    /// Name and version of the SDK, as the component says.
    pub sdk: Option<String>,
}

/// Grants that a driver wants. What is not named is denied.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wanted {
    /// Sockets and helper programs.
    #[serde(default)]
    pub connections: WantedConnections,
    /// Programs on this machine.
    #[serde(default)]
    pub processes: WantedProcesses,
    /// Requests to the Docker Engine API.
    #[serde(default)]
    pub engine: Vec<RuleText>,
    /// Requests to the Kubernetes API.
    #[serde(default)]
    pub cluster: Vec<RuleText>,
    /// Patterns of images that the engine may be told to pull, as the driver names them.
    #[serde(default)]
    pub images: Vec<String>,
}

/// Connections that a driver wants to open.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WantedConnections {
    /// The unix socket that the endpoint names.
    #[serde(default)]
    pub unix: bool,
    /// The host and port that the endpoint names.
    #[serde(default)]
    pub tcp: bool,
    /// Options with paths of TLS files, which the host reads for it.
    #[serde(default)]
    pub tls_options: Vec<String>,
    /// Helper programs: `ssh`, `docker-exec`, `podman-exec`, `nerdctl-exec`, `kubectl-exec`.
    #[serde(default)]
    pub helpers: Vec<String>,
}

/// Programs that a driver wants to run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WantedProcesses {
    /// Names of the programs that it may find.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Options that may name another file for one of them.
    #[serde(default)]
    pub program_options: Vec<String>,
    /// Options that may name the folder of the daemon's state.
    #[serde(default)]
    pub folder_options: Vec<String>,
}

impl Manifest {
    /// Reads a manifest and checks every field.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > LIMIT {
            return Err(ManifestError::Large(text.len()));
        }
        let version: Schema = parse_toml(text)?;
        if version.schema_version > SCHEMA_VERSION {
            return Err(ManifestError::Newer(version.schema_version));
        }
        let manifest: Self = parse_toml(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if self.schema_version == 0 {
            return Err(field("schema-version", "must be 1"));
        }
        check_name(&self.name)?;
        if self.version.is_empty() {
            return Err(field("version", "is empty"));
        }
        for (name, text) in [
            ("version", &self.version),
            ("description", &self.description),
            ("licence", &self.licence),
        ] {
            check_text(name, text)?;
        }
        self.grants.check()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Schema {
    schema_version: u32,
}

fn parse_toml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, ManifestError> {
    toml::from_str(text).map_err(|error| ManifestError::Toml(Box::new(error)))
}

impl Wanted {
    fn check(&self) -> Result<(), ManifestError> {
        for helper in &self.connections.helpers {
            if !Helper::KINDS.contains(&helper.as_str()) {
                let problem = format!("names `{helper}`, which is none of: {}", Helper::KINDS.join(", "));
                return Err(field("grants.connections.helpers", problem));
            }
        }
        for program in &self.processes.programs {
            if program.is_empty() || program.contains('/') || program.starts_with('.') {
                let problem = format!("names `{program}`, which is no plain program name");
                return Err(field("grants.processes.programs", problem));
            }
        }
        check_rules("grants.engine", &self.engine)?;
        check_rules("grants.cluster", &self.cluster)
    }
}

fn check_rules(name: &str, rules: &[RuleText]) -> Result<(), ManifestError> {
    if rules.len() > RULES {
        return Err(field(name, format!("has more than {RULES} rules")));
    }
    for (number, rule) in rules.iter().enumerate() {
        rule.check()
            .map_err(|problem| field(&format!("{name}[{number}]"), problem))?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), ManifestError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > NAME
        || !name.chars().all(plain)
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
    {
        let problem = format!(
            "is `{name}`; a name has up to {NAME} lower-case letters, digits and `-`, and begins with a letter"
        );
        return Err(field("name", problem));
    }
    Ok(())
}

fn check_text(name: &str, text: &str) -> Result<(), ManifestError> {
    if text.len() > TEXT {
        return Err(field(name, format!("has more than {TEXT} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(field(name, "has control characters"));
    }
    Ok(())
}

fn field(field: &str, problem: impl Into<String>) -> ManifestError {
    ManifestError::Field {
        field: field.to_owned(),
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "schema-version = 1\nname = \"remote\"\nversion = \"0.1.0\"\n";

    fn words(text: &str) -> String {
        Manifest::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_least_manifest_wants_nothing() {
        let manifest = Manifest::parse(LEAST).unwrap();
        assert_eq!(manifest.grants, Wanted::default());
        assert_eq!(manifest.built_with.sdk, None);
    }

    #[test]
    fn grants_are_read() {
        let text = format!(
            "{LEAST}description = 'x'\n[grants.connections]\nunix = true\ntls-options = ['ca']\nhelpers = ['ssh']\n\
             [grants.processes]\nprograms = ['buildkitd']\n[[grants.engine]]\nmethod = 'GET'\npath = '/info'\n\
             [built-with]\nsdk = 'bkhost-driver 0.1.0'\n"
        );
        let manifest = Manifest::parse(&text).unwrap();
        assert!(manifest.grants.connections.unix && !manifest.grants.connections.tcp);
        assert_eq!(manifest.grants.processes.programs, ["buildkitd"]);
        assert_eq!(manifest.grants.engine.len(), 1);
        assert_eq!(manifest.built_with.sdk.as_deref(), Some("bkhost-driver 0.1.0"));
    }

    #[test]
    fn every_field_has_its_rule() {
        assert!(words(&" ".repeat(LIMIT + 1)).starts_with("The manifest has 65537 bytes"));
        assert_eq!(words("name = 1"), "The manifest cannot be read");
        assert!(words(&LEAST.replace("= 1", "= 2")).contains("schema version 2"));
        assert!(words(&LEAST.replace("= 1", "= 0")).contains("must be 1"));
        for name in ["", "Remote", "../x", "-a", "1a", &"a".repeat(65)] {
            assert!(
                words(&LEAST.replace("remote", name)).contains("field `name`"),
                "{name}"
            );
        }
        assert!(words(&LEAST.replace("0.1.0", "")).contains("`version` is empty"));
        assert!(words(&format!("{LEAST}licence = \"a\\u0007\"")).contains("control characters"));
        assert!(words(&format!("{LEAST}description = '{}'", "x".repeat(501))).contains("more than 500"));
        assert!(words(&format!("{LEAST}[grants.connections]\nhelpers = ['sh']")).contains("names `sh`"));
        assert!(words(&format!("{LEAST}[grants.processes]\nprograms = ['/bin/sh']")).contains("no plain"));
        assert!(words(&format!("{LEAST}[[grants.engine]]\nmethod = 'get'\npath = '/x'")).contains("[0]"));
    }

    #[test]
    fn an_unknown_grant_is_not_passed_over() {
        let text = format!("{LEAST}[grants.everything]\nallow = true");
        assert_eq!(words(&text), "The manifest cannot be read");
        // What is not about grants may grow.
        assert!(Manifest::parse(&format!("homepage = 'x'\n{LEAST}")).is_ok());
    }
}
