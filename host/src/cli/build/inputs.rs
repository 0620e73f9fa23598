//! From the context and Dockerfile that were asked for to local mounts, an upload, and frontend attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;

use super::context::{ContextSource, DockerfileSource};
use super::git_reference;
use super::named_context::{self, NamedContexts, Source};
use super::value::ValueError;
use crate::buildkit::spec::{Upload, random_id};

/// Everything the daemon may read from this machine during a build, apart from secrets.
#[derive(Default)]
pub struct Inputs {
    /// Folders by mount name.
    pub mounts: BTreeMap<String, PathBuf>,
    /// Frontend attributes that tell of them.
    pub attributes: BTreeMap<String, String>,
    /// Base name of the context folder, which its shared key begins with.
    pub shared_key: Option<String>,
    /// Base names of named context folders by context name.
    pub named_keys: BTreeMap<String, String>,
    /// OCI layouts by store id.
    pub layouts: BTreeMap<String, PathBuf>,
    /// An archive on standard input.
    pub upload: Option<Upload>,
    /// Folders that live as long as the build.
    temporary: Vec<TempDir>,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("mounts", &self.mounts)
            .field("upload", &self.upload.is_some())
            .finish_non_exhaustive()
    }
}

/// What is read: the sources, and whether a missing Dockerfile is known to be an error.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The main context.
    pub context: &'a ContextSource,
    /// Its Dockerfile.
    pub dockerfile: &'a DockerfileSource,
    /// Named contexts.
    pub named: &'a NamedContexts,
    /// The built-in frontend reads the Dockerfile; another one (`BUILDKIT_SYNTAX`) may not need any.
    pub needs_dockerfile: bool,
}

/// Name of the Dockerfile unless `-f` says otherwise.
const DOCKERFILE: &str = "Dockerfile";
/// How much of standard input is looked at to tell an archive from a Dockerfile.
const PEEKED: usize = 1024;

/// Reads what has to be read now: standard input, listings, layouts' indexes.
///
/// # Errors
///
/// Missing files and folders, in the words of buildx where it has some.
pub fn load(wanted: Wanted<'_>, stdin: &mut dyn Read) -> Result<Inputs, ValueError> {
    let mut inputs = Inputs::default();
    let mut caps = BTreeSet::new();
    let dockerfile = match wanted.context {
        ContextSource::Stdin => load_stdin(&mut inputs, wanted.dockerfile, stdin)?,
        ContextSource::Folder(folder) => {
            inputs.mounts.insert("context".to_owned(), folder.clone());
            inputs.shared_key = Some(base_name(folder));
            match wanted.dockerfile {
                DockerfileSource::Default => Dockerfile::Here(folder.join(DOCKERFILE)),
                DockerfileSource::Path(path) => Dockerfile::Here(path.clone()),
                DockerfileSource::Stdin => Dockerfile::Text(read_all(stdin)?),
            }
        }
        ContextSource::Remote(address) => {
            inputs.attributes.insert("context".to_owned(), address.clone());
            if git_reference::has_query(address) {
                caps.insert("moby.buildkit.frontend.gitquerystring");
            }
            match wanted.dockerfile {
                DockerfileSource::Path(path) if path.is_absolute() => Dockerfile::Beside(path.clone()),
                DockerfileSource::Path(path) => Dockerfile::Inside(path.to_string_lossy().into_owned()),
                DockerfileSource::Default => Dockerfile::Inside(DOCKERFILE.to_owned()),
                DockerfileSource::Stdin => Dockerfile::Text(read_all(stdin)?),
            }
        }
    };
    place_dockerfile(&mut inputs, dockerfile, wanted.needs_dockerfile)?;
    for (name, value) in wanted.named {
        caps.insert("moby.buildkit.frontend.contexts+forward");
        if git_reference::has_query(value) {
            caps.insert("moby.buildkit.frontend.gitquerystring+forward");
        }
        add_named(&mut inputs, name, value)?;
    }
    if !caps.is_empty() {
        let caps: Vec<&str> = caps.into_iter().collect();
        inputs
            .attributes
            .insert("frontend.caps".to_owned(), caps.join(","));
    }
    Ok(inputs)
}

/// Where the Dockerfile was found.
enum Dockerfile {
    /// A file of this machine, for a context of this machine.
    Here(PathBuf),
    /// A file of this machine, for a context that is fetched.
    Beside(PathBuf),
    /// A path inside of a context that is fetched or uploaded.
    Inside(String),
    /// Its whole text.
    Text(Vec<u8>),
}

