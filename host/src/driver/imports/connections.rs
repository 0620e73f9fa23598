//! Two-way byte streams to a daemon.

pub(crate) mod failures;
pub(crate) mod helpers;
pub(crate) mod sockets;
pub(crate) mod tls;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use self::failures::stream_failure;
pub use self::tls::TlsConfig;
use super::read_ahead::{AHEAD, ReadAhead, Resumed};
use super::types::{Answer, Failure};
use crate::connect::helper_program::LastWords;
use crate::connect::pipe::Pipe;
use crate::driver::bindings::connections::{Host, HostConnection};
use crate::driver::bindings::types::ErrorKind;
use crate::driver::grants::endpoint::Helper;
use crate::driver::limits::READ;
use crate::driver::state::View;

/// An open connection while a guest owns it.
pub struct Connection {
    pipe: Pipe,
    /// What it leads to, for messages.
    peer: String,
    /// Host to verify a certificate by, unless the guest names another.
    host: Option<String>,
    authority: Option<String>,
    /// Bytes to be read before anything else: put back, or read ahead.
    ahead: ReadAhead,
    last_words: Option<LastWords>,
    /// The guest may only hand it back: what it leads to can do more than the guest may.
    sealed: bool,
}

impl Connection {
    /// A connection over `pipe` to `peer`.
    pub fn new(pipe: Pipe, peer: impl Into<String>) -> Self {
        Self {
            pipe,
            peer: peer.into(),
            host: None,
            authority: None,
            ahead: ReadAhead::default(),
            last_words: None,
            sealed: false,
        }
    }

    /// The same connection, on which the guest can neither read nor write.
    pub fn sealed(mut self) -> Self {
        self.sealed = true;
        self
    }

    /// Whether the guest may use the bytes; `call` is the function that asks.
    fn usable(&self, call: &str) -> Answer<()> {
        if !self.sealed {
            return Ok(());
        }
        let peer = &self.peer;
        let message = format!(
            "`{call}` is not granted on `{peer}`: the connection reaches more than the driver may, and can only be returned"
        );
        Err(Failure::new(ErrorKind::Denied, message))
    }

    /// The same connection to a host whose name a certificate may be verified by.
    pub fn with_host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// The same connection through a helper program.
    pub fn with_last_words(mut self, last_words: LastWords) -> Self {
        self.last_words = Some(last_words);
        self
    }

    /// Keeps `guard` alive as long as the connection is open, wherever it goes.
    pub fn hold(&mut self, guard: Box<dyn Send>) {
        self.pipe.hold(guard);
    }

    /// The native stream with everything the guest set or put back.
    pub fn into_pipe(self) -> Pipe {
        let pipe = match self.ahead.ended {
            None if self.ahead.bytes.is_empty() => self.pipe,
            None => Pipe::new(self.pipe).with_ahead(self.ahead.bytes.freeze()),
            // What ended it is told once, and not by the stream again.
            Some(_) => Pipe::new(Resumed {
                ahead: self.ahead,
                source: self.pipe,
            }),
        };
        pipe.with_authority(self.authority)
            .with_last_words(self.last_words)
    }

    async fn fill(&mut self, limit: usize) {
        self.ahead.fill(&mut self.pipe, limit).await;
    }

    async fn read(&mut self, max: usize) -> std::io::Result<Vec<u8>> {
        self.ahead.read(&mut self.pipe, max).await
    }

