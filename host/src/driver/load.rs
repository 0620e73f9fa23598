//! From compiled code to a driver that can be opened: which track it is of, and whether everything it imports is here.
//! Nothing of it has run by then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::engine::{Code, Runtime};
use super::limits::{SHOWN_TEXT, clean_line};
use super::manifest::Manifest;
use super::node::{DriverError, DriverErrorKind, DriverResult};
use super::track::{self, Track};

/// Where a driver came from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Embedded in this program.
    BuiltIn,
    /// A file.
    File(PathBuf),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// What is to be loaded.
pub(crate) struct Source<'a> {
    /// Name of the driver.
    pub name: &'a str,
    /// Where it came from.
    pub origin: &'a Origin,
    /// Its manifest.
    pub manifest: &'a Arc<Manifest>,
    /// Its compiled code.
    pub code: &'a Code,
}

/// Loads a driver.
pub(crate) fn load(runtime: &Arc<Runtime>, source: &Source<'_>) -> DriverResult<Box<dyn Track>> {
    let component = runtime.load(source.code).map_err(|error| {
        let message = format!(
            "Driver `{}` ({}) cannot be loaded: {error:#}",
            source.name, source.origin
        );
        refusal(
            source,
            message,
            "Compile the driver again with this version of bkhost",
        )
    })?;
    let shape = Shape::of(runtime, &component);
    let make = track::choose(&shape.exports).ok_or_else(|| wrong_track(source, &shape))?;
    let pre = runtime
        .linker
        .instantiate_pre(&component)
        .map_err(|error| missing_imports(runtime, source, &component, &shape, &error))?;
    make(Arc::clone(runtime), Arc::clone(source.manifest), pre).map_err(|error| {
        let message = format!(
            "Driver `{}` ({}) does not export what its interfaces promise: {}",
            source.name,
            source.origin,
            clean_line(&format!("{error:#}"), SHOWN_TEXT)
        );
        with_shape(refusal(source, message, REBUILD), &shape)
    })
}

const REBUILD: &str = "Update the driver, or build it again with the SDK of this bkhost";
const UPDATE_HOST: &str = "Update bkhost, or use an older version of the driver";

/// Functions that a component imports, by interface; methods of resources are `[method]RESOURCE.NAME`.
pub(crate) fn imports(runtime: &Runtime, component: &Component) -> BTreeMap<String, Vec<String>> {
    let ty = component.component_type();
    let interfaces = ty.imports(&runtime.engine).map(|(name, item)| {
        let mut functions = Vec::new();
        if let ComponentItem::ComponentInstance(instance) = item.ty {
            let exports = instance.exports(&runtime.engine);
            let called = exports.filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)));
            functions.extend(called.map(|(function, _)| function.to_owned()));
        }
        (name.to_owned(), functions)
    });
    interfaces.collect()
}

/// What a component exports and imports, by name.
struct Shape {
    exports: Vec<String>,
    imports: Vec<String>,
}

impl Shape {
    fn of(runtime: &Runtime, component: &Component) -> Self {
        let ty = component.component_type();
        Self {
            exports: ty
                .exports(&runtime.engine)
                .map(|(name, _)| name.to_owned())
                .collect(),
            imports: ty
                .imports(&runtime.engine)
                .map(|(name, _)| name.to_owned())
                .collect(),
        }
    }

    /// The version of the driver contract that it exports.
    fn driver_version(&self) -> Option<&str> {
        self.exports
            .iter()
            .find_map(|name| name.strip_prefix("bkhost:driver/node@"))
    }
}

fn wrong_track(source: &Source<'_>, shape: &Shape) -> DriverError {
    let who = who(source);
    let supported = track::supported();
    let (message, hint) = match shape.driver_version() {
        None => (
            format!("{who} exports no `bkhost:driver/node`; this bkhost supports {supported}"),
            REBUILD,
        ),
        Some(version) => {
            let hint = if track::is_newer(version) {
                UPDATE_HOST
            } else {
                REBUILD
            };
            let version = clean_line(version, SHOWN_TEXT);
            (
                format!("{who} speaks bkhost:driver@{version}; this bkhost supports {supported}"),
                hint,
            )
        }
    };
    with_shape(refusal(source, message, hint), shape)
}

fn missing_imports(
    runtime: &Runtime,
    source: &Source<'_>,
    component: &Component,
    shape: &Shape,
    error: &wasmtime::Error,
) -> DriverError {
    let missing = missing(runtime, component);
    let what = if missing.is_empty() {
        clean_line(&format!("{error:#}"), SHOWN_TEXT)
    } else {
        clean_line(&missing.join(", "), SHOWN_TEXT)
    };
    let message = format!(
        "{} speaks bkhost:driver@{} and imports what this bkhost does not offer: {what}; this bkhost supports {}",
        who(source),
        clean_line(shape.driver_version().unwrap_or_default(), SHOWN_TEXT),
        track::supported(),
    );
    let hint = if missing.is_empty() { REBUILD } else { UPDATE_HOST };
    with_shape(refusal(source, message, hint), shape)
}

/// All imports that the linker has not, by interface: `` `bkhost:host/engine@0.1.0` (`pull`, `send`) ``.
fn missing(runtime: &Runtime, component: &Component) -> Vec<String> {
    let mut missing = Vec::new();
    for (name, item) in component.component_type().imports(&runtime.engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            missing.push(format!("`{name}`"));
            continue;
        };
        let functions: Vec<String> = instance
            .exports(&runtime.engine)
            .filter(|(function, item)| !is_offered(runtime, name, function, &item.ty))
            .map(|(function, _)| format!("`{function}`"))
            .collect();
        if !functions.is_empty() {
            missing.push(format!("`{name}` ({})", functions.join(", ")));
        }
    }
    missing
}

/// Whether the linker has an item. Only functions are asked for: an interface also names the resources it uses from
/// others, and one of its own is of no use without a function. It is asked by trying to define the function once more.
fn is_offered(runtime: &Runtime, interface: &str, item: &str, ty: &ComponentItem) -> bool {
    if !matches!(ty, ComponentItem::ComponentFunc(_)) {
        return true;
    }
    let mut probe = runtime.linker.clone();
    match probe.instance(&track::linked_name(interface)) {
        Ok(mut instance) => instance.func_new(item, |_, _, _, _| Ok(())).is_err(),
        Err(_) => false,
    }
}

/// The driver with its file, and the SDK that it says it was built with.
fn who(source: &Source<'_>) -> String {
    let Source { name, origin, .. } = source;
    match &source.manifest.built_with.sdk {
        Some(sdk) => format!(
            "Driver `{name}` ({origin}, built with {})",
            clean_line(sdk, SHOWN_TEXT)
        ),
        None => format!("Driver `{name}` ({origin})"),
    }
}

fn refusal(source: &Source<'_>, message: String, hint: &str) -> DriverError {
    DriverError {
        kind: DriverErrorKind::Unsupported,
        driver: source.name.to_owned(),
        message,
        hint: Some(hint.to_owned()),
        details: Vec::new(),
    }
}

fn with_shape(mut error: DriverError, shape: &Shape) -> DriverError {
    for (key, names) in [("exports", &shape.exports), ("imports", &shape.imports)] {
        error
            .details
            .push((key.to_owned(), clean_line(&names.join(", "), SHOWN_TEXT)));
    }
    error
}
