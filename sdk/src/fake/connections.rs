//! Endpoints that answer by a script, and connections that are written down.

use std::collections::{BTreeMap, VecDeque};

use super::poll::{Pollable, What};
use super::{Answer, World, failure, give_up, on_drop, with};
use crate::ErrorKind;
use crate::host::types;

/// Most that may be put back, as the contract says.
const LONGEST_PUT_BACK: usize = 1 << 20;

/// What the other side of a connection does, in order. At its end it is silent.
#[derive(Clone, Debug, Default)]
pub struct Script(VecDeque<Line>);

#[derive(Clone, Debug)]
enum Line {
    Say(Vec<u8>),
    Expect(Vec<u8>),
    Close,
    Fail(types::Error),
}

impl Script {
    /// Silence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends these bytes; one read never gives more than one of them.
    #[must_use]
    pub fn say(mut self, data: impl AsRef<[u8]>) -> Self {
        self.0.push_back(Line::Say(data.as_ref().to_vec()));
        self
    }

    /// Goes on only after exactly these bytes were received; others fail the write.
    #[must_use]
    pub fn expect(mut self, data: impl AsRef<[u8]>) -> Self {
        self.0.push_back(Line::Expect(data.as_ref().to_vec()));
        self
    }

    /// Ends the stream.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.0.push_back(Line::Close);
        self
    }

    /// Ends the stream with this error, as a helper program does that fails.
    #[must_use]
    pub fn fail(mut self, error: crate::Error) -> Self {
        self.0.push_back(Line::Fail(error.into()));
        self
    }
}

/// How an endpoint answers attempts to connect: one after the other, the last one for ever. One without answers refuses.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    after: u64,
    answers: VecDeque<Reaction>,
    tls: Option<types::Error>,
}

#[derive(Clone, Debug)]
enum Reaction {
    Refuse,
    Missing,
    Silent,
    Fail(types::Error),
    Accept(Script),
}

impl Listener {
    /// Refuses until told otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses until that much time has passed since the test began.
    #[must_use]
    pub fn after(mut self, time: std::time::Duration) -> Self {
        self.after = crate::time::nanoseconds(time);
        self
    }

    /// Accepts; the other side then does this.
    #[must_use]
    pub fn accept(self, script: Script) -> Self {
        self.with(Reaction::Accept(script))
    }

    /// Refuses.
    #[must_use]
    pub fn refuse(self) -> Self {
        self.with(Reaction::Refuse)
    }

    /// Is not there: no such file, no such name.
    #[must_use]
    pub fn missing(self) -> Self {
        self.with(Reaction::Missing)
    }

    /// Answers nothing until the caller's timeout.
    #[must_use]
    pub fn silent(self) -> Self {
        self.with(Reaction::Silent)
    }

    /// Fails with this error.
    #[must_use]
    pub fn fail(self, error: crate::Error) -> Self {
        self.with(Reaction::Fail(error.into()))
    }

    /// Accepts connections, but fails TLS on them.
    #[must_use]
    pub fn fail_tls(mut self, error: crate::Error) -> Self {
        self.tls = Some(error.into());
        self
    }

    fn with(mut self, reaction: Reaction) -> Self {
        self.answers.push_back(reaction);
        self
    }

    fn react(&mut self, now: u64) -> Reaction {
        if now < self.after {
            return Reaction::Refuse;
        }
        match self.answers.len() {
            0 => Reaction::Refuse,
            1 => self.answers.front().cloned().unwrap_or(Reaction::Refuse),
            _ => self.answers.pop_front().unwrap_or(Reaction::Refuse),
        }
    }
}

/// What became of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionRecord {
    /// Where it goes: `unix:/x`, `tcp:host:1`, `ssh:…`, `docker-exec:…`.
    pub target: String,
    /// Everything that was written.
    pub written: Vec<u8>,
    /// What would be read next: put back, or received and not read.
    pub pending: Vec<u8>,
    /// What was set as authority.
    pub authority: Option<String>,
    /// How TLS was started.
    pub tls: Option<TlsRecord>,
    /// Leases that are tied to it.
    pub leases: usize,
    /// Whether it is open.
    pub open: bool,
}

