//! The driver's options.

use std::time::Duration;

use bkhost_driver::{Config, Error, Options, Result, Tls};

use crate::target::Target;

/// How long `boot` waits, as buildx does.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// What the options say.
#[derive(Debug)]
pub struct Settings {
    /// How to speak TLS, if at all.
    pub tls: Option<Tls>,
    /// The option `servername`, if given.
    pub server_name: Option<String>,
    /// Whether images are loaded into the engine unless told otherwise.
    pub default_load: bool,
    /// How long `boot` waits.
    pub timeout: Duration,
}

/// Reads and checks all options.
pub fn read(config: &Config, target: &Target) -> Result<Settings> {
    let options = Options::new(config);
    let windows = config.fact("os").as_deref() == Some("windows");
    let path = |name: &str| absolute(name, options.given(name), windows);
    let (authority, certificate, key) = (path("cacert")?, path("cert")?, path("key")?);
    let server_name = options.string("servername");
    let settings = Settings {
        default_load: options.bool("default-load")?.unwrap_or(false),
        timeout: options.duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT),
        tls: tls([authority, certificate, key], server_name.as_deref(), target)?,
        server_name,
    };
    options.finish(|name| format!("invalid driver option {name} for remote driver"))?;
    Ok(settings)
}

/// Whether the option was given; its path must be absolute. The host reads the file, by the option's name.
fn absolute(name: &str, value: Option<String>, windows: bool) -> Result<bool> {
    match value {
        None => Ok(false),
        Some(path) if is_absolute(&path, windows) => Ok(true),
        Some(path) => {
            let words = format!("non-absolute path '{path}' provided for {name}");
            let hint =
                "The file is read whenever the builder is used, from whatever folder: give its whole path";
            Err(Error::invalid_config(words).with_hint(hint))
        }
    }
}

fn is_absolute(path: &str, windows: bool) -> bool {
    let mut letters = path.chars();
    let drive = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
    let drive = drive && letters.next() == Some(':') && matches!(letters.next(), Some('\\' | '/'));
    path.starts_with('/') || (windows && (drive || path.starts_with(r"\\")))
}

/// Any of the options turns TLS on; then the authority is needed, and certificate and key come together.
fn tls(given: [bool; 3], server_name: Option<&str>, target: &Target) -> Result<Option<Tls>> {
    let [authority, certificate, key] = given;
    if !(authority || certificate || key || server_name.is_some()) {
        return Ok(None);
    }
    let missing = [
        ("cacert", !authority),
        ("key", certificate && !key),
        ("cert", key && !certificate),
    ];
    let missing: Vec<&str> = missing
        .iter()
        .filter(|(_, missing)| *missing)
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        let words = format!("tls enabled, but missing keys {}", missing.join(", "));
        return Err(Error::invalid_config(words));
    }
    let name = server_name.or(target.server_name());
    if name.is_none() && !target.is_helper() {
        let words = format!("TLS over `{}` needs the driver option `servername`", target.url());
        return Err(Error::invalid_config(words));
    }
    let mut tls = Tls::trusting("cacert");
    if certificate {
        tls = tls.with_identity("cert", "key");
    }
    if let Some(name) = name {
        tls = tls.with_server_name(name);
    }
    Ok(Some(tls))
}
