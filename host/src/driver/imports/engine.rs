//! The Docker Engine API: every request is checked against the manifest's rules before anything is sent.

mod failures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use wasmtime::component::Resource;

use self::failures::engine_failure;
use super::connections::Connection;
use super::steps::GuestStep;
use super::streams::ByteStream;
use super::types::{Answer, Failure};
use crate::connect::helper_program::LastWords;
use crate::connect::pipe::Pipe;
use crate::docker::framing::{Stderr, Unframed};
use crate::docker::pull::{self, ImageName, Progress};
use crate::docker::transport::{Answer as EngineAnswer, Engine, Request};
use crate::driver::bindings::engine::{Framing, Host, Response};
use crate::driver::bindings::types::{ErrorKind, Pair};
use crate::driver::grants::rules::{self, Rule};
use crate::driver::grants::{Api, Denied};
use crate::driver::limits::{SHOWN_PATH, clean_line};
use crate::driver::state::{Call, View};

/// The images whose signatures a policy is about.
const SIGNED: &str = "docker.io/moby/buildkit";
/// Types of a request's body.
const BODY_TYPES: [&str; 5] = [
    "application/json",
    "application/octet-stream",
    "application/x-tar",
    "application/tar",
    "application/gzip",
];
/// What runs behind the connection of a hijacked exec, for messages.
const EXEC: &str = "docker exec";

/// What a guest asks for, allowed by a rule.
struct Asked<'a> {
    request: Request,
    rule: Rule<'a>,
    engine: Arc<Engine>,
    /// Completes "… took longer than".
    doing: String,
}

impl<'a> Asked<'a> {
    /// Checks what a guest asks for. Nothing was sent yet.
    fn new(call: &'a Call, method: String, path: String, headers: Vec<Pair>, body: Vec<u8>) -> Answer<Self> {
        let asked = rules::Request {
            method: &method,
            path: &path,
            body: &body,
        };
        let rule = call.grants.request(Api::Engine, &asked)?;
        refuse_forms(&asked, &headers)?;
        let engine = engine(call)?;
        let shown = path.split('?').next().unwrap_or_default();
        let doing = format!("`{method} {}` at {}", clean_line(shown, SHOWN_PATH), engine.url());
        let mut request = Request::new(method, path).with_body(body);
        request.headers = headers.into_iter().map(|pair| (pair.key, pair.value)).collect();
        Ok(Self {
            request,
            rule,
            engine,
            doing,
        })
    }

    /// Remembers the ids in an answer, if the rule says so.
    fn learn(&self, call: &Call, answer: &EngineAnswer) {
        if !self.rule.remembers() || !(200..300).contains(&answer.status) {
            return;
        }
        if let Ok(answer) = serde_json::from_slice(&answer.body) {
            call.grants.learn(&self.rule, &answer);
        }
    }
}

/// Engines read the fields of a form like those of the query, and before them; no rule looks there. So bodies are of the
/// types that are needed, and of no other.
fn refuse_forms(asked: &rules::Request<'_>, headers: &[Pair]) -> Answer<()> {
    for header in headers {
        if !header.key.trim().eq_ignore_ascii_case("content-type") {
            continue;
        }
        let media = header.value.split(';').next().unwrap_or_default();
        let media = media.trim().to_ascii_lowercase();
        if !BODY_TYPES.contains(&media.as_str()) {
            let path = asked.path.split('?').next().unwrap_or_default();
            let call = clean_line(&format!("{} {path}", asked.method), SHOWN_PATH);
            let media = clean_line(&media, SHOWN_PATH);
            let rule = format!("a body of the type `{media}` may say what the query may not");
            return Err(Denied::new(format!("`{call}`"), rule).into());
        }
    }
    Ok(())
}

/// A pull as it is shown, and whether it moves.
struct Shown<'a> {
    step: &'a mut GuestStep,
    moves: &'a AtomicBool,
}

#[async_trait]
impl Progress for Shown<'_> {
    async fn report(&mut self, current: u64, total: u64) {
        self.moves.store(true, Ordering::Relaxed);
        self.step.report(current, Some(total)).await;
    }
}

/// The engine of the builder's endpoint.
fn engine(call: &Call) -> Answer<Arc<Engine>> {
    let engines = &call.environment.engines;
    engines
        .engine(&call.config.endpoint)
        .map_err(|error| engine_failure(&error))
}

fn response(answer: EngineAnswer) -> Response {
    let pair = |(key, value)| Pair { key, value };
    Response {
        status: answer.status,
        headers: answer.headers.into_iter().map(pair).collect(),
        body: answer.body.into(),
    }
}

fn unknown_framing() -> Failure {
    let message = "This framing of a stream is not known; use `raw` or `multiplexed`";
    Failure::new(ErrorKind::Unsupported, message)
}

/// A hijacked stream as the guest gets it. The stderr of what runs there is kept for `diagnose`.
fn connection(pipe: Pipe, framing: Framing, peer: &str) -> Answer<Connection> {
    match framing {
        Framing::Raw => {
            let last_words = pipe.last_words().cloned();
            let connection = Connection::new(pipe, peer);
            Ok(match last_words {
                Some(words) => connection.with_last_words(words),
                None => connection,
            })
        }
        Framing::Multiplexed => {
            let words = LastWords::of_remote(EXEC, pipe.last_words().cloned());
            let unframed = Unframed::new(pipe, Stderr::Kept(words.clone()));
            Ok(Connection::new(Pipe::new(unframed), peer).with_last_words(words))
        }
        Framing::Other => Err(unknown_framing()),
    }
}

