//! Platforms as everybody in this program means them: parse, normalise, print, match.
//!
//! The rules are containerd's (`platforms` package), which the daemon and buildx share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform in the OCI image format's terms; the field order is the one of stored builders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Processor architecture in Go's words: `amd64`, `arm64`, `arm` …
    pub architecture: String,
    /// Operating system in Go's words: `linux`, `windows`, `darwin` …
    pub os: String,
    /// Version of the operating system (Windows only); usually empty.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the operating system (`win32k`); usually empty.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture (`v7`); empty for the usual one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A text that is no platform. The texts are those that buildx users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// `*` somewhere.
    #[error("{text:?}: wildcards not yet supported: invalid argument")]
    Wildcard {
        /// What was given.
        text: String,
    },
    /// The first part is no operating system with optional version and features.
    #[error(
        "{part:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match {OS_PATTERN:?}: invalid argument"
    )]
    OsPart {
        /// The first part.
        part: String,
        /// What was given.
        text: String,
    },
    /// A later part has characters that do not belong there.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match {PART_PATTERN:?}: invalid argument"
    )]
    Part {
        /// The part.
        part: String,
        /// What was given.
        text: String,
    },
    /// One word that is neither a system nor an architecture.
    #[error("{text:?}: unknown operating system or architecture: invalid argument")]
    Unknown {
        /// What was given.
        text: String,
    },
    /// More than three parts.
    #[error("{text:?}: cannot parse platform specifier: invalid argument")]
    Parts {
        /// What was given.
        text: String,
    },
}

const OS_PATTERN: &str = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$";
const PART_PATTERN: &str = "^[A-Za-z0-9_.-]+$";

/// Operating systems of the Go toolchain: a single word is looked up here first.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

/// Architectures of the Go toolchain.
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// A normalised platform without version and features.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.to_owned(),
            ..Self::default()
        }
        .normalized()
    }

    /// The platform that this program was compiled for.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, host_architecture(), "")
    }

    /// The one spelling that equal platforms share.
    pub fn normalized(mut self) -> Self {
        self.os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        self.architecture = architecture;
        self.variant = variant;
        self
    }

    /// `os[(version[+feature…])]/architecture[/variant]`, as the frontend is told.
    pub fn full(&self) -> String {
        let mut text = self.os_or_unknown().to_owned();
        if !self.os_version.is_empty() || !self.os_features.is_empty() {
            text.push('(');
            text.push_str(&encode_option(&self.os_version));
            for feature in &self.os_features {
                text.push('+');
                text.push_str(&encode_option(feature));
            }
            text.push(')');
        }
        push_architecture(&mut text, self);
        text
    }

    /// Whether both are the same platform, however they are spelled.
    pub fn same(&self, other: &Self) -> bool {
        let (a, b) = (self.clone().normalized(), other.clone().normalized());
        a.os == b.os && a.architecture == b.architecture && a.variant == b.variant
    }

    /// How well a machine of this platform runs `wanted` without emulation: 0 is best, `None` not at all.
    ///
    /// It is the position of `wanted` in containerd's list of what the platform can run: itself, then lower levels of
    /// the same family, then its 32-bit kin.
    pub fn runs(&self, wanted: &Self) -> Option<usize> {
        let wanted = wanted.clone().normalized();
        if wanted.os != self.clone().normalized().os {
            return None;
        }
        self.runnable().iter().position(|(architecture, variant)| {
            normalize_architecture(architecture, variant)
                == (wanted.architecture.clone(), wanted.variant.clone())
        })
    }

    /// Architectures and variants that this platform runs, best first.
    fn runnable(&self) -> Vec<(String, String)> {
        let own = self.clone().normalized();
        let mut list = vec![(own.architecture.clone(), own.variant.clone())];
        match own.architecture.as_str() {
            "amd64" => {
                let level = level(&own.variant).unwrap_or(1);
                list.extend((1..level).rev().map(|n| ("amd64".to_owned(), format!("v{n}"))));
                list.push(("386".to_owned(), String::new()));
            }
            "arm" => list.extend(arm_below(&own.variant)),
            "arm64" => list.extend(arm64_below(&own.variant)),
            _ => {}
        }
        list
    }

    fn os_or_unknown(&self) -> &str {
        if self.os.is_empty() { "unknown" } else { &self.os }
    }
}

/// Number of a variant such as `v7`.
fn level(variant: &str) -> Option<u32> {
    variant.trim_start_matches('v').parse().ok()
}

