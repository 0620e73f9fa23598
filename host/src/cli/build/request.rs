//! The plain request of one build: every default decided, everything validated that can be before a daemon runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::args::BuildArgs;
use super::attestation::Attestations;
use super::cache::Direction;
use super::context::{ContextSource, DockerfileSource};
use super::hosts::ExtraHost;
use super::named_context::NamedContexts;
use super::output::{Output, OutputArgument, Wishes};
use super::secret::SecretArgument;
use super::ulimit::Ulimits;
use super::value::{Environment, ValueError, is_true, parse_bool};
use super::{annotation, attestation, cache, context, entitlement, hosts, key_value};
use super::{named_context, output, reference, secret, size, ulimit};
use crate::buildkit::spec::{CacheEntry, Secret};
use crate::cli::env_vars::{self, SOURCE_DATE_EPOCH};
use crate::platform::{Platform, parse_list};
use crate::progress::mode::Mode;

/// The command line after its values were parsed; neither disk nor daemon was looked at.
///
/// Refusals up to here are shown as they are; those of [`BuildRequest::resolve`] come after `failed to build: `.
#[derive(Clone, Debug)]
pub struct TypedBuild {
    args: BuildArgs,
    build_args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    attestations: Attestations,
    named_contexts: NamedContexts,
    outputs: Vec<OutputArgument>,
    cache_from: Vec<CacheEntry>,
    cache_to: Vec<CacheEntry>,
    secrets: Vec<SecretArgument>,
    ulimits: Ulimits,
    shm_size: u64,
    /// How the build is shown.
    pub display: Display,
}

/// How a build is shown, and whether its image id is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// The display; [`Mode::Auto`] is decided when the display starts.
    pub mode: Mode,
    /// Print the image id on standard output.
    pub image_id: bool,
}

impl TypedBuild {
    /// Parses every value of the command line.
    ///
    /// # Errors
    ///
    /// The first refused value, in the words of buildx.
    pub fn parse(args: BuildArgs, environment: Environment<'_>) -> Result<Self, ValueError> {
        let shm_size =
            size::parse_bytes(&args.shm_size).map_err(|error| error.of_flag("--shm-size", &args.shm_size))?;
        let mut build_args = key_value::build_args(&args.build_arg, environment)?;
        if !build_args.contains_key(SOURCE_DATE_EPOCH)
            && let Some(epoch) = environment(SOURCE_DATE_EPOCH).filter(|epoch| !epoch.is_empty())
        {
            build_args.insert(SOURCE_DATE_EPOCH.to_owned(), epoch);
        }
        let outputs = output::parse(&args.output)?;
        if args.iidfile.is_some()
            && outputs
                .iter()
                .any(|output| matches!(output.kind.as_str(), "local" | "tar"))
        {
            return Err(ValueError::new(
                "local and tar exporters are incompatible with image ID file",
            ));
        }
        Ok(Self {
            ulimits: ulimit::parse(&args.ulimit)?,
            labels: key_value::labels(&args.label)?,
            attestations: attestation::parse(&args.attest, args.provenance.as_deref(), args.sbom.as_deref())?,
            named_contexts: named_context::parse(&args.build_context)?,
            cache_from: cache::parse(&args.cache_from)?,
            cache_to: cache::parse(&args.cache_to)?,
            secrets: args
                .secret
                .iter()
                .filter(|value| !value.is_empty())
                .map(|value| secret::parse(value))
                .collect::<Result<_, _>>()?,
            display: display(&args.progress, args.quiet)?,
            build_args,
            outputs,
            shm_size,
            args,
        })
    }

    /// The context as typed.
    pub fn context(&self) -> &str {
        &self.args.context
    }

    /// `--iidfile`.
    pub fn image_id_file(&self) -> Option<PathBuf> {
        self.args.iidfile.as_ref().map(PathBuf::from)
    }
}

