//! A keeper whose daemon does what a script says.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::connections::{Connection, Listener, Script};
use super::poll::{Pollable, What};
use super::steps::Step;
use super::streams::ByteStream;
use super::{Answer, World, failure, on_drop, with};
use crate::ErrorKind;
use crate::host::types::Pair;
use crate::time::nanoseconds;

/// What a daemon does once it was started. Without more it listens at once and never ends.
#[derive(Clone, Debug, Default)]
pub struct DaemonPlan {
    listens_after: u64,
    never_listens: bool,
    end: Option<(u64, Vec<(String, String)>)>,
    log: String,
    fingerprint: Option<String>,
}

impl DaemonPlan {
    /// Listens at once and never ends.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens only after that time.
    #[must_use]
    pub fn listens_after(mut self, time: Duration) -> Self {
        self.listens_after = nanoseconds(time);
        self
    }

    /// Never listens.
    #[must_use]
    pub fn never_listens(mut self) -> Self {
        self.never_listens = true;
        self
    }

    /// Ends after that time with these facts, such as `("exit-code", "1")` and `("reason", "idle")`.
    #[must_use]
    pub fn ends_after(mut self, time: Duration, facts: &[(&str, &str)]) -> Self {
        let owned = facts
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.end = Some((nanoseconds(time), owned.collect()));
        self
    }

    /// Has this log.
    #[must_use]
    pub fn log(mut self, text: &str) -> Self {
        self.log = text.to_owned();
        self
    }

    /// Was started by somebody else with this fingerprint.
    #[must_use]
    pub fn fingerprint(mut self, words: &str) -> Self {
        self.fingerprint = Some(words.to_owned());
        self
    }
}

/// How a daemon was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaunchRecord {
    /// Path of the program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that were set.
    pub env: Vec<(String, String)>,
    /// Programs whose folders come first on its PATH.
    pub path_of: Vec<String>,
    /// Files that were written for it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Folders that were made for it.
    pub folders: Vec<String>,
    /// Its socket.
    pub socket: String,
    /// When it is stopped for being idle.
    pub idle_timeout: Duration,
    /// Words that tell it apart.
    pub fingerprint: String,
}

/// Everything about local daemons. `foreign` is one that another client starts at that time.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    pub programs: BTreeMap<String, String>,
    pub plans: VecDeque<DaemonPlan>,
    pub launches: Vec<LaunchRecord>,
    pub stops: usize,
    pub removals: Vec<(String, bool)>,
    pub leases: usize,
    pub foreign: Option<(u64, DaemonPlan)>,
    pub foreign_locks: BTreeMap<String, u64>,
    locks: BTreeSet<String>,
    daemons: Vec<DaemonState>,
    current: Option<usize>,
}

#[derive(Debug)]
struct DaemonState {
    started_at: u64,
    socket: String,
    fingerprint: String,
    log: String,
    end: Option<(u64, Vec<(String, String)>)>,
}

impl Processes {
    pub(crate) fn ends_at(&self, daemon: usize) -> Option<u64> {
        self.daemons.get(daemon)?.end.as_ref().map(|(at, _)| *at)
    }

    pub(crate) fn is_locked(&self, name: &str) -> bool {
        self.locks.contains(name)
    }

    fn running(&self, now: u64) -> Option<usize> {
        self.current
            .filter(|id| self.ends_at(*id).is_none_or(|at| at > now))
    }
}

/// Lets happen what time has brought: a start by another client, the end of a daemon's socket.
pub(crate) fn settle(world: &mut World) {
    let due = world.processes.foreign.take_if(|(at, _)| *at <= world.now);
    if let Some((at, plan)) = due {
        let socket = format!("{RUNTIME_FOLDER}/buildkitd.sock");
        begin(world, plan, at, socket, String::new());
    }
    let ended = world
        .processes
        .current
        .filter(|_| world.processes.running(world.now).is_none());
    let socket = ended
        .and_then(|id| world.processes.daemons.get(id))
        .map(|daemon| daemon.socket.clone());
    if let Some(socket) = socket {
        world.network.listeners.remove(&format!("unix:{socket}"));
    }
}

/// Where the scripted host keeps sockets.
pub(crate) const RUNTIME_FOLDER: &str = "/run/user/1000/bkhost/0f";
/// Where the scripted host keeps state, unless the option says otherwise.
pub(crate) const STATE_FOLDER: &str = "/home/ada/.local/share/bkhost/node0";

