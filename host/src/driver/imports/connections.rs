//! Two-way byte streams to a daemon.

use crate::connect::pipe::Pipe;

/// An open connection while a guest owns it.
pub struct Connection {
    pipe: Pipe,
}

impl Connection {
    /// The native stream with everything the guest set or put back.
    pub fn into_pipe(self) -> Pipe {
        self.pipe
    }
}

/// How to speak TLS.
#[derive(Default)]
pub struct TlsConfig {}
