//! The calls of the Docker Engine API that the driver makes, and what it reads from their answers.

use std::time::Duration;

use bkhost_driver::engine::{Framing, Request, Response};
use bkhost_driver::{ByteStream, Connection, Deadline, Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::clock;

/// Most that is kept of what a command prints, or of the last lines of a log.
const LONGEST_OUTPUT: usize = 64 << 10;

/// Lines of a log that are shown.
const LINES: usize = 20;

/// A container as the engine describes it.
#[derive(Debug)]
pub struct Container(Value);

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        self.text("/Id")
    }

    /// A text by its path in the description; empty when there is none.
    pub fn text(&self, path: &str) -> &str {
        self.0.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A whole number by its path; 0 when there is none.
    pub fn number(&self, path: &str) -> i64 {
        self.0.pointer(path).and_then(Value::as_i64).unwrap_or_default()
    }

    /// A truth value by its path.
    pub fn flag(&self, path: &str) -> bool {
        self.0.pointer(path).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A list of texts by its path.
    pub fn texts(&self, path: &str) -> Vec<&str> {
        let list = self.0.pointer(path).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A label; keys may hold any character.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.0.pointer("/Config/Labels")?.get(key)?.as_str()
    }

    /// Whether its process is there; also while it is paused, or about to be started again.
    pub fn is_running(&self) -> bool {
        self.flag("/State/Running")
    }

    /// Whether the engine starts it again after it ended.
    pub fn is_restarting(&self) -> bool {
        self.flag("/State/Restarting")
    }

    /// Whether it was made and never started: its maker is at it, or was killed.
    pub fn was_never_started(&self) -> bool {
        self.text("/State/Status") == "created"
    }

    /// When its process was started last, on the engine's clock.
    pub fn started_at(&self) -> Option<Duration> {
        clock::parse(self.text("/State/StartedAt"))
    }
}

/// Facts about the engine.
#[derive(Debug, Default)]
pub struct EngineInfo(Value);

impl EngineInfo {
    /// Whether it makes cgroups by itself, so that a parent can be named by its path.
    pub fn uses_cgroupfs(&self) -> bool {
        self.0.pointer("/CgroupDriver").and_then(Value::as_str) == Some("cgroupfs")
    }

    /// Whether it maps users of containers to others.
    pub fn maps_users(&self) -> bool {
        let options = self.0.pointer("/SecurityOptions").and_then(Value::as_array);
        options
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|option| {
                option
                    .split(',')
                    .any(|part| part == "name=userns" || part == "userns")
            })
    }

    /// Its clock.
    pub fn time(&self) -> Option<Duration> {
        clock::parse(self.0.pointer("/SystemTime")?.as_str()?)
    }
}

/// What became of a request for a new container.
#[derive(Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is there, with this id.
    Made(String),
    /// Another one has the name.
    NameTaken,
    /// The engine does not have the image; its words.
    NoImage(Error),
}

/// How a command in the container ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i64,
    /// The first 64 KiB of what it printed.
    pub output: String,
}

/// Facts about the engine.
pub fn info(timeout: Duration) -> Result<EngineInfo> {
    let answer = Request::new("GET", "/info").send(timeout)?.accepted()?;
    Ok(EngineInfo(parsed(&answer)?))
}

/// The container of that name or id, if there is one.
pub fn inspect(container: &str, timeout: Duration) -> Result<Option<Container>> {
    let answer = Request::new("GET", format!("/containers/{container}/json")).send(timeout)?;
    match answer.status {
        404 => Ok(None),
        _ => Ok(Some(Container(parsed(&answer.accepted()?)?))),
    }
}

/// Makes a container.
pub fn create(name: &str, body: &Value, timeout: Duration) -> Result<Creation> {
    let path = format!("/containers/create?name={name}");
    let answer = Request::new("POST", path)
        .with_json(body.to_string())
        .send(timeout)?;
    match answer.status {
        409 => Ok(Creation::NameTaken),
        404 => Ok(Creation::NoImage(answer.refusal())),
        _ => Ok(Creation::Made(id(&answer.accepted()?)?)),
    }
}

