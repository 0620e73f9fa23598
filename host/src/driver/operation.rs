//! One operation of a driver: a store of its own, bounds on time and computing, and one error at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bkhost_engine::TICK;
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{Engine, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use super::bindings::types::{self, ErrorKind};
use super::imports::types::{Answer, Failure};
use super::limits::{
    CANCELLATION_GRACE, COMPUTING_TICKS, COPIED_TO_HOST, DEADLINE_GRACE, Exceeded, HANDLES, PAIRS,
    SHOWN_DETAIL, SHOWN_DETAILS, SHOWN_KEY, SHOWN_TEXT, clean_line, clean_text,
};
use super::linker::wasi_context;
use super::node::{DriverError, DriverErrorKind, DriverResult};
use super::state::{Call, StoreData};
use crate::duration::shown;
use crate::progress::event::{Update, Warning};

/// How often the watch looks whether a guest is idle; idleness is a matter of a minute.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// What the engine says when a limit is exceeded for which it has no type.
const ENGINE_WORDS: [(&str, Exceeded); 4] = [
    (
        "fuel allocated for hostcalls has been exhausted",
        Exceeded::Copied,
    ),
    ("resource limit exceeded: instance count", Exceeded::Instances),
    ("resource limit exceeded: memory count", Exceeded::Memories),
    ("resource limit exceeded: table count", Exceeded::Tables),
];

/// A store for one operation.
pub(crate) fn store(engine: &Engine, call: &Arc<Call>) -> Store<StoreData> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES);
    let data = StoreData::new(Arc::clone(call), table, wasi_context(call));
    let mut store = Store::new(engine, data);
    store.limiter(|data| &mut data.bounds);
    store.set_hostcall_fuel(COPIED_TO_HOST);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        if store.data().call().activity.tick() > COMPUTING_TICKS {
            return Err(wasmtime::Error::new(Exceeded::Computing));
        }
        // Lets other tasks run, the watch of this very operation among them.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}

/// Runs the work of an operation within its bounds. The work owns the store: when it is abandoned, so is the guest.
pub(crate) async fn run<T>(call: &Arc<Call>, work: impl Future<Output = Answer<T>>) -> DriverResult<T> {
    let result = tokio::select! {
        biased;
        outcome = work => match outcome {
            Ok(value) => Ok(value),
            Err(Failure::Told(error)) => Err(guest_error(call, error)),
            Err(Failure::Trap(trap)) => Err(trap_error(call, &trap)),
        },
        end = watch(call) => Err(end_error(call, end)),
    };
    show_warnings(call).await;
    result
}

/// Why an operation was abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cancelled,
    Deadline,
    Idle,
}

/// Ends when the operation must.
async fn watch(call: &Call) -> End {
    let cancelled = async {
        call.cancel.cancelled().await;
        tokio::time::sleep(CANCELLATION_GRACE).await;
        End::Cancelled
    };
    let late = async {
        call.deadline.passed(DEADLINE_GRACE).await;
        End::Deadline
    };
    let idle = async {
        while call.activity.idle() <= call.idle_limit {
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
        End::Idle
    };
    tokio::select! {
        end = cancelled => end,
        end = late => end,
        end = idle => end,
    }
}

fn end_error(call: &Call, end: End) -> DriverError {
    let function = call.function.name();
    match end {
        End::Cancelled => error(
            call,
            DriverErrorKind::Cancelled,
            format!("`{function}` of driver `{}` was cancelled", call.driver),
        ),
        End::Deadline => error(
            call,
            DriverErrorKind::TimedOut,
            format!(
                "`{function}` of driver `{}` did not end by its deadline",
                call.driver
            ),
        ),
        End::Idle => defect(
            call,
            format!(
                "it neither waited for anything nor made progress for {}",
                shown(call.idle_limit)
            ),
        ),
    }
}

/// One error for a guest that ended against the rules.
pub(crate) fn trap_error(call: &Call, trap: &wasmtime::Error) -> DriverError {
    if let Some(message) = call.notes.panic() {
        let message = format!(
            "Driver `{}` {} panicked in `{}`: {message}",
            call.driver,
            call.version,
            call.function.name()
        );
        return with_trace(error(call, DriverErrorKind::Defect, message), trap);
    }
    if let Some(exceeded) = exceeded(trap) {
        return defect(call, exceeded);
    }
    if let Some(I32Exit(code)) = trap.downcast_ref::<I32Exit>() {
        return defect(call, format!("it ended itself with exit code {code}"));
    }
    let words = match trap.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => trap.root_cause().to_string(),
    };
    with_trace(defect(call, clean_line(&words, SHOWN_TEXT)), trap)
}

