//! Connecting to a TCP port of a host that may have several addresses.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;

/// Head start of one address before the next is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Why there is no TCP connection.
#[derive(Debug)]
pub enum TcpError {
    /// The host name cannot be resolved.
    Unknown(io::Error),
    /// How each of its addresses failed; none when it has none.
    Unreached(Vec<io::Error>),
}

/// Connects to a host name or address: every address is tried, the next one beside a slow one.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, TcpError> {
    let addresses = tokio::net::lookup_host((bare(host), port)).await;
    let addresses = interleaved(addresses.map_err(TcpError::Unknown)?.collect());
    let stream = first(addresses).await.map_err(TcpError::Unreached)?;
    // gRPC writes small frames that must not wait for each other.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_and_port(host: &str, port: u16) -> String {
    match bare(host) {
        bare if bare.contains(':') => format!("[{bare}]:{port}"),
        bare => format!("{bare}:{port}"),
    }
}

/// A host without the brackets of an IPv6 address.
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

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