impl Host for View<'_> {
    async fn send(
        &mut self,
        method: String,
        path: String,
        headers: Vec<Pair>,
        body: Vec<u8>,
        timeout: u64,
    ) -> Answer<Response> {
        let asked = Asked::new(self.call, method, path, headers, body)?;
        let sent = asked.engine.send(&asked.request);
        let answer = self.call.wait(timeout, &asked.doing, sent).await?;
        let answer = answer.map_err(|error| engine_failure(&error))?;
        asked.learn(self.call, &answer);
        Ok(response(answer))
    }

    async fn open_stream(
        &mut self,
        method: String,
        path: String,
        headers: Vec<Pair>,
        body: Vec<u8>,
        framing: Framing,
        timeout: u64,
    ) -> Answer<Resource<ByteStream>> {
        let asked = Asked::new(self.call, method, path, headers, body)?;
        if framing == Framing::Other {
            return Err(unknown_framing());
        }
        let opened = asked.engine.open_stream(&asked.request);
        let stream = self.call.wait(timeout, &asked.doing, opened).await?;
        let stream = stream.map_err(|error| engine_failure(&error))?;
        let stream = match framing {
            Framing::Multiplexed => ByteStream::new(Unframed::new(stream, Stderr::Read)),
            Framing::Raw | Framing::Other => ByteStream::new(stream),
        };
        Ok(self.table.push(stream)?)
    }

    async fn hijack(
        &mut self,
        method: String,
        path: String,
        headers: Vec<Pair>,
        body: Vec<u8>,
        framing: Framing,
        timeout: u64,
    ) -> Answer<Resource<Connection>> {
        let asked = Asked::new(self.call, method, path, headers, body)?;
        if framing == Framing::Other {
            return Err(unknown_framing());
        }
        let hijacked = asked.engine.hijack(&asked.request);
        let pipe = self.call.wait(timeout, &asked.doing, hijacked).await?;
        let pipe = pipe.map_err(|error| engine_failure(&error))?;
        Ok(self.table.push(connection(pipe, framing, asked.engine.url())?)?)
    }

    async fn open_http2(&mut self, timeout: u64) -> Answer<Resource<Connection>> {
        self.call.grants.engine_http2()?;
        let engine = engine(self.call)?;
        let doing = format!("Connecting to {}", engine.url());
        let pipe = self.call.wait(timeout, &doing, engine.http2()).await?;
        let pipe = pipe.map_err(|error| engine_failure(&error))?;
        let connection = connection(pipe, Framing::Raw, engine.url())?.sealed();
        Ok(self.table.push(connection)?)
    }

    async fn pull(
        &mut self,
        reference: String,
        platform: Option<String>,
        verify: bool,
        step: Resource<GuestStep>,
    ) -> Answer<String> {
        self.call.grants.image(&reference)?;
        let image = ImageName::parse(&reference).map_err(|error| engine_failure(&error))?;
        let engines = &self.call.environment.engines;
        if verify && engines.needs_policy() && image.repository == SIGNED {
            return Err(unverified(&reference));
        }
        let engine = engine(self.call)?;
        let moves = AtomicBool::new(false);
        let mut shown = Shown {
            step: self.table.get_mut(&step)?,
            moves: &moves,
        };
        let platform = platform.as_deref();
        let pulled = pull::pull(&engine, engines.credentials(), &image, platform, &mut shown);
        let doing = format!("Pulling `{}`", clean_line(&reference, SHOWN_PATH));
        let pulled = self.call.wait_for_moving(&doing, &moves, pulled).await?;
        pulled.map_err(|error| engine_failure(&error))?;
        Ok(reference)
    }

    async fn api_version(&mut self, timeout: u64) -> Answer<String> {
        self.call.grants.engine("api-version")?;
        let engine = engine(self.call)?;
        let doing = format!("`HEAD /_ping` at {}", engine.url());
        let version = self.call.wait(timeout, &doing, engine.version()).await?;
        let version = version.map_err(|error| engine_failure(&error))?;
        Ok(version.to_string())
    }

    async fn host_url(&mut self) -> Answer<String> {
        self.call.grants.engine("host-url")?;
        Ok(engine(self.call)?.url().to_owned())
    }
}

fn unverified(reference: &str) -> Failure {
    let message = format!(
        "failed to verify image {}: this bkhost cannot verify signatures of images",
        clean_line(reference, SHOWN_PATH)
    );
    Failure::new(ErrorKind::Unsupported, message).with_hint(
        "Unset BUILDX_DEFAULT_POLICY, or allow the image with the driver option `allow-untrusted-image=true`",
    )
}

#[cfg(test)]
mod tests {
    use super::super::connections::failures::told;
    use super::*;

    #[test]
    fn a_body_is_json_or_an_archive_and_no_form() {
        let asked = rules::Request {
            method: "POST",
            path: "/containers/create?name=n",
            body: b"",
        };
        let with = |key: &str, value: &str| {
            let pair = Pair {
                key: key.to_owned(),
                value: value.to_owned(),
            };
            refuse_forms(&asked, &[pair])
        };
        with("Content-Type", "application/json; charset=utf-8").unwrap();
        with("content-type", "application/x-tar").unwrap();
        with("x-meta", "multipart/form-data").unwrap();
        for media in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-urlencoded;x=y",
            "multipart/form-data; boundary=b",
            "",
        ] {
            let error = told(with("CONTENT-type", media));
            assert_eq!(error.kind, ErrorKind::Denied, "{media}");
            assert!(
                error
                    .message
                    .starts_with("`POST /containers/create` is not granted: ")
            );
        }
    }
}