/// Starts a daemon now or, for one that somebody else started, then.
pub(crate) fn begin(
    world: &mut World,
    plan: DaemonPlan,
    at: u64,
    socket: String,
    fingerprint: String,
) -> usize {
    let listener = match plan.never_listens {
        true => Listener::new(),
        false => Listener::new()
            .after(Duration::from_nanos(at + plan.listens_after))
            .accept(Script::new()),
    };
    world.network.listeners.insert(format!("unix:{socket}"), listener);
    let processes = &mut world.processes;
    processes.daemons.push(DaemonState {
        started_at: at,
        socket,
        fingerprint: plan.fingerprint.unwrap_or(fingerprint),
        log: plan.log,
        end: plan.end.map(|(after, facts)| (at + after, facts)),
    });
    let id = processes.daemons.len() - 1;
    processes.current = Some(id);
    id
}

#[derive(Debug)]
pub(crate) struct Program(String);

impl Program {
    pub(crate) fn path(&self) -> String {
        self.0.clone()
    }
}

pub(crate) fn find(name: &str, option_name: &str) -> Answer<Option<Program>> {
    with(|world| {
        let typed = world
            .config
            .options
            .get(option_name)
            .filter(|value| !value.is_empty());
        let programs = &world.processes.programs;
        let Some(typed) = typed else {
            return Ok(programs.get(name).cloned().map(Program));
        };
        if programs.values().any(|path| path == typed) {
            return Ok(Some(Program(typed.clone())));
        }
        let words = format!("Driver option `{option_name}` names no program: {typed}");
        Err(failure(ErrorKind::InvalidConfig, words))
    })
}

pub(crate) fn runtime_folder() -> Answer<String> {
    Ok(RUNTIME_FOLDER.to_owned())
}

pub(crate) fn state_folder(option_name: &str) -> Answer<String> {
    let typed = with(|world| world.config.options.get(option_name).cloned());
    Ok(typed
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| STATE_FOLDER.to_owned()))
}

#[derive(Debug)]
pub(crate) struct Lock(String);

impl Drop for Lock {
    fn drop(&mut self) {
        on_drop(|world| {
            world.processes.locks.remove(&self.0);
        });
    }
}

pub(crate) fn acquire_lock(name: &str, timeout: u64) -> Answer<Lock> {
    with(|world| {
        let until = world
            .processes
            .foreign_locks
            .get(name)
            .copied()
            .unwrap_or_default();
        let end = world.now.saturating_add(timeout);
        if until > end || world.processes.locks.contains(name) {
            world.now = end;
            return Err(failure(
                ErrorKind::TimedOut,
                format!("Another client holds the lock `{name}`"),
            ));
        }
        world.now = world.now.max(until);
        world.processes.locks.insert(name.to_owned());
        Ok(Lock(name.to_owned()))
    })
}

#[derive(Debug)]
pub(crate) struct Lease {
    attached: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.attached {
            on_drop(|world| world.processes.leases = world.processes.leases.saturating_sub(1));
        }
    }
}

pub(crate) fn take_lease(_timeout: u64) -> Answer<Lease> {
    with(|world| world.processes.leases += 1);
    Ok(Lease { attached: false })
}

pub(crate) fn attach_lease(mut lease: Lease, connection: &Connection) {
    lease.attached = true;
    connection.state(|state| state.record.leases += 1);
}

#[derive(Debug)]
pub(crate) struct Launch(RefCell<LaunchRecord>);

impl Launch {
    pub(crate) fn new(program: &Program) -> Self {
        Self(RefCell::new(LaunchRecord {
            program: program.0.clone(),
            ..LaunchRecord::default()
        }))
    }

    pub(crate) fn arg(&self, value: &str) {
        self.0.borrow_mut().args.push(value.to_owned());
    }

    pub(crate) fn program_arg(&self, program: &Program) {
        self.arg(&program.0);
    }

