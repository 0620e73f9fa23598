//! The socket by which docker tells a plugin to end: it says nothing and is closed.

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::cli::env_vars::{self, Environment};

/// The connection to the docker that called this program; without one, nothing is ever told.
#[derive(Debug, Default)]
pub struct Caller(Option<UnixStream>);

impl Caller {
    /// Connects to the socket that docker named. Docker ends nothing that has not connected, and old ones name none.
    pub async fn connect(environment: &Environment) -> Self {
        if !environment.called.is_plugin {
            return Self::default();
        }
        let Some(address) = environment.get(env_vars::DOCKER_CLI_PLUGIN_SOCKET) else {
            return Self::default();
        };
        // `@` stands for the zero byte of a name that is in no file system.
        let path = match address.strip_prefix('@') {
            Some(name) => format!("\0{name}"),
            None => address.to_owned(),
        };
        Self(UnixStream::connect(path).await.ok())
    }

    /// Waits until docker wants an end, or is gone itself. Comes once.
    pub async fn ended(&mut self) {
        let Some(stream) = &mut self.0 else {
            return std::future::pending().await;
        };
        let mut ignored = [0_u8; 64];
        while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;
    use tokio::net::UnixListener;

    async fn caller(address: &str, is_plugin: bool) -> Caller {
        let mut environment = Environment::of([("DOCKER_CLI_PLUGIN_SOCKET", address)], Path::new("/"));
        environment.called.is_plugin = is_plugin;
        Caller::connect(&environment).await
    }

    async fn is_told(caller: &mut Caller) -> bool {
        let limit = Duration::from_millis(100);
        tokio::time::timeout(limit, caller.ended()).await.is_ok()
    }

    #[tokio::test]
    async fn the_end_of_the_socket_is_told_once_in_both_forms_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s").display().to_string();
        let hidden = format!("@bkhost-test-{}", path.replace('/', "-"));
        for address in [path, hidden] {
            let listener = UnixListener::bind(address.replacen('@', "\0", 1)).unwrap();
            let mut caller = caller(&address, true).await;
            let (docker, _) = listener.accept().await.unwrap();
            assert!(!is_told(&mut caller).await);
            drop(docker);
            assert!(is_told(&mut caller).await);
            assert!(!is_told(&mut caller).await, "twice");
        }
    }

    #[tokio::test]
    async fn without_a_docker_nothing_is_told() {
        assert!(!is_told(&mut caller("/nowhere/s", true).await).await);
        assert!(!is_told(&mut caller("/nowhere/s", false).await).await);
    }
}
