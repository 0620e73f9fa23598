//! The health service: a daemon asks every 5 s and drops a session that does not answer.

use std::collections::BTreeMap;
use std::pin::Pin;

use bkhost_proto::health::health_check_response::ServingStatus;
use bkhost_proto::health::health_server;
use bkhost_proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

/// Says that the session serves, which it does as long as it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse {
            statuses: BTreeMap::from([(String::new(), serving())]),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The state never changes, so after the first answer the stream only stays open.
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = futures::stream::iter([Ok(serving())]);
        let rest = futures::stream::pending();
        Ok(Response::new(Box::pin(futures::StreamExt::chain(first, rest))))
    }
}
