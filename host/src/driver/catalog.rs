//! The drivers there are: those that are built in, and those that were added.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::engine::{Code, Embedded, Runtime};
use super::environment::HostEnvironment;
use super::limits::IDLE;
use super::load::{self, Origin, Source};
use super::manifest::Manifest;
use super::node::{DriverError, DriverErrorKind, DriverInfo, DriverResult, Drivers, Node, NodeConfig};
use super::track::Track;
use crate::causes;
use crate::docker::Engines;
use crate::nearest::nearest;

mod built_in {
    //! What the build script found.
    use crate::driver::engine::Embedded;
    include!(concat!(env!("OUT_DIR"), "/drivers.rs"));
}

/// All drivers by name. Nothing is loaded, and no engine made, before the first driver is used.
pub struct Catalog {
    environment: Arc<HostEnvironment>,
    runtime: OnceCell<Arc<Runtime>>,
    idle_limit: Duration,
    drivers: BTreeMap<String, Entry>,
}

struct Entry {
    origin: Origin,
    code: Code,
    manifest: Cow<'static, str>,
    loaded: OnceCell<Arc<dyn Track>>,
}

impl Catalog {
    /// The built-in drivers on this machine.
    pub fn new(environment: HostEnvironment) -> Self {
        let entry = |(name, code, manifest): &(&str, &'static Embedded, &'static str)| {
            let entry = Entry {
                origin: Origin::BuiltIn,
                code: Code::Embedded(code),
                manifest: Cow::Borrowed(*manifest),
                loaded: OnceCell::new(),
            };
            ((*name).to_owned(), entry)
        };
        Self {
            environment: Arc::new(environment),
            runtime: OnceCell::new(),
            idle_limit: IDLE,
            drivers: built_in::DRIVERS.iter().map(entry).collect(),
        }
    }

    /// The same catalog with one more driver, which replaces another of its name. `code` must be what `bkhost-aot`
    /// made, from a place that only the user can write: it is executed.
    pub fn with_compiled(
        mut self,
        name: &str,
        code: impl Into<Vec<u8>>,
        manifest: impl Into<Cow<'static, str>>,
        origin: Origin,
    ) -> Self {
        let entry = Entry {
            origin,
            code: Code::Read(code.into()),
            manifest: manifest.into(),
            loaded: OnceCell::new(),
        };
        self.drivers.insert(name.to_owned(), entry);
        self
    }

    /// The same catalog with another time for which a guest may neither wait nor report progress. A minute is right for
    /// users; a test need not sit through it.
    pub fn with_idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self
    }

    /// A driver's manifest.
    pub fn manifest(&self, name: &str) -> DriverResult<Manifest> {
        let entry = self.entry(name)?;
        parse_manifest(name, entry)
    }

    /// Where a driver came from.
    pub fn origin(&self, name: &str) -> DriverResult<&Origin> {
        Ok(&self.entry(name)?.origin)
    }

    fn entry(&self, name: &str) -> DriverResult<&Entry> {
        self.drivers.get(name).ok_or_else(|| self.unknown(name))
    }

    async fn track(&self, name: &str) -> DriverResult<Arc<dyn Track>> {
        let entry = self.entry(name)?;
        // Failures are not kept: the next try may find another file.
        let loaded = entry.loaded.get_or_try_init(|| self.load(name, entry)).await?;
        Ok(Arc::clone(loaded))
    }

    async fn load(&self, name: &str, entry: &Entry) -> DriverResult<Arc<dyn Track>> {
        let runtime = self
            .runtime
            .get_or_try_init(|| make_runtime(name, self.idle_limit))
            .await?;
        let manifest = Arc::new(parse_manifest(name, entry)?);
        let source = Source {
            name,
            origin: &entry.origin,
            manifest: &manifest,
            code: &entry.code,
        };
        load::load(runtime, &source).map(Arc::from)
    }

    fn unknown(&self, name: &str) -> DriverError {
        let hint = if self.drivers.is_empty() {
            built_in::HINT.map(str::to_owned)
        } else {
            Some(self.suggestion(name))
        };
        DriverError {
            kind: DriverErrorKind::NotFound,
            driver: name.to_owned(),
            message: format!("failed to find driver \"{name}\""),
            hint,
            details: Vec::new(),
        }
    }

    fn suggestion(&self, name: &str) -> String {
        match nearest(name, self.drivers.keys().map(String::as_str)) {
            Some(known) => format!("Did you mean `{known}`?"),
            None => format!("Known drivers: {}", self.names().join(", ")),
        }
    }
}

