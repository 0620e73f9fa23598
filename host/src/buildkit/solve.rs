//! One build on one daemon, from the request to the last line of its progress.
//!
//! Three things run at once: the daemon's `Solve`, the gateway calls that make it go on, and `Status`; a session serves
//! what the daemon asks back. [`run`] owns them all and ends them in one order. Nothing is tried twice.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bkhost_proto::control::control_client::ControlClient;
use bkhost_proto::control::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest, StatusRequest, StatusResponse,
};
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, Streaming};

use self::failed_steps::FailedSteps;
use super::convert;
use super::error::{DaemonError, SolveError};
use super::gateway::{Gateway, frontend_attributes};
use super::session::Session;
use super::spec::{CacheEntry, SolveSpec, Solved};
use crate::connect::channel::Channel;
use crate::connect::liveness::Lost;
use crate::progress::event::Sink;

mod failed_steps;

/// A cancellation that can be waited for; clones share it.
pub type Cancel = CancellationToken;

/// How long progress may be silent after the build has ended before it counts as complete.
const STATUS_IDLE: Duration = Duration::from_secs(5);
/// How long progress of a build that has ended may take to begin: one that was refused has none.
const STATUS_BEGIN: Duration = Duration::from_secs(1);
/// A daemon that has waited this long before it says that it does not know the build may be asked for its progress again.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
/// How long the daemon may take to end the build with an error that was handed back to it.
const RETURN_LIMIT: Duration = Duration::from_secs(5);
/// How long the daemon may take to close a session whose build is done.
const SESSION_LIMIT: Duration = Duration::from_secs(5);
/// Last words of a cancelled build: its steps end within this time or are not shown. With [`CANCELLED_SESSION`] it is
/// what a user waits after Ctrl-C.
const CANCELLED_STATUS: Duration = Duration::from_millis(1000);
/// Time for a cancelled build's session to close.
const CANCELLED_SESSION: Duration = Duration::from_millis(300);

/// Runs `spec` on the daemon at the other end of `channel`; progress goes to `sink`. Cancelling ends the build on the
/// daemon too, and takes at most 1.5 s.
pub async fn run(
    channel: &Channel,
    spec: SolveSpec,
    sink: Sink,
    cancel: Cancel,
) -> Result<Solved, SolveError> {
    let session = Session::open(channel, &spec).map_err(|status| failed(&status))?;
    let progress = Progress::follow(channel, &spec.reference, sink);
    let ending = tokio::select! {
        biased;
        () = cancel.cancelled() => Ending::Cancelled,
        // Before the loss: a result that has arrived counts, whatever became of the connection.
        outcome = build(channel, &spec, session.id()) => match outcome {
            Ok(solved) => Ending::Solved(solved),
            Err(status) => end_of_failure(channel, status).await,
        },
        how = channel.loss() => Ending::Lost(how),
    };
    finish(ending, session, progress, &cancel).await
}

/// How the build itself ended.
enum Ending {
    Solved(Solved),
    Failed(DaemonError),
    Cancelled,
    Lost(Lost),
}

/// A call that fails with its connection is the connection's failure.
async fn end_of_failure(channel: &Channel, status: Status) -> Ending {
    match channel.loss_behind(&status).await {
        Some(how) => Ending::Lost(how),
        None => Ending::Failed(DaemonError::of(&status)),
    }
}

fn failed(status: &Status) -> SolveError {
    SolveError::Failed(DaemonError::of(status))
}

/// Ends what still runs. Running steps tell of their end while the session is still there.
async fn finish(
    ending: Ending,
    session: Session,
    progress: Progress,
    cancel: &Cancel,
) -> Result<Solved, SolveError> {
    match ending {
        Ending::Lost(how) => Err(SolveError::Lost { how }),
        Ending::Cancelled => {
            progress.drain(CANCELLED_STATUS).await;
            session.close(CANCELLED_SESSION).await;
            Err(SolveError::Cancelled)
        }
        Ending::Solved(solved) => {
            let named = session.name_files();
            close(session, progress, cancel).await;
            named.map(|()| solved).map_err(SolveError::Unnamed)
        }
        Ending::Failed(mut error) => {
            let failure = session.failure_behind(&error.message);
            let steps = progress.failed.clone();
            close(session, progress, cancel).await;
            error.ran = error.vertex().and_then(|digest| steps.ran(digest)).map(Box::new);
            Err(match failure {
                Some(failure) => SolveError::Session { failure, error },
                None => SolveError::Failed(error),
            })
        }
    }
}

/// Waits for the last of the progress. Cancelling only shortens it: how the build ended is settled.
async fn close(session: Session, progress: Progress, cancel: &Cancel) {
    tokio::select! {
        _ = async { tokio::join!(session.close(SESSION_LIMIT), progress.drain(Duration::MAX)) } => {}
        () = cancel.cancelled() => {}
    }
}