    async fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.pipe.write_all(data).await?;
        self.pipe.flush().await
    }

    fn unread(&mut self, data: &[u8]) -> Answer<()> {
        if self.ahead.bytes.len() + data.len() > READ {
            let message = format!("More than {READ} bytes were put back to `{}`", self.peer);
            return Err(Failure::new(ErrorKind::Exhausted, message));
        }
        let mut ahead = BytesMut::with_capacity(data.len() + self.ahead.bytes.len());
        ahead.extend_from_slice(data);
        ahead.extend_from_slice(&self.ahead.bytes);
        self.ahead.bytes = ahead;
        Ok(())
    }

    fn set_authority(&mut self, authority: String) -> Answer<()> {
        if let Err(error) = authority.parse::<http::uri::Authority>() {
            let message = format!("`{authority}` cannot be an authority: {error}");
            return Err(Failure::new(ErrorKind::InvalidConfig, message));
        }
        self.authority = Some(authority);
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Connection {
    async fn ready(&mut self) {
        self.fill(AHEAD).await;
    }
}

impl HostConnection for View<'_> {
    async fn read(&mut self, handle: Resource<Connection>, max: u32, timeout: u64) -> Answer<Vec<u8>> {
        let connection = self.table.get_mut(&handle)?;
        connection.usable("read")?;
        let max = (max as usize).clamp(1, READ);
        let doing = format!("Reading from `{}`", connection.peer);
        let read = self.call.wait(timeout, &doing, connection.read(max)).await?;
        read.map_err(|error| stream_failure("Failed to read from", &connection.peer, &error))
    }

    async fn write(&mut self, handle: Resource<Connection>, data: Vec<u8>, timeout: u64) -> Answer<()> {
        let connection = self.table.get_mut(&handle)?;
        connection.usable("write")?;
        let doing = format!("Writing to `{}`", connection.peer);
        let written = self.call.wait(timeout, &doing, connection.write(&data)).await?;
        written.map_err(|error| stream_failure("Failed to write to", &connection.peer, &error))
    }

    async fn unread(&mut self, handle: Resource<Connection>, data: Vec<u8>) -> Answer<()> {
        self.call.kept.add(data.len())?;
        let connection = self.table.get_mut(&handle)?;
        connection.usable("unread")?;
        connection.unread(&data)
    }

    async fn close_write(&mut self, handle: Resource<Connection>, timeout: u64) -> Answer<()> {
        let connection = self.table.get_mut(&handle)?;
        connection.usable("close-write")?;
        let doing = format!("Closing the way to `{}`", connection.peer);
        let closed = self
            .call
            .wait(timeout, &doing, connection.pipe.shutdown())
            .await?;
        closed.map_err(|error| stream_failure("Failed to close the way to", &connection.peer, &error))
    }

    async fn readable(&mut self, handle: Resource<Connection>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, handle)
    }

    async fn set_authority(&mut self, handle: Resource<Connection>, authority: String) -> Answer<()> {
        self.call.kept.add(authority.len())?;
        self.table.get_mut(&handle)?.set_authority(authority)
    }

    async fn drop(&mut self, handle: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl Host for View<'_> {
    async fn open_unix(&mut self, path: String, timeout: u64) -> Answer<Resource<Connection>> {
        self.call.grants.unix(&path)?;
        let doing = format!("Connecting to `unix://{path}`");
        let connection = self.call.wait(timeout, &doing, sockets::unix(&path)).await??;
        Ok(self.table.push(connection)?)
    }

    async fn open_tcp(&mut self, host: String, port: u16, timeout: u64) -> Answer<Resource<Connection>> {
        self.call.grants.tcp(&host, port)?;
        let doing = format!("Connecting to `{}`", sockets::host_and_port(&host, port));
        let connection = self
            .call
            .wait(timeout, &doing, sockets::tcp(&host, port))
            .await??;
        Ok(self.table.push(connection)?)
    }

    async fn start_tls(
        &mut self,
        connection: Resource<Connection>,
        config: Resource<TlsConfig>,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let connection = self.table.delete(connection)?;
        connection.usable("start-tls")?;
        let config = self.table.get(&config)?;
        let doing = format!("The TLS handshake with `{}`", connection.peer);
        let started = tls::start(connection, config, &self.call.grants);
        let connection = self.call.wait(timeout, &doing, started).await??;
        Ok(self.table.push(connection)?)
    }

    async fn open_ssh(
        &mut self,
        host: String,
        user: Option<String>,
        port: Option<u16>,
        socket: Option<String>,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let helper = Helper::Ssh {
            host,
            user,
            port,
            socket,
        };
        self.open_helper(helper, timeout).await
    }

    async fn open_docker_exec(
        &mut self,
        container: String,
        context: Option<String>,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let helper = Helper::DockerExec { container, context };
        self.open_helper(helper, timeout).await
    }

    async fn open_podman_exec(&mut self, container: String, timeout: u64) -> Answer<Resource<Connection>> {
        self.open_helper(Helper::PodmanExec { container }, timeout).await
    }

    async fn open_nerdctl_exec(
        &mut self,
        container: String,
        namespace: Option<String>,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let helper = Helper::NerdctlExec { container, namespace };
        self.open_helper(helper, timeout).await
    }

    async fn open_kubectl_exec(
        &mut self,
        pod: String,
        container: Option<String>,
        namespace: Option<String>,
        context: Option<String>,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let helper = Helper::KubectlExec {
            pod,
            container,
            namespace,
            context,
        };
        self.open_helper(helper, timeout).await
    }
}

