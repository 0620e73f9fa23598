//! How the keeper learns whether builds run on its daemon.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

/// Asks the daemon behind a socket how many builds run; `None` when it cannot be told.
///
/// Injected, because the keeper knows nothing of BuildKit's protocol.
#[derive(Clone)]
pub struct ActiveBuilds(Arc<Ask>);

type Ask = dyn Fn(PathBuf) -> BoxFuture<'static, Option<usize>> + Send + Sync;

impl ActiveBuilds {
    /// Wraps a way to ask.
    pub fn new<F, A>(ask: F) -> Self
    where
        F: Fn(PathBuf) -> A + Send + Sync + 'static,
        A: Future<Output = Option<usize>> + Send + 'static,
    {
        Self(Arc::new(move |socket| Box::pin(ask(socket))))
    }

    /// Nobody to ask: leases alone tell whether the daemon is in use.
    pub fn leases_only() -> Self {
        Self::new(|_| std::future::ready(Some(0)))
    }

    /// Number of builds that run on the daemon behind `socket`.
    pub async fn count(&self, socket: PathBuf) -> Option<usize> {
        (self.0)(socket).await
    }
}

impl std::fmt::Debug for ActiveBuilds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ActiveBuilds")
    }
}
