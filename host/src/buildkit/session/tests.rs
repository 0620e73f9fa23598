use super::*;
use bkhost_proto::health::HealthCheckRequest;
use bkhost_proto::health::health_check_response::ServingStatus;
use bkhost_proto::health::health_client::HealthClient;
use bkhost_proto::upload::BytesMessage as Piece;
use bkhost_proto::upload::upload_client::UploadClient;
use bkhost_proto::upload::upload_server::{Upload, UploadServer};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_stream::Stream;
use tonic::{Response, async_trait};

use crate::connect::pipe::Pipe;

/// Takes calls and reads nothing of them.
struct Blocked;

#[async_trait]
impl Upload for Blocked {
    type PullStream = Pin<Box<dyn Stream<Item = Result<Piece, Status>> + Send>>;

    async fn pull(&self, request: Request<Streaming<Piece>>) -> Result<Response<Self::PullStream>, Status> {
        let requests = request.into_inner();
        let never = futures::stream::once(async move {
            std::future::pending::<()>().await;
            drop(requests);
            Ok(Piece::default())
        });
        Ok(Response::new(Box::pin(never)))
    }
}

/// A daemon's channel into a session of `services`.
async fn channel_into(services: Services) -> Channel {
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(server::serve(far, services));
    Channel::open_unproven(Pipe::new(near)).await
}

#[tokio::test]
async fn health_is_answered_while_every_other_stream_is_blocked() {
    let mut services = Services::new();
    services.add(UploadServer::new(Blocked), &["Pull"]);
    let channel = channel_into(services).await;
    let sent = Arc::new(AtomicUsize::new(0));
    for _ in 0..64 {
        tokio::spawn(flood(channel.clone(), Arc::clone(&sent)));
    }
    wait_until_it_stands_still(&sent).await;
    let mut health = HealthClient::new(channel);
    let check = health.check(HealthCheckRequest::default());
    let answer = tokio::time::timeout(Duration::from_secs(10), check).await;
    let answer = answer.unwrap().unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}

async fn flood(channel: Channel, sent: Arc<AtomicUsize>) {
    let piece = Piece {
        data: vec![0; 256 << 10].into(),
    };
    let pieces = futures::stream::repeat_with(move || {
        sent.fetch_add(1, Ordering::Relaxed);
        piece.clone()
    });
    let call = UploadClient::new(channel).pull(pieces).await;
    let _ = call.unwrap().into_inner().message().await;
}

async fn wait_until_it_stands_still(sent: &AtomicUsize) {
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return;
        }
        before = now;
    }
}

#[tokio::test]
async fn a_service_that_is_not_served_is_unimplemented() {
    let channel = channel_into(Services::new()).await;
    let mut upload = UploadClient::new(channel);
    let call = upload.pull(futures::stream::empty::<Piece>()).await;
    let status = call.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[test]
fn a_key_that_no_header_takes_is_escaped() {
    let metadata = metadata("id", "tëst\n:node", &[]).unwrap();
    let key = metadata.get("x-docker-expose-session-sharedkey").unwrap();
    assert_eq!(key, "t%C3%ABst%0A:node");
    assert!(super::metadata("id", "", &[]).is_ok());
}