impl View<'_> {
    async fn open_helper(&mut self, helper: Helper, timeout: u64) -> Answer<Resource<Connection>> {
        self.call.grants.helper(&helper)?;
        let doing = format!("Starting the helper `{}`", helper.kind());
        let started = helpers::start(&helper, &self.call.environment);
        let connection = self.call.wait(timeout, &doing, started).await??;
        Ok(self.table.push(connection)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_is_put_back_is_read_next_also_by_the_host() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut connection = Connection::new(Pipe::new(near), "p");
        far.write_all(b"head|body").await.unwrap();
        connection.ready().await;
        assert_eq!(connection.read(100).await.unwrap(), b"head|body");
        connection.unread(b"body").unwrap();
        connection.unread(b"|").unwrap();
        connection.set_authority("daemon:1234".to_owned()).unwrap();
        drop(far);
        let mut pipe = connection.into_pipe();
        assert_eq!(pipe.authority(), Some("daemon:1234"));
        let mut rest = String::new();
        pipe.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "|body");
    }

    #[tokio::test]
    async fn a_failure_met_by_looking_is_told_to_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo no such host >&2; exit 255";
        let program = crate::connect::helper_program::tests::helper(dir.path(), script);
        let mut connection = Connection::new(Pipe::new(program), "p");
        connection.ready().await;
        let error = connection.into_pipe().read(&mut [0; 1]).await.unwrap_err();
        assert!(error.to_string().ends_with("no such host"), "{error}");
    }

    #[tokio::test]
    async fn a_sealed_connection_is_the_hosts_alone() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"settings").await.unwrap();
        drop(far);
        let mut connection = Connection::new(Pipe::new(near), "unix:///s").sealed();
        let error = failures::told(connection.usable("write"));
        assert_eq!(error.kind, ErrorKind::Denied);
        assert_eq!(
            error.message,
            "`write` is not granted on `unix:///s`: the connection reaches more than the driver may, and can only be \
             returned"
        );
        connection.ready().await;
        let mut all = String::new();
        connection.into_pipe().read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "settings");
    }

    #[tokio::test]
    async fn an_endless_handshake_is_bounded() {
        let (near, _far) = tokio::io::duplex(64);
        let mut connection = Connection::new(Pipe::new(near), "p");
        connection.unread(&vec![0; READ]).unwrap();
        assert!(connection.unread(b"x").is_err());
        assert!(connection.set_authority("a b".to_owned()).is_err());
    }

    #[tokio::test]
    async fn the_end_is_an_empty_read_again_and_again() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let mut connection = Connection::new(Pipe::new(near), "p");
        for _ in 0..2 {
            assert_eq!(connection.read(10).await.unwrap(), b"");
        }
    }
}
