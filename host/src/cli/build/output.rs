//! `--output`, `--push`, `--load`: what becomes of the result, and whether it can be written where it shall go.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::annotation::Annotations;
use super::value::{ValueError, is_true, parse_bool};

/// One `--output` as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputArgument {
    /// `type=`; never empty.
    pub kind: String,
    /// Everything but `type` and `dest`, keys in lower case.
    pub attributes: BTreeMap<String, String>,
    /// `dest=`; empty when not given.
    pub destination: String,
}

/// Parses all values of the flag; empty ones are skipped.
///
/// # Errors
///
/// CSV errors, fields without `=`, a missing type.
pub fn parse(values: &[String]) -> Result<Vec<OutputArgument>, ValueError> {
    values
        .iter()
        .filter(|value| !value.is_empty())
        .map(|value| parse_one(value))
        .collect()
}

fn parse_one(value: &str) -> Result<OutputArgument, ValueError> {
    let fields = super::csv::fields(value)?;
    // A lone field is a destination, even one that reads like `dest=x`.
    if let [only] = fields.as_slice()
        && only == value
        && !value.starts_with("type=")
    {
        let kind = if value == "-" { "tar" } else { "local" };
        return Ok(OutputArgument {
            kind: kind.to_owned(),
            destination: value.to_owned(),
            ..OutputArgument::default()
        });
    }
    let mut output = OutputArgument::default();
    for field in &fields {
        let (key, value) = super::csv::key_value(field)?;
        match key.to_lowercase().trim() {
            "type" => value.clone_into(&mut output.kind),
            "dest" => value.clone_into(&mut output.destination),
            key => {
                output.attributes.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    if output.kind.is_empty() {
        return Err(ValueError::new("type is required for output")
            .hint("For example `--output type=local,dest=FOLDER` or just `--output FOLDER`"));
    }
    Ok(output)
}

/// An output whose destination was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exporter, `image` for `registry`.
    pub kind: String,
    /// Attributes for the daemon.
    pub attributes: BTreeMap<String, String>,
    /// Where it goes.
    pub destination: Destination,
}

/// Where an output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// It stays with the daemon, or goes from there to a registry.
    Daemon,
    /// A container engine of this machine.
    Engine,
    /// Files below a folder; `delete` removes what is not part of the result.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Mirror the result.
        delete: bool,
    },
    /// One file.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A folder in OCI layout.
    Layout(PathBuf),
}

/// What the command line and its surroundings say about outputs.
#[derive(Clone, Debug, Default)]
pub struct Wishes<'a> {
    /// `--output`, in order.
    pub arguments: &'a [OutputArgument],
    /// `--push`.
    pub push: bool,
    /// `--load`.
    pub load: bool,
    /// `--annotation`, as exporter attributes.
    pub annotations: Annotations,
    /// `--allow buildx.local.delete`.
    pub allow_delete: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// The working folder.
    pub working_folder: PathBuf,
}

/// Decides every output's destination, and checks on disk that it can be written.
///
/// # Errors
///
/// Missing, doubled, unwritable or forbidden destinations.
pub fn resolve(wishes: &Wishes<'_>) -> Result<Vec<Output>, ValueError> {
    let mut stdout_used = false;
    let mut outputs = Vec::new();
    for argument in wishes.arguments {
        let output = decide(argument)?;
        check(&output, wishes.terminal, &mut stdout_used)?;
        outputs.push(output);
    }
    if outputs
        .iter()
        .filter(|output| matches!(output.destination, Destination::Layout(_)))
        .count()
        > 1
    {
        return Err(ValueError::new(
            "Only one output can be a folder in OCI layout (`tar=false`)",
        ));
    }
    if wishes.push {
        push(&mut outputs);
    }
    if wishes.load && !outputs.iter().any(|output| output.kind == "docker") {
        outputs.push(Output {
            kind: "docker".to_owned(),
            attributes: BTreeMap::new(),
            destination: Destination::Engine,
        });
    }
    for output in &outputs {
        check_delete(output, wishes)?;
    }
    for output in &mut outputs {
        output.attributes.extend(wishes.annotations.clone());
    }
    Ok(outputs)
}