/// `Solve` and the gateway calls, until both are done or one has failed; the first error wins. Dropping this cancels
/// them on the daemon.
async fn build(channel: &Channel, spec: &SolveSpec, session: &str) -> Result<Solved, Status> {
    let gateway = Gateway::new(channel, &spec.reference)?.run(spec);
    let mut control = channel.control();
    let solve = control.solve(request(spec, session));
    tokio::pin!(gateway, solve);
    tokio::select! {
        metadata = &mut gateway => match metadata {
            Ok(metadata) => Ok(solved(solve.await?.into_inner().exporter_response, metadata)),
            Err(status) => Err(ended_with(solve, status).await),
        },
        response = &mut solve => {
            let response = response?.into_inner().exporter_response;
            // The result was handed back, or the daemon could not have ended; its answer is on the way.
            let metadata = tokio::time::timeout(RETURN_LIMIT, gateway).await;
            Ok(solved(response, metadata.unwrap_or_else(|_| Ok(BTreeMap::new()))?))
        }
    }
}

fn solved(response: BTreeMap<String, String>, metadata: BTreeMap<String, Bytes>) -> Solved {
    Solved { response, metadata }
}

/// The daemon ends the build with the error that it was handed, and adds what it knows; an error that it was not
/// handed, or does not take, stands for itself.
async fn ended_with<T>(solve: impl Future<Output = Result<T, Status>>, status: Status) -> Status {
    match tokio::time::timeout(RETURN_LIMIT, solve).await {
        Ok(Err(whole)) => whole,
        Ok(Ok(_)) | Err(_) => status,
    }
}

/// Gateway mode needs an empty frontend and no definition at all.
fn request(spec: &SolveSpec, session: &str) -> SolveRequest {
    let exporters: Vec<Exporter> = spec
        .exporters
        .iter()
        .map(|exporter| Exporter {
            r#type: exporter.kind.clone(),
            attrs: exporter.attributes.clone(),
        })
        .collect();
    // Daemons that know one exporter only read the first from here.
    let first = exporters.first().cloned().unwrap_or_default();
    SolveRequest {
        r#ref: spec.reference.clone(),
        definition: None,
        exporter_deprecated: first.r#type,
        exporter_attrs_deprecated: first.attrs,
        session: session.to_owned(),
        frontend_attrs: frontend_attributes(spec),
        cache: Some(CacheOptions {
            exports: cache_entries(&spec.cache_exports),
            imports: cache_entries(&spec.cache_imports),
            ..Default::default()
        }),
        entitlements: spec.entitlements.clone(),
        internal: spec.internal,
        exporters,
        ..Default::default()
    }
}

fn cache_entries(entries: &[CacheEntry]) -> Vec<CacheOptionsEntry> {
    entries
        .iter()
        .map(|entry| CacheOptionsEntry {
            r#type: entry.kind.clone(),
            attrs: entry.attributes.clone(),
        })
        .collect()
}

/// The progress of one build on its way to a sink.
struct Progress {
    /// Set when the build is over: from then on silence is the end.
    over: CancellationToken,
    failed: FailedSteps,
    task: AbortOnDropHandle<()>,
}

impl Progress {
    fn follow(channel: &Channel, reference: &str, sink: Sink) -> Self {
        let over = CancellationToken::new();
        let request = StatusRequest {
            r#ref: reference.to_owned(),
        };
        let failed = FailedSteps::default();
        let task = follow(channel.control(), request, sink, over.clone(), failed.clone());
        Self {
            over,
            failed,
            task: AbortOnDropHandle::new(tokio::spawn(task)),
        }
    }

    /// Waits until everything has been told: to the end of the stream, 5 s of silence, or `limit`.
    async fn drain(self, limit: Duration) {
        self.over.cancel();
        let _ = tokio::time::timeout(limit, self.task).await;
    }
}

/// Progress that breaks off does not fail a build: `Solve` says how it ended.
async fn follow(
    mut control: ControlClient<Channel>,
    request: StatusRequest,
    sink: Sink,
    over: CancellationToken,
    failed: FailedSteps,
) {
    let updates = tokio::select! {
        updates = updates_of(&mut control, &request) => updates,
        () = idle(&over, STATUS_BEGIN) => return,
    };
    let mut updates = match updates {
        Ok(updates) => updates,
        Err(status) => return tracing::debug!(%status, "no progress"),
    };
    while let Some(update) = next(&mut updates, &over).await {
        let update = convert::update(update);
        failed.note(&update);
        sink.send(update).await;
    }
}

/// The daemon waits 6 s for the build to be known to it. A busy one may need longer, and then is asked again.
async fn updates_of(
    control: &mut ControlClient<Channel>,
    request: &StatusRequest,
) -> Result<Streaming<StatusResponse>, Status> {
    loop {
        let asked = Instant::now();
        match control.status(request.clone()).await {
            Ok(updates) => return Ok(updates.into_inner()),
            // One that does not wait would be asked without a pause.
            Err(status) if status.code() == Code::NotFound && asked.elapsed() > STATUS_PAUSE => {}
            Err(status) => return Err(status),
        }
    }
}

async fn next(updates: &mut Streaming<StatusResponse>, over: &CancellationToken) -> Option<StatusResponse> {
    let update = tokio::select! {
        update = updates.message() => update,
        () = idle(over, STATUS_IDLE) => return None,
    };
    update.unwrap_or_else(|status| {
        tracing::debug!(%status, "progress broke off");
        None
    })
}

async fn idle(over: &CancellationToken, limit: Duration) {
    over.cancelled().await;
    tokio::time::sleep(limit).await;
}

#[cfg(test)]
#[path = "solve/tests.rs"]
mod tests;