fn display(progress: &str, quiet: bool) -> Result<Display, ValueError> {
    let mode: Mode = progress
        .parse()
        .map_err(|error: crate::progress::mode::ModeError| {
            ValueError::new(error.to_string()).hint("Modes are auto, none, plain, quiet, rawjson and tty")
        })?;
    let image_id = quiet || mode == Mode::Quiet;
    match mode {
        Mode::Auto | Mode::Quiet if image_id => Ok(Display {
            mode: Mode::Quiet,
            image_id,
        }),
        Mode::None if image_id => Ok(Display { mode, image_id }),
        _ if image_id => Err(ValueError::new(format!(
            "progress={progress} and quiet cannot be used together"
        ))),
        mode => Ok(Display { mode, image_id }),
    }
}

/// Which steps ignore the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// Those of these stages.
    Stages(Vec<String>),
}

/// Network of build steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The daemon's choice.
    Default,
    /// The daemon's own network.
    Host,
    /// None.
    None,
}

/// How much provenance the metadata file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataProvenance {
    /// None.
    Disabled,
    /// Without build configuration and metadata.
    Min,
    /// All of it.
    Max,
}

/// What the environment switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Leave the default provenance out.
    pub no_default_attestations: bool,
    /// Leave the default output of a builder out, and the warning about none.
    pub no_default_load: bool,
    /// Do not mark attestations as OCI artifacts.
    pub no_default_oci_artifact: bool,
    /// Provenance in the metadata file.
    pub metadata_provenance: MetadataProvenance,
    /// Warnings in the metadata file.
    pub metadata_warnings: bool,
}

/// One build, ready to be placed on a node.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The context as typed, for the record of the build.
    pub typed_context: String,
    /// `-f` as typed, for the record of the build.
    pub typed_dockerfile: Option<String>,
    /// Main context.
    pub context: ContextSource,
    /// Its Dockerfile.
    pub dockerfile: DockerfileSource,
    /// Named contexts as typed.
    pub named_contexts: NamedContexts,
    /// Build arguments.
    pub build_args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Stage to build.
    pub target: Option<String>,
    /// Image names as typed.
    pub tags: Vec<String>,
    /// Wanted platforms; empty leaves it to the daemon.
    pub platforms: Vec<Platform>,
    /// Steps that ignore the cache.
    pub no_cache: NoCache,
    /// Look for newer images of every `FROM`.
    pub pull: bool,
    /// Outputs; empty leaves it to the builder.
    pub outputs: Vec<Output>,
    /// Caches to read.
    pub cache_from: Vec<CacheEntry>,
    /// Caches to write.
    pub cache_to: Vec<CacheEntry>,
    /// Secrets by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Extra hosts of build steps.
    pub hosts: Vec<ExtraHost>,
    /// Limits of build steps.
    pub ulimits: Ulimits,
    /// Bytes of shared memory of build steps; 0 is the daemon's choice.
    pub shm_size: u64,
    /// Parent cgroup of build steps.
    pub cgroup_parent: Option<String>,
    /// Network of build steps.
    pub network: Network,
    /// Attestations.
    pub attestations: Attestations,
    /// Entitlements.
    pub entitlements: Vec<String>,
    /// What the environment switches.
    pub switches: Switches,
    /// How the build is shown.
    pub display: Display,
    /// `--metadata-file`.
    pub metadata_file: Option<PathBuf>,
    /// `--iidfile`.
    pub image_id_file: Option<PathBuf>,
}

/// What a request depends on besides the command line.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Environment variables.
    pub environment: Environment<'a>,
    /// The working folder.
    pub working_folder: &'a std::path::Path,
    /// Standard output is a terminal.
    pub terminal: bool,
}