fn decide(argument: &OutputArgument) -> Result<Output, ValueError> {
    let OutputArgument {
        kind,
        attributes,
        destination,
    } = argument;
    let mut output = Output {
        kind: kind.clone(),
        attributes: attributes.clone(),
        destination: Destination::Daemon,
    };
    let as_file = || match destination.as_str() {
        "" | "-" => Destination::Stdout,
        path => Destination::File(PathBuf::from(path)),
    };
    let tar = attributes
        .get("tar")
        .is_none_or(|tar| parse_bool(tar).unwrap_or(true));
    output.destination = match kind.as_str() {
        "local" => Destination::Folder {
            path: folder(kind, destination)?,
            delete: deletes(attributes)?,
        },
        "tar" => as_file(),
        "oci" if tar => as_file(),
        "oci" => Destination::Layout(folder(kind, destination)?),
        "docker" if !tar => {
            folder(kind, destination)?;
            return Err(
                ValueError::new("both file and store output is not supported by docker exporter")
                    .hint("Use `type=oci,tar=false` for a folder"),
            );
        }
        "docker" if destination.is_empty() => Destination::Engine,
        "docker" => as_file(),
        _ => Destination::Daemon,
    };
    if kind == "registry" {
        "image".clone_into(&mut output.kind);
        set_push(&mut output.attributes);
    }
    Ok(output)
}

fn folder(kind: &str, destination: &str) -> Result<PathBuf, ValueError> {
    match destination {
        "" => Err(ValueError::new(format!("dest is required for {kind} exporter"))
            .hint(format!("For example `--output type={kind},dest=FOLDER`"))),
        "-" => Err(ValueError::new(format!(
            "dest cannot be stdout for {kind} exporter"
        ))),
        path => Ok(PathBuf::from(path)),
    }
}

fn deletes(attributes: &BTreeMap<String, String>) -> Result<bool, ValueError> {
    let mode = attributes.get("mode").map_or("", String::as_str);
    match mode.trim().to_lowercase().as_str() {
        "" | "copy" => Ok(false),
        "delete" => Ok(true),
        _ => Err(ValueError::new(format!("invalid local exporter mode {mode:?}"))
            .hint("Modes are `copy` and `delete`")),
    }
}

/// A pushed image need not be unpacked on the daemon, unless somebody says so.
fn set_push(attributes: &mut BTreeMap<String, String>) {
    attributes.insert("push".to_owned(), "true".to_owned());
    attributes
        .entry("unpack".to_owned())
        .or_insert_with(|| "false".to_owned());
}

fn push(outputs: &mut Vec<Output>) {
    let mut used = false;
    for output in outputs.iter_mut().filter(|output| output.kind == "image") {
        set_push(&mut output.attributes);
        used = true;
    }
    if !used {
        let mut attributes = BTreeMap::new();
        set_push(&mut attributes);
        outputs.push(Output {
            kind: "image".to_owned(),
            attributes,
            destination: Destination::Daemon,
        });
    }
}

fn check(output: &Output, terminal: bool, stdout_used: &mut bool) -> Result<(), ValueError> {
    match &output.destination {
        Destination::Folder { path, .. } | Destination::Layout(path) => check_folder(path),
        Destination::File(path) => check_file(path),
        Destination::Stdout if *stdout_used => {
            Err(ValueError::new("multiple outputs configured to write to stdout"))
        }
        Destination::Stdout if terminal => Err(ValueError::new(format!(
            "dest file is required for {} exporter. refusing to write to console",
            output.kind
        ))
        .hint(format!(
            "Use `--output type={},dest=FILE`, or redirect standard output",
            output.kind
        ))),
        Destination::Stdout => {
            *stdout_used = true;
            Ok(())
        }
        Destination::Daemon | Destination::Engine => Ok(()),
    }
}

const IN_THE_WAY: &str = "A file is in the way: remove it, or choose another `dest=`";
const CHOOSE_ANOTHER: &str = "Choose another `dest=`, or change the owner or mode of the folder";

fn check_folder(path: &Path) -> Result<(), ValueError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => check_writable(path, path),
        Ok(_) => {
            let message = format!("destination directory {} is a file", path.display());
            Err(ValueError::new(message).hint(IN_THE_WAY))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_creatable(path),
        Err(error) => Err(unusable("invalid destination directory", path, &error)),
    }
}

fn check_file(path: &Path) -> Result<(), ValueError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let message = format!("destination file {} is a directory", path.display());
            let file = path.join("FILE");
            Err(ValueError::new(message).hint(format!("Name a file in it: `dest={}`", file.display())))
        }
        Ok(_) => check_writable(path, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_creatable(path),
        Err(error) => Err(unusable("invalid destination file", path, &error)),
    }
}

/// The nearest folder that is there must let us create the rest.
fn check_creatable(path: &Path) -> Result<(), ValueError> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let ancestor = absolute.ancestors().skip(1).find(|ancestor| ancestor.exists());
    match ancestor {
        Some(ancestor) if ancestor.is_dir() => check_writable(ancestor, path),
        Some(ancestor) => Err(ValueError::new(format!(
            "Cannot write output `{}`: `{}` is not a directory",
            path.display(),
            ancestor.display()
        ))
        .hint(IN_THE_WAY)),
        None => Ok(()),
    }
}