/// The limit that a trap is about.
fn exceeded(trap: &wasmtime::Error) -> Option<Exceeded> {
    if let Some(ResourceTableError::Full) = trap.downcast_ref() {
        return Some(Exceeded::Handles);
    }
    let words = trap.root_cause().to_string();
    let known = ENGINE_WORDS.iter().find(|(known, _)| words.contains(known));
    known
        .map(|(_, exceeded)| *exceeded)
        .or_else(|| trap.downcast_ref().copied())
}

/// A driver that broke a rule, with the rule.
pub(crate) fn defect(call: &Call, reason: impl std::fmt::Display) -> DriverError {
    let message = format!(
        "Driver `{}` {} was stopped in `{}`: {reason}",
        call.driver,
        call.version,
        call.function.name()
    );
    error(call, DriverErrorKind::Defect, message)
}

/// Where in the guest it happened, for its author.
fn with_trace(mut error: DriverError, trap: &wasmtime::Error) -> DriverError {
    if let Some(trace) = trap.downcast_ref::<wasmtime::WasmBacktrace>() {
        let trace = clean_text(&trace.to_string(), SHOWN_TEXT);
        error.details.push(("backtrace".to_owned(), trace));
    }
    error
}

fn error(call: &Call, kind: DriverErrorKind, message: String) -> DriverError {
    let hint = (kind == DriverErrorKind::Defect).then(|| {
        "This is a defect of the driver; its author can use this message and the output of `--debug`"
            .to_owned()
    });
    DriverError {
        kind,
        driver: call.driver.clone(),
        message,
        hint,
        details: Vec::new(),
    }
}

/// A guest's own error, as it may be shown.
fn guest_error(call: &Call, error: types::Error) -> DriverError {
    let message = clean_line(&error.message, SHOWN_TEXT);
    let message = if message.is_empty() {
        format!(
            "`{}` of driver `{}` failed without a word",
            call.function.name(),
            call.driver
        )
    } else {
        message
    };
    DriverError {
        kind: kind(error.kind),
        driver: call.driver.clone(),
        message,
        hint: error.hint.map(|hint| clean_line(&hint, SHOWN_TEXT)),
        details: shown_pairs(error.details),
    }
}

/// Pairs of a guest as they may be shown.
pub(crate) fn shown_pairs(pairs: Vec<types::Pair>) -> Vec<(String, String)> {
    let mut left = SHOWN_DETAILS;
    pairs
        .into_iter()
        .take(PAIRS)
        .map(|pair| {
            let value = clean_text(&pair.value, SHOWN_DETAIL.min(left));
            left = left.saturating_sub(value.len());
            (clean_line(&pair.key, SHOWN_KEY), value)
        })
        .collect()
}

fn kind(kind: ErrorKind) -> DriverErrorKind {
    match kind {
        ErrorKind::InvalidConfig => DriverErrorKind::InvalidConfig,
        ErrorKind::NotFound => DriverErrorKind::NotFound,
        ErrorKind::Denied => DriverErrorKind::Denied,
        ErrorKind::Unauthenticated => DriverErrorKind::Unauthenticated,
        ErrorKind::Refused => DriverErrorKind::Refused,
        ErrorKind::TimedOut => DriverErrorKind::TimedOut,
        ErrorKind::Cancelled => DriverErrorKind::Cancelled,
        ErrorKind::Unavailable => DriverErrorKind::Unavailable,
        ErrorKind::Exhausted => DriverErrorKind::Exhausted,
        ErrorKind::Protocol => DriverErrorKind::Protocol,
        ErrorKind::Certificate => DriverErrorKind::Certificate,
        ErrorKind::Conflict => DriverErrorKind::Conflict,
        ErrorKind::Unsupported => DriverErrorKind::Unsupported,
        ErrorKind::Other => DriverErrorKind::Other,
    }
}

/// Hands what the driver found odd to whoever watches.
async fn show_warnings(call: &Call) {
    let dropped = call.notes.dropped();
    if dropped > 0 {
        tracing::debug!(driver = %call.driver, "{dropped} log lines were dropped");
    }
    let warnings: Vec<Warning> = call
        .notes
        .take_warnings()
        .into_iter()
        .map(|text| Warning {
            level: 1,
            short: format!("Driver `{}`: {text}", call.driver).into(),
            ..Warning::default()
        })
        .collect();
    if !warnings.is_empty() {
        call.sink
            .send(Update {
                warnings,
                ..Update::default()
            })
            .await;
    }
}

/// When a call that only looks must be over.
pub(crate) fn looking_deadline() -> Instant {
    Instant::now() + super::limits::LOOKING
}

const _: () = assert!(TICK.as_millis() == 10, "`COMPUTING_TICKS` counts ticks of 10 ms");