fn load_stdin(
    inputs: &mut Inputs,
    dockerfile: &DockerfileSource,
    stdin: &mut dyn Read,
) -> Result<Dockerfile, ValueError> {
    let peeked = peek(stdin)?;
    if peeked.is_empty() {
        return Err(ValueError::new("Standard input is empty")
            .hint("`bkhost build -` reads a Dockerfile or an archive of the context from standard input"));
    }
    if is_archive(&peeked) {
        let id = random_id();
        inputs
            .attributes
            .insert("context".to_owned(), format!("http://buildkit-session/{id}"));
        inputs.upload = Some(Upload {
            id,
            peeked: Bytes::from(peeked),
        });
        return Ok(Dockerfile::Inside(match dockerfile {
            DockerfileSource::Path(path) => path.to_string_lossy().into_owned(),
            DockerfileSource::Default | DockerfileSource::Stdin => DOCKERFILE.to_owned(),
        }));
    }
    if *dockerfile != DockerfileSource::Default {
        return Err(ValueError::new(
            "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles",
        ));
    }
    let mut text = peeked;
    text.extend(read_all(stdin)?);
    let empty = inputs.temporary_folder()?;
    inputs.mounts.insert("context".to_owned(), empty);
    Ok(Dockerfile::Text(text))
}

fn place_dockerfile(inputs: &mut Inputs, dockerfile: Dockerfile, needed: bool) -> Result<(), ValueError> {
    let name = match dockerfile {
        Dockerfile::Inside(name) => name,
        Dockerfile::Here(path) => inputs.mount_dockerfile(&path, needed)?,
        Dockerfile::Beside(path) => {
            let name = inputs.mount_dockerfile(&path, needed)?;
            inputs
                .attributes
                .insert("dockerfilekey".to_owned(), "dockerfile".to_owned());
            name
        }
        Dockerfile::Text(text) => {
            let folder = inputs.temporary_folder()?;
            let path = folder.join(DOCKERFILE);
            std::fs::write(&path, text).map_err(|error| {
                ValueError::new(format!("Cannot write `{}`: {}", path.display(), reason(&error)))
            })?;
            inputs.mounts.insert("dockerfile".to_owned(), folder);
            inputs
                .attributes
                .insert("dockerfilekey".to_owned(), "dockerfile".to_owned());
            DOCKERFILE.to_owned()
        }
    };
    inputs.attributes.insert("filename".to_owned(), name);
    Ok(())
}

impl Inputs {
    fn temporary_folder(&mut self) -> Result<PathBuf, ValueError> {
        let folder = tempfile::Builder::new()
            .prefix("bkhost-")
            .tempdir()
            .map_err(|error| {
                ValueError::new(format!("Cannot create a temporary folder: {}", reason(&error)))
            })?;
        let path = folder.path().to_owned();
        self.temporary.push(folder);
        Ok(path)
    }

    /// Mounts the folder of `path` and gives the name to read in it.
    fn mount_dockerfile(&mut self, path: &Path, needed: bool) -> Result<String, ValueError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path.file_name().map_or_else(
            || DOCKERFILE.to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let name = as_listed(&folder, name);
        if needed && !folder.join(&name).exists() {
            return Err(missing_dockerfile(path, &name));
        }
        self.mounts.insert("dockerfile".to_owned(), folder);
        Ok(name)
    }
}

/// A missing `Dockerfile` may be there as `dockerfile`. The listing decides, since some file systems find either.
fn as_listed(folder: &Path, name: String) -> String {
    if name != DOCKERFILE {
        return name;
    }
    let listed = |wanted: &str| {
        std::fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() == wanted))
    };
    if !listed(DOCKERFILE) && listed("dockerfile") {
        return "dockerfile".to_owned();
    }
    name
}

fn missing_dockerfile(path: &Path, name: &str) -> ValueError {
    ValueError::new(format!(
        "failed to read dockerfile: open {name}: no such file or directory"
    ))
    .within("failed to solve")
    .hint(format!(
        "There is no `{}`; name another one with `-f PATH`, or pass it with `-f -`",
        path.display()
    ))
}

