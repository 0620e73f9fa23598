//! What the main context and its Dockerfile are, judged by their text alone.

use std::path::{Path, PathBuf};

use super::git_reference;
use super::value::ValueError;

/// Where the main context comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// `-`: a Dockerfile or an archive on standard input.
    Stdin,
    /// A folder of this machine.
    Folder(PathBuf),
    /// An address that the daemon fetches.
    Remote(String),
}

/// Where the Dockerfile comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSource {
    /// `Dockerfile` of the context.
    Default,
    /// `-f -`.
    Stdin,
    /// `-f PATH`: a file here, or inside of a context that is fetched.
    Path(PathBuf),
}

/// Tells the context argument and `-f` apart. A folder that is there wins over an address that reads like it.
///
/// # Errors
///
/// Nothing given, nothing there, both from standard input, a Dockerfile by URL.
pub fn decide(
    context: &str,
    dockerfile: Option<&str>,
) -> Result<(ContextSource, DockerfileSource), ValueError> {
    let dockerfile = match dockerfile.unwrap_or_default() {
        "" => DockerfileSource::Default,
        "-" => DockerfileSource::Stdin,
        url if git_reference::is_http(url) => {
            return Err(
                ValueError::new(format!("The Dockerfile cannot be a URL: `{url}`"))
                    .hint("Fetch it first and pass it on: `curl URL | bkhost build -f - .`"),
            );
        }
        path => DockerfileSource::Path(PathBuf::from(path)),
    };
    let context = match context {
        "" => {
            return Err(ValueError::new(
                "please specify build context (e.g. \".\" for the current directory)",
            ));
        }
        "-" => ContextSource::Stdin,
        path if Path::new(path).is_dir() => ContextSource::Folder(PathBuf::from(path)),
        url if git_reference::is_remote(url) => ContextSource::Remote(url.to_owned()),
        path => {
            let error = ValueError::new(format!("unable to prepare context: path {path:?} not found"));
            return Err(error.hint(no_context(path)));
        }
    };
    match (&context, &dockerfile) {
        (ContextSource::Stdin, DockerfileSource::Stdin) => Err(ValueError::new(
            "invalid argument: can't use stdin for both build context and dockerfile",
        )),
        _ => Ok((context, dockerfile)),
    }
}

/// What to pass instead of a path that is no folder.
fn no_context(path: &str) -> String {
    let file = Path::new(path);
    if !file.is_file() {
        return "A context is a folder, an http or git address, or `-` for standard input".to_owned();
    }
    if ARCHIVES.iter().any(|ending| path.ends_with(ending)) {
        return format!(
            "`{path}` is a file; an archive is read from standard input: `bkhost build - < {path}`"
        );
    }
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).display();
    format!("`{path}` is a file: pass the folder, and the file with `-f`: `bkhost build -f {path} {folder}`")
}

/// How names of archives end.
const ARCHIVES: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CommandError;

    fn refusal(context: &str, dockerfile: Option<&str>) -> String {
        decide(context, dockerfile).unwrap_err().to_string()
    }

    #[test]
    fn forms_are_told_apart() {
        let of = |context: &str, dockerfile| decide(context, dockerfile).unwrap();
        assert_eq!(of("-", None), (ContextSource::Stdin, DockerfileSource::Default));
        assert_eq!(
            of("/tmp", Some("-")),
            (ContextSource::Folder("/tmp".into()), DockerfileSource::Stdin)
        );
        assert_eq!(
            of("https://host/a.git#main", Some("sub/Dockerfile")),
            (
                ContextSource::Remote("https://host/a.git#main".into()),
                DockerfileSource::Path("sub/Dockerfile".into())
            )
        );
    }

    #[test]
    fn a_file_for_a_context_says_where_it_belongs() {
        let dir = tempfile::tempdir().unwrap();
        let hint = |name: &str| {
            let path = dir.path().join(name).display().to_string();
            std::fs::write(&path, "").unwrap();
            let error = CommandError::from(decide(&path, None).unwrap_err());
            error
                .hints()
                .join("")
                .replace(&dir.path().display().to_string(), "DIR")
        };
        assert_eq!(
            hint("Dockerfile"),
            "`DIR/Dockerfile` is a file: pass the folder, and the file with `-f`: `bkhost build -f DIR/Dockerfile DIR`"
        );
        assert!(hint("context.tar.gz").ends_with("`bkhost build - < DIR/context.tar.gz`"));
        assert!(no_context("Cargo.toml").ends_with("`bkhost build -f Cargo.toml .`"));
    }

    #[test]
    fn refusals_have_the_known_texts() {
        assert_eq!(
            refusal("", None),
            "please specify build context (e.g. \".\" for the current directory)"
        );
        assert_eq!(
            refusal("/no/such", None),
            "unable to prepare context: path \"/no/such\" not found"
        );
        assert_eq!(
            refusal("-", Some("-")),
            "invalid argument: can't use stdin for both build context and dockerfile"
        );
        assert_eq!(
            refusal(".", Some("https://host/Dockerfile")),
            "The Dockerfile cannot be a URL: `https://host/Dockerfile`"
        );
    }
}