async fn make_runtime(driver: &str, idle_limit: Duration) -> DriverResult<Arc<Runtime>> {
    Runtime::new(idle_limit)
        .map(Arc::new)
        .map_err(|error| DriverError {
            kind: DriverErrorKind::Other,
            driver: driver.to_owned(),
            message: format!("The WASM engine cannot be started: {error:#}"),
            hint: None,
            details: Vec::new(),
        })
}

fn parse_manifest(name: &str, entry: &Entry) -> DriverResult<Manifest> {
    let refuse = |problem: String| DriverError {
        kind: DriverErrorKind::InvalidConfig,
        driver: name.to_owned(),
        message: format!("Driver `{name}` ({}) cannot be used: {problem}", entry.origin),
        hint: None,
        details: Vec::new(),
    };
    let manifest = Manifest::parse(&entry.manifest).map_err(|error| refuse(causes::one_line(&error)))?;
    if manifest.name != name {
        return Err(refuse(format!("its manifest calls it `{}`", manifest.name)));
    }
    Ok(manifest)
}

#[async_trait]
impl Drivers for Catalog {
    fn names(&self) -> Vec<String> {
        self.drivers.keys().cloned().collect()
    }

    async fn info(&self, driver: &str) -> DriverResult<DriverInfo> {
        let info = self.track(driver).await?.info(&self.environment).await?;
        Ok((*info).clone())
    }

    fn engines(&self) -> Option<Arc<Engines>> {
        Some(Arc::clone(&self.environment.engines))
    }

    async fn imports(&self, driver: &str) -> DriverResult<BTreeMap<String, Vec<String>>> {
        Ok(self.track(driver).await?.imports())
    }

    async fn open(&self, driver: &str, config: NodeConfig) -> DriverResult<Box<dyn Node>> {
        let track = self.track(driver).await?;
        track.open(Arc::clone(&self.environment), config).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::new(HostEnvironment::default()).with_compiled(
            "docker-container",
            &b"junk"[..],
            "schema-version = 1\nname = 'docker-container'\nversion = '1'",
            Origin::File("/d.cwasm".into()),
        )
    }

    #[tokio::test]
    async fn an_unknown_driver_has_its_nearest_neighbour() {
        let error = catalog().info("docker-containr").await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::NotFound);
        assert_eq!(error.to_string(), "failed to find driver \"docker-containr\"");
        assert_eq!(error.hint.as_deref(), Some("Did you mean `docker-container`?"));
        let hint = catalog().info("zzz").await.unwrap_err().hint.unwrap();
        assert!(
            hint.starts_with("Known drivers: docker, docker-container"),
            "{hint}"
        );
    }

    #[tokio::test]
    async fn junk_is_not_executed() {
        let error = catalog().info("docker-container").await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Unsupported);
        assert!(
            error
                .message
                .starts_with("Driver `docker-container` (`/d.cwasm`) cannot be loaded: ")
        );
    }

    #[test]
    fn a_manifest_speaks_for_its_own_driver() {
        let catalog = catalog().with_compiled(
            "other",
            &b""[..],
            "schema-version = 1\nname = 'docker'\nversion = '1'",
            Origin::BuiltIn,
        );
        let message = catalog.manifest("other").unwrap_err().message;
        assert_eq!(
            message,
            "Driver `other` (built in) cannot be used: its manifest calls it `docker`"
        );
    }
}
