//! Image references: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

use super::value::ValueError;

/// The parts of a reference as they were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host and path.
    pub name: String,
    /// Tag without its colon.
    pub tag: Option<String>,
    /// Digest with its algorithm.
    pub digest: Option<String>,
}

/// Longest path of a repository.
const MAX_NAME: usize = 255;

/// Parses a reference without adding anything to it.
///
/// # Errors
///
/// The texts of the reference library that registries and clients share.
pub fn parse(text: &str) -> Result<Reference, ValueError> {
    if let Some(reference) = split(text) {
        if reference.name.len() > MAX_NAME {
            return Err(ValueError::new(
                "repository name must not be more than 255 characters",
            ));
        }
        check_digest(reference.digest.as_deref())?;
        return Ok(reference);
    }
    let message = if text.is_empty() {
        "repository name must have at least one component"
    } else if split(&text.to_lowercase()).is_some() {
        "repository name must be lowercase"
    } else {
        "invalid reference format"
    };
    Err(ValueError::new(message)
        .hint("An image is written `[HOST[:PORT]/]PATH[:TAG]`, for example `registry.example/app:1`"))
}

/// The short form that people type: the default registry and `library/` are left out, a missing tag is `latest`.
///
/// # Errors
///
/// As [`parse`].
pub fn familiar(text: &str) -> Result<String, ValueError> {
    let whole = normalized(text);
    let path = whole.split_once('/').map_or("", |(_, rest)| rest);
    let path = path.split(':').next().unwrap_or_default();
    if path != path.to_lowercase() {
        return Err(ValueError::new(format!(
            "invalid reference format: repository name ({path}) must be lowercase"
        )));
    }
    let reference = parse(&whole)?;
    let name = reference
        .name
        .strip_prefix("docker.io/")
        .unwrap_or(&reference.name);
    let name = name
        .strip_prefix("library/")
        .filter(|rest| !rest.contains('/'))
        .unwrap_or(name);
    let mut short = name.to_owned();
    match (&reference.tag, &reference.digest) {
        (None, None) => short.push_str(":latest"),
        (tag, digest) => {
            short.extend(tag.iter().map(|tag| format!(":{tag}")));
            short.extend(digest.iter().map(|digest| format!("@{digest}")));
        }
    }
    Ok(short)
}

/// Puts the default registry and namespace in front where they are missing.
fn normalized(text: &str) -> String {
    let is_host =
        |first: &str| first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase();
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => format!("docker.io/{rest}"),
        Some((first, rest)) if is_host(first) => {
            if first == "docker.io" && !rest.contains('/') {
                format!("docker.io/library/{rest}")
            } else {
                text.to_owned()
            }
        }
        Some(_) => format!("docker.io/{text}"),
        None => format!("docker.io/library/{text}"),
    }
}

fn split(text: &str) -> Option<Reference> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
        Some(_) => return None,
        None => (text, None),
    };
    let after_slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest.get(after_slash..)?.find(':') {
        Some(at) => {
            let (name, tag) = rest.split_at_checked(after_slash + at)?;
            (name, Some(tag.strip_prefix(':')?.to_owned()))
        }
        None => (rest, None),
    };
    let valid = is_name(name) && tag.as_deref().is_none_or(is_tag);
    valid.then(|| Reference {
        name: name.to_owned(),
        tag,
        digest,
    })
}

fn is_name(name: &str) -> bool {
    match name.split_once('/') {
        Some((first, rest)) => (is_path_part(first) || is_host(first)) && rest.split('/').all(is_path_part),
        None => is_path_part(name),
    }
}

fn is_path_part(part: &str) -> bool {
    let valid_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let valid_characters = part
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'));
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let valid_separators = separators
        .into_iter()
        .all(|s| matches!(s, "" | "." | "_" | "__") || s.chars().all(|c| c == '-'));
    valid_characters && valid_separators && valid_end(part.chars().next()) && valid_end(part.chars().last())
}

fn is_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => name,
        Some(_) if !host.ends_with(']') => return false,
        _ => host,
    };
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return !address.is_empty() && address.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.split('.').all(is_label)
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(|c| c.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(is_part)
        && hex.len() >= 32
        && hex.chars().all(|c| c.is_ascii_hexdigit())
}

fn check_digest(digest: Option<&str>) -> Result<(), ValueError> {
    let Some((algorithm, hex)) = digest.and_then(|digest| digest.split_once(':')) else {
        return Ok(());
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(ValueError::new("unsupported digest algorithm")),
    };
    if hex.len() != length {
        return Err(ValueError::new("invalid checksum digest length"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_taken_apart() {
        for (text, name, tag) in [
            ("a", "a", None),
            ("a:1", "a", Some("1")),
            ("localhost:5000", "localhost", Some("5000")),
            ("localhost:5000/a", "localhost:5000/a", None),
            (
                "localhost:5000/a/b__c-d:V1.2",
                "localhost:5000/a/b__c-d",
                Some("V1.2"),
            ),
            ("Registry.Example/a", "Registry.Example/a", None),
            ("[::1]:5000/a", "[::1]:5000/a", None),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(
                (parsed.name.as_str(), parsed.tag.as_deref()),
                (name, tag),
                "{text}"
            );
        }
        assert_eq!(parse(&format!("a:1@{DIGEST}")).unwrap().digest.unwrap(), DIGEST);
    }

    #[test]
    fn refusals_have_the_known_texts() {
        for (text, refusal) in [
            ("", "repository name must have at least one component"),
            ("App", "repository name must be lowercase"),
            ("a/B:1", "repository name must be lowercase"),
            ("a b", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("a/", "invalid reference format"),
            ("https://a/b", "invalid reference format"),
            ("a@sha256:12", "invalid reference format"),
            (
                "a@sha256:e3b0c44298fc1c149afbf4c8996fb924",
                "invalid checksum digest length",
            ),
            (
                "a@md5:e3b0c44298fc1c149afbf4c8996fb924",
                "unsupported digest algorithm",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), refusal, "{text}");
        }
        let long = "a".repeat(256);
        assert_eq!(
            parse(&long).unwrap_err().to_string(),
            "repository name must not be more than 255 characters"
        );
    }

    #[test]
    fn familiar_names_are_short() {
        for (text, short) in [
            ("alpine", "alpine:latest"),
            ("docker.io/library/alpine:3", "alpine:3"),
            ("docker.io/alpine", "alpine:latest"),
            ("index.docker.io/library/alpine", "alpine:latest"),
            ("me/app", "me/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("registry.example/a/b:1", "registry.example/a/b:1"),
        ] {
            assert_eq!(familiar(text).unwrap(), short);
        }
        assert_eq!(
            familiar("Upper").unwrap_err().to_string(),
            "invalid reference format: repository name (library/Upper) must be lowercase"
        );
    }
}
