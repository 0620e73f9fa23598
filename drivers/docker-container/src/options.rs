//! The driver's options.

use std::num::{IntErrorKind, ParseIntError};

use bkhost_driver::{Config, Error, OptionInfo, Options, Result, parse_bytes};

/// What runs without the option `image`.
pub const DEFAULT_IMAGE: &str = "moby/buildkit:buildx-stable-1";

/// What the options say. Absent numbers and texts leave the engine's own default.
#[derive(Debug)]
pub struct Settings {
    /// The image as typed.
    pub image: String,
    /// Network mode of the container.
    pub network: Option<String>,
    /// Limit of its memory, in bytes.
    pub memory: Option<i64>,
    /// Limit of memory and swap together, in bytes; -1 is none.
    pub memory_swap: Option<i64>,
    /// `cpu-period`, in microseconds.
    pub cpu_period: Option<i64>,
    /// `cpu-quota`, in microseconds.
    pub cpu_quota: Option<i64>,
    /// `cpu-shares`, relative to other containers.
    pub cpu_shares: Option<i64>,
    /// CPUs that it may use (`0-3`).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that it may use.
    pub cpuset_mems: Option<String>,
    /// Parent of its cgroup.
    pub cgroup_parent: Option<String>,
    /// When the engine starts it again; absent when the option was given empty.
    pub restart: Option<RestartPolicy>,
    /// Variables of the daemon, sorted by name.
    pub env: Vec<(String, String)>,
    /// Whether images are loaded into the engine unless told otherwise.
    pub default_load: bool,
    /// Whether the facts of a GitHub Actions job go to the provenance of builds.
    pub provenance_add_gha: bool,
    /// Whether an image is used whose signature was not checked.
    pub allow_untrusted_image: bool,
}

/// When the engine starts a container again that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// `no`, `on-failure`, `always` or `unless-stopped`; the engine checks it.
    pub name: String,
    /// How often, for `on-failure`; 0 is always.
    pub maximum: i64,
}

/// All options, for people.
pub fn all() -> Vec<OptionInfo> {
    let option = OptionInfo::new;
    vec![
        option("image", "string", "Image of the daemon").with_default(DEFAULT_IMAGE),
        option(
            "network",
            "string",
            "Network mode of the container; the engine's default without it",
        ),
        option("memory", "bytes", "Limit of its memory"),
        option(
            "memory-swap",
            "bytes",
            "Limit of memory and swap together; `-1` for none",
        ),
        option(
            "cpu-period",
            "int",
            "Period of the CPU scheduler, in microseconds",
        ),
        option("cpu-quota", "int", "CPU time in each period, in microseconds"),
        option("cpu-shares", "int", "CPU share relative to other containers"),
        option(
            "cpuset-cpus",
            "string",
            "CPUs that it may use, such as `0-3` or `0,1`",
        ),
        option(
            "cpuset-mems",
            "string",
            "Memory nodes that it may use, such as `0-3` or `0,1`",
        ),
        option(
            "cgroup-parent",
            "string",
            "Parent of its cgroup, where the engine makes cgroups by itself",
        )
        .with_default("/docker/buildx"),
        option(
            "restart-policy",
            "string",
            "When the engine starts it again: `no`, `on-failure[:MAX]`, `always`, `unless-stopped`",
        )
        .with_default("unless-stopped"),
        option("env.", "string", "Environment of the daemon: `env.NAME=VALUE`"),
        option(
            "default-load",
            "bool",
            "Load images into the Docker Engine unless told otherwise",
        )
        .with_default("false"),
        option(
            "provenance-add-gha",
            "bool",
            "Add the facts of a GitHub Actions job to the provenance of builds",
        )
        .with_default("true"),
        option(
            "allow-untrusted-image",
            "bool",
            "Use the image also where a policy would have its signature checked",
        )
        .with_default("false"),
    ]
}

/// Reads and checks all options.
pub fn read(config: &Config) -> Result<Settings> {
    let options = Options::new(config);
    // An unset limit and one of 0 are the same to the engine.
    let int = |name: &str| Ok::<_, Error>(options.parse(name, parse_int)?.filter(|value| *value != 0));
    let settings = Settings {
        image: options
            .string("image")
            .unwrap_or_else(|| DEFAULT_IMAGE.to_owned()),
        network: options.string("network"),
        memory: options.parse("memory", size)?.filter(|value| *value != 0),
        memory_swap: options
            .parse("memory-swap", swap_size)?
            .filter(|value| *value != 0),
        cpu_period: int("cpu-period")?,
        cpu_quota: int("cpu-quota")?,
        cpu_shares: int("cpu-shares")?,
        cpuset_cpus: options.string("cpuset-cpus"),
        cpuset_mems: options.string("cpuset-mems"),
        cgroup_parent: options.string("cgroup-parent"),
        restart: match options.parse("restart-policy", restart_policy)? {
            Some(policy) => policy,
            None => restart_policy("unless-stopped").map_err(Error::invalid_config)?,
        },
        env: options.prefixed("env."),
        default_load: options.bool("default-load")?.unwrap_or(false),
        provenance_add_gha: options.bool("provenance-add-gha")?.unwrap_or(true),
        allow_untrusted_image: options.bool("allow-untrusted-image")?.unwrap_or(false),
    };
    options.finish(|name| format!("invalid driver option {name} for docker-container driver"))?;
    check_env(&settings.env)?;
    Ok(settings)
}

/// A number as Go's `strconv.ParseInt` takes it.
fn parse_int(text: &str) -> std::result::Result<i64, String> {
    text.parse().map_err(|error: ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
}

fn size(text: &str) -> std::result::Result<i64, String> {
    let size = parse_bytes(text)?;
    i64::try_from(size).map_err(|_| format!("invalid size: '{text}'"))
}

fn swap_size(text: &str) -> std::result::Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        _ => size(text),
    }
}

/// `NAME[:MAXIMUM]`; nothing at all is no policy.
fn restart_policy(text: &str) -> std::result::Result<Option<RestartPolicy>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, maximum) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let maximum = match maximum {
        "" => 0,
        _ => maximum.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(Some(RestartPolicy {
        name: name.to_owned(),
        maximum,
    }))
}

fn check_env(env: &[(String, String)]) -> Result<()> {
    match env.iter().any(|(name, _)| name.is_empty()) {
        true => Err(Error::invalid_config(
            "invalid env option \"env.\", expecting env.FOO=bar",
        )),
        false => Ok(()),
    }
}