fn add_named(inputs: &mut Inputs, name: &str, value: &str) -> Result<(), ValueError> {
    let attribute = match named_context::resolve(name, value)? {
        Source::Verbatim(value) => value,
        Source::Folder(folder) => {
            let mount = match name {
                "context" | "dockerfile" => format!("_{name}"),
                name => name.to_owned(),
            };
            inputs.named_keys.insert(name.to_owned(), base_name(&folder));
            inputs.mounts.insert(mount.clone(), folder);
            format!("local:{mount}")
        }
        Source::Layout { folder, image } => {
            let store = random_id();
            let value = format!("oci-layout://{store}{image}");
            inputs.layouts.insert(store, folder);
            value
        }
    };
    inputs.attributes.insert(format!("context:{name}"), attribute);
    Ok(())
}

fn base_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let clean: PathBuf = clean(&absolute);
    clean
        .file_name()
        .map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The path with `.` and `..` taken out by text, as the shared key of other clients is made.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// Reads until [`PEEKED`] bytes are there or standard input ends.
fn peek(stdin: &mut dyn Read) -> Result<Vec<u8>, ValueError> {
    read_limited(&mut stdin.take(PEEKED as u64))
}

fn read_all(stdin: &mut dyn Read) -> Result<Vec<u8>, ValueError> {
    read_limited(stdin)
}

fn read_limited(stdin: &mut dyn Read) -> Result<Vec<u8>, ValueError> {
    let mut data = Vec::new();
    stdin.read_to_end(&mut data).map_err(|error| {
        ValueError::new(format!(
            "failed to peek context header from STDIN: {}",
            reason(&error)
        ))
    })?;
    Ok(data)
}

/// Whether data is a compressed or plain tar archive, by its first bytes.
fn is_archive(header: &[u8]) -> bool {
    const BZIP2: &[u8] = &[0x42, 0x5a, 0x68];
    const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];
    const XZ: &[u8] = &[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
    [BZIP2, GZIP, XZ].iter().any(|magic| header.starts_with(magic)) || is_tar(header)
}

/// A tar header's checksum is the sum of its 512 bytes, with blanks in the checksum's own place.
fn is_tar(header: &[u8]) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let (Some(block), Some(stored)) = (header.get(..512), header.get(CHECKSUM)) else {
        return false;
    };
    let text: String = stored.iter().map(|byte| char::from(*byte)).collect();
    let text = text.trim_matches(|c: char| c == '\0' || c == ' ');
    let Ok(stored) = u32::from_str_radix(text, 8) else {
        return false;
    };
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if CHECKSUM.contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    sum == stored
}

