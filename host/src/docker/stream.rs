//! Opening a stream to an engine.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;

use super::endpoint::{Address, Endpoint, Ssh};
use super::error::EngineError;
use super::proxy::Proxies;
use super::sockets::Places;
use crate::connect::helper_program::{HelperCommand, HelperError};
use crate::connect::pipe::Pipe;
use crate::connect::tcp::{self, TcpError};
use crate::connect::tls;
use crate::keeper::exec::own_program;
use crate::keeper::programs;

/// Longest wait for a connection, as the docker client has it.
const DIAL_LIMIT: Duration = Duration::from_secs(10);

/// What opening a stream needs of the machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Opener {
    /// Where `ssh` is looked for.
    pub path: OsString,
    /// This program's own file.
    pub executable: PathBuf,
    /// Proxies on the way to other hosts.
    pub proxies: Proxies,
    /// Where other engines may listen.
    pub places: Places,
}

impl Opener {
    /// A new stream to the engine.
    pub async fn open(&self, endpoint: &Endpoint) -> Result<Pipe, EngineError> {
        let opened = async {
            match &endpoint.address {
                Address::Unix(path) => self.unix(path, &endpoint.url).await,
                Address::Tcp { host, port, tls } => {
                    let pipe = self.tcp(host, *port, tls.is_some(), &endpoint.url).await?;
                    match tls {
                        None => Ok(pipe),
                        Some(files) => Ok(tls::start_unasked(pipe, files, host, &endpoint.url).await?),
                    }
                }
                Address::Ssh(ssh) => self.ssh(ssh),
            }
        };
        match tokio::time::timeout(DIAL_LIMIT, opened).await {
            Ok(outcome) => outcome,
            Err(_) => Err(EngineError::NotRunning {
                url: endpoint.url.clone(),
                others: Vec::new(),
            }),
        }
    }

    async fn unix(&self, path: &str, url: &str) -> Result<Pipe, EngineError> {
        let error = match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Pipe::new(stream)),
            Err(error) => error,
        };
        let others = self.places.listening(Path::new(path)).await;
        let url = url.to_owned();
        Err(match error.kind() {
            io::ErrorKind::NotFound => EngineError::NoSocket {
                url,
                path: path.to_owned(),
                others,
            },
            io::ErrorKind::PermissionDenied => EngineError::Denied { url, others },
            io::ErrorKind::ConnectionRefused => EngineError::NotRunning { url, others },
            _ => EngineError::Connect { url, cause: error },
        })
    }

    /// Straight to the host, or through the proxy that the user's variables name for it.
    async fn tcp(&self, host: &str, port: u16, tls: bool, url: &str) -> Result<Pipe, EngineError> {
        let through = |source| EngineError::Proxy {
            url: url.to_owned(),
            source: Box::new(source),
        };
        match self.proxies.to(host, port, tls).map_err(through)? {
            Some(proxy) => proxy.connect(host, port).await.map_err(through),
            None => straight(host, port, url).await,
        }
    }

    fn ssh(&self, ssh: &Ssh) -> Result<Pipe, EngineError> {
        let (user, socket) = (ssh.user.as_deref(), ssh.socket.as_deref());
        let command = HelperCommand::docker_ssh(&ssh.host, user, ssh.port, socket)?;
        let program = command.program();
        let path = programs::on_path(program, Some(&self.path)).ok_or(HelperError::Missing { program })?;
        let running = command.start(&path, own_program(&self.executable))?;
        let last_words = running.last_words();
        Ok(Pipe::new(running).with_last_words(Some(last_words)))
    }
}

async fn straight(host: &str, port: u16, url: &str) -> Result<Pipe, EngineError> {
    let stream = tcp::connect(host, port).await.map_err(|error| match error {
        TcpError::Unknown(cause) => EngineError::Lookup {
            url: url.to_owned(),
            name: host.to_owned(),
            cause,
        },
        TcpError::Unreached(failures) => {
            let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            match failures
                .into_iter()
                .reduce(|a, b| if refused(&a) { a } else { b })
            {
                Some(error) => unconnected(error, url.to_owned()),
                None => not_running(url.to_owned()),
            }
        }
    })?;
    Ok(Pipe::new(stream))
}

fn unconnected(error: io::Error, url: String) -> EngineError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => not_running(url),
        _ => EngineError::Connect { url, cause: error },
    }
}

fn not_running(url: String) -> EngineError {
    EngineError::NotRunning {
        url,
        others: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::docker::DockerEnvironment;
    use crate::store::docker::config::DockerConfig;
    use crate::store::docker::contexts::Contexts;
    use tokio::net::{TcpListener, UnixListener};

    async fn failure(url: &str) -> EngineError {
        let contexts = Contexts::new(DockerEnvironment::default(), &DockerConfig::default());
        let endpoint = Endpoint::resolve(url, &contexts).unwrap();
        match Opener::default().open(&endpoint).await {
            Err(error) => error,
            Ok(_) => panic!("connected to {url}"),
        }
    }

    #[tokio::test]
    async fn failures_to_connect_are_told_in_the_docker_clients_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.sock");
        let url = format!("unix://{}", path.display());
        assert_eq!(
            failure(&url).await.to_string(),
            format!(
                "failed to connect to the docker API at {url}; check if the path is correct and if the daemon is \
                 running: dial unix {}: connect: no such file or directory",
                path.display()
            )
        );
        drop(UnixListener::bind(&path).unwrap());
        let running = format!("Cannot connect to the Docker daemon at {url}. Is the docker daemon running?");
        assert_eq!(failure(&url).await.to_string(), running);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        drop(listener);
        let running = format!("Cannot connect to the Docker daemon at {url}. Is the docker daemon running?");
        assert_eq!(failure(&url).await.to_string(), running);
        let denied = EngineError::Denied {
            url: "unix:///s".to_owned(),
            others: Vec::new(),
        };
        assert_eq!(
            denied.to_string(),
            "permission denied while trying to connect to the docker API at unix:///s"
        );
        assert!(denied.hint().unwrap().contains("usermod"));
    }

    #[tokio::test]
    async fn ssh_that_is_not_there_says_what_to_install() {
        let error = failure("ssh://host").await;
        assert_eq!(error.to_string(), "The program `ssh` is not on PATH");
        assert!(error.hint().unwrap().starts_with("Install `ssh`"));
    }
}