    pub(crate) fn env(&self, name: &str, value: &str) {
        self.0.borrow_mut().env.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path_of(&self, program: &Program) {
        self.0.borrow_mut().path_of.push(program.0.clone());
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Answer<String> {
        self.0
            .borrow_mut()
            .files
            .insert(name.to_owned(), content.to_vec());
        Ok(format!("{RUNTIME_FOLDER}/config/{name}"))
    }

    pub(crate) fn socket(&self, path: &str) {
        self.0.borrow_mut().socket = path.to_owned();
    }

    pub(crate) fn create_folder(&self, path: &str) -> Answer<()> {
        self.0.borrow_mut().folders.push(path.to_owned());
        Ok(())
    }

    pub(crate) fn idle_timeout(&self, nanoseconds: u64) {
        self.0.borrow_mut().idle_timeout = Duration::from_nanos(nanoseconds);
    }

    pub(crate) fn fingerprint(&self, value: &str) {
        self.0.borrow_mut().fingerprint = value.to_owned();
    }
}

#[derive(Debug)]
pub(crate) struct Daemon(usize);

impl Daemon {
    fn state<T: Default>(&self, act: impl FnOnce(&DaemonState, u64) -> T) -> T {
        with(|world| {
            let now = world.now;
            world
                .processes
                .daemons
                .get(self.0)
                .map(|daemon| act(daemon, now))
                .unwrap_or_default()
        })
    }

    pub(crate) fn running(&self) -> bool {
        self.state(|daemon, now| daemon.end.as_ref().is_none_or(|(at, _)| *at > now))
    }

    pub(crate) fn pid(&self) -> u32 {
        4000 + self.0 as u32
    }

    pub(crate) fn started_at(&self) -> u64 {
        self.state(|daemon, _| super::time::begin() + daemon.started_at)
    }

    pub(crate) fn socket(&self) -> String {
        self.state(|daemon, _| daemon.socket.clone())
    }

    pub(crate) fn attributes(&self) -> Vec<Pair> {
        self.state(|daemon, _| pairs(&[("fingerprint".to_owned(), daemon.fingerprint.clone())]))
    }

    pub(crate) fn end(&self) -> Option<Vec<Pair>> {
        self.state(|daemon, now| {
            let (_, facts) = daemon.end.as_ref().filter(|(at, _)| *at <= now)?;
            Some(pairs(facts))
        })
    }

    pub(crate) fn ended(&self) -> Pollable {
        Pollable::new(What::DaemonEnded(self.0))
    }

    pub(crate) fn log_tail(&self, lines: u32) -> String {
        self.state(|daemon, _| {
            let all: Vec<&str> = daemon.log.lines().collect();
            let first = all.len().saturating_sub(lines as usize);
            all.into_iter().skip(first).collect::<Vec<_>>().join("\n")
        })
    }
}

fn pairs(facts: &[(String, String)]) -> Vec<Pair> {
    let pair = |(key, value): &(String, String)| Pair {
        key: key.clone(),
        value: value.clone(),
    };
    facts.iter().map(pair).collect()
}

pub(crate) fn start(launch: Launch, _step: &Step) -> Answer<Daemon> {
    let launch = launch.0.into_inner();
    with(|world| {
        if world.processes.running(world.now).is_some() {
            return Err(failure(ErrorKind::Conflict, "The daemon is running already"));
        }
        let plan = world.processes.plans.pop_front().unwrap_or_default();
        let (socket, fingerprint) = (launch.socket.clone(), launch.fingerprint.clone());
        world.processes.launches.push(launch);
        let now = world.now;
        Ok(Daemon(begin(world, plan, now, socket, fingerprint)))
    })
}

pub(crate) fn current() -> Answer<Option<Daemon>> {
    Ok(with(|world| world.processes.current.map(Daemon)))
}

pub(crate) fn stop(_timeout: u64) -> Answer<()> {
    with(|world| {
        world.processes.stops += 1;
        let now = world.now;
        let running = world.processes.running(now);
        if let Some(daemon) = running.and_then(|id| world.processes.daemons.get_mut(id)) {
            daemon.end = Some((now, vec![("reason".to_owned(), "stopped".to_owned())]));
        }
    });
    Ok(())
}

pub(crate) fn remove(path: &str, keep_state: bool, _timeout: u64) -> Answer<()> {
    with(|world| {
        world.processes.removals.push((path.to_owned(), keep_state));
        world.processes.current = None;
    });
    Ok(())
}

pub(crate) fn open_log(_follow: bool, tail: Option<u64>) -> Answer<ByteStream> {
    let daemon = with(|world| world.processes.current.map(Daemon));
    let daemon = daemon.ok_or_else(|| failure(ErrorKind::NotFound, "There is no log"))?;
    let lines = tail.map_or(u32::MAX, |tail| u32::try_from(tail).unwrap_or(u32::MAX));
    Ok(ByteStream::of(daemon.log_tail(lines).as_bytes()))
}
