//! An archive that a daemon exports, on its way to whoever takes it in.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::buildkit::session::SessionFailure;

/// An archive in pieces, as the daemon sends them. After an error the rest does not come, and what came is worth nothing.
pub type Archive = BoxStream<'static, io::Result<Bytes>>;

/// Takes archives in.
#[async_trait]
pub trait ReceiveArchive: Send + Sync {
    /// Takes one archive in and returns when it is kept for good. It is read as fast as it can be kept, and to its end
    /// unless it cannot be kept. Dropping the future gives it up; what was taken until then must not look whole.
    async fn receive(&self, archive: Archive) -> Result<(), SessionFailure>;
}

/// A shared [`ReceiveArchive`]; equal only to its clones.
#[derive(Clone)]
pub struct Receiver(Arc<dyn ReceiveArchive>);

impl Receiver {
    /// Whoever takes an archive in.
    pub fn new(receiver: impl ReceiveArchive + 'static) -> Self {
        Self(Arc::new(receiver))
    }

    /// As [`ReceiveArchive::receive`].
    pub async fn receive(&self, archive: Archive) -> Result<(), SessionFailure> {
        self.0.receive(archive).await
    }
}

impl PartialEq for Receiver {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Receiver {}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