impl BuildRequest {
    /// Decides everything that can be decided before a daemon runs; looks at the disk, changes nothing.
    ///
    /// # Errors
    ///
    /// The first thing that cannot work, in the words of buildx where it has some.
    pub fn resolve(typed: TypedBuild, surroundings: Surroundings<'_>) -> Result<Self, ValueError> {
        let TypedBuild {
            args,
            build_args,
            labels,
            attestations,
            named_contexts,
            outputs,
            cache_from,
            cache_to,
            secrets,
            ulimits,
            shm_size,
            display,
        } = typed;
        let environment = surroundings.environment;
        let no_cache = no_cache(args.no_cache, &args.no_cache_filter)?;
        let platforms = platforms(&args.platform, environment)?;
        let secrets = secret::resolve(&secrets, environment)?;
        let allowed = entitlement::parse(&args.allow)?;
        let outputs = output::resolve(&Wishes {
            arguments: &outputs,
            push: args.push,
            load: args.load,
            annotations: annotation::parse(&args.annotation)?,
            allow_delete: allowed.local_delete,
            terminal: surroundings.terminal,
            working_folder: surroundings.working_folder.to_owned(),
        })?;
        check_tags(&args.tag, &outputs)?;
        let network = network(&args.network)?;
        let hosts = hosts::parse(&args.add_host)?;
        check_syntax(&build_args)?;
        check_files(&args)?;
        let (context, dockerfile) = context::decide(&args.context, args.file.as_deref())?;
        Ok(Self {
            typed_context: args.context,
            typed_dockerfile: args.file.filter(|file| !file.is_empty()),
            context,
            dockerfile,
            target: args.target.filter(|target| !target.is_empty()),
            tags: args.tag,
            platforms,
            no_cache,
            pull: args.pull,
            outputs,
            cache_from: cache::resolve(cache_from, Direction::Import, environment)?,
            cache_to: cache::resolve(cache_to, Direction::Export, environment)?,
            secrets,
            hosts,
            ulimits,
            shm_size,
            cgroup_parent: args.cgroup_parent.filter(|parent| !parent.is_empty()),
            network,
            attestations,
            entitlements: allowed.entitlements,
            switches: switches(environment, args.metadata_file.is_some())?,
            display,
            metadata_file: args.metadata_file.map(PathBuf::from),
            image_id_file: args.iidfile.map(PathBuf::from),
            named_contexts,
            build_args,
            labels,
        })
    }

    /// The frontend image that build argument `BUILDKIT_SYNTAX` asks for, as typed.
    pub fn syntax(&self) -> Option<&str> {
        self.build_args.get(SYNTAX).map(String::as_str)
    }

    /// What keeps builds of one place on one instance: the absolute context path, as text.
    pub fn affinity(&self, working_folder: &std::path::Path) -> String {
        let path = working_folder.join(&self.typed_context);
        super::inputs::clean(&path).to_string_lossy().into_owned()
    }
}

const SYNTAX: &str = "BUILDKIT_SYNTAX";

fn no_cache(all: bool, stages: &[String]) -> Result<NoCache, ValueError> {
    match (all, stages) {
        (true, [_, ..]) => Err(ValueError::new(
            "--no-cache and --no-cache-filter cannot currently be used together",
        )),
        (true, []) => Ok(NoCache::Everything),
        (false, []) => Ok(NoCache::Nothing),
        (false, stages) => Ok(NoCache::Stages(stages.to_vec())),
    }
}

fn platforms(typed: &[String], environment: Environment<'_>) -> Result<Vec<Platform>, ValueError> {
    if !typed.is_empty() {
        return Ok(parse_list(typed)?);
    }
    match environment(env_vars::DOCKER_DEFAULT_PLATFORM).filter(|value| !value.is_empty()) {
        Some(value) => Ok(parse_list(&[value])?),
        None => Ok(Vec::new()),
    }
}

fn check_tags(tags: &[String], outputs: &[Output]) -> Result<(), ValueError> {
    for tag in tags {
        reference::parse(tag).map_err(|error| error.within(&format!("invalid tag {tag:?}")))?;
    }
    let unnamed = outputs.iter().any(|output| {
        output::is_pushed(output) && output.attributes.get("name").is_none_or(String::is_empty)
    });
    if tags.is_empty() && unnamed {
        return Err(ValueError::new("tag is needed when pushing to registry")
            .hint("Name the image with `-t REGISTRY/NAME:TAG`"));
    }
    Ok(())
}

fn network(mode: &str) -> Result<Network, ValueError> {
    match mode {
        "" | "default" => Ok(Network::Default),
        "host" => Ok(Network::Host),
        "none" => Ok(Network::None),
        mode => Err(ValueError::new(format!(
            "network mode {mode:?} not supported by buildkit - you can define a custom network for your builder using the network driver-opt in buildx create"
        ))),
    }
}

