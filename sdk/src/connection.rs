//! Two-way byte streams to a daemon, and the ways to open one.

use std::io;
use std::time::Duration;

use crate::time::nanoseconds;
use crate::{Pollable, Result, host};
use host::connections as raw;

/// How long a read or a write may take unless [`Connection::set_timeout`] said otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most that one read asks for: the host's own bound.
const LONGEST_READ: usize = 1 << 20;

/// An open connection. Dropping it closes it.
///
/// A driver may speak a short handshake on it with [`io::Read`] and [`io::Write`]; what it read too far it gives back with
/// [`Connection::unread`]. Once returned from `dial`, the host moves the bytes itself.
#[derive(Debug)]
pub struct Connection {
    raw: raw::Connection,
    timeout: Duration,
}

impl Connection {
    pub(crate) fn new(raw: raw::Connection) -> Self {
        Self {
            raw,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    pub(crate) fn raw(&self) -> &raw::Connection {
        &self.raw
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_raw(self) -> raw::Connection {
        self.raw
    }

    /// Connects to a unix socket. Nobody there is `refused` or `not-found`.
    pub fn open_unix(path: &str, timeout: Duration) -> Result<Self> {
        Ok(Self::new(raw::open_unix(path, nanoseconds(timeout))?))
    }

    /// Connects to a host name or address (without brackets); every address of a name is tried.
    pub fn open_tcp(host: &str, port: u16, timeout: Duration) -> Result<Self> {
        Ok(Self::new(raw::open_tcp(host, port, nanoseconds(timeout))?))
    }

    /// Runs `ssh` and speaks to `buildctl dial-stdio` there.
    pub fn open_ssh(target: &Ssh, timeout: Duration) -> Result<Self> {
        let (user, socket) = (target.user.as_deref(), target.socket.as_deref());
        let connection = raw::open_ssh(&target.host, user, target.port, socket, nanoseconds(timeout))?;
        Ok(Self::new(connection))
    }

    /// Runs `docker exec` into a container; `context` is a docker context.
    pub fn open_docker_exec(container: &str, context: Option<&str>, timeout: Duration) -> Result<Self> {
        let connection = raw::open_docker_exec(container, context, nanoseconds(timeout))?;
        Ok(Self::new(connection))
    }

    /// Runs `podman exec` into a container.
    pub fn open_podman_exec(container: &str, timeout: Duration) -> Result<Self> {
        Ok(Self::new(raw::open_podman_exec(container, nanoseconds(timeout))?))
    }

    /// Runs `nerdctl exec` into a container; `namespace` is containerd's.
    pub fn open_nerdctl_exec(container: &str, namespace: Option<&str>, timeout: Duration) -> Result<Self> {
        let connection = raw::open_nerdctl_exec(container, namespace, nanoseconds(timeout))?;
        Ok(Self::new(connection))
    }

    /// Runs `kubectl exec` into a pod.
    pub fn open_kubectl_exec(
        pod: &str,
        container: Option<&str>,
        namespace: Option<&str>,
        context: Option<&str>,
        timeout: Duration,
    ) -> Result<Self> {
        let connection = raw::open_kubectl_exec(pod, container, namespace, context, nanoseconds(timeout))?;
        Ok(Self::new(connection))
    }

    /// Speaks TLS over this connection. A refused certificate or name is `certificate`, a peer that does not speak TLS is
    /// `protocol`, an unreadable file is `invalid-config`.
    pub fn start_tls(self, tls: &Tls, timeout: Duration) -> Result<Self> {
        let config = raw::TlsConfig::new();
        config.authority_option(&tls.authority_option);
        if let Some((certificate, key)) = &tls.identity_options {
            config.identity_options(certificate, key);
        }
        if let Some(name) = &tls.server_name {
            config.server_name(name);
        }
        let raw = raw::start_tls(self.raw, &config, nanoseconds(timeout))?;
        Ok(Self {
            raw,
            timeout: self.timeout,
        })
    }

    /// Sets how long one read or write may take; 10 s without it.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Reads at least one byte and at most `longest`; an empty answer is the end of the stream.
    pub fn receive(&mut self, longest: usize) -> Result<Vec<u8>> {
        let longest = longest.min(LONGEST_READ) as u32;
        Ok(self.raw.read(longest, nanoseconds(self.timeout))?)
    }

    /// Writes everything.
    pub fn send(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.raw.write(data, nanoseconds(self.timeout))?)
    }

    /// Puts bytes back to be read next, in front of what was put back before. At most 1 MiB in all.
    pub fn unread(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.raw.unread(data)?)
    }

    /// Ends the sending side; the other side sees the end of the stream.
    pub fn close_write(&mut self) -> Result<()> {
        Ok(self.raw.close_write(nanoseconds(self.timeout))?)
    }

    /// Becomes ready when a read would not wait.
    pub fn readable(&self) -> Pollable {
        Pollable::new(self.raw.readable())
    }

    /// Sets the HTTP/2 `:authority` that the endpoint expects; without one it is `localhost`.
    pub fn set_authority(&mut self, authority: &str) -> Result<()> {
        Ok(self.raw.set_authority(authority)?)
    }
}

impl io::Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let data = self.receive(buffer.len())?;
        // The host never gives more than asked for; the shorter one of both counts.
        let count = data.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(data) {
            *to = from;
        }
        Ok(count)
    }
}

