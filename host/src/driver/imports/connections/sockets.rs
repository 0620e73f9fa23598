//! Connecting to unix sockets and TCP ports.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::{TcpStream, UnixStream};

use super::super::types::{Answer, Failure};
use super::Connection;
use super::failures::io_failure;
use crate::causes::io_words;
use crate::connect::pipe::Pipe;
use crate::driver::bindings::types::ErrorKind;

/// Head start of one address before the next is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

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

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn host_and_port(host: &str, port: u16) -> String {
    match bare(host) {
        bare if bare.contains(':') => format!("[{bare}]:{port}"),
        bare => format!("{bare}:{port}"),
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to a host name or address: every address is tried, the next one beside a slow one.
pub(crate) async fn tcp(host: &str, port: u16) -> Answer<Connection> {
    let peer = host_and_port(host, port);
    let addresses = match tokio::net::lookup_host((bare(host), port)).await {
        Ok(addresses) => interleaved(addresses.collect()),
        Err(error) => return Err(unknown_host(host, &error)),
    };
    match first(addresses).await {
        Ok(stream) => {
            // gRPC writes small frames that must not wait for each other.
            let _ = stream.set_nodelay(true);
            Ok(Connection::new(Pipe::new(stream), peer).with_host(bare(host)))
        }
        Err(failures) => Err(tcp_failure(&peer, &failures)),
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

/// Both families in turn, beginning with the one the resolver prefers.
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let prefers_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == prefers_v6);
    let mut order = VecDeque::new();
    while !preferred.is_empty() || !other.is_empty() {
        order.extend(preferred.pop_front());
        order.extend(other.pop_front());
    }
    order
}

/// The first connection that comes about, or how each address failed.
async fn first(mut waiting: VecDeque<SocketAddr>) -> Result<TcpStream, Vec<io::Error>> {
    let mut tries = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(address) = waiting.pop_front() {
            tries.push(TcpStream::connect(address));
        }
        let head_start = async {
            match waiting.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(HEAD_START).await,
            }
        };
        tokio::select! {
            outcome = tries.next() => match outcome {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failures.push(error),
                None => return Err(failures),
            },
            () = head_start => {}
        }
    }
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
        drop(listener);
        let error = told(tcp("127.0.0.1", port).await);
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.message, format!("Nobody listens on `127.0.0.1:{port}`"));
    }

    #[tokio::test]
    async fn an_address_that_fails_is_followed_by_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(first([closed, good].into()).await.is_ok());
        assert_eq!(first([closed, closed].into()).await.unwrap_err().len(), 2);
        assert!(first(VecDeque::new()).await.unwrap_err().is_empty());
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

    #[test]
    fn both_families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let order = interleaved(vec![address("[::1]:1"), address("[::2]:1"), address("1.1.1.1:1")]);
        assert_eq!(
            order,
            [address("[::1]:1"), address("1.1.1.1:1"), address("[::2]:1")]
        );
        assert_eq!(host_and_port("[::1]", 2), "[::1]:2");
        assert_eq!(host_and_port("::1", 2), "[::1]:2");
        assert_eq!(host_and_port("h", 2), "h:2");
    }
}