fn check_syntax(build_args: &BTreeMap<String, String>) -> Result<(), ValueError> {
    match build_args.get(SYNTAX) {
        Some(value) if value.trim().is_empty() => Err(ValueError::new(
            "empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX without '=' for optional behavior",
        )),
        _ => Ok(()),
    }
}

/// Files written after the build must be writable before it, or an hour's work ends in an error.
fn check_files(args: &BuildArgs) -> Result<(), ValueError> {
    for (flag, path) in [
        ("--metadata-file", &args.metadata_file),
        ("--iidfile", &args.iidfile),
    ] {
        let Some(path) = path.as_ref().map(PathBuf::from) else {
            continue;
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(std::path::Path::new("."));
        if path.is_dir() || !folder.is_dir() {
            let why = if path.is_dir() {
                "it is a directory".to_owned()
            } else {
                format!("there is no folder `{}`", folder.display())
            };
            return Err(ValueError::new(format!(
                "Cannot write `{}` of `{flag}`: {why}",
                path.display()
            )));
        }
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(|error| {
            let why = super::inputs::reason(&error.into());
            ValueError::new(format!("Cannot write `{}` of `{flag}`: {why}", path.display()))
        })?;
    }
    Ok(())
}

fn switches(environment: Environment<'_>, metadata_file: bool) -> Result<Switches, ValueError> {
    let strict = |name: &str| match environment(name) {
        Some(value) => parse_bool(&value).map_err(|error| error.within(&format!("invalid {name}"))),
        None => Ok(false),
    };
    let mode = environment(env_vars::BUILDX_METADATA_PROVENANCE).unwrap_or_default();
    let metadata_provenance = match mode.as_str() {
        _ if !metadata_file => MetadataProvenance::Disabled,
        "disabled" => MetadataProvenance::Disabled,
        "max" => MetadataProvenance::Max,
        mode if parse_bool(mode) == Ok(false) => MetadataProvenance::Disabled,
        _ => MetadataProvenance::Min,
    };
    Ok(Switches {
        no_default_attestations: strict(env_vars::BUILDX_NO_DEFAULT_ATTESTATIONS)?,
        no_default_oci_artifact: strict(env_vars::BUILDX_NO_DEFAULT_OCI_ARTIFACT)?,
        no_default_load: is_true(environment(env_vars::BUILDX_NO_DEFAULT_LOAD).as_ref()),
        metadata_provenance,
        metadata_warnings: is_true(environment(env_vars::BUILDX_METADATA_WARNINGS).as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn args(change: impl FnOnce(&mut BuildArgs)) -> BuildArgs {
        let mut args = BuildArgs {
            context: "/tmp".into(),
            network: "default".into(),
            progress: "auto".into(),
            shm_size: "0".into(),
            ..BuildArgs::default()
        };
        change(&mut args);
        args
    }

    fn typed_in(
        environment: &(dyn Fn(&str) -> Option<String> + Send + Sync),
        change: impl FnOnce(&mut BuildArgs),
    ) -> Result<BuildRequest, String> {
        let typed = TypedBuild::parse(args(change), environment).map_err(|error| error.to_string())?;
        let surroundings = Surroundings {
            environment,
            working_folder: Path::new("/tmp"),
            terminal: false,
        };
        BuildRequest::resolve(typed, surroundings).map_err(|error| error.to_string())
    }

    fn typed(change: impl FnOnce(&mut BuildArgs)) -> Result<BuildRequest, String> {
        typed_in(&|_: &str| None, change)
    }

    #[test]
    fn nothing_typed_leaves_everything_to_the_daemon() {
        let request = typed(|_| ()).unwrap();
        assert_eq!(request.platforms, []);
        assert_eq!(request.outputs, []);
        assert_eq!(request.no_cache, NoCache::Nothing);
        assert_eq!(request.network, Network::Default);
        assert_eq!(
            request.display,
            Display {
                mode: Mode::Auto,
                image_id: false
            }
        );
        assert_eq!(request.switches.metadata_provenance, MetadataProvenance::Disabled);
        assert_eq!(request.affinity(Path::new("/src/app")), "/tmp");
    }

    #[test]
    fn refusals_have_the_known_texts() {
        type Change = fn(&mut BuildArgs);
        let cases: &[(Change, &str)] = &[
            (
                |a| a.shm_size = "x".into(),
                "invalid argument \"x\" for \"--shm-size\" flag: invalid size: 'x'",
            ),
            (|a| a.progress = "fancy".into(), "invalid progress mode fancy"),
            (
                |a| {
                    a.progress = "plain".into();
                    a.quiet = true;
                },
                "progress=plain and quiet cannot be used together",
            ),
            (
                |a| {
                    a.no_cache = true;
                    a.no_cache_filter = vec!["x".into()];
                },
                "--no-cache and --no-cache-filter cannot currently be used together",
            ),
            (
                |a| {
                    a.iidfile = Some("/tmp/i".into());
                    a.output = vec!["out".into()];
                },
                "local and tar exporters are incompatible with image ID file",
            ),
            (
                |a| a.platform = vec!["foo".into()],
                "\"foo\": unknown operating system or architecture: invalid argument",
            ),
            (
                |a| a.tag = vec!["A".into()],
                "invalid tag \"A\": repository name must be lowercase",
            ),
            (|a| a.push = true, "tag is needed when pushing to registry"),
            (
                |a| a.network = "x".into(),
                "network mode \"x\" not supported by buildkit - you can define a custom network for your builder using the network driver-opt in buildx create",
            ),
            (
                |a| a.build_arg = vec!["BUILDKIT_SYNTAX=".into()],
                "empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX without '=' for optional behavior",
            ),
            (
                |a| a.metadata_file = Some("/no/such/m".into()),
                "Cannot write `/no/such/m` of `--metadata-file`: there is no folder `/no/such`",
            ),
            (
                |a| a.context = "/no/such".into(),
                "unable to prepare context: path \"/no/such\" not found",
            ),
        ];
        for (change, text) in cases {
            assert_eq!(typed(change).unwrap_err(), *text);
        }
    }

    #[test]
    fn the_environment_fills_in() {
        let environment = |name: &str| match name {
            "DOCKER_DEFAULT_PLATFORM" => Some("linux/arm64".to_owned()),
            "SOURCE_DATE_EPOCH" => Some("1".to_owned()),
            "BUILDX_METADATA_PROVENANCE" => Some("max".to_owned()),
            "BUILDX_METADATA_WARNINGS" => Some("1".to_owned()),
            _ => None,
        };
        let request = typed_in(&environment, |a| a.metadata_file = Some("/tmp/m".into())).unwrap();
        assert_eq!(request.platforms[0].to_string(), "linux/arm64");
        assert_eq!(request.build_args["SOURCE_DATE_EPOCH"], "1");
        assert_eq!(request.switches.metadata_provenance, MetadataProvenance::Max);
        assert!(request.switches.metadata_warnings);
        let bad = |name: &str| (name == "BUILDX_NO_DEFAULT_ATTESTATIONS").then(|| "x".to_owned());
        assert_eq!(
            typed_in(&bad, |_| ()).unwrap_err(),
            "invalid BUILDX_NO_DEFAULT_ATTESTATIONS: strconv.ParseBool: parsing \"x\": invalid syntax"
        );
    }

    #[test]
    fn quiet_prints_the_image_id_and_none_does_not() {
        let shown = |progress: &str, quiet: bool| {
            typed(|a| {
                a.progress = progress.into();
                a.quiet = quiet;
            })
            .map(|request| request.display)
        };
        assert_eq!(
            shown("quiet", false).unwrap(),
            Display {
                mode: Mode::Quiet,
                image_id: true
            }
        );
        assert_eq!(
            shown("auto", true).unwrap(),
            Display {
                mode: Mode::Quiet,
                image_id: true
            }
        );
        assert_eq!(
            shown("none", false).unwrap(),
            Display {
                mode: Mode::None,
                image_id: false
            }
        );
        assert_eq!(
            shown("none", true).unwrap(),
            Display {
                mode: Mode::None,
                image_id: true
            }
        );
        assert!(shown("rawjson", true).is_err());
    }
}