/// How TLS was started on a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsRecord {
    /// Option that names the authority's file.
    pub authority_option: String,
    /// Options that name certificate and key.
    pub identity_options: Option<(String, String)>,
    /// Name to verify and to send.
    pub server_name: Option<String>,
}

/// All endpoints and connections.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub listeners: BTreeMap<String, Listener>,
    pub connections: Vec<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub record: ConnectionRecord,
    script: VecDeque<Line>,
    unmatched: Vec<u8>,
    put_back: Vec<u8>,
    tls: Option<types::Error>,
}

impl Network {
    pub(crate) fn readable(&self, connection: usize) -> bool {
        self.connections.get(connection).is_some_and(|state| {
            !state.put_back.is_empty()
                || matches!(
                    state.script.front(),
                    Some(Line::Say(_) | Line::Close | Line::Fail(_))
                )
        })
    }
}

impl State {
    fn read(&mut self, max: usize) -> Option<Answer<Vec<u8>>> {
        if !self.put_back.is_empty() {
            let count = self.put_back.len().min(max);
            return Some(Ok(self.put_back.drain(..count).collect()));
        }
        match self.script.front_mut()? {
            Line::Close => Some(Ok(Vec::new())),
            Line::Fail(error) => Some(Err(error.clone())),
            Line::Expect(_) => None,
            Line::Say(data) => {
                let count = data.len().min(max);
                let part = data.drain(..count).collect();
                if data.is_empty() {
                    self.script.pop_front();
                }
                Some(Ok(part))
            }
        }
    }

    fn write(&mut self, data: &[u8]) -> Answer<()> {
        self.record.written.extend_from_slice(data);
        self.unmatched.extend_from_slice(data);
        while let Some(Line::Expect(expected)) = self.script.front() {
            if let Some(rest) = self.unmatched.strip_prefix(expected.as_slice()) {
                self.unmatched = rest.to_vec();
                self.script.pop_front();
            } else if expected.starts_with(&self.unmatched) {
                return Ok(());
            } else {
                let words = format!(
                    "The script expects {:?}, the driver wrote {:?}",
                    String::from_utf8_lossy(expected),
                    String::from_utf8_lossy(&self.unmatched),
                );
                return Err(failure(ErrorKind::Protocol, words));
            }
        }
        Ok(())
    }

    pub(crate) fn record(&self) -> ConnectionRecord {
        let mut record = self.record.clone();
        record.pending.clone_from(&self.put_back);
        if let Some(Line::Say(data)) = self.script.front() {
            record.pending.extend_from_slice(data);
        }
        record
    }
}

#[derive(Debug)]
pub(crate) struct Connection(pub(crate) usize);

impl Connection {
    pub(crate) fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        with(|world| match world.network.connections.get_mut(self.0) {
            Some(state) => act(state),
            None => give_up("the connection belongs to another `Host`: keep one a test"),
        })
    }

    pub(crate) fn read(&self, max: u32, timeout: u64) -> Answer<Vec<u8>> {
        if let Some(answer) = self.state(|state| state.read((max as usize).max(1))) {
            return answer;
        }
        with(|world| world.advance(timeout));
        Err(failure(ErrorKind::TimedOut, "Nothing came within the timeout"))
    }

    pub(crate) fn write(&self, data: &[u8], _timeout: u64) -> Answer<()> {
        self.state(|state| state.write(data))
    }

    pub(crate) fn unread(&self, data: &[u8]) -> Answer<()> {
        self.state(|state| {
            if state.put_back.len() + data.len() > LONGEST_PUT_BACK {
                return Err(failure(ErrorKind::Exhausted, "More than 1 MiB was put back"));
            }
            state.put_back.splice(0..0, data.iter().copied());
            Ok(())
        })
    }

    pub(crate) fn close_write(&self, _timeout: u64) -> Answer<()> {
        Ok(())
    }

    pub(crate) fn readable(&self) -> Pollable {
        Pollable::new(What::Readable(self.0))
    }

    pub(crate) fn set_authority(&self, authority: &str) -> Answer<()> {
        self.state(|state| state.record.authority = Some(authority.to_owned()));
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let id = self.0;
        on_drop(|world| {
            if let Some(state) = world.network.connections.get_mut(id) {
                state.record.open = false;
                let leases = std::mem::take(&mut state.record.leases);
                world.processes.leases = world.processes.leases.saturating_sub(leases);
            }
        });
    }
}

