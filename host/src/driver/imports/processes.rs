//! A daemon on this machine that outlives the command; everything about it is the keeper's.

mod failures;
mod folders;
mod launch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use self::failures::failure;
pub use self::launch::Launch;
use super::connections::Connection;
use super::steps::GuestStep;
use super::streams::ByteStream;
use super::types::{Answer, Failure};
use crate::driver::bindings::processes::{Host, HostDaemon, HostLease, HostLock, HostProgram};
use crate::driver::bindings::steps::HostStep;
use crate::driver::bindings::types::{ErrorKind, Pair};
use crate::driver::state::View;
use crate::keeper::site::{START_LIMIT, Site};
use crate::keeper::{daemon, follow, locks, programs};

/// What stopping and removing may take beyond the guest's timeout: the end is swept up and recorded.
const SWEEPING: Duration = Duration::from_secs(15);

/// A program that was found.
pub struct Program {
    path: PathBuf,
}

/// A lock among all processes that use the node, released on drop.
pub struct Lock {
    _held: locks::Lock,
}

/// A sign that the daemon is in use, until it is dropped.
pub struct Lease {
    held: locks::Lock,
}

/// The node's daemon.
pub struct Daemon {
    daemon: daemon::Daemon,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Daemon {
    async fn ready(&mut self) {
        self.daemon.ended().await;
    }
}

impl View<'_> {
    /// The place of the node's daemon; `call` is what a refusal names.
    fn site(&self, call: &str) -> Answer<Site> {
        self.call.grants.processes(call)?;
        let options = self.call.grants.folder_options();
        folders::site(&self.call.config, &self.call.environment, options)
    }

    /// A daemon as a handle; its socket may be opened from now on.
    fn push_daemon(&mut self, daemon: daemon::Daemon) -> Answer<Resource<Daemon>> {
        self.call.grants.allow_socket(daemon.socket());
        Ok(self.table.push(Daemon { daemon })?)
    }

    fn daemon(&self, handle: &Resource<Daemon>) -> wasmtime::Result<&daemon::Daemon> {
        Ok(&self.table.get(handle)?.daemon)
    }
}

