//! The Kubernetes API of the builder's kubeconfig, context and namespace. The host holds all credentials.

use std::time::Duration;

use crate::info::Pair;
use crate::time::nanoseconds;
use crate::{ByteStream, Connection, Pollable, Result, host};
use host::cluster as raw;

/// An answer whose body was read whole (at most 16 MiB).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header fields, names in lower case, in order of arrival.
    pub headers: Vec<Pair>,
    /// The body as JSON.
    pub body: Vec<u8>,
}

/// The namespace of the builder, as its option or its kubeconfig says.
pub fn namespace() -> Result<String> {
    Ok(raw::namespace()?)
}

/// One request. A status of 400 and above is an answer, not an error.
pub fn send(method: &str, path: &str, headers: &[Pair], body: &[u8], timeout: Duration) -> Result<Response> {
    let record = |(key, value): &Pair| host::types::Pair {
        key: key.clone(),
        value: value.clone(),
    };
    let headers: Vec<_> = headers.iter().map(record).collect();
    let answer = raw::send(method, path, &headers, body, nanoseconds(timeout))?;
    Ok(Response {
        status: answer.status,
        headers: answer
            .headers
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect(),
        body: answer.body,
    })
}

/// Events of a watch.
#[derive(Debug)]
pub struct Watcher(raw::Watcher);

impl Watcher {
    /// The next event as JSON (`{"type":…,"object":…}`); absent when the server ended the watch.
    pub fn next(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        Ok(self.0.next(nanoseconds(timeout))?)
    }

    /// Becomes ready when [`Watcher::next`] would not wait.
    pub fn ready(&self) -> Pollable {
        Pollable::new(self.0.ready())
    }
}

/// Watches a list path (`…/pods?labelSelector=…`) from `resource_version` on.
pub fn watch(path: &str, resource_version: Option<&str>, timeout: Duration) -> Result<Watcher> {
    Ok(Watcher(raw::watch(path, resource_version, nanoseconds(timeout))?))
}

/// One GET whose answer is a stream, such as a pod's log.
pub fn open_stream(path: &str, timeout: Duration) -> Result<ByteStream> {
    Ok(ByteStream::new(raw::open_stream(path, nanoseconds(timeout))?))
}

/// Runs a command in a container; its stdin and stdout become the connection.
pub fn exec(pod: &str, container: &str, command: &[String], timeout: Duration) -> Result<Connection> {
    Ok(Connection::new(raw::exec(
        pod,
        container,
        command,
        nanoseconds(timeout),
    )?))
}

/// Connects to a port of a pod.
pub fn port_forward(pod: &str, port: u16, timeout: Duration) -> Result<Connection> {
    Ok(Connection::new(raw::port_forward(
        pod,
        port,
        nanoseconds(timeout),
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, Listener, Script};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn events_come_one_by_one_until_the_watch_ends() {
        let host = Host::new();
        host.cluster_event("{\"type\":\"ADDED\"}");
        let watcher = watch("/api/v1/pods", Some("7"), SECOND).unwrap();
        watcher.ready().wait();
        assert_eq!(watcher.next(SECOND).unwrap().unwrap(), b"{\"type\":\"ADDED\"}");
        assert_eq!(watcher.next(SECOND), Ok(None));
        assert_eq!(host.cluster_requests()[0].0, "WATCH /api/v1/pods");
    }

    #[test]
    fn a_pod_is_reached_by_exec_and_by_port() {
        let host = Host::new();
        host.cluster_answers(200, "{}");
        assert_eq!(send("GET", "/api/v1/pods", &[], &[], SECOND).unwrap().status, 200);
        assert_eq!(namespace().unwrap(), "default");
        host.listen(
            "exec:p:c:buildctl dial-stdio",
            Listener::new().accept(Script::new()),
        );
        host.listen("port-forward:p:1234", Listener::new().accept(Script::new()));
        let command = ["buildctl".to_owned(), "dial-stdio".to_owned()];
        assert!(exec("p", "c", &command, SECOND).is_ok());
        assert!(port_forward("p", 1234, SECOND).is_ok());
        assert!(port_forward("p", 1, SECOND).is_err());
    }
}
