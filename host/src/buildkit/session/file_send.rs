//! Exports to the client: files, archives and standard output.

mod archive;
mod unnamed;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bkhost_proto::Frame;
use bkhost_proto::control::BytesMessage;
use bkhost_proto::filesync::file_send_server::FileSend;
use bkhost_proto::fsutil::Packet;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub(super) use self::unnamed::{Inbox, UnnamedFiles};
use super::failure::Failures;
use super::fsutil::receive::{Leftovers, OUTSTANDING, ReceiveError, receive_tree};
use crate::buildkit::spec::{ExportTarget, StandardOutput};
use crate::causes;

/// Pieces of up to 3 MiB waiting for the disk.
const PENDING_PIECES: usize = 4;
/// Packets waiting for the disk; with upstream's pieces of 32 KiB at most 4 MiB.
const PENDING_PACKETS: usize = 128;

/// Serves `moby.filesync.v1.FileSend`: one target per exporter, in the order of the solve request.
#[derive(Debug)]
pub struct ExportTargets {
    targets: Vec<ExportTarget>,
    output: StandardOutput,
    files: Inbox,
    failures: Failures,
}

impl ExportTargets {
    /// Targets by position of their exporter, what stands for standard output, and where files wait for their names. What
    /// cannot be written is kept in `failures`.
    pub(super) fn new(
        targets: Vec<ExportTarget>,
        output: StandardOutput,
        files: Inbox,
        failures: Failures,
    ) -> Self {
        Self {
            targets,
            output,
            files,
            failures,
        }
    }

    /// The exporter the daemon names; old daemons name none and have one exporter.
    fn target(&self, metadata: &MetadataMap) -> Result<&ExportTarget, Status> {
        let id = metadata
            .get("buildkit-attachable-exporter-id")
            .and_then(|value| value.to_str().ok()?.parse::<usize>().ok())
            .unwrap_or(0);
        self.targets
            .get(id)
            .ok_or_else(|| Status::not_found(format!("exporter {id} not found")))
    }
}

type FrameStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

#[async_trait]
impl FileSend for ExportTargets {
    type DiffCopyStream = FrameStream;

    async fn diff_copy(&self, request: Request<Streaming<Frame>>) -> Result<Response<FrameStream>, Status> {
        let target = self.target(request.metadata())?.clone();
        let multi_platform = request
            .metadata()
            .contains_key("buildkit-exporter-multi-platform");
        let incoming = request.into_inner();
        let failures = self.failures.clone();
        match target {
            ExportTarget::Folder { delete: true, .. } if !multi_platform => Err(Status::failed_precondition(
                "local exporter mode=delete requires a BuildKit daemon with multi-platform local export support",
            )),
            ExportTarget::Folder { path, delete } => {
                let leftovers = if delete {
                    Leftovers::Delete
                } else {
                    Leftovers::Keep
                };
                Ok(Response::new(receive_folder(path, leftovers, incoming, failures)))
            }
            ExportTarget::File(path) => {
                receive_bytes(Output::File(path, self.files.clone()), incoming, &failures).await
            }
            ExportTarget::Stdout => {
                receive_bytes(Output::Standard(self.output.clone()), incoming, &failures).await
            }
            ExportTarget::Receiver(receiver) => {
                archive::hand_over(&receiver, incoming, &failures).await?;
                Ok(Response::new(Box::pin(futures::stream::empty())))
            }
            ExportTarget::None | ExportTarget::Layout(_) => Err(Status::invalid_argument(
                "this exporter has no file on the client",
            )),
        }
    }
}

/// Takes a tree in; what comes out are the requests to the daemon, then its end.
fn receive_folder(
    path: PathBuf,
    leftovers: Leftovers,
    incoming: Streaming<Frame>,
    failures: Failures,
) -> FrameStream {
    let (forward, mut packets) = mpsc::channel::<Packet>(PENDING_PACKETS);
    let (outgoing, requests) = mpsc::channel::<Packet>(OUTSTANDING + 2);
    let (ended, end) = tokio::sync::oneshot::channel();
    let reader = tokio::spawn(forward_packets(incoming, forward));
    tokio::task::spawn_blocking(move || {
        let result = receive_tree(&path, leftovers, &mut packets, &outgoing);
        // The channels close first: the stream below then ends with the result.
        drop((packets, outgoing));
        let _ = ended.send(result);
    });
    let requests = ReceiverStream::new(requests).map(|packet| Ok(Frame::pack(&packet)));
    let last = futures::stream::once(async move {
        let transport = reader.await.ok().flatten();
        match end.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(told(&failures, &error, transport))),
            Err(_) => Some(Err(Status::internal("writing the export ended without a result"))),
        }
    });
    Box::pin(requests.chain(last.filter_map(std::future::ready)))
}