impl Host for View<'_> {
    async fn find(&mut self, name: String, option_name: String) -> Answer<Option<Resource<Program>>> {
        self.call.grants.program(&name)?;
        // A program without an option of its own has an empty name there.
        let chosen = match option_name.is_empty() {
            true => None,
            false => self.call.grants.program_option(&option_name)?,
        };
        let surroundings = folders::surroundings(&self.call.environment);
        let found = programs::find(&name, chosen, &surroundings).map_err(|error| {
            let message = format!("Option `{option_name}`: {error}");
            Failure::new(ErrorKind::InvalidConfig, message)
        })?;
        match found {
            Some(path) => Ok(Some(self.table.push(Program { path })?)),
            None => Ok(None),
        }
    }

    async fn runtime_folder(&mut self) -> Answer<String> {
        let site = self.site("runtime-folder")?;
        self.call.grants.allow_sockets_in(site.folder());
        folders::text(site.folder())
    }

    async fn state_folder(&mut self, option_name: String) -> Answer<String> {
        self.call.grants.processes("state-folder")?;
        let chosen = self.call.grants.folder_option(&option_name)?;
        let folder = folders::state(chosen, &option_name, &self.call.config, &self.call.environment)?;
        folders::text(&folder)
    }

    async fn acquire_lock(&mut self, name: String, timeout: u64) -> Answer<Resource<Lock>> {
        let site = self.site("acquire-lock")?;
        let doing = format!("Waiting for the lock `{name}`");
        let taken = site.lock(&name, Duration::from_nanos(timeout));
        let held = self.call.wait(timeout, &doing, taken).await?.map_err(failure)?;
        Ok(self.table.push(Lock { _held: held })?)
    }

    async fn take_lease(&mut self, timeout: u64) -> Answer<Resource<Lease>> {
        let site = self.site("take-lease")?;
        let taken = site.lease(Duration::from_nanos(timeout));
        let doing = "Waiting for an idle daemon to stop";
        let held = self.call.wait(timeout, doing, taken).await?.map_err(failure)?;
        Ok(self.table.push(Lease { held })?)
    }

    async fn attach_lease(
        &mut self,
        lease: Resource<Lease>,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<()> {
        let lease = self.table.delete(lease)?;
        self.table.get_mut(&connection)?.hold(Box::new(lease.held));
        Ok(())
    }

    async fn start(
        &mut self,
        launch: Resource<Launch>,
        step: Resource<GuestStep>,
    ) -> Answer<Resource<Daemon>> {
        let site = self.site("start")?;
        let launch = self.table.delete(launch)?.into_launch();
        if let Some(socket) = &launch.socket {
            site.check_socket(socket).map_err(failure)?;
        }
        let limit = START_LIMIT.as_nanos().try_into().unwrap_or(u64::MAX);
        let started = site.start(&launch);
        let started = self.call.wait(limit, "Starting the daemon", started).await?;
        let daemon = started.map_err(failure)?;
        let line = format!("started {} as process {}", launch.program.display(), daemon.pid());
        HostStep::message(self, step, line).await?;
        self.push_daemon(daemon)
    }

    async fn current(&mut self) -> Answer<Option<Resource<Daemon>>> {
        let site = self.site("current")?;
        let _waiting = self.call.activity.wait();
        match site.current().await.map_err(failure)? {
            Some(daemon) => Ok(Some(self.push_daemon(daemon)?)),
            None => Ok(None),
        }
    }

    async fn stop(&mut self, timeout: u64) -> Answer<()> {
        let site = self.site("stop")?;
        let grace = Duration::from_nanos(timeout);
        let limit = with_sweeping(grace);
        let stopped = self
            .call
            .wait(limit, "Stopping the daemon", site.stop(grace))
            .await?;
        stopped.map_err(failure)
    }

    async fn remove(&mut self, path: String, keep_state: bool, timeout: u64) -> Answer<()> {
        let site = self.site("remove")?;
        let path = Path::new(&path);
        if !folders::is_state(path, &self.call.config, &self.call.environment) {
            let message = format!("`{}` is not the state folder of this node", path.display());
            return Err(Failure::new(ErrorKind::Denied, message));
        }
        let state = (!keep_state).then_some(path);
        let grace = Duration::from_nanos(timeout);
        let removed = site.remove(state, grace);
        let removed = self
            .call
            .wait(with_sweeping(grace), "Removing the daemon", removed)
            .await?;
        removed.map_err(failure)
    }

    async fn open_log(&mut self, follow: bool, tail: Option<u64>) -> Answer<Resource<ByteStream>> {
        let site = self.site("open-log")?;
        let _waiting = self.call.activity.wait();
        let Some(daemon) = site.current().await.map_err(failure)? else {
            return Err(Failure::new(
                ErrorKind::NotFound,
                "There is no log: no daemon of this node was started",
            ));
        };
        let lines = tail.map(|lines| lines.try_into().unwrap_or(usize::MAX));
        Ok(self
            .table
            .push(ByteStream::new(follow::open(daemon, follow, lines)))?)
    }
}

fn with_sweeping(grace: Duration) -> u64 {
    grace
        .saturating_add(SWEEPING)
        .as_nanos()
        .try_into()
        .unwrap_or(u64::MAX)
}

impl HostProgram for View<'_> {
    async fn path(&mut self, handle: Resource<Program>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.path.display().to_string())
    }

    async fn drop(&mut self, handle: Resource<Program>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostLock for View<'_> {
    async fn drop(&mut self, handle: Resource<Lock>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostLease for View<'_> {
    async fn drop(&mut self, handle: Resource<Lease>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl HostDaemon for View<'_> {
    async fn running(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<bool> {
        Ok(self.daemon(&handle)?.running())
    }

    async fn pid(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<u32> {
        Ok(self.daemon(&handle)?.pid())
    }

    async fn started_at(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<u64> {
        Ok(self.daemon(&handle)?.started_at())
    }

    async fn socket(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<String> {
        Ok(self.daemon(&handle)?.socket().display().to_string())
    }

    async fn attributes(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<Vec<Pair>> {
        Ok(pairs(self.daemon(&handle)?.attributes()))
    }

    async fn end(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<Option<Vec<Pair>>> {
        let _waiting = self.call.activity.wait();
        let end = self.daemon(&handle)?.end().await;
        Ok(end.map(|end| pairs(end.pairs())))
    }

    async fn ended(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, handle)
    }

    async fn log_tail(&mut self, handle: Resource<Daemon>, lines: u32) -> wasmtime::Result<String> {
        let lines = lines.try_into().unwrap_or(usize::MAX);
        Ok(self.daemon(&handle)?.log_tail(lines))
    }

    async fn drop(&mut self, handle: Resource<Daemon>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

fn pairs(pairs: Vec<(String, String)>) -> Vec<Pair> {
    pairs
        .into_iter()
        .map(|(key, value)| Pair { key, value })
        .collect()
}
