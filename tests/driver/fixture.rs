//! Guests of `tests/fixtures/drivers`, and what tests do with them all the time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::load::Origin;
use bkhost::driver::node::{Cancel, DialRequest, DriverResult, Drivers, Node, NodeConfig};
use bkhost::progress::event::{Sink, Update};
use tokio::sync::mpsc::Receiver;

/// A catalog with one guest in it.
pub fn catalog(name: &str) -> Catalog {
    catalog_of(name, name)
}

/// The same with the code of fixture `file`, whose manifest has another name.
pub fn catalog_of(name: &str, file: &str) -> Catalog {
    catalog_with(name, file, HostEnvironment::default())
}

/// The same on this machine.
pub fn catalog_with(name: &str, file: &str, environment: HostEnvironment) -> Catalog {
    let path = bkhost_test_support::provided::compiled_fixture(file);
    let code = std::fs::read(&path).unwrap();
    let manifest = std::fs::read_to_string(path.with_extension("manifest.toml")).unwrap();
    let origin = Origin::File(format!("{file}.wasm").into());
    Catalog::new(environment).with_compiled(name, code, manifest, origin)
}

/// The guest that asks an engine whatever it is told to, behind the manifest of a shipped driver: that driver, altered.
pub fn altered(name: &str, environment: HostEnvironment) -> Catalog {
    let code = std::fs::read(bkhost_test_support::provided::compiled_fixture("engine-client")).unwrap();
    let shipped = bkhost_test_support::provided::driver(name);
    let manifest = std::fs::read_to_string(shipped.with_extension("manifest.toml")).unwrap();
    Catalog::new(environment).with_compiled(name, code, manifest, Origin::File("altered.wasm".into()))
}

/// The configuration of a node that breaks this rule.
pub fn config(behaviour: &str) -> NodeConfig {
    NodeConfig {
        builder: "b".to_owned(),
        node: "b0".to_owned(),
        endpoint: "unix:///run/nowhere.sock".to_owned(),
        options: [("behaviour".to_owned(), behaviour.to_owned())].into(),
        ..NodeConfig::default()
    }
}

/// A node that breaks this rule.
pub async fn misbehaving(behaviour: &str) -> Box<dyn Node> {
    open(config(behaviour)).await.unwrap()
}

/// A node of the misbehaving guest.
pub async fn open(config: NodeConfig) -> DriverResult<Box<dyn Node>> {
    catalog("misbehaving").open("misbehaving", config).await
}

/// A request with nobody watching and a minute's time.
pub fn request() -> DialRequest {
    DialRequest {
        sink: Sink::discard(),
        deadline: (Instant::now() + Duration::from_secs(60)).into(),
        cancel: Cancel::new(),
        purpose: "test",
    }
}

/// All that was sent until the sink was dropped.
pub async fn collect(mut updates: Receiver<Update>) -> Update {
    let mut all = Update::default();
    while let Some(update) = updates.recv().await {
        all.vertexes.extend(update.vertexes);
        all.statuses.extend(update.statuses);
        all.logs.extend(update.logs);
        all.warnings.extend(update.warnings);
    }
    all
}

/// Lines that drivers log from now on in this thread, until the guard is dropped.
pub fn logged() -> (Arc<Mutex<Vec<String>>>, tracing::subscriber::DefaultGuard) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let guard = tracing::subscriber::set_default(Collector(Arc::clone(&lines)));
    (lines, guard)
}

struct Collector(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("bkhost::driver")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// All fields of an event, one after the other.
struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}
