//! The Docker Engine API, spoken by the host itself: where an engine is, a stream to it, and requests on that stream.
//!
//! What is asked, and who may ask it, is not decided here.

pub mod auth;
pub mod endpoint;
pub mod error;
pub mod framing;
mod http2;
pub mod load;
mod messages;
pub mod proxy;
pub mod pull;
pub mod push;
pub mod sockets;
mod stream;
pub mod transport;
pub mod version;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use self::endpoint::Endpoint;
use self::error::EngineError;
use self::proxy::Proxies;
use self::sockets::{Found, Places};
use self::stream::Opener;
use self::transport::Engine;
use crate::store::docker::DockerEnvironment;
use crate::store::docker::config::DockerConfig;
use crate::store::docker::contexts::Contexts;
use crate::store::docker::credentials::DockerCredentials;

/// What a command line knows about engines, read once.
#[derive(Clone, Debug, Default)]
pub struct EngineSettings {
    /// The docker client's variables.
    pub docker: DockerEnvironment,
    /// Folder of scoped registry configurations.
    pub scoped: PathBuf,
    /// `DOCKER_API_VERSION`.
    pub api_version: Option<String>,
    /// `BUILDX_DEFAULT_POLICY`: signatures of images must be verified.
    pub needs_policy: bool,
    /// This program's own file, which starts helper programs.
    pub executable: PathBuf,
    /// Proxies on the way to other hosts.
    pub proxies: Proxies,
    /// Where engines may listen that nobody named.
    pub places: Places,
}

/// The engines of one command. Files are read when the first engine is asked for.
#[derive(Default)]
pub struct Engines {
    settings: EngineSettings,
    config: OnceLock<DockerConfig>,
    credentials: OnceLock<DockerCredentials>,
    known: Mutex<HashMap<String, Arc<Engine>>>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engines").finish_non_exhaustive()
    }
}

impl Engines {
    /// Engines as these settings name them.
    pub fn new(settings: EngineSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Name of the active docker context; whether it exists is not checked.
    pub fn active(&self) -> String {
        self.contexts().active().to_owned()
    }

    /// The engine behind a node's endpoint: a docker context or a host, the active context when it is empty. Asks
    /// nobody.
    pub fn engine(&self, endpoint: &str) -> Result<Arc<Engine>, EngineError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = known.get(endpoint) {
            return Ok(Arc::clone(engine));
        }
        let resolved = Endpoint::resolve(endpoint, &self.contexts())?;
        let pinned = self.settings.api_version.as_deref();
        let pinned = pinned.map(version::ApiVersion::pinned).transpose()?;
        let opener = Opener {
            path: self.settings.docker.path.clone().into(),
            executable: self.settings.executable.clone(),
            proxies: self.settings.proxies.clone(),
            places: self.settings.places.clone(),
        };
        let engine = Arc::new(Engine::new(resolved, opener, pinned));
        known.insert(endpoint.to_owned(), Arc::clone(&engine));
        Ok(engine)
    }

    /// Engines that listen where nobody looks unasked; the one at `except` left out.
    pub async fn elsewhere(&self, except: &Path) -> Vec<Found> {
        self.settings.places.listening(except).await
    }

    /// Registry credentials of the docker client.
    pub fn credentials(&self) -> &DockerCredentials {
        self.credentials.get_or_init(|| {
            let settings = &self.settings;
            let config = self.config().clone();
            DockerCredentials::new(settings.docker.clone(), config, settings.scoped.clone()).0
        })
    }

    /// Whether the user wants signatures of images to be verified.
    pub fn needs_policy(&self) -> bool {
        self.settings.needs_policy
    }

    fn contexts(&self) -> Contexts {
        Contexts::new(self.settings.docker.clone(), self.config())
    }

    fn config(&self) -> &DockerConfig {
        // What is wrong with it the command line has said.
        self.config
            .get_or_init(|| DockerConfig::load(&self.settings.docker.folder).0)
    }
}
