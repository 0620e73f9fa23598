//! A Docker Engine that answers by a script.

use std::collections::VecDeque;

pub(crate) use crate::bindings::bkhost::host::engine::{Framing, Response};

use super::connections::{Connection, connect};
use super::steps::Step;
use super::streams::ByteStream;
use super::{Answer, failure, with};
use crate::ErrorKind;
use crate::host::types::Pair;

/// Answers to come, and requests that were made as `METHOD path`, with their bodies.
#[derive(Default)]
pub(crate) struct Script {
    pub answers: VecDeque<(u16, Vec<u8>)>,
    pub server: Option<Server>,
    pub requests: Vec<(String, Vec<u8>)>,
}

/// What answers once no scripted answer is left.
pub(crate) type Server = Box<dyn FnMut(&str, &[u8]) -> (u16, Vec<u8>)>;

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.requests).finish()
    }
}

pub(crate) fn send(
    method: &str,
    path: &str,
    _headers: &[Pair],
    body: &[u8],
    _timeout: u64,
) -> Answer<Response> {
    with(|world| {
        let (status, body) = world.engine.answer(&format!("{method} {path}"), body)?;
        Ok(Response {
            status,
            headers: Vec::new(),
            body,
        })
    })
}

impl Script {
    pub(crate) fn answer(&mut self, request: &str, body: &[u8]) -> Answer<(u16, Vec<u8>)> {
        self.requests.push((request.to_owned(), body.to_vec()));
        let scripted = self.answers.pop_front();
        let answer = scripted.or_else(|| self.server.as_mut().map(|serve| serve(request, body)));
        match answer {
            Some((0, words)) => Err(failure(ErrorKind::Refused, String::from_utf8_lossy(&words))),
            Some(answer) => Ok(answer),
            None => Err(failure(
                ErrorKind::Unavailable,
                format!("The script has no answer to `{request}`"),
            )),
        }
    }
}

pub(crate) fn open_stream(
    method: &str,
    path: &str,
    headers: &[Pair],
    body: &[u8],
    _framing: Framing,
    timeout: u64,
) -> Answer<ByteStream> {
    let response = send(method, path, headers, body, timeout)?;
    if response.status >= 400 {
        let answer = crate::engine::Response {
            status: response.status,
            headers: Vec::new(),
            body: response.body,
        };
        let refusal = answer.refusal();
        return Err(failure(refusal.kind(), refusal.message()));
    }
    Ok(ByteStream::of(&response.body))
}

pub(crate) fn hijack(
    method: &str,
    path: &str,
    _headers: &[Pair],
    body: &[u8],
    _framing: Framing,
    timeout: u64,
) -> Answer<Connection> {
    with(|world| {
        let request = format!("{method} {path}");
        world.engine.requests.push((request.clone(), body.to_vec()));
        connect(world, format!("engine:{request}"), timeout)
    })
}

pub(crate) fn open_http2(timeout: u64) -> Answer<Connection> {
    with(|world| connect(world, "engine:http2".to_owned(), timeout))
}

pub(crate) fn pull(reference: &str, _platform: Option<&str>, _verify: bool, _step: &Step) -> Answer<String> {
    let (status, body) = with(|world| world.engine.answer(&format!("PULL {reference}"), &[]))?;
    let words = String::from_utf8_lossy(&body).into_owned();
    match (status, words.is_empty()) {
        (400.., _) => Err(failure(ErrorKind::Other, words)),
        (_, true) => Ok(reference.to_owned()),
        (_, false) => Ok(words),
    }
}

pub(crate) fn api_version(_timeout: u64) -> Answer<String> {
    let (_, body) = with(|world| world.engine.answer("VERSION", &[]))?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

pub(crate) fn host_url() -> Answer<String> {
    let (_, body) = with(|world| world.engine.answer("HOST-URL", &[]))?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
