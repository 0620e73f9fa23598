//! What one store holds, and the narrow views through which host functions see it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::types::ErrorKind;
use super::deadline::Deadline;
use super::environment::HostEnvironment;
use super::grants::Grants;
use super::imports::log::Notes;
use super::imports::types::Failure;
use super::limits::{Bounds, DEADLINE_GRACE, Exceeded, KEPT};
use super::node::{Cancel, NodeConfig};
use super::node_state::NodeStore;
use crate::duration::shown;
use crate::progress::event::Sink;

/// Who is calling, for which node, and what it may do: fixed for the life of a store.
pub(crate) struct Call {
    /// Name of the driver.
    pub driver: String,
    /// Its version.
    pub version: String,
    /// The exported function that runs, for messages.
    pub function: Function,
    /// The node it runs for.
    pub config: Arc<NodeConfig>,
    /// The machine it runs on.
    pub environment: Arc<HostEnvironment>,
    /// What the driver remembers about the node.
    pub state: Arc<NodeStore>,
    /// What it may reach.
    pub grants: Grants,
    /// Where its steps are shown.
    pub sink: Sink,
    /// When the operation must be over.
    pub deadline: Deadline,
    /// How long the guest may neither wait nor report progress.
    pub idle_limit: Duration,
    /// Ends the operation early.
    pub cancel: Cancel,
    /// Whether `state` refuses to be written.
    pub read_only: bool,
    /// What the guest does right now.
    pub activity: Activity,
    /// What the guest said.
    pub notes: Notes,
    /// Bytes that are kept for its handles.
    pub kept: Kept,
}

/// What the host keeps of a guest's data, counted. It only grows, also when a handle is dropped: an operation is short,
/// and a count that follows every handle would be one more thing to get wrong.
#[derive(Debug, Default)]
pub(crate) struct Kept(AtomicUsize);

impl Kept {
    /// Counts `bytes` more.
    pub fn add(&self, bytes: usize) -> Result<(), Exceeded> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) > KEPT {
            true => Err(Exceeded::Kept),
            false => Ok(()),
        }
    }
}

/// Name of the exported function that runs; a call begins with `open` and goes on with its own.
pub(crate) struct Function(Mutex<&'static str>);

impl Function {
    /// Begins with this one.
    pub fn new(name: &'static str) -> Self {
        Self(Mutex::new(name))
    }

    /// Goes on with this one.
    pub fn set(&self, name: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// The one that runs.
    pub fn name(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Waits for `future` on the guest's behalf: at most `timeout` nanoseconds, never much past the operation's
    /// deadline, and not longer than until the operation is cancelled. `doing` completes "… took longer than".
    ///
    /// A wait that begins after the cancellation runs to its own timeout: the guest is undoing something then.
    pub async fn wait<T>(
        &self,
        timeout: u64,
        doing: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let _waiting = self.activity.wait();
        let bound = self.bound(Duration::from_nanos(timeout));
        tokio::select! {
            biased;
            outcome = future => Ok(outcome),
            () = self.newly_cancelled() => Err(was_cancelled(doing)),
            () = tokio::time::sleep(bound) => {
                let message = format!("{doing} took longer than {}", shown(bound));
                Err(Failure::new(ErrorKind::TimedOut, message))
            }
        }
    }

    /// The same for what may take long, such as an image on its way: time in which it `moves` does not count, neither for
    /// the wait nor for the operation.
    pub async fn wait_for_moving<T>(
        &self,
        doing: &str,
        moves: &AtomicBool,
        future: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let _waiting = self.activity.wait();
        let begun = Instant::now();
        let uncounted = async {
            loop {
                tokio::time::sleep(UNCOUNTED).await;
                if moves.swap(false, Ordering::Relaxed) {
                    self.deadline.extend(UNCOUNTED);
                }
            }
        };
        tokio::select! {
            biased;
            outcome = future => Ok(outcome),
            () = self.newly_cancelled() => Err(was_cancelled(doing)),
            () = self.deadline.passed(Duration::ZERO) => {
                let seconds = Duration::from_secs(begun.elapsed().as_secs());
                let message = format!("{doing} took longer than {}", shown(seconds));
                Err(Failure::new(ErrorKind::TimedOut, message))
            }
            never = uncounted => never,
        }
    }

    /// Returns when the operation is cancelled, unless it is already.
    async fn newly_cancelled(&self) {
        if self.cancel.is_cancelled() {
            std::future::pending::<()>().await;
        }
        self.cancel.cancelled().await;
    }

    /// How long a wait of `wanted` may really be.
    pub fn bound(&self, wanted: Duration) -> Duration {
        match self.remaining() {
            None => wanted,
            Some(left) => wanted.min(left.max(DEADLINE_GRACE)),
        }
    }

    /// What is left until the deadline; zero once it has passed, absent without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.remaining()
    }
}

/// How often it is asked whether something moves.
const UNCOUNTED: Duration = Duration::from_secs(1);

fn was_cancelled(doing: &str) -> Failure {
    Failure::new(ErrorKind::Cancelled, format!("{doing} was cancelled"))
}

/// Tells a guest that waits or gets on from one that does nothing.
pub(crate) struct Activity {
    began: Instant,
    /// Host functions that wait right now.
    waiting: AtomicUsize,
    /// When the guest last waited or reported progress, in milliseconds after `began`.
    last: AtomicU64,
    /// Epoch ticks spent computing since the guest last waited.
    ticks: AtomicU64,
}

impl Activity {
    /// Of a call that begins now.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            waiting: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
        }
    }

    /// Marks a wait until the guard is dropped.
    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Marks that the guest reports something until the guard is dropped. It may have to wait for whoever watches, and
    /// it gets on; but it is no wait of its own, or a guest that reports without end would never have computed too long.
    pub fn report(&self) -> Reporting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Reporting(self)
    }

    /// Notes that the guest got on.
    pub fn progress(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// For how long the guest has neither waited nor reported progress.
    pub fn idle(&self) -> Duration {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }

    /// Counts one epoch tick spent computing, and says how many there were since the last wait.
    pub fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A wait of the guest; see [`Activity::wait`].
pub(crate) struct Waiting<'a>(&'a Activity);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.ticks.store(0, Ordering::Relaxed);
        self.0.progress();
    }
}

