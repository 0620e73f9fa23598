//! Which services a session serves, and the names that are announced for them.

use std::convert::Infallible;

use bkhost_proto::health::health_server::HealthServer;
use http::Request;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower_service::Service;

use super::health::Health;
use super::{auth, secrets, upload};
use crate::buildkit::spec::SolveSpec;

/// Services by name. A method is announced if, and only if, its service is served.
#[derive(Clone)]
pub(super) struct Services {
    /// Apart from the others, so that nothing they do can delay it: a session without health dies.
    pub(super) health: HealthServer<Health>,
    pub(super) routes: Routes,
    methods: Vec<String>,
}

impl Services {
    /// The services that `spec` needs.
    pub(super) fn of(spec: &SolveSpec) -> Self {
        let session = &spec.session;
        let mut services = Self::new();
        auth::register(&mut services, session.registry.clone());
        secrets::register(&mut services, session.secrets.clone());
        if let Some(upload) = &session.upload {
            upload::register(&mut services, upload.clone());
        }
        services
    }

    /// Nothing but health.
    pub(super) fn new() -> Self {
        let mut services = Self {
            health: HealthServer::new(Health),
            routes: Routes::default(),
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