#[derive(Debug, Default)]
pub(crate) struct TlsConfig(std::cell::RefCell<TlsRecord>);

impl TlsConfig {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn authority_option(&self, name: &str) {
        self.0.borrow_mut().authority_option = name.to_owned();
    }

    pub(crate) fn identity_options(&self, certificate: &str, key: &str) {
        self.0.borrow_mut().identity_options = Some((certificate.to_owned(), key.to_owned()));
    }

    pub(crate) fn server_name(&self, name: &str) {
        self.0.borrow_mut().server_name = Some(name.to_owned());
    }
}

/// Connects to a scripted endpoint; one that no script names is refused.
pub(crate) fn connect(world: &mut World, target: String, timeout: u64) -> Answer<Connection> {
    let now = world.now;
    let listener = world.network.listeners.get_mut(&target);
    let (reaction, tls) = listener.map_or((Reaction::Refuse, None), |found| {
        (found.react(now), found.tls.clone())
    });
    match reaction {
        Reaction::Refuse => Err(failure(
            ErrorKind::Refused,
            format!("Nobody listens at `{target}`"),
        )),
        Reaction::Missing => Err(failure(ErrorKind::NotFound, format!("There is no `{target}`"))),
        Reaction::Fail(error) => Err(error),
        Reaction::Silent => {
            world.advance(timeout);
            Err(failure(
                ErrorKind::TimedOut,
                format!("`{target}` does not answer"),
            ))
        }
        Reaction::Accept(script) => {
            let mut state = State {
                script: script.0,
                tls,
                ..State::default()
            };
            state.record.target = target;
            state.record.open = true;
            world.network.connections.push(state);
            Ok(Connection(world.network.connections.len() - 1))
        }
    }
}

fn open(target: String, timeout: u64) -> Answer<Connection> {
    with(|world| connect(world, target, timeout))
}

pub(crate) fn open_unix(path: &str, timeout: u64) -> Answer<Connection> {
    open(format!("unix:{path}"), timeout)
}

pub(crate) fn open_tcp(host: &str, port: u16, timeout: u64) -> Answer<Connection> {
    open(format!("tcp:{host}:{port}"), timeout)
}

pub(crate) fn start_tls(connection: Connection, config: &TlsConfig, _timeout: u64) -> Answer<Connection> {
    let record = config.0.borrow().clone();
    connection.state(|state| match state.tls.clone() {
        Some(error) => Err(error),
        None => {
            state.record.tls = Some(record);
            Ok(())
        }
    })?;
    Ok(connection)
}

pub(crate) fn open_ssh(
    host: &str,
    user: Option<&str>,
    port: Option<u16>,
    socket: Option<&str>,
    timeout: u64,
) -> Answer<Connection> {
    let port = port.map(|port| port.to_string());
    let words = [Some(host), user, port.as_deref(), socket];
    open(helper("ssh", &words), timeout)
}

pub(crate) fn open_docker_exec(container: &str, context: Option<&str>, timeout: u64) -> Answer<Connection> {
    open(helper("docker-exec", &[Some(container), context]), timeout)
}

pub(crate) fn open_podman_exec(container: &str, timeout: u64) -> Answer<Connection> {
    open(helper("podman-exec", &[Some(container)]), timeout)
}

pub(crate) fn open_nerdctl_exec(
    container: &str,
    namespace: Option<&str>,
    timeout: u64,
) -> Answer<Connection> {
    open(helper("nerdctl-exec", &[Some(container), namespace]), timeout)
}

pub(crate) fn open_kubectl_exec(
    pod: &str,
    container: Option<&str>,
    namespace: Option<&str>,
    context: Option<&str>,
    timeout: u64,
) -> Answer<Connection> {
    let words = [Some(pod), container, namespace, context];
    open(helper("kubectl-exec", &words), timeout)
}

/// `kind:first:second:…`, with `-` for what was not given.
fn helper(kind: &str, words: &[Option<&str>]) -> String {
    let words: Vec<&str> = words.iter().map(|word| word.unwrap_or("-")).collect();
    format!("{kind}:{}", words.join(":"))
}
