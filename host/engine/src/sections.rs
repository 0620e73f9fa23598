//! What a driver's file says about itself in custom sections.

use wasmparser::{Encoding, Parser, Payload, Validator};

use crate::{MANIFEST_LIMIT, MANIFEST_SECTION, SDK_SECTION};

/// Longest SDK marker that is believed; it is a name and a version.
const SDK_LIMIT: usize = 256;

/// Table of the written manifest in which the SDK's marker is kept.
const RESERVED_TABLE: &str = "built-with";

/// Why the sections of a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SectionsError {
    /// The file is no sound WebAssembly.
    #[error("Not a valid WebAssembly component")]
    Invalid(#[source] wasmparser::BinaryReaderError),
    /// The file is a core module.
    #[error("This is a core WebAssembly module, not a component")]
    CoreModule,
    /// There is no manifest.
    #[error("The component has no section `{MANIFEST_SECTION}`")]
    NoManifest,
    /// There is more than one.
    #[error("The component has {0} sections `{MANIFEST_SECTION}`; there must be exactly one")]
    ManyManifests(usize),
    /// The manifest is too large.
    #[error("The manifest has {0} bytes; at most {MANIFEST_LIMIT} are allowed")]
    LargeManifest(usize),
    /// The manifest is not text.
    #[error("The manifest is not UTF-8")]
    NotText(#[source] std::string::FromUtf8Error),
    /// The manifest is not TOML.
    #[error("The manifest is not valid TOML")]
    NotToml(#[source] toml::de::Error),
    /// The manifest has a table that is not its own.
    #[error("The manifest has a table `{RESERVED_TABLE}`, which is kept for the SDK's marker")]
    Reserved,
}

/// The sections of one driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sections {
    /// The manifest as the author wrote it: TOML.
    pub manifest: String,
    /// Name and version of the SDK that built it, as it says.
    pub sdk: Option<String>,
}

impl Sections {
    /// Reads the sections of a component, at its top level and in its first-level core modules, after validating the
    /// whole of it.
    pub fn read(component: &[u8]) -> Result<Self, SectionsError> {
        Validator::new()
            .validate_all(component)
            .map_err(SectionsError::Invalid)?;
        let found = find(component)?;
        let sdk = found
            .sdk
            .filter(|marker| marker.len() <= SDK_LIMIT)
            .and_then(|marker| String::from_utf8(marker).ok());
        let manifest = only_manifest(found.manifests)?;
        Ok(Self { manifest, sdk })
    }

    /// The text to keep beside compiled code: the manifest, followed by the SDK's marker in a table of its own.
    pub fn to_sidecar(&self) -> String {
        let mut text = self.manifest.clone();
        if let Some(sdk) = &self.sdk {
            let quoted = toml::Value::String(sdk.clone());
            text.push_str(&format!("\n[{RESERVED_TABLE}]\nsdk = {quoted}\n"));
        }
        text
    }
}

#[derive(Default)]
struct Found {
    manifests: Vec<Vec<u8>>,
    sdk: Option<Vec<u8>>,
}

/// Collects the sections by name. Nested components are not looked into: they are other people's code.
fn find(component: &[u8]) -> Result<Found, SectionsError> {
    let mut found = Found::default();
    // What encloses the current payload: the top component, its core modules, or something nested deeper.
    let mut enclosing = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(SectionsError::Invalid)? {
            Payload::Version { encoding, .. } => {
                if enclosing.is_empty() && encoding == Encoding::Module {
                    return Err(SectionsError::CoreModule);
                }
                enclosing.push(encoding);
            }
            Payload::CustomSection(section) if is_own(&enclosing) => match section.name() {
                MANIFEST_SECTION => found.manifests.push(section.data().to_vec()),
                SDK_SECTION => found.sdk = Some(section.data().to_vec()),
                _ => {}
            },
            Payload::End(_) => {
                enclosing.pop();
            }
            _ => {}
        }
    }
    Ok(found)
}

fn is_own(enclosing: &[Encoding]) -> bool {
    matches!(
        enclosing,
        [Encoding::Component] | [Encoding::Component, Encoding::Module]
    )
}