/// Only what could not be written is a failure of ours. A stream that ends early is the daemon's doing, which has a reason
/// of its own: another exporter failed, or the build was cancelled.
fn told(failures: &Failures, error: &ReceiveError, transport: Option<Status>) -> Status {
    match error {
        ReceiveError::Tree(_) => failures.export(error),
        _ => transport.unwrap_or_else(|| Status::unknown(causes::one_line(error))),
    }
}

/// Gives the failure of the transport, if it failed.
async fn forward_packets(mut incoming: Streaming<Frame>, forward: mpsc::Sender<Packet>) -> Option<Status> {
    loop {
        let received = tokio::select! {
            // The writer gave up. The daemon may have nothing to send until it is asked, or told so.
            () = forward.closed() => return None,
            received = incoming.next() => received,
        };
        let frame = match received {
            Some(Ok(frame)) => frame,
            Some(Err(status)) => return Some(status),
            None => return None,
        };
        let Ok(packet) = frame.unpack::<Packet>() else {
            return Some(Status::invalid_argument(
                "a local export sent something that is no packet",
            ));
        };
        if forward.send(packet).await.is_err() {
            return None;
        }
    }
}

enum Output {
    File(PathBuf, Inbox),
    Standard(StandardOutput),
}

/// Takes one file in and answers once all of it is written. The daemon ends the solve after that, so a file has its name
/// later.
async fn receive_bytes(
    output: Output,
    mut incoming: Streaming<Frame>,
    failures: &Failures,
) -> Result<Response<FrameStream>, Status> {
    let (pieces, pending) = mpsc::channel::<Piece>(PENDING_PIECES);
    let writer = tokio::task::spawn_blocking(move || write_pieces(&output, pending));
    while let Some(frame) = incoming.message().await? {
        let message = frame
            .unpack::<BytesMessage>()
            .map_err(|error| Status::invalid_argument(format!("bad piece of a file: {error}")))?;
        if pieces.send(Piece::Data(message.data)).await.is_err() {
            break;
        }
    }
    let _ = pieces.send(Piece::End).await;
    drop(pieces);
    let written = writer
        .await
        .map_err(|error| Status::internal(error.to_string()))?;
    written.map_err(|error| failures.export(&error))?;
    Ok(Response::new(Box::pin(futures::stream::empty())))
}

enum Piece {
    Data(bytes::Bytes),
    /// Nothing more comes. Without it the transfer was cut, and nothing may look whole.
    End,
}

fn write_pieces(output: &Output, mut pending: mpsc::Receiver<Piece>) -> io::Result<()> {
    let mut sink: Option<Sink> = None;
    while let Some(piece) = pending.blocking_recv() {
        match piece {
            Piece::Data(data) => {
                let opened = match sink.take() {
                    Some(opened) => opened,
                    None => Sink::open(output)?,
                };
                sink.insert(opened).write(&data)?;
            }
            Piece::End => {
                return match sink {
                    Some(sink) => sink.complete(),
                    None => Ok(()),
                };
            }
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

enum Sink {
    /// A file under a temporary name beside its destination; it vanishes unless it is handed in.
    Fresh(tempfile::NamedTempFile, PathBuf, Inbox),
    /// Something that cannot be replaced: a device, a pipe, standard output.
    Direct(Box<dyn Write + Send>, PathBuf),
}

impl Sink {
    fn open(output: &Output) -> io::Result<Self> {
        let (path, files) = match output {
            Output::Standard(output) => {
                return Ok(Self::Direct(
                    Box::new(output.clone()),
                    PathBuf::from("standard output"),
                ));
            }
            Output::File(path, files) => (path, files.clone()),
        };
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(with_path(path))?;
            return Ok(Self::Direct(Box::new(file), path.clone()));
        }
        // A link stays a link: its target is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(with_path(parent))?;
        let file = tempfile::Builder::new()
            .prefix(".tmp-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(
                crate::fs::PUBLIC_FILE,
            ))
            .tempfile_in(parent)
            .map_err(with_path(&path))?;
        Ok(Self::Fresh(file, path, files))
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            // Not the temporary file's own writer: its errors name a path that nobody knows.
            Self::Fresh(file, path, _) => file.as_file_mut().write_all(data).map_err(with_path(path)),
            Self::Direct(writer, path) => writer.write_all(data).map_err(with_path(path)),
        }
    }

    fn complete(self) -> io::Result<()> {
        match self {
            Self::Fresh(file, path, files) => files.add(file, &path),
            Self::Direct(mut writer, path) => writer.flush().map_err(with_path(&path)),
        }
    }
}

