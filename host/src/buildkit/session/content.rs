//! Content stores on the client: OCI layouts that are contexts, exports or caches.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use bkhost_proto::content::content_server::Content;
use bkhost_proto::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest,
    ListContentResponse, ListStatusesRequest, ListStatusesResponse, ReadContentRequest, ReadContentResponse,
    StatusRequest, StatusResponse, UpdateRequest, UpdateResponse, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use futures::Stream;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use self::layout::{Ingest, Layout, StoreError};
use super::failure::Failures;
use crate::causes;

pub mod layout;

/// Bytes of one answer to a read (the size upstream uses).
const READ_PIECE: usize = 1024 * 1024;
/// Answers on their way to the wire.
const OUTGOING: usize = 4;
/// Infos in one answer to a listing.
const LIST_PIECE: usize = 100;
/// Request metadata that says which store is meant.
const STORE_KEY: &str = "buildkit-attachable-store-id";

/// Serves `containerd.services.content.v1.Content` over several stores by id: `export`, `oci:<id>`, `local:<dir>`.
#[derive(Debug)]
pub struct ContentStores {
    stores: BTreeMap<String, Arc<Layout>>,
    failures: Failures,
}

impl ContentStores {
    /// These stores and no others. What cannot be read or written is kept in `failures`.
    pub(super) fn new(stores: BTreeMap<String, Arc<Layout>>, failures: Failures) -> Self {
        Self { stores, failures }
    }

    fn store(&self, metadata: &MetadataMap) -> Result<Arc<Layout>, Status> {
        let id = metadata
            .get(STORE_KEY)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| Status::invalid_argument("no content store was named"))?;
        self.stores
            .get(id)
            .cloned()
            .ok_or_else(|| Status::not_found(format!("unknown store {id}")))
    }
}

impl ContentStores {
    async fn info_of(&self, store: &Layout, digest: &str) -> Result<Info, Status> {
        let info = blob_info(store, digest).await;
        info.map_err(|error| status(&self.failures, &error))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl Content for ContentStores {
    type ListStream = Answers<ListContentResponse>;
    type ReadStream = Answers<ReadContentResponse>;
    type WriteStream = Answers<WriteContentResponse>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let store = self.store(request.metadata())?;
        let info = self.info_of(&store, &request.into_inner().digest).await?;
        Ok(Response::new(InfoResponse { info: Some(info) }))
    }

    /// Labels are not kept in a layout, so there is nothing to update; the blob must be there all the same.
    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        let store = self.store(request.metadata())?;
        let wanted = request.into_inner().info.unwrap_or_default();
        let mut info = self.info_of(&store, &wanted.digest).await?;
        info.labels = wanted.labels;
        Ok(Response::new(UpdateResponse { info: Some(info) }))
    }

    async fn list(&self, request: Request<ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        let store = self.store(request.metadata())?;
        let mut infos = Vec::new();
        for digest in store.digests().await {
            if let Ok(info) = blob_info(&store, &digest).await {
                infos.push(info);
            }
        }
        let answers: Vec<_> = infos
            .chunks(LIST_PIECE)
            .map(|part| Ok(ListContentResponse { info: part.to_vec() }))
            .collect();
        Ok(Response::new(Box::pin(futures::stream::iter(answers))))
    }

    async fn delete(&self, request: Request<DeleteContentRequest>) -> Result<Response<()>, Status> {
        let store = self.store(request.metadata())?;
        let removed = store.remove(&request.into_inner().digest).await;
        removed.map_err(|error| status(&self.failures, &error))?;
        Ok(Response::new(()))
    }