/// Starts a container; `false` when it is gone, or in the middle of a change by somebody else.
pub fn start(id: &str, timeout: Duration) -> Result<bool> {
    let answer = Request::new("POST", format!("/containers/{id}/start")).send(timeout)?;
    // 404 is also said of a network that is not there.
    let gone = answer.status == 404 && answer.message().contains("No such container");
    match gone || answer.status == 409 {
        true => Ok(false),
        false => answer.accepted().map(|_| true),
    }
}

/// Unpacks an archive in `/etc` of a container; `false` when it is gone.
pub fn unpack(id: &str, archive: Vec<u8>, timeout: Duration) -> Result<bool> {
    let path = format!("/containers/{id}/archive?noOverwriteDirNonDir=true&path=/etc");
    let mut request = Request::new("PUT", path).with_header("content-type", "application/x-tar");
    request.body = archive;
    found(request.send(timeout)?)
}

/// Stops a container, as patiently as the engine is set up; one that is not there is stopped.
pub fn stop(name: &str, timeout: Duration) -> Result<bool> {
    found(Request::new("POST", format!("/containers/{name}/stop")).send(timeout)?)
}

/// Removes what this path names; `false` when it was not there.
pub fn delete(path: &str, timeout: Duration) -> Result<bool> {
    found(Request::new("DELETE", path).send(timeout)?)
}

/// Removes a container that does not run; `false` when it is gone or runs again.
pub fn delete_stopped(id: &str, timeout: Duration) -> Result<bool> {
    let answer = Request::new("DELETE", format!("/containers/{id}?v=1")).send(timeout)?;
    match answer.status {
        409 => Ok(false),
        _ => found(answer),
    }
}

/// Runs a command in a container, and waits for its end.
pub fn run(container: &str, command: &[&str], timeout: Duration) -> Result<Outcome> {
    let exec = new_exec(container, command, false, timeout)?;
    let begun = start_exec(&exec).open_stream(Framing::Multiplexed, timeout)?;
    let output = read_all(begun, timeout)?;
    let answer = Request::new("GET", format!("/exec/{exec}/json")).send(timeout)?;
    let code = parsed(&answer.accepted()?)?
        .pointer("/ExitCode")
        .and_then(Value::as_i64);
    let code = code.ok_or_else(|| {
        let words = format!("`{}` has no exit code yet", command.join(" "));
        Error::new(ErrorKind::Unavailable, words)
    })?;
    Ok(Outcome { code, output })
}

/// Runs a command in a container; its standard streams are the connection.
pub fn connect(container: &str, command: &[&str], timeout: Duration) -> Result<Connection> {
    let exec = new_exec(container, command, true, timeout)?;
    start_exec(&exec).hijack(Framing::Multiplexed, timeout)
}

/// The last lines of a container's log, or those before a time on the engine's clock; empty when they cannot be had within
/// `limit`. What was written to stderr comes first: there the daemon says what is wrong, while pages of help go to stdout.
pub fn last_lines(container: &str, until: Option<Duration>, limit: Duration) -> String {
    let deadline = Deadline::within(limit);
    let until = until.map_or_else(String::new, |time| format!("&until={}", clock::query(time)));
    let read = |streams: &str| {
        // Old engines count the lines of both streams, also where only one is asked for.
        let path = format!("/containers/{container}/logs?{streams}&follow=0&tail=200{until}");
        let stream = Request::new("GET", path).open_stream(Framing::Multiplexed, deadline.timeout(limit));
        let text = stream.and_then(|stream| read_end(stream, deadline, limit));
        tail(text.unwrap_or_default().trim_end())
    };
    let errors = read("stdout=0&stderr=1");
    match errors.is_empty() && !deadline.is_over() {
        true => read("stdout=1&stderr=0"),
        false => errors,
    }
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let begin = text
        .rmatch_indices('\n')
        .nth(LINES - 1)
        .map_or(0, |(at, _)| at + 1);
    text.get(begin..).unwrap_or_default().to_owned()
}