/// A report of the guest; see [`Activity::report`].
pub(crate) struct Reporting<'a>(&'a Activity);

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.progress();
    }
}

/// The data of one store.
pub(crate) struct StoreData {
    table: ResourceTable,
    wasi: WasiCtx,
    call: Arc<Call>,
    /// The limiter of memory, tables and instances.
    pub bounds: Bounds,
}

impl StoreData {
    /// The data for one operation.
    pub fn new(call: Arc<Call>, table: ResourceTable, wasi: WasiCtx) -> Self {
        Self {
            table,
            wasi,
            call,
            bounds: Bounds::default(),
        }
    }

    /// Serves another operation: what the guest does from now on counts as that one's.
    pub fn serve(&mut self, call: &Arc<Call>) {
        self.call = Arc::clone(call);
    }

    /// The operation this store serves.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The host's side of the guest's handles.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// What host functions see.
    pub fn view(&mut self) -> View<'_> {
        View {
            table: &mut self.table,
            call: &self.call,
        }
    }
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// What a host function may touch: the guest's handles and the operation. All of `bkhost:host` is implemented on it.
pub(crate) struct View<'a> {
    /// The host's side of the guest's handles.
    pub table: &'a mut ResourceTable,
    /// The operation.
    pub call: &'a Arc<Call>,
}

/// Names [`View`] for the linker.
pub(crate) struct Imports;

impl HasData for Imports {
    type Data<'a> = View<'a>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_waits_is_not_idle() {
        let activity = Activity::new();
        let early = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let activity = Activity {
            began: early,
            ..activity
        };
        assert!(activity.idle() >= Duration::from_secs(100));
        let waiting = activity.wait();
        assert_eq!(activity.idle(), Duration::ZERO);
        drop(waiting);
        assert!(activity.idle() < Duration::from_secs(50));
    }

    #[test]
    fn what_is_kept_is_counted_over_all_handles() {
        let kept = Kept::default();
        assert_eq!(kept.add(KEPT / 2), Ok(()));
        assert_eq!(kept.add(KEPT / 2), Ok(()));
        assert_eq!(kept.add(1), Err(Exceeded::Kept));
    }

    #[test]
    fn computing_is_counted_between_waits() {
        let activity = Activity::new();
        assert_eq!((activity.tick(), activity.tick()), (1, 2));
        drop(activity.report());
        assert_eq!(activity.tick(), 3);
        drop(activity.wait());
        assert_eq!(activity.tick(), 1);
    }
}