fn arm_below(variant: &str) -> Vec<(String, String)> {
    let level = level(variant).unwrap_or(0);
    (5..level)
        .rev()
        .map(|n| ("arm".to_owned(), format!("v{n}")))
        .collect()
}

fn arm64_below(variant: &str) -> Vec<(String, String)> {
    let variant = if variant.is_empty() { "v8" } else { variant };
    let (major, minor) = variant.split_once('.').unwrap_or((variant, ""));
    let minor: u32 = minor.parse().unwrap_or(0);
    let mut list = Vec::new();
    let mut family = |major: u32, minors: std::ops::Range<u32>| {
        list.extend(minors.rev().map(|minor| match minor {
            0 => ("arm64".to_owned(), format!("v{major}")),
            _ => ("arm64".to_owned(), format!("v{major}.{minor}")),
        }));
    };
    match level(major) {
        // Version 9.x grew out of 8.5 and contains 8.(x+5).
        Some(9) => {
            family(9, 0..minor);
            family(8, 0..minor + 6);
        }
        Some(major) if major >= 8 => family(major, 0..minor),
        _ => {}
    }
    list.push(("arm".to_owned(), "v8".to_owned()));
    list.extend(arm_below("v8"));
    list
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

fn push_architecture(text: &mut String, platform: &Platform) {
    for part in [&platform.architecture, &platform.variant] {
        if !part.is_empty() {
            text.push('/');
            text.push_str(part);
        }
    }
}

/// `os/architecture[/variant]`, without version and features.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.os_or_unknown().to_owned();
        push_architecture(&mut text, self);
        f.write_str(&text)
    }
}

/// Parses `os`, `architecture`, `os/architecture` or `os/architecture/variant` and normalises it.
impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let owned = || text.to_owned();
        if text.contains('*') {
            return Err(PlatformError::Wildcard { text: owned() });
        }
        let parts: Vec<&str> = text.split('/').collect();
        let (first, rest) = parts
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (*first, rest));
        let os = parse_os(first).ok_or_else(|| PlatformError::OsPart {
            part: first.to_owned(),
            text: owned(),
        })?;
        if let Some(part) = rest.iter().find(|part| !is_part(part)) {
            return Err(PlatformError::Part {
                part: (*part).to_owned(),
                text: owned(),
            });
        }
        match *rest {
            [] => single_word(os, first).ok_or_else(|| PlatformError::Unknown { text: owned() }),
            [architecture] => Ok(Self {
                architecture: architecture.to_owned(),
                ..os
            }
            .normalized()),
            [architecture, variant] => Ok(Self {
                architecture: architecture.to_owned(),
                variant: variant.to_owned(),
                ..os
            }
            .normalized()),
            _ => Err(PlatformError::Parts { text: owned() }),
        }
    }
}

fn single_word(os: Platform, word: &str) -> Option<Platform> {
    let host = Platform::host();
    let os = os.normalized();
    if SYSTEMS.contains(&os.os.as_str()) {
        return Some(Platform {
            architecture: host.architecture,
            variant: host.variant,
            ..os
        });
    }
    let platform = Platform::new(&host.os, word, "");
    ARCHITECTURES
        .contains(&platform.architecture.as_str())
        .then_some(platform)
}

/// Parses `os[(version[+feature…])]` into a platform that has nothing else.
fn parse_os(part: &str) -> Option<Platform> {
    let (name, options) = match part.strip_suffix(')') {
        Some(head) => {
            let (name, options) = head.split_once('(')?;
            (name, Some(options))
        }
        None => (part, None),
    };
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !is_name {
        return None;
    }
    let mut platform = Platform {
        os: name.to_owned(),
        ..Platform::default()
    };
    if let Some(options) = options {
        let mut fields = options.split('+');
        platform.os_version = decode_option(fields.next().unwrap_or_default(), true)?;
        platform.os_features = fields
            .map(|field| decode_option(field, false))
            .collect::<Option<_>>()?;
    }
    Some(platform)
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part.chars().all(is_part_char)
}

fn is_part_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn decode_option(text: &str, may_be_empty: bool) -> Option<String> {
    if !text.chars().all(|c| is_part_char(c) || c == '%') || (text.is_empty() && !may_be_empty) {
        return None;
    }
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

fn encode_option(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'_')
        .remove(b'.')
        .remove(b'-');
    percent_encoding::utf8_percent_encode(text, PLAIN).to_string()
}

