//! Connecting to unix sockets and TCP ports.

use std::io;

use tokio::net::UnixStream;

use super::super::types::{Answer, Failure};
use super::Connection;
use super::failures::io_failure;
use crate::causes::io_words;
use crate::connect::pipe::Pipe;
pub(crate) use crate::connect::tcp::host_and_port;
use crate::connect::tcp::{self, TcpError};
use crate::driver::bindings::types::ErrorKind;

/// Connects to the socket at `path`.
pub(crate) async fn unix(path: &str) -> Answer<Connection> {
    let peer = format!("unix://{path}");
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Connection::new(Pipe::new(stream), peer)),
        Err(error) => Err(unix_failure(path, &error)),
    }
}

fn unix_failure(path: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(ErrorKind::NotFound, format!("There is no socket `{path}`"))
            .with_hint("Start the daemon, or correct the path"),
        io::ErrorKind::PermissionDenied => Failure::new(
            ErrorKind::Denied,
            format!("This user may not use the socket `{path}`"),
        )
        .with_hint(
            "Run as a user who may write to the socket, or start the daemon with `--group` of this user",
        ),
        io::ErrorKind::ConnectionRefused => Failure::new(
            ErrorKind::Refused,
            format!("Nobody listens on the socket `{path}`"),
        ),
        io::ErrorKind::InvalidInput => Failure::new(
            ErrorKind::InvalidConfig,
            format!("The socket path `{path}` is too long"),
        ),
        _ => io_failure("Failed to connect to", path, error),
    }
}

/// Connects to a host name or address.
pub(crate) async fn tcp(host: &str, port: u16) -> Answer<Connection> {
    let peer = host_and_port(host, port);
    match tcp::connect(host, port).await {
        Ok(stream) => Ok(Connection::new(Pipe::new(stream), peer).with_host(tcp::bare(host))),
        Err(TcpError::Unknown(error)) => Err(unknown_host(host, &error)),
        Err(TcpError::Unreached(failures)) => Err(tcp_failure(&peer, &failures)),
    }
}

fn unknown_host(host: &str, error: &io::Error) -> Failure {
    // The resolver's codes do not come through; its words do.
    let passing = error.to_string().contains("Temporary failure");
    let kind = if passing {
        ErrorKind::Unavailable
    } else {
        ErrorKind::NotFound
    };
    let message = format!("The host name `{host}` cannot be resolved: {}", io_words(error));
    let hint = if passing {
        "Look at this machine's name resolution (`/etc/resolv.conf`): its server does not answer"
    } else {
        "Check how the name is spelled, and whether this machine can resolve it: `getent hosts` tells"
    };
    Failure::new(kind, message).with_hint(hint)
}

fn tcp_failure(peer: &str, failures: &[io::Error]) -> Failure {
    let refused = |error: &&io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if failures.iter().any(|error| refused(&error)) {
        return Failure::new(ErrorKind::Refused, format!("Nobody listens on `{peer}`"));
    }
    match failures.last() {
        Some(error) => io_failure("Failed to connect to", peer, error),
        None => Failure::new(ErrorKind::NotFound, format!("`{peer}` has no address")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::failures::told;
    use super::*;
    use tokio::net::{TcpListener, UnixListener};

    #[tokio::test]
    async fn sockets_that_cannot_be_reached_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let path = path.to_str().unwrap();
        assert_eq!(told(unix(path).await).kind, ErrorKind::NotFound);
        drop(UnixListener::bind(path).unwrap());
        let error = told(unix(path).await);
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.message, format!("Nobody listens on the socket `{path}`"));
        let long = format!("/{}", "x".repeat(120));
        assert_eq!(told(unix(&long).await).kind, ErrorKind::InvalidConfig);
        let denied = unix_failure("/s", &io::ErrorKind::PermissionDenied.into());
        let denied = told::<()>(Err(denied));
        assert_eq!(denied.kind, ErrorKind::Denied);
        assert!(denied.hint.unwrap().contains("may write"));
    }

    #[tokio::test]
    async fn ports_are_reached_or_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tcp("localhost", port)
            .await
            .map(drop)
            .unwrap_or_else(|_| panic!("not reached"));
        // A port that was free a moment ago may be another test's by now; this one is nobody's.
        let error = told(tcp("127.0.0.1", 1).await);
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.message, "Nobody listens on `127.0.0.1:1`");
    }

    #[test]
    fn a_host_name_that_is_not_known_has_a_way_out() {
        for (text, kind, hint) in [
            (
                "failed to lookup address information: Name or service not known",
                ErrorKind::NotFound,
                "Check how the name is spelled",
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                ErrorKind::Unavailable,
                "Look at this machine's name resolution",
            ),
        ] {
            let error = told::<()>(Err(unknown_host("h", &io::Error::other(text))));
            assert_eq!(error.kind, kind);
            assert!(error.hint.unwrap().starts_with(hint));
        }
    }
}