fn with_path(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_owned();
    move |error| {
        io::Error::new(
            error.kind(),
            format!("failed to write {}: {error}", path.display()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn write(output: &Output, pieces: Vec<Piece>) -> io::Result<()> {
        let (sender, pending) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            sender.try_send(piece).map_err(|_| io::Error::other("full"))?;
        }
        drop(sender);
        write_pieces(output, pending)
    }

    fn file(path: PathBuf) -> (Output, Arc<UnnamedFiles>) {
        let files = Arc::default();
        (Output::File(path, Inbox::of(&files)), files)
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_named_at_the_end_of_the_solve() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/image.tar");
        let count = || std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        let (output, files) = file(path.clone());
        let error = write(&output, vec![Piece::Data("half".into())]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(count(), 0);
        let whole = || vec![Piece::Data("a".into()), Piece::Data("b".into()), Piece::End];
        write(&output, whole()).unwrap();
        assert!(!path.exists() && count() == 1);
        files.name().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"ab");
        assert_eq!(count(), 1);
        // A solve that ends without it takes the file along, as does one that has ended.
        write(&output, whole()).unwrap();
        drop(files);
        assert!(write(&output, whole()).is_err());
        assert_eq!(count(), 1);
    }

    #[test]
    fn a_file_that_cannot_have_its_name_is_told_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.tar");
        let (output, files) = file(path.clone());
        write(&output, vec![Piece::Data("a".into()), Piece::End]).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = files.name().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("failed to write {}: ", path.display())),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_made_before_the_first_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (output, files) = file(dir.path().join("x/y"));
        write(&output, vec![Piece::End]).unwrap();
        files.name().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn standard_output_is_what_the_program_says_it_is() {
        let (written, kept) = (SharedBuffer::default(), SharedBuffer::default());
        let output = StandardOutput::new(written.clone());
        write(
            &Output::Standard(output),
            vec![Piece::Data("a".into()), Piece::Data("b".into()), Piece::End],
        )
        .unwrap();
        assert_eq!(*written.0.lock().unwrap(), b"ab");
        let cut = write(
            &Output::Standard(StandardOutput::new(kept.clone())),
            vec![Piece::Data("half".into())],
        );
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(*kept.0.lock().unwrap(), b"half");
    }

    #[derive(Clone, Default)]
    struct SharedBuffer(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for SharedBuffer {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(data)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_the_daemon_ended_early_is_no_failure_of_ours() {
        let failures = Failures::default();
        let status = told(&failures, &ReceiveError::Interrupted, None);
        assert_eq!(status.message(), "the stream ended early");
        assert_eq!(failures.behind("push access denied"), None);
    }

    #[test]
    fn exporters_are_found_by_position() {
        let targets = ExportTargets::new(
            vec![ExportTarget::None, ExportTarget::Stdout],
            StandardOutput::default(),
            Inbox::of(&Arc::default()),
            Failures::default(),
        );
        let mut metadata = MetadataMap::new();
        assert_eq!(targets.target(&metadata).unwrap(), &ExportTarget::None);
        metadata.insert("buildkit-attachable-exporter-id", "1".parse().unwrap());
        assert_eq!(targets.target(&metadata).unwrap(), &ExportTarget::Stdout);
        metadata.insert("buildkit-attachable-exporter-id", "2".parse().unwrap());
        assert_eq!(
            targets.target(&metadata).unwrap_err().message(),
            "exporter 2 not found"
        );
    }
}