/// The log of a container as a stream.
pub fn log(container: &str, follow: bool, tail: Option<u64>, timeout: Duration) -> Result<ByteStream> {
    let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let follow = u8::from(follow);
    let path = format!("/containers/{container}/logs?stdout=1&stderr=1&follow={follow}&tail={tail}");
    Request::new("GET", path).open_stream(Framing::Multiplexed, timeout)
}

/// What happened to a container between two times on the engine's clock, the oldest first: its end and what led to it.
pub fn events(container: &str, since: Duration, until: Duration, timeout: Duration) -> Result<Vec<Value>> {
    // To the letter what the manifest allows.
    let filters = format!(
        "{{\"container\":[\"{container}\"],\"event\":[\"die\",\"oom\",\"kill\",\"stop\",\"destroy\"],\"type\":[\"container\"]}}"
    );
    let path = format!(
        "/events?since={}&until={}&filters={}",
        clock::query(since),
        clock::query(until),
        percent_encoded(&filters)
    );
    let answer = Request::new("GET", path).send(timeout)?.accepted()?;
    let events = serde_json::Deserializer::from_slice(&answer.body).into_iter::<Value>();
    // A half line at the end is of an event that is still being written.
    Ok(events.map_while(std::result::Result::ok).collect())
}

fn new_exec(container: &str, command: &[&str], stdin: bool, timeout: Duration) -> Result<String> {
    let mut body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
    if let (true, Some(fields)) = (stdin, body.as_object_mut()) {
        fields.insert("AttachStdin".to_owned(), Value::Bool(true));
    }
    let request = Request::new("POST", format!("/containers/{container}/exec"));
    let answer = request.with_json(body.to_string()).send(timeout)?;
    match answer.status {
        // It stopped, is paused, or is started again just now.
        409 => Err(Error::new(ErrorKind::Unavailable, answer.refusal().message())),
        _ => id(&answer.accepted()?),
    }
}

fn start_exec(exec: &str) -> Request {
    let body = json!({ "Detach": false, "Tty": false });
    Request::new("POST", format!("/exec/{exec}/start")).with_json(body.to_string())
}

fn read_all(mut stream: ByteStream, timeout: Duration) -> Result<String> {
    stream.set_timeout(timeout);
    let mut output = Vec::new();
    loop {
        let part = stream.receive(LONGEST_OUTPUT)?;
        if part.is_empty() || output.len() >= LONGEST_OUTPUT {
            return Ok(String::from_utf8_lossy(&output).into_owned());
        }
        output.extend_from_slice(&part);
    }
}

/// The end of what a stream has until `deadline`.
fn read_end(mut stream: ByteStream, deadline: Deadline, limit: Duration) -> Result<String> {
    let mut output = Vec::new();
    loop {
        stream.set_timeout(deadline.timeout(limit));
        let part = stream.receive(LONGEST_OUTPUT)?;
        if part.is_empty() {
            return Ok(String::from_utf8_lossy(&output).into_owned());
        }
        output.extend_from_slice(&part);
        let surplus = output.len().saturating_sub(LONGEST_OUTPUT);
        output.drain(..surplus);
    }
}

fn found(answer: Response) -> Result<bool> {
    match answer.status {
        404 => Ok(false),
        _ => answer.accepted().map(|_| true),
    }
}

fn parsed(answer: &Response) -> Result<Value> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let words = format!("The engine's answer is no JSON: {error}");
        Error::new(ErrorKind::Protocol, words)
    })
}

fn id(answer: &Response) -> Result<String> {
    let body = parsed(answer)?;
    let id = body.get("Id").and_then(Value::as_str);
    id.map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "The engine's answer names no id"))
}

/// Text as a value in a query.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use bkhost_driver::testing::Host;

    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_told() {
        let host = Host::new();
        let long = "x".repeat(100);
        let log: Vec<String> = (0..2000).map(|number| format!("{number} {long}")).collect();
        host.engine_answers(200, log.join("\n"));
        let told = last_lines("c", None, Duration::from_secs(1));
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines, log[2000 - LINES..]);
    }
}