impl io::Write for Connection {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.send(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How to speak TLS: names of driver options, whose files the host reads. Only the given authority is trusted; there is
/// no insecure mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    authority_option: String,
    identity_options: Option<(String, String)>,
    server_name: Option<String>,
}

impl Tls {
    /// Trusts the CA certificates in the file that this option names.
    pub fn trusting(authority_option: impl Into<String>) -> Self {
        Self {
            authority_option: authority_option.into(),
            identity_options: None,
            server_name: None,
        }
    }

    /// Presents the client certificate and key in the files that these options name.
    #[must_use]
    pub fn with_identity(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.identity_options = Some((certificate.into(), key.into()));
        self
    }

    /// Verifies the server by this name and sends it as SNI.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// A machine that is reached with `ssh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssh {
    /// Host name, address, or a name from the user's ssh configuration.
    pub host: String,
    /// User to log in as.
    pub user: Option<String>,
    /// Port, unless ssh knows it.
    pub port: Option<u16>,
    /// Path of the daemon's socket there, unless it is buildctl's default.
    pub socket: Option<String>,
}

/// A one-way stream from the host, such as a daemon's log. Dropping it closes it.
#[derive(Debug)]
pub struct ByteStream {
    raw: host::streams::ByteStream,
    timeout: Duration,
}

impl ByteStream {
    pub(crate) fn new(raw: host::streams::ByteStream) -> Self {
        Self {
            raw,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_raw(self) -> host::streams::ByteStream {
        self.raw
    }

    /// Sets how long one read may take; 10 s without it.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Reads at least one byte and at most `longest`; an empty answer is the end.
    pub fn receive(&mut self, longest: usize) -> Result<Vec<u8>> {
        let longest = longest.min(LONGEST_READ) as u32;
        Ok(self.raw.read(longest, nanoseconds(self.timeout))?)
    }

    /// Becomes ready when a read would not wait.
    pub fn readable(&self) -> Pollable {
        Pollable::new(self.raw.readable())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::ErrorKind;
    use crate::testing::{Host, Listener, Script};

    #[test]
    fn a_handshake_gives_back_what_it_read_too_far() {
        let host = Host::new();
        let script = Script::new().expect("HELLO\n").say("OK\nPRI");
        host.unix("/x", Listener::new().accept(script));
        let mut connection = Connection::open_unix("/x", Duration::from_secs(1)).unwrap();
        connection.write_all(b"HELLO\n").unwrap();
        let answer = connection.receive(64).unwrap();
        assert_eq!(answer, b"OK\nPRI");
        connection.unread(&answer[3..]).unwrap();
        connection.unread(b"+").unwrap();
        let mut rest = [0; 4];
        connection.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"+PRI");
        let error = connection.unread(&vec![0; LONGEST_READ + 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn a_silent_peer_costs_the_timeout() {
        let host = Host::new();
        host.tcp("h", 1, Listener::new().accept(Script::new()));
        let mut connection = Connection::open_tcp("h", 1, Duration::from_secs(1)).unwrap();
        connection.set_timeout(Duration::from_secs(3));
        let error = connection.receive(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(host.elapsed(), Duration::from_secs(3));
    }
}
