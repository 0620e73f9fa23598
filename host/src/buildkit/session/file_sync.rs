//! Local sources: the folders that the daemon may read, by mount name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;

use bkhost_proto::filesync::file_sync_server::FileSync;
use bkhost_proto::fsutil::Packet;
use futures::{Stream, StreamExt};
use percent_encoding::percent_decode_str;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use super::failure::Failures;
use super::fsutil::send::{TransferError, send_tree};
use super::fsutil::walk::Selection;

/// Serves `moby.filesync.v1.FileSync` for a fixed set of folders.
#[derive(Debug)]
pub struct LocalSources {
    mounts: BTreeMap<String, PathBuf>,
    failures: Failures,
}

impl LocalSources {
    /// Serves these folders by these names, and nothing else. What cannot be read is kept in `failures`.
    pub(super) fn new(mounts: BTreeMap<String, PathBuf>, failures: Failures) -> Self {
        Self { mounts, failures }
    }

    fn folder(&self, metadata: &MetadataMap) -> Result<&PathBuf, Status> {
        let name = values(metadata, "dir-name")?
            .into_iter()
            .next()
            .unwrap_or_default();
        self.mounts
            .get(&name)
            .ok_or_else(|| Status::not_found(format!("no access allowed to dir {name:?}")))
    }
}

type PacketStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

#[async_trait]
impl FileSync for LocalSources {
    type DiffCopyStream = PacketStream;
    type TarStreamStream = PacketStream;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let folder = self.folder(request.metadata())?.clone();
        let include = values(request.metadata(), "include-patterns")?;
        let exclude = values(request.metadata(), "exclude-patterns")?;
        let follow = values(request.metadata(), "followpaths")?;
        let root = folder.clone();
        let selection =
            tokio::task::spawn_blocking(move || Selection::new(&root, include, &exclude, &follow))
                .await
                .map_err(|error| Status::internal(error.to_string()))?
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let incoming = request
            .into_inner()
            .map(|received| received.map_err(|status| status.message().to_owned()));
        let packets = send_tree(folder, selection, incoming);
        let failures = self.failures.clone();
        let stream =
            ReceiverStream::new(packets).map(move |packet| packet.map_err(|error| told(&failures, &error)));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn tar_stream(
        &self,
        _request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("TarStream is not supported: use DiffCopy"))
    }
}

/// Only what could not be read is a failure of ours; the others are the daemon's own words, or of its making.
fn told(failures: &Failures, error: &TransferError) -> Status {
    match error {
        TransferError::Walk(_) => failures.told(Code::Unknown, error),
        _ => Status::unknown(crate::causes::one_line(error)),
    }
}

/// All values of a request's metadata key. With `<key>-encoded` they are URL query-escaped, all of them.
fn values(metadata: &MetadataMap, key: &str) -> Result<Vec<String>, Status> {
    let encoded = metadata
        .get(format!("{key}-encoded"))
        .is_some_and(|value| value == "1");
    metadata
        .get_all(key)
        .iter()
        .map(|value| {
            let text = value
                .to_str()
                .map_err(|_| Status::invalid_argument(format!("bad value of {key}")))?;
            Ok(if encoded {
                query_unescape(text)
            } else {
                text.to_owned()
            })
        })
        .collect()
}

fn query_unescape(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_unescaped_only_when_said_so() {
        let mut metadata = MetadataMap::new();
        metadata.append("exclude-patterns", "a%20b+c".parse().unwrap());
        metadata.append("exclude-patterns", "%C3%A4".parse().unwrap());
        assert_eq!(
            values(&metadata, "exclude-patterns").unwrap(),
            ["a%20b+c", "%C3%A4"]
        );
        metadata.insert("exclude-patterns-encoded", "1".parse().unwrap());
        assert_eq!(values(&metadata, "exclude-patterns").unwrap(), ["a b c", "ä"]);
        assert!(values(&metadata, "include-patterns").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_folder_is_refused_by_name() {
        let mut metadata = MetadataMap::new();
        metadata.insert("dir-name", "etc".parse().unwrap());
        let status = LocalSources::new(BTreeMap::new(), Failures::default())
            .folder(&metadata)
            .unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (tonic::Code::NotFound, "no access allowed to dir \"etc\"")
        );
    }
}
