//! Which services a session serves, and the names that are announced for them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bkhost_proto::content::content_server::ContentServer;
use bkhost_proto::filesync::file_send_server::FileSendServer;
use bkhost_proto::filesync::file_sync_server::FileSyncServer;
use bkhost_proto::health::health_server::HealthServer;
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower_service::Service;

use super::content::ContentStores;
use super::content::layout::Layout;
use super::failure::Failures;
use super::file_send::{ExportTargets, Inbox};
use super::file_sync::LocalSources;
use super::health::Health;
use super::{auth, secrets, upload};
use crate::buildkit::spec::{CacheEntry, ExportTarget, SolveSpec};
use crate::connect::channel::MESSAGE_LIMIT;

/// Services by name. A method is announced if, and only if, its service is served.
#[derive(Clone)]
pub(super) struct Services {
    /// Apart from the others, so that nothing they do can delay it: a session without health dies.
    pub(super) health: HealthServer<Health>,
    pub(super) routes: Routes,
    /// What they could not do.
    pub(super) failures: Failures,
    methods: Vec<String>,
}

impl Services {
    /// The services that `spec` needs. Exported files go to `files`.
    pub(super) fn of(spec: &SolveSpec, files: Inbox) -> Self {
        let session = &spec.session;
        let mut services = Self::new();
        auth::register(&mut services, session.registry.clone());
        let failures = services.failures.clone();
        secrets::register(&mut services, session.secrets.clone(), failures);
        services.add_files(spec, files);
        services.add_content(spec);
        if let Some(upload) = &session.upload {
            upload::register(&mut services, upload.clone());
        }
        services
    }

    /// A daemon takes the names of these two for a promise, so they are announced only where there is something.
    fn add_files(&mut self, spec: &SolveSpec, files: Inbox) {
        let mounts = &spec.session.mounts;
        if !mounts.is_empty() {
            let sources = LocalSources::new(mounts.clone(), self.failures.clone());
            self.add(
                FileSyncServer::new(sources)
                    .max_decoding_message_size(MESSAGE_LIMIT)
                    .max_encoding_message_size(MESSAGE_LIMIT),
                &["DiffCopy", "TarStream"],
            );
        }
        let targets: Vec<_> = spec
            .exporters
            .iter()
            .map(|exporter| exporter.target.clone())
            .collect();
        if targets.iter().any(takes_files) {
            self.add(
                FileSendServer::new(ExportTargets::new(
                    targets,
                    spec.session.output.clone(),
                    files,
                    self.failures.clone(),
                ))
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
                &["DiffCopy"],
            );
        }
    }

    fn add_content(&mut self, spec: &SolveSpec) {
        let stores = stores(spec);
        if stores.is_empty() {
            return;
        }
        self.add(
            ContentServer::new(ContentStores::new(stores, self.failures.clone()))
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
            &[
                "Info",
                "Update",
                "List",
                "Delete",
                "Read",
                "Status",
                "ListStatuses",
                "Write",
                "Abort",
            ],
        );
    }

    /// Nothing but health.
    pub(super) fn new() -> Self {
        let mut services = Self {
            health: HealthServer::new(Health),
            routes: Routes::default(),
            failures: Failures::default(),
            methods: Vec::new(),
        };
        services.announce::<HealthServer<Health>>(&["Check", "List", "Watch"]);
        services
    }

    /// Serves `service` and announces `methods` of it.
    pub(super) fn add<S>(&mut self, service: S, methods: &[&str])
    where
        S: Service<Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.announce::<S>(methods);
        self.routes = std::mem::take(&mut self.routes).add_service(service);
    }

    /// Every method as `/package.Service/Method`.
    pub(super) fn methods(&self) -> &[String] {
        &self.methods
    }

    fn announce<S: NamedService>(&mut self, methods: &[&str]) {
        let names = methods.iter().map(|method| format!("/{}/{method}", S::NAME));
        self.methods.extend(names);
    }
}

fn takes_files(target: &ExportTarget) -> bool {
    matches!(
        target,
        ExportTarget::Folder { .. }
            | ExportTarget::File(_)
            | ExportTarget::Stdout
            | ExportTarget::Receiver(_)
    )
}

/// Content stores by the ids that a daemon asks for them with.
fn stores(spec: &SolveSpec) -> BTreeMap<String, Arc<Layout>> {
    let exports = spec.exporters.iter().filter_map(|exporter| {
        let ExportTarget::Layout(path) = &exporter.target else {
            return None;
        };
        Some(("export".to_owned(), path.clone()))
    });
    let contexts = spec.session.layouts.iter();
    let contexts = contexts.map(|(id, path)| (format!("oci:{id}"), path.clone()));
    let written = spec.cache_exports.iter().filter_map(|entry| cache(entry, "dest"));
    let read = spec.cache_imports.iter().filter_map(|entry| cache(entry, "src"));
    exports
        .chain(contexts)
        .chain(written.chain(read))
        .map(|(id, path)| (id, Arc::new(Layout::new(path))))
        .collect()
}

/// A local cache is asked for by the folder exactly as the attribute spells it.
fn cache(entry: &CacheEntry, attribute: &str) -> Option<(String, std::path::PathBuf)> {
    let folder = entry.attributes.get(attribute)?;
    (entry.kind == "local").then(|| (format!("local:{folder}"), folder.into()))
}
