//! Addresses of docker engines as users type them.

/// The engine's socket when nothing is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// The engine's address when nothing is said but TLS is on.
pub const DEFAULT_TLS_HOST: &str = "tcp://localhost:2376";
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const DEFAULT_NAME: &str = "localhost";
const DEFAULT_PORT: &str = "2375";
const DEFAULT_PIPE: &str = "//./pipe/docker_engine";

/// An address that is none; the texts are the docker client's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The scheme is unknown.
    #[error("invalid bind address format: {0}")]
    Scheme(String),
    /// A scheme within a scheme.
    #[error("invalid proto, expected tcp: {0}")]
    Nested(String),
}

/// Completes a typed address: a word without scheme counts as `tcp`, missing parts get their defaults.
pub fn parse(text: &str) -> Result<String, HostError> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
    match scheme {
        "tcp" => tcp(rest),
        "unix" => Ok(format!(
            "unix://{}",
            if rest.is_empty() { DEFAULT_SOCKET } else { rest }
        )),
        "npipe" => Ok(format!(
            "npipe://{}",
            if rest.is_empty() { DEFAULT_PIPE } else { rest }
        )),
        "fd" | "ssh" => Ok(text.to_owned()),
        _ => Err(HostError::Scheme(text.to_owned())),
    }
}

/// Completes an address as [`parse`] does, and takes those of HTTP as they are, as the docker client does for an endpoint
/// that is no context.
pub fn parse_any(text: &str) -> Result<String, HostError> {
    match text.split_once("://") {
        Some(("http" | "https", _)) => Ok(text.to_owned()),
        _ => parse(text),
    }
}

fn tcp(rest: &str) -> Result<String, HostError> {
    if rest.contains("://") {
        return Err(HostError::Nested(rest.to_owned()));
    }
    let (address, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (name, port) = split_port(address);
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    let port = if port.is_empty() { DEFAULT_PORT } else { port };
    Ok(format!("tcp://{name}:{port}{path}"))
}

/// Splits at the colon before the port, which an address in brackets may contain too.
fn split_port(address: &str) -> (&str, &str) {
    match address.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (address, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_get_their_defaults() {
        let parsed = |text: &str| parse(text).unwrap();
        assert_eq!(parsed(" tcp:// "), "tcp://localhost:2375");
        assert_eq!(parsed("tcp://h"), "tcp://h:2375");
        assert_eq!(parsed("tcp://:5"), "tcp://localhost:5");
        assert_eq!(parsed("tcp://[::1]:5/p"), "tcp://[::1]:5/p");
        assert_eq!(parsed("tcp://[::1]"), "tcp://[::1]:2375");
        assert_eq!(parsed("word"), "tcp://word:2375");
        assert_eq!(parsed("unix://"), DEFAULT_HOST);
        assert_eq!(parsed("npipe://"), "npipe:////./pipe/docker_engine");
        assert_eq!(parsed("ssh://u@h"), "ssh://u@h");
    }

    #[test]
    fn other_schemes_are_refused() {
        assert_eq!(
            parse("foo://x").unwrap_err().to_string(),
            "invalid bind address format: foo://x"
        );
        assert_eq!(
            parse("tcp://unix://x").unwrap_err().to_string(),
            "invalid proto, expected tcp: unix://x"
        );
    }
}