fn check_writable(existing: &Path, wanted: &Path) -> Result<(), ValueError> {
    rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).map_err(|error| {
        let error = io::Error::from(error);
        ValueError::new(format!(
            "Cannot write output `{}`: `{}` cannot be written: {}",
            wanted.display(),
            existing.display(),
            super::inputs::reason(&error)
        ))
        .hint(CHOOSE_ANOTHER)
    })
}

fn unusable(what: &str, path: &Path, error: &io::Error) -> ValueError {
    let path = path.display();
    let unusable = ValueError::new(format!(
        "{what}: {path}: stat {path}: {}",
        super::inputs::reason(error)
    ));
    match error.kind() {
        io::ErrorKind::NotADirectory => unusable.hint(IN_THE_WAY),
        io::ErrorKind::PermissionDenied => unusable.hint(CHOOSE_ANOTHER),
        _ => unusable,
    }
}

fn check_delete(output: &Output, wishes: &Wishes<'_>) -> Result<(), ValueError> {
    let Destination::Folder { path, delete: true } = &output.destination else {
        return Ok(());
    };
    if wishes.allow_delete || is_below(&wishes.working_folder, path) {
        return Ok(());
    }
    Err(ValueError::new(format!(
        "local output mode=delete for destination {:?} requires --allow={}",
        path.display().to_string(),
        super::entitlement::LOCAL_DELETE
    )))
}

/// Whether `path` lies strictly below `folder`, symbolic links resolved.
fn is_below(folder: &Path, path: &Path) -> bool {
    let (Some(folder), Some(path)) = (resolved(folder), resolved(&folder.join(path))) else {
        return false;
    };
    path != folder && path.starts_with(&folder)
}

/// The path with links resolved as far as it exists. A `..` in what does not exist cannot be trusted.
fn resolved(path: &Path) -> Option<PathBuf> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let rest = path.strip_prefix(existing).ok()?;
    let plain = rest
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    plain.then(|| existing.canonicalize().ok().map(|real| real.join(rest)))?
}