/// Parses values of a `--platform` flag: each may be a comma list, `local` is this machine; doubled ones count once.
pub fn parse_list<S: AsRef<str>>(values: &[S]) -> Result<Vec<Platform>, PlatformError> {
    let mut platforms: Vec<Platform> = Vec::new();
    for item in values.iter().flat_map(|value| value.as_ref().split(',')) {
        let platform = if item.eq_ignore_ascii_case("local") {
            Platform::host()
        } else {
            item.parse()?
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_are_normalised() {
        for (given, printed) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/X86-64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"),
            ("linux/i386", "linux/386"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/5", "linux/arm/v5"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/made-up", "linux/made-up"),
        ] {
            assert_eq!(platform(given).to_string(), printed, "{given}");
        }
    }

    #[test]
    fn one_word_is_a_system_or_an_architecture() {
        let host = Platform::host();
        assert_eq!(
            platform("linux"),
            Platform {
                os: "linux".into(),
                ..host.clone()
            }
        );
        assert_eq!(platform("armel").to_string(), format!("{}/arm/v6", host.os));
    }

    #[test]
    fn refusals_have_the_known_texts() {
        for (given, text) in [
            (
                "foo",
                r#""foo": unknown operating system or architecture: invalid argument"#,
            ),
            (
                "linux/*",
                r#""linux/*": wildcards not yet supported: invalid argument"#,
            ),
            (
                "a/b/c/d",
                r#""a/b/c/d": cannot parse platform specifier: invalid argument"#,
            ),
            (
                "a b",
                r#""a b" is an invalid OS component of "a b": OSAndVersion specifier component must match "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.%-]*)((?:\\+[A-Za-z0-9_.%-]+)*)\\))?$": invalid argument"#,
            ),
            (
                "linux/a b",
                r#""a b" is an invalid component of "linux/a b": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument"#,
            ),
        ] {
            assert_eq!(given.parse::<Platform>().unwrap_err().to_string(), text);
        }
        assert!(parse_list(&["linux/amd64,"]).is_err());
    }

    #[test]
    fn versions_and_features_are_kept_in_the_full_form_only() {
        let windows = platform("windows(10.0.17763.1+win32k)/amd64");
        assert_eq!(windows.os_version, "10.0.17763.1");
        assert_eq!(windows.os_features, ["win32k"]);
        assert_eq!(windows.full(), "windows(10.0.17763.1+win32k)/amd64");
        assert_eq!(windows.to_string(), "windows/amd64");
    }

    #[test]
    fn lists_are_split_and_local_is_the_host() {
        let list = parse_list(&["linux/amd64,linux/arm64", "LOCAL", "linux/x86_64"]).unwrap();
        assert!(list.contains(&Platform::host()));
        assert_eq!(list.iter().filter(|p| p.to_string() == "linux/amd64").count(), 1);
    }

    #[test]
    fn a_platform_runs_its_lower_levels() {
        for (machine, wanted, rank) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/386", Some(1)),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v7", "linux/arm/v5", Some(2)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm64", "linux/arm64", Some(0)),
            ("linux/arm64", "linux/arm/v8", Some(1)),
            ("linux/arm64", "linux/arm/v7", Some(2)),
            ("linux/arm64", "linux/amd64", None),
            ("linux/arm64/v8.2", "linux/arm64/v8.1", Some(1)),
            ("linux/arm64/v8.2", "linux/arm64", Some(2)),
            ("linux/arm64/v9", "linux/arm64/v8.5", Some(1)),
            ("linux/arm64/v9", "linux/arm64/v8.6", None),
            ("linux/arm64/v9.1", "linux/arm64/v9", Some(1)),
            ("linux/arm64/v9.1", "linux/arm64/v8.6", Some(2)),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
        ] {
            assert_eq!(
                platform(machine).runs(&platform(wanted)),
                rank,
                "{machine} {wanted}"
            );
        }
    }

    #[test]
    fn the_stored_form_is_the_oci_object() {
        let text = serde_json::to_string(&platform("linux/arm/v6")).unwrap();
        assert_eq!(text, r#"{"architecture":"arm","os":"linux","variant":"v6"}"#);
        assert_eq!(
            serde_json::from_str::<Platform>(&text).unwrap(),
            platform("linux/arm/v6")
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            os in "[a-z]{1,8}", architecture in "[a-z0-9]{1,8}", variant in "(v[0-9](\\.[0-9])?)?",
            version in "[A-Za-z0-9 /+.]{0,6}", features in proptest::collection::vec("[a-z0-9+]{1,5}", 0..3),
        ) {
            let platform = Platform { os, architecture, variant, os_version: version, os_features: features }.normalized();
            prop_assert_eq!(platform.full().parse::<Platform>().unwrap(), platform);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,24}") {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.clone().normalized(), platform);
            }
        }
    }
}
