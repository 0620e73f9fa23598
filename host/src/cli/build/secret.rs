//! `--secret id=X[,src=FILE|,env=NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::value::{Environment, ValueError};
use crate::buildkit::spec::Secret;

/// A secret as typed, before anything was looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretArgument {
    /// Id that the Dockerfile asks for; empty when not given.
    pub id: String,
    /// File to read.
    pub file: Option<PathBuf>,
    /// Environment variable to read; wins over the file.
    pub variable: Option<String>,
}

/// Largest secret that a daemon takes.
const MAX_SIZE: u64 = 500 * 1024;

/// Parses one value of the flag.
///
/// # Errors
///
/// CSV errors, fields without `=`, unknown keys and types.
pub fn parse(value: &str) -> Result<SecretArgument, ValueError> {
    let fields = super::csv::fields(value).map_err(|error| error.within("failed to parse csv secret"))?;
    let mut secret = SecretArgument::default();
    let mut from_environment = false;
    for field in &fields {
        let (key, value) = field.split_once('=').ok_or_else(|| {
            ValueError::new(format!("invalid field '{field}' must be a key=value pair")).hint(EXAMPLE)
        })?;
        match key.to_lowercase().as_str() {
            "type" if matches!(value, "file" | "env") => from_environment = value == "env",
            "type" => return Err(ValueError::new(format!("unsupported secret type {value:?}"))),
            "id" => value.clone_into(&mut secret.id),
            "source" | "src" => secret.file = some(value).map(PathBuf::from),
            "env" => secret.variable = some(value),
            key => {
                return Err(ValueError::new(format!("unexpected key '{key}' in '{field}'")).hint(EXAMPLE));
            }
        }
    }
    if from_environment && secret.variable.is_none() {
        secret.variable = secret.file.take().map(|path| path.to_string_lossy().into_owned());
    }
    Ok(secret)
}

const EXAMPLE: &str = "A secret is written `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`";

fn some(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

/// Finds each secret's source. Files must exist and be small enough now, but are read when the daemon asks.
///
/// # Errors
///
/// A missing id, a missing file, a file above 500 KiB.
pub fn resolve(
    secrets: &[SecretArgument],
    environment: Environment<'_>,
) -> Result<BTreeMap<String, Secret>, ValueError> {
    secrets
        .iter()
        .map(|secret| Ok((secret.id.clone(), source(secret, environment)?)))
        .collect()
}

fn source(secret: &SecretArgument, environment: Environment<'_>) -> Result<Secret, ValueError> {
    if secret.id.is_empty() {
        return Err(ValueError::new("secret missing ID").hint(EXAMPLE));
    }
    let by_id = secret.file.is_none() && secret.variable.is_none();
    let variable = match &secret.variable {
        None if by_id && environment(&secret.id).is_some() => Some(&secret.id),
        variable => variable.as_ref(),
    };
    let file = match &secret.file {
        None if by_id && variable.is_none() => Some(PathBuf::from(&secret.id)),
        file => file.clone(),
    };
    if let Some(file) = &file {
        check_file(&secret.id, file)?;
    }
    match (variable, file) {
        (Some(variable), _) => Ok(Secret::Value(Bytes::from(
            environment(variable).unwrap_or_default(),
        ))),
        (None, Some(file)) => Ok(Secret::File(file)),
        (None, None) => Err(ValueError::new("secret missing ID")),
    }
}

fn check_file(id: &str, file: &Path) -> Result<(), ValueError> {
    let path = file.display();
    let metadata = std::fs::metadata(file).map_err(|error| {
        let why = super::inputs::reason(&error);
        ValueError::new(format!("failed to stat {path}: stat {path}: {why}"))
            .hint(format!("Secret `{id}` needs a file that can be read: `--secret id={id},src=FILE`, or a variable: `--secret id={id},env=NAME`"))
    })?;
    if metadata.len() > MAX_SIZE {
        return Err(ValueError::new(format!("secret {id} too big. max size 500KiB")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "s3cret".to_owned())
    }

    fn resolved(value: &str) -> Result<Secret, String> {
        let secret = parse(value).map_err(|error| error.to_string())?;
        resolve(&[secret], &environment)
            .map(|map| map.into_values().next().unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_parsed_in_any_case() {
        let secret = parse("ID=a,Source=/x,ENV=Y").unwrap();
        assert_eq!(
            secret,
            SecretArgument {
                id: "a".into(),
                file: Some("/x".into()),
                variable: Some("Y".into())
            }
        );
        assert_eq!(parse("id=a,type=env,src=Y").unwrap().variable.unwrap(), "Y");
    }

    #[test]
    fn refusals_have_the_known_texts() {
        for (value, text) in [
            ("id", "invalid field 'id' must be a key=value pair"),
            ("id=a,x=y", "unexpected key 'x' in 'x=y'"),
            ("id=a,type=disk", "unsupported secret type \"disk\""),
            ("src=/dev/null", "secret missing ID"),
            (
                "a\"",
                "failed to parse csv secret: parse error on line 1, column 2: bare \" in non-quoted-field",
            ),
            (
                "id=a,src=/no/such",
                "failed to stat /no/such: stat /no/such: no such file or directory",
            ),
        ] {
            assert_eq!(resolved(value).unwrap_err(), text);
        }
    }

    #[test]
    fn a_value_never_shows() {
        let secret = resolved("id=TOKEN").unwrap();
        assert_eq!(secret, Secret::Value("s3cret".into()));
        assert_eq!(format!("{secret:?}"), "Value(..)");
    }

    #[test]
    fn sources_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        let path = file.display();
        assert_eq!(
            resolved(&format!("id=a,src={path}")).unwrap(),
            Secret::File(file.clone())
        );
        assert_eq!(
            resolved(&format!("id={path}")).unwrap(),
            Secret::File(file.clone())
        );
        assert_eq!(
            resolved(&format!("id=a,src={path},env=TOKEN")).unwrap(),
            Secret::Value("s3cret".into())
        );
        assert_eq!(resolved("id=a,env=UNSET").unwrap(), Secret::Value(Bytes::new()));
        std::fs::write(&file, vec![0; 500 * 1024 + 1]).unwrap();
        assert_eq!(
            resolved(&format!("id=a,src={path}")).unwrap_err(),
            "secret a too big. max size 500KiB"
        );
    }
}