/// Whether an output goes to a registry.
pub fn is_pushed(output: &Output) -> bool {
    output.kind == "image" && is_true(output.attributes.get("push"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(values: &[&str]) -> Result<Vec<OutputArgument>, String> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        parse(&values).map_err(|error| error.to_string())
    }

    fn resolved_with(values: &[&str], change: impl FnOnce(&mut Wishes<'_>)) -> Result<Vec<Output>, String> {
        let arguments = arguments(values)?;
        let mut wishes = Wishes {
            arguments: &arguments,
            working_folder: std::env::temp_dir(),
            ..Wishes::default()
        };
        change(&mut wishes);
        resolve(&wishes).map_err(|error| error.to_string())
    }

    fn outputs(values: &[&str]) -> Result<Vec<Output>, String> {
        resolved_with(values, |_| ())
    }

    #[test]
    fn a_lone_field_is_a_destination() {
        for (value, kind, destination) in [
            ("out", "local", "out"),
            ("dest=x", "local", "dest=x"),
            ("-", "tar", "-"),
            ("type=tar", "tar", ""),
            ("TYPE=tar,Dest=a b", "tar", "a b"),
            ("type=oci,\"dest=a,b\"", "oci", "a,b"),
        ] {
            let parsed = arguments(&[value]).unwrap();
            assert_eq!(
                (parsed[0].kind.as_str(), parsed[0].destination.as_str()),
                (kind, destination),
                "{value}"
            );
        }
        assert_eq!(arguments(&[""]).unwrap(), []);
    }

    #[test]
    fn refusals_of_the_grammar() {
        assert_eq!(
            arguments(&["dest=x,name=y"]).unwrap_err(),
            "type is required for output"
        );
        assert_eq!(arguments(&["type=local,x"]).unwrap_err(), "invalid value x");
        assert_eq!(arguments(&["\"type=local\""]).unwrap()[0].kind, "local");
        assert_eq!(
            arguments(&["type=local,dest=\"a\""]).unwrap_err(),
            "parse error on line 1, column 17: bare \" in non-quoted-field"
        );
    }

    #[test]
    fn destinations_follow_the_type() {
        let of = |value: &str| outputs(&[value]).unwrap().remove(0).destination;
        assert_eq!(
            of("type=local,dest=/tmp/x-none"),
            Destination::Folder {
                path: "/tmp/x-none".into(),
                delete: false
            }
        );
        assert_eq!(of("type=tar"), Destination::Stdout);
        assert_eq!(
            of("type=tar,dest=/tmp/x.tar"),
            Destination::File("/tmp/x.tar".into())
        );
        assert_eq!(
            of("type=oci,dest=/tmp/x.tar"),
            Destination::File("/tmp/x.tar".into())
        );
        assert_eq!(
            of("type=oci,tar=false,dest=/tmp/x-none"),
            Destination::Layout("/tmp/x-none".into())
        );
        assert_eq!(
            of("type=oci,tar=maybe,dest=/tmp/x"),
            Destination::File("/tmp/x".into())
        );
        assert_eq!(of("type=docker"), Destination::Engine);
        assert_eq!(of("type=docker,dest=-"), Destination::Stdout);
        assert_eq!(of("type=image,name=a"), Destination::Daemon);
        assert_eq!(of("type=unheard-of,dest=x"), Destination::Daemon);
    }

    #[test]
    fn refusals_of_destinations() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "").unwrap();
        let (dir, file) = (dir.path().display(), file.display());
        for (value, text) in [
            (
                "type=local".to_owned(),
                "dest is required for local exporter".to_owned(),
            ),
            (
                "type=local,dest=-".into(),
                "dest cannot be stdout for local exporter".into(),
            ),
            (
                format!("{file}"),
                format!("destination directory {file} is a file"),
            ),
            (
                format!("type=tar,dest={dir}"),
                format!("destination file {dir} is a directory"),
            ),
            (
                format!("type=docker,tar=false,dest={dir}"),
                "both file and store output is not supported by docker exporter".into(),
            ),
            (
                format!("{file}/x"),
                format!("invalid destination directory: {file}/x: stat {file}/x: not a directory"),
            ),
            (
                format!("type=local,mode=x,dest={dir}"),
                "invalid local exporter mode \"x\"".into(),
            ),
        ] {
            assert_eq!(outputs(&[&value]).unwrap_err(), text);
        }
    }

    #[test]
    fn stdout_is_used_once_and_never_a_terminal() {
        assert_eq!(
            outputs(&["-", "type=oci"]).unwrap_err(),
            "multiple outputs configured to write to stdout"
        );
        assert_eq!(
            resolved_with(&["type=oci"], |wishes| wishes.terminal = true).unwrap_err(),
            "dest file is required for oci exporter. refusing to write to console"
        );
        assert!(
            outputs(&[
                "type=oci,tar=false,dest=/tmp/x1",
                "type=oci,tar=false,dest=/tmp/x2"
            ])
            .is_err()
        );
    }

    #[test]
    fn push_marks_images_or_adds_one() {
        let pushed = |values: &[&str]| resolved_with(values, |wishes| wishes.push = true).unwrap();
        let added = pushed(&["type=tar"]);
        assert_eq!(added.len(), 2);
        assert!(is_pushed(&added[1]) && added[1].attributes["unpack"] == "false");
        let marked = pushed(&["type=image,unpack=true"]);
        assert_eq!(marked.len(), 1);
        assert_eq!(marked[0].attributes["unpack"], "true");
        assert!(is_pushed(&outputs(&["type=registry"]).unwrap()[0]));
    }

    #[test]
    fn load_adds_an_engine_unless_docker_is_there() {
        let loaded = |values: &[&str]| resolved_with(values, |wishes| wishes.load = true).unwrap();
        assert_eq!(loaded(&[])[0].destination, Destination::Engine);
        assert_eq!(loaded(&["type=docker,dest=/tmp/x"]).len(), 1);
    }

    #[test]
    fn mirroring_needs_consent_outside_of_the_working_folder() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("here");
        std::fs::create_dir(&here).unwrap();
        std::os::unix::fs::symlink(dir.path(), here.join("link")).unwrap();
        let wanted = |dest: &str, allow: bool| {
            resolved_with(&[&format!("type=local,mode=delete,dest={dest}")], |wishes| {
                wishes.working_folder = here.clone();
                wishes.allow_delete = allow;
            })
        };
        let below = here.join("out/deep").display().to_string();
        assert!(wanted(&below, false).is_ok());
        for outside in [
            here.clone(),
            here.join("link"),
            here.join("link/x"),
            here.join("../x"),
            dir.path().to_owned(),
        ] {
            let outside = outside.display().to_string();
            assert_eq!(
                wanted(&outside, false).unwrap_err(),
                format!(
                    "local output mode=delete for destination {outside:?} requires --allow=buildx.local.delete"
                )
            );
            assert!(wanted(&outside, true).is_ok());
        }
    }

    #[test]
    fn annotations_reach_every_output() {
        let outputs = resolved_with(&["type=image", "type=tar"], |wishes| {
            wishes.annotations = [("annotation.a".to_owned(), "b".to_owned())].into();
        });
        assert!(
            outputs
                .unwrap()
                .iter()
                .all(|output| output.attributes["annotation.a"] == "b")
        );
    }
}