/// The reason of a failed system call as other clients write it: small letters, no number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(
        context: &ContextSource,
        dockerfile: &DockerfileSource,
        mut stdin: &[u8],
    ) -> Result<Inputs, String> {
        let named = NamedContexts::new();
        let wanted = Wanted {
            context,
            dockerfile,
            named: &named,
            needs_dockerfile: true,
        };
        load(wanted, &mut stdin).map_err(|error| error.to_string())
    }

    fn folder_with(files: &[&str]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "FROM scratch").unwrap();
        }
        dir
    }

    #[test]
    fn a_folder_is_mounted_twice() {
        let dir = folder_with(&["Dockerfile"]);
        let context = ContextSource::Folder(dir.path().into());
        let inputs = load_with(&context, &DockerfileSource::Default, b"").unwrap();
        assert_eq!(inputs.mounts["context"], dir.path());
        assert_eq!(inputs.mounts["dockerfile"], dir.path());
        assert_eq!(
            inputs.attributes,
            BTreeMap::from([("filename".into(), "Dockerfile".into())])
        );
        assert_eq!(
            inputs.shared_key.unwrap(),
            dir.path().file_name().unwrap().to_str().unwrap()
        );
    }

    #[test]
    fn a_small_letter_dockerfile_is_found() {
        let dir = folder_with(&["dockerfile"]);
        let context = ContextSource::Folder(dir.path().into());
        let inputs = load_with(&context, &DockerfileSource::Default, b"").unwrap();
        assert_eq!(inputs.attributes["filename"], "dockerfile");
    }

    #[test]
    fn a_missing_dockerfile_is_known_before_anything_boots() {
        let dir = folder_with(&[]);
        let context = ContextSource::Folder(dir.path().into());
        let text = "failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory";
        assert_eq!(
            load_with(&context, &DockerfileSource::Default, b"").unwrap_err(),
            text
        );
        let other = DockerfileSource::Path(dir.path().join("x/Other"));
        assert!(
            load_with(&context, &other, b"")
                .unwrap_err()
                .contains("open Other:")
        );
    }

    #[test]
    fn a_dockerfile_elsewhere_has_a_mount_of_its_own() {
        let (dir, other) = (folder_with(&[]), folder_with(&["Other"]));
        let context = ContextSource::Folder(dir.path().into());
        let inputs = load_with(&context, &DockerfileSource::Path(other.path().join("Other")), b"").unwrap();
        assert_eq!(inputs.mounts["dockerfile"], other.path());
        assert_eq!(inputs.attributes["filename"], "Other");
    }

    #[test]
    fn a_dockerfile_from_stdin_is_written_for_the_build() {
        let dir = folder_with(&[]);
        let context = ContextSource::Folder(dir.path().into());
        let inputs = load_with(&context, &DockerfileSource::Stdin, b"FROM x").unwrap();
        assert_eq!(inputs.attributes["dockerfilekey"], "dockerfile");
        let file = inputs.mounts["dockerfile"].join("Dockerfile");
        assert_eq!(std::fs::read(&file).unwrap(), b"FROM x");
        drop(inputs);
        assert!(!file.exists());
    }

    #[test]
    fn stdin_as_context_is_a_dockerfile_or_an_archive() {
        let inputs = load_with(&ContextSource::Stdin, &DockerfileSource::Default, b"FROM x").unwrap();
        assert_eq!(std::fs::read_dir(&inputs.mounts["context"]).unwrap().count(), 0);
        assert_eq!(inputs.shared_key, None);

        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_cksum();
        archive.append_data(&mut header, "Dockerfile", &b""[..]).unwrap();
        let archive = archive.into_inner().unwrap();
        let inputs = load_with(
            &ContextSource::Stdin,
            &DockerfileSource::Path("sub/D".into()),
            &archive,
        )
        .unwrap();
        let upload = inputs.upload.unwrap();
        assert_eq!(
            inputs.attributes["context"],
            format!("http://buildkit-session/{}", upload.id)
        );
        assert_eq!(inputs.attributes["filename"], "sub/D");
        assert_eq!(upload.peeked, archive[..1024]);
        assert!(is_archive(&[0x1f, 0x8b, 0x08]));
    }

    #[test]
    fn refusals_of_stdin() {
        assert_eq!(
            load_with(
                &ContextSource::Stdin,
                &DockerfileSource::Path("x".into()),
                b"FROM x"
            )
            .unwrap_err(),
            "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"
        );
        assert_eq!(
            load_with(&ContextSource::Stdin, &DockerfileSource::Default, b"").unwrap_err(),
            "Standard input is empty"
        );
    }

    #[test]
    fn addresses_are_left_to_the_daemon() {
        let context = ContextSource::Remote("https://host/a.git?ref=v1".into());
        let inputs = load_with(&context, &DockerfileSource::Path("sub/D".into()), b"").unwrap();
        assert!(inputs.mounts.is_empty());
        assert_eq!(inputs.attributes["context"], "https://host/a.git?ref=v1");
        assert_eq!(inputs.attributes["filename"], "sub/D");
        assert_eq!(
            inputs.attributes["frontend.caps"],
            "moby.buildkit.frontend.gitquerystring"
        );

        let dir = folder_with(&["D"]);
        let inputs = load_with(&context, &DockerfileSource::Path(dir.path().join("D")), b"").unwrap();
        assert_eq!(inputs.attributes["dockerfilekey"], "dockerfile");
        assert_eq!(inputs.mounts["dockerfile"], dir.path());
    }

    #[test]
    fn named_contexts_become_mounts_and_attributes() {
        let dir = folder_with(&["Dockerfile"]);
        let context = ContextSource::Folder(dir.path().into());
        let named = NamedContexts::from([
            ("base".into(), "docker-image://alpine".into()),
            ("context".into(), dir.path().display().to_string()),
            (
                "lib".into(),
                format!("oci-layout://{}@sha256:1", dir.path().display()),
            ),
        ]);
        let wanted = Wanted {
            context: &context,
            dockerfile: &DockerfileSource::Default,
            named: &named,
            needs_dockerfile: true,
        };
        let inputs = load(wanted, &mut io::empty()).unwrap();
        assert_eq!(inputs.attributes["context:base"], "docker-image://alpine");
        assert_eq!(inputs.attributes["context:context"], "local:_context");
        assert_eq!(inputs.mounts["_context"], dir.path());
        assert_eq!(
            inputs.attributes["frontend.caps"],
            "moby.buildkit.frontend.contexts+forward"
        );
        let (store, folder) = inputs.layouts.iter().next().unwrap();
        assert_eq!(folder, dir.path());
        assert_eq!(
            inputs.attributes["context:lib"],
            format!("oci-layout://{store}@sha256:1")
        );
    }
}
