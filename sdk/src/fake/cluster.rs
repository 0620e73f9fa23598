//! A Kubernetes API that answers by a script.

use std::cell::RefCell;
use std::collections::VecDeque;

pub(crate) use crate::bindings::bkhost::host::cluster::Response;

use super::connections::{Connection, connect};
use super::poll::{Pollable, What};
use super::streams::ByteStream;
use super::{Answer, with};
use crate::host::types::Pair;

/// Answers and events to come, and requests that were made.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub api: super::engine::Script,
    pub events: VecDeque<Vec<u8>>,
    pub namespace: String,
}

#[derive(Debug)]
pub(crate) struct Watcher(RefCell<VecDeque<Vec<u8>>>);

impl Watcher {
    pub(crate) fn next(&self, _timeout: u64) -> Answer<Option<Vec<u8>>> {
        Ok(self.0.borrow_mut().pop_front())
    }

    pub(crate) fn ready(&self) -> Pollable {
        Pollable::new(What::Now)
    }
}

pub(crate) fn namespace() -> Answer<String> {
    Ok(with(|world| world.cluster.namespace.clone()))
}

pub(crate) fn send(
    method: &str,
    path: &str,
    _headers: &[Pair],
    body: &[u8],
    _timeout: u64,
) -> Answer<Response> {
    with(|world| {
        let (status, body) = world.cluster.api.answer(&format!("{method} {path}"), body)?;
        Ok(Response {
            status,
            headers: Vec::new(),
            body,
        })
    })
}

/// Gives all events of the script to the first watch.
pub(crate) fn watch(path: &str, _resource_version: Option<&str>, _timeout: u64) -> Answer<Watcher> {
    with(|world| {
        world
            .cluster
            .api
            .requests
            .push((format!("WATCH {path}"), Vec::new()));
        Ok(Watcher(RefCell::new(std::mem::take(&mut world.cluster.events))))
    })
}

pub(crate) fn open_stream(path: &str, timeout: u64) -> Answer<ByteStream> {
    Ok(ByteStream::of(&send("GET", path, &[], &[], timeout)?.body))
}

pub(crate) fn exec(pod: &str, container: &str, command: &[String], timeout: u64) -> Answer<Connection> {
    let target = format!("exec:{pod}:{container}:{}", command.join(" "));
    with(|world| connect(world, target, timeout))
}

pub(crate) fn port_forward(pod: &str, port: u16, timeout: u64) -> Answer<Connection> {
    with(|world| connect(world, format!("port-forward:{pod}:{port}"), timeout))
}
