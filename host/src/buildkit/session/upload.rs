//! The upload service: an archive from standard input, pulled once by the daemon.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bkhost_proto::upload::BytesMessage;
use bkhost_proto::upload::upload_server::{self, UploadServer};
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_stream::Stream;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};

use super::services::Services;
use crate::buildkit::spec::Upload as Source;

/// Size of the pieces; a daemon takes up to 3 MiB.
const PIECE: usize = 1 << 20;

type Reader = Pin<Box<dyn AsyncRead + Send>>;

pub(super) fn register(services: &mut Services, source: Source) {
    let data = std::io::Cursor::new(source.peeked).chain(tokio::io::stdin());
    services.add(
        UploadServer::new(Upload::new(source.id, Box::pin(data))),
        &["Pull"],
    );
}

struct Upload {
    id: String,
    /// Taken by the first pull.
    data: Mutex<Option<Reader>>,
}

impl Upload {
    fn new(id: String, data: Reader) -> Self {
        Self {
            id,
            data: Mutex::new(Some(data)),
        }
    }

    fn take(&self, id: &str) -> Result<Reader, Status> {
        let gone = || Status::not_found(format!("no http response from session for {id}"));
        if id != self.id {
            return Err(gone());
        }
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        data.take().ok_or_else(gone)
    }
}

/// The last element of the path that the daemon was told to fetch.
fn upload_id<T>(request: &Request<T>) -> Result<String, Status> {
    let path = request.metadata().get("urlpath");
    let path = path.and_then(|path| path.to_str().ok());
    match path.and_then(|path| path.rsplit('/').next()) {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err(Status::invalid_argument("invalid empty urlpath")),
    }
}

#[tonic::async_trait]
impl upload_server::Upload for Upload {
    type PullStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn pull(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let data = self.take(&upload_id(&request)?)?;
        Ok(Response::new(Box::pin(messages(data))))
    }
}

fn messages(data: Reader) -> impl Stream<Item = Result<BytesMessage, Status>> + Send {
    ReaderStream::with_capacity(data, PIECE).map(|piece: std::io::Result<Bytes>| match piece {
        Ok(data) => Ok(BytesMessage { data }),
        Err(error) => Err(Status::unknown(format!("cannot read the upload: {error}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(data: &'static [u8]) -> Upload {
        Upload::new("abc".into(), Box::pin(data))
    }

    fn request(path: &'static str) -> Request<()> {
        let mut request = Request::new(());
        let path = tonic::metadata::MetadataValue::from_static(path);
        request.metadata_mut().insert("urlpath", path);
        request
    }

    #[test]
    fn the_id_is_the_last_element_of_the_path() {
        assert_eq!(upload_id(&request("/x/abc")).unwrap(), "abc");
        assert!(upload_id(&request("/x/")).is_err());
        assert!(upload_id(&Request::new(())).is_err());
    }

    #[test]
    fn an_upload_is_pulled_once() {
        let upload = upload(b"data");
        assert!(upload.take("other").is_err());
        assert!(upload.take("abc").is_ok());
        let again = upload.take("abc").err().unwrap();
        assert_eq!(again.message(), "no http response from session for abc");
    }

    #[tokio::test]
    async fn pieces_are_below_what_a_daemon_takes() {
        let data: &'static [u8] = vec![5; 3 * PIECE].leak();
        let pieces: Vec<_> = messages(Box::pin(data))
            .map(|message| message.unwrap().data.len())
            .collect()
            .await;
        assert_eq!(pieces.iter().sum::<usize>(), 3 * PIECE);
        assert!(pieces.iter().all(|piece| *piece <= PIECE));
    }
}