fn only_manifest(mut manifests: Vec<Vec<u8>>) -> Result<String, SectionsError> {
    let count = manifests.len();
    let manifest = match manifests.pop() {
        None => return Err(SectionsError::NoManifest),
        Some(_) if count > 1 => return Err(SectionsError::ManyManifests(count)),
        Some(manifest) => manifest,
    };
    if manifest.len() > MANIFEST_LIMIT {
        return Err(SectionsError::LargeManifest(manifest.len()));
    }
    let text = String::from_utf8(manifest).map_err(SectionsError::NotText)?;
    let table: toml::Table = text.parse().map_err(SectionsError::NotToml)?;
    if table.contains_key(RESERVED_TABLE) {
        return Err(SectionsError::Reserved);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component (`layer` 1) or module (`layer` 0) with these sections.
    fn file(module: bool, sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = b"\0asm".to_vec();
        bytes.extend(if module { [1, 0, 0, 0] } else { [0x0d, 0, 1, 0] });
        for (id, content) in sections {
            bytes.push(*id);
            bytes.extend(leb(content.len()));
            bytes.extend(content);
        }
        bytes
    }

    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let byte = (value & 0x7f) as u8;
            value >>= 7;
            if value == 0 {
                bytes.push(byte);
                return bytes;
            }
            bytes.push(byte | 0x80);
        }
    }

    fn custom(name: &str, data: &[u8]) -> (u8, Vec<u8>) {
        let mut content = leb(name.len());
        content.extend(name.as_bytes());
        content.extend(data);
        (0, content)
    }

    fn core_module(sections: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
        (1, file(true, sections))
    }

    fn nested(sections: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
        (4, file(false, sections))
    }

    fn words(bytes: &[u8]) -> String {
        Sections::read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn sections_are_read_at_the_top_and_in_core_modules() {
        let manifest = custom(MANIFEST_SECTION, b"name = 'a'");
        let sdk = custom(SDK_SECTION, b"bkhost-driver 0.1.0");
        let top = Sections::read(&file(false, std::slice::from_ref(&manifest))).unwrap();
        assert_eq!((top.manifest.as_str(), top.sdk.as_deref()), ("name = 'a'", None));
        let inner = Sections::read(&file(false, &[core_module(&[manifest, sdk])])).unwrap();
        assert_eq!(inner.sdk.as_deref(), Some("bkhost-driver 0.1.0"));
        assert_eq!(
            inner.to_sidecar(),
            "name = 'a'\n[built-with]\nsdk = \"bkhost-driver 0.1.0\"\n"
        );
    }

    #[test]
    fn nested_components_do_not_speak_for_the_driver() {
        let manifest = custom(MANIFEST_SECTION, b"");
        let bytes = file(false, &[nested(std::slice::from_ref(&manifest))]);
        assert_eq!(words(&bytes), "The component has no section `bkhost:manifest`");
        let bytes = file(false, &[nested(&[core_module(&[manifest])])]);
        assert_eq!(words(&bytes), "The component has no section `bkhost:manifest`");
    }

    #[test]
    fn there_is_exactly_one_manifest() {
        let manifest = custom(MANIFEST_SECTION, b"");
        let bytes = file(false, &[manifest.clone(), core_module(&[manifest])]);
        assert_eq!(
            words(&bytes),
            "The component has 2 sections `bkhost:manifest`; there must be exactly one"
        );
    }

    #[test]
    fn a_manifest_has_limits() {
        let with = |data: &[u8]| file(false, &[custom(MANIFEST_SECTION, data)]);
        let largest = vec![b' '; MANIFEST_LIMIT];
        assert!(Sections::read(&with(&largest)).is_ok());
        let larger = vec![b' '; MANIFEST_LIMIT + 1];
        assert_eq!(
            words(&with(&larger)),
            "The manifest has 65537 bytes; at most 65536 are allowed"
        );
        assert_eq!(words(&with(b"\xff")), "The manifest is not UTF-8");
        assert_eq!(words(&with(b"name =")), "The manifest is not valid TOML");
        assert!(words(&with(b"[built-with]")).contains("kept for the SDK"));
    }

    #[test]
    fn the_whole_file_is_validated() {
        let good = custom(MANIFEST_SECTION, b"");
        let mut bytes = file(false, &[good]);
        bytes.extend([0x7f, 3, 1]);
        assert_eq!(words(&bytes), "Not a valid WebAssembly component");
        assert_eq!(words(b"junk"), "Not a valid WebAssembly component");
        assert_eq!(
            words(&file(true, &[])),
            "This is a core WebAssembly module, not a component"
        );
    }
}