    async fn read(&self, request: Request<ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let store = self.store(request.metadata())?;
        let wanted = request.into_inner();
        let (file, size) = store
            .open(&wanted.digest, wanted.offset, wanted.size)
            .await
            .map_err(|error| status(&self.failures, &error))?;
        let (out, answers) = mpsc::channel(OUTGOING);
        tokio::spawn(read_blob(file.take(size), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    /// Statuses would serve to resume a write; ours always begin anew.
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.store(request.metadata())?;
        Err(Status::not_found(format!(
            "ref {}: not found",
            request.into_inner().r#ref
        )))
    }

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        self.store(request.metadata())?;
        Ok(Response::new(ListStatusesResponse::default()))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let store = self.store(request.metadata())?;
        let (out, answers) = mpsc::channel(OUTGOING);
        let mut incoming = request.into_inner();
        let failures = self.failures.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_write(&store, &failures, &mut incoming, &out).await {
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    /// An unfinished write vanishes with its stream.
    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        self.store(request.metadata())?;
        Ok(Response::new(()))
    }
}

async fn blob_info(store: &Layout, digest: &str) -> Result<Info, StoreError> {
    let metadata = store.metadata(digest).await?;
    let modified = metadata.modified().ok().map(Into::into);
    Ok(Info {
        digest: digest.to_owned(),
        size: i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        created_at: modified,
        updated_at: modified,
        labels: BTreeMap::new(),
    })
}

async fn read_blob(
    mut file: tokio::io::Take<tokio::fs::File>,
    out: mpsc::Sender<Result<ReadContentResponse, Status>>,
) {
    let mut offset = 0;
    loop {
        let mut piece = bytes::BytesMut::with_capacity(READ_PIECE);
        let answer = match file.read_buf(&mut piece).await {
            Ok(0) => return,
            Ok(count) => {
                let answer = ReadContentResponse {
                    offset,
                    data: piece.freeze(),
                };
                offset += i64::try_from(count).unwrap_or(i64::MAX);
                Ok(answer)
            }
            Err(error) => Err(Status::unknown(error.to_string())),
        };
        let failed = answer.is_err();
        if out.send(answer).await.is_err() || failed {
            return;
        }
    }
}

/// One answer per request; the first request names the reference, COMMIT ends the stream.
async fn serve_write(
    store: &Arc<Layout>,
    failures: &Failures,
    incoming: &mut Streaming<WriteContentRequest>,
    out: &mpsc::Sender<Result<WriteContentResponse, Status>>,
) -> Result<(), Status> {
    let told = |error| status(failures, &error);
    let mut writing: Option<Writing> = None;
    while let Some(request) = incoming.message().await? {
        let mut current = match writing.take() {
            Some(current) => current,
            None if request.r#ref.is_empty() => {
                return Err(Status::invalid_argument("first message must have a ref"));
            }
            None => Writing {
                ingest: store.begin(&request.r#ref).await.map_err(told)?,
                total: 0,
                expected: String::new(),
            },
        };
        current.learn(store, &request).await.map_err(told)?;
        let (answer, rest) = current.answer(&request).await.map_err(told)?;
        let unheard = out.send(Ok(answer)).await.is_err();
        if unheard || rest.is_none() {
            return Ok(());
        }
        writing = rest;
    }
    Ok(())
}

/// A blob on its way into a store.
struct Writing {
    ingest: Ingest,
    total: i64,
    expected: String,
}

impl Writing {
    /// Takes over what the request says about the whole blob; one that is there need not travel.
    async fn learn(&mut self, store: &Layout, request: &WriteContentRequest) -> Result<(), StoreError> {
        if request.total > 0 {
            self.total = request.total;
        }
        if request.expected.is_empty() {
            return Ok(());
        }
        self.expected.clone_from(&request.expected);
        match store.metadata(&self.expected).await {
            Ok(_) => Err(StoreError::AlreadyExists(self.expected.clone())),
            Err(_) => Ok(()),
        }
    }

    /// Does what the request asks for. After COMMIT there is nothing left to write.
    async fn answer(
        mut self,
        request: &WriteContentRequest,
    ) -> Result<(WriteContentResponse, Option<Self>), StoreError> {
        let action = request.action();
        if action != WriteAction::Stat {
            self.ingest.write(request.offset, &request.data).await?;
        }
        let mut answer = WriteContentResponse {
            action: request.action,
            total: self.total,
            offset: self.ingest.offset(),
            ..WriteContentResponse::default()
        };
        match action {
            WriteAction::Stat => Ok((answer, Some(self))),
            WriteAction::Write => {
                answer.digest = self.ingest.digest();
                Ok((answer, Some(self)))
            }
            WriteAction::Commit => {
                answer.digest = self.ingest.commit(self.total, &self.expected).await?;
                Ok((answer, None))
            }
        }
    }
}

/// A failure of the disk is ours; all others are answers that the daemon reckons with.
fn status(failures: &Failures, error: &StoreError) -> Status {
    let code = match error {
        StoreError::InvalidDigest(_) => Code::InvalidArgument,
        StoreError::NotFound(_) => Code::NotFound,
        StoreError::AlreadyExists(_) => Code::AlreadyExists,
        StoreError::OutOfRange { .. } => Code::OutOfRange,
        StoreError::Mismatch { .. } => Code::FailedPrecondition,
        StoreError::Locked(_) => Code::Unavailable,
        StoreError::Io { .. } => return failures.told(Code::Unknown, error),
    };
    Status::new(code, causes::one_line(error))
}
