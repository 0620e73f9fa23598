//! An HTTP/2 server in memory, for tests.

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::DuplexStream;
use tokio::task::AbortHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service;

use super::pipe::Pipe;

/// Buffer of a connection in memory.
const BUFFER: usize = 1 << 20;

/// A pipe to a server of `routes`, and the handle that ends the server.
pub(crate) fn serve(routes: Routes) -> (Pipe, AbortHandle) {
    let (near, far) = tokio::io::duplex(BUFFER);
    let server = tokio::spawn(run(far, routes));
    (Pipe::new(near), server.abort_handle())
}

async fn run(stream: DuplexStream, routes: Routes) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut routes = routes.clone();
        async move { routes.call(request.map(Body::new)).await }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(1 << 20)
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}
