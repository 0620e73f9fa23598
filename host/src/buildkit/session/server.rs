//! The HTTP/2 server of a session.

use std::convert::Infallible;
use std::future::Future;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use super::services::Services;
use crate::connect::channel::HEADER_LIMIT;

/// Window of one stream: what the daemon may send before we have taken anything of it.
const STREAM_WINDOW: u32 = 1 << 20;
/// Window of the connection: the largest there is, so that streams which are not read never keep a health check out.
/// What that can cost is bounded by the streams' own windows.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Calls at once. A daemon runs a handful; a limit would queue health checks behind them.
const STREAM_LIMIT: u32 = 1 << 16;
/// Calls that the daemon may take back before they were looked at: all of a build's when it is cancelled.
const RESET_LIMIT: usize = 1 << 12;

/// Serves `services` on `stream` until it ends. Dropping it ends every call that still runs.
pub(super) async fn serve<S>(stream: S, services: Services) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let calls = Calls::default();
    let _end_calls: DropGuard = calls.ended.clone().drop_guard();
    let service = service_fn(move |request| answer(services.clone(), request));
    let connection = http2::Builder::new(calls)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAM_LIMIT)
        .max_pending_accept_reset_streams(RESET_LIMIT)
        // Filters of a context arrive as headers, one per line of the ignore file.
        .max_header_list_size(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    connection.await
}

async fn answer(mut services: Services, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    type Health = bkhost_proto::health::health_server::HealthServer<super::health::Health>;
    let service = request.uri().path().split('/').nth(1);
    if service == Some(Health::NAME) {
        return services.health.call(request).await;
    }
    services.routes.call(request.map(Body::new)).await
}

/// Runs the calls of one connection, no longer than the connection.
#[derive(Clone, Default)]
struct Calls {
    ended: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Calls
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, call: F) {
        let ended = self.ended.clone();
        tokio::spawn(async move { ended.run_until_cancelled(call).await.map(drop) });
    }
}
