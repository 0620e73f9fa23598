//! The driver's options.

use std::time::Duration;

use bkhost_driver::{Config, Error, Options, Result, parse_bool};

/// When an unused daemon is stopped.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long boot may take: a first start on a slow disk takes seconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the options say.
#[derive(Debug)]
pub struct Settings {
    /// buildkitd to start, as typed; the host looks for it.
    pub binary: Option<String>,
    /// Whether the daemon runs without root.
    pub rootless: bool,
    /// rootlesskit to use, as typed; the host looks for it.
    pub rootlesskit: Option<String>,
    /// Folder of the daemon's state, as typed.
    pub root: Option<String>,
    /// When an unused daemon is stopped; zero never.
    pub idle_timeout: Duration,
    /// How long boot may take.
    pub timeout: Duration,
    /// Variables of the daemon, sorted by name.
    pub env: Vec<(String, String)>,
    /// Whether images are loaded into the engine unless told otherwise.
    pub default_load: bool,
}

/// Reads and checks all options, and the arguments for buildkitd that would get in their way.
pub fn read(config: &Config) -> Result<Settings> {
    let options = Options::new(config);
    let settings = Settings {
        binary: options.string("binary"),
        rootless: rootless(&options, config)?,
        rootlesskit: options.string("rootlesskit"),
        root: options.string("root"),
        idle_timeout: options.duration("idle-timeout")?.unwrap_or(DEFAULT_IDLE_TIMEOUT),
        timeout: options.duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT),
        env: options.prefixed("env."),
        default_load: options.bool("default-load")?.unwrap_or(false),
    };
    options.finish(|name| format!("invalid driver option {name} for process driver"))?;
    check_root(settings.root.as_deref())?;
    check_env(&settings.env)?;
    check_flags(&config.daemon_flags())?;
    Ok(settings)
}

/// `auto` is rootless for everybody but root.
fn rootless(options: &Options<'_>, config: &Config) -> Result<bool> {
    let privileged = config.fact("privileged").as_deref() == Some("true");
    let choice = options.parse("rootless", |text| match text {
        "auto" => Ok(None),
        _ => parse_bool(text)
            .map(Some)
            .map_err(|_| format!("`{text}` is none of `auto`, `true` and `false`")),
    })?;
    let rootless = choice.flatten().unwrap_or(!privileged);
    if !rootless && !privileged {
        let words = "rootless=false needs root: an ordinary user cannot run buildkitd otherwise";
        return Err(Error::invalid_config(words).with_hint("Leave the driver option `rootless` out"));
    }
    Ok(rootless)
}

fn check_root(root: Option<&str>) -> Result<()> {
    match root {
        Some(path) if !path.starts_with('/') => {
            let words = format!("non-absolute path '{path}' provided for root");
            Err(Error::invalid_config(words).with_hint(absolute(path)))
        }
        _ => Ok(()),
    }
}

/// A builder is used from any folder, so a path that depends on one is refused.
fn absolute(path: &str) -> String {
    let below = path.trim_start_matches("./");
    format!("Give the whole path, such as `--driver-opt root=\"$PWD/{below}\"`")
}

fn check_env(env: &[(String, String)]) -> Result<()> {
    match env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
        Some((name, _)) => Err(Error::invalid_config(format!(
            "invalid driver option env.{name}: no variable has this name"
        ))),
        None => Ok(()),
    }
}

/// Where state and socket lie is what the driver and the keeper must know.
fn check_flags(flags: &[String]) -> Result<()> {
    let taken = |flag: &&String| {
        let name = flag.split('=').next().unwrap_or_default().trim_start_matches('-');
        flag.starts_with('-') && matches!(name, "root" | "addr" | "rootless")
    };
    let Some(flag) = flags.iter().find(taken) else {
        return Ok(());
    };
    let words = format!("The buildkitd argument `{flag}` is set by the driver process");
    Err(Error::invalid_config(words).with_hint("Use the driver options `root` and `rootless`"))
}
