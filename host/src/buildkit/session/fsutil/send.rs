//! The sending side: a local source on its way to the daemon.
//!
//! It takes any number of requests without blocking its reader, and holds nothing while it reads files: a receiver that
//! asks for thousands of files at once must not bring both sides to wait for each other.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bkhost_proto::fsutil::packet::PacketType;
use bkhost_proto::fsutil::{Packet, Stat};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::entry::is_regular;
use super::walk::{Selection, walk};
use crate::causes;

/// Bytes of one DATA packet. Upstream sends 32 KiB; larger pieces cost fewer wake-ups and stay far below the message
/// limit of 16 MiB.
const PIECE: usize = 64 * 1024;
/// Files read at the same time, as upstream does.
const READERS: usize = 4;
/// Packets on their way to the wire; with [`PIECE`] at most 4 MiB.
const OUTGOING: usize = 64;

/// Why a transfer ended badly.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The tree could not be read.
    #[error(transparent)]
    Walk(#[from] super::walk::WalkError),
    /// The other side gave up, with its words.
    #[error("error from receiver: {0}")]
    Receiver(String),
    /// The other side asked for something that is no file of this tree.
    #[error("invalid file id {0}")]
    InvalidId(u32),
    /// The stream ended before the transfer was complete.
    #[error("the stream ended early")]
    Interrupted,
    /// The transport failed, with its words.
    #[error("{0}")]
    Transport(String),
}

/// Sends the selected entries of `root`: packets for the other side come out of the returned receiver, which ends when
/// the transfer is complete. An error is its last item.
pub fn send_tree<S, E>(
    root: PathBuf,
    selection: Selection,
    incoming: S,
) -> mpsc::Receiver<Result<Packet, TransferError>>
where
    S: Stream<Item = Result<Packet, E>> + Send + Unpin + 'static,
    E: std::fmt::Display + Send,
{
    let (out, packets) = mpsc::channel(OUTGOING);
    tokio::spawn(async move {
        if let Err(error) = transfer(root, selection, incoming, &out).await {
            if let TransferError::Walk(error) = &error {
                let text = causes::one_line(error);
                let _ = out.send(Ok(text_packet(PacketType::PacketErr, &text))).await;
            }
            let _ = out.send(Err(error)).await;
        }
    });
    packets
}

type Outgoing = mpsc::Sender<Result<Packet, TransferError>>;

async fn transfer<S, E>(
    root: PathBuf,
    selection: Selection,
    incoming: S,
    out: &Outgoing,
) -> Result<(), TransferError>
where
    S: Stream<Item = Result<Packet, E>> + Send + Unpin,
    E: std::fmt::Display + Send,
{
    let sent = Arc::new(Sent::default());
    let (requests, wanted) = mpsc::unbounded_channel();
    let readers = spawn_readers(wanted, out);
    let walker = spawn_walker(root, selection, Arc::clone(&sent), out.clone());
    let reading = read_requests(incoming, &sent, requests);
    tokio::pin!(reading);
    tokio::select! {
        ended = &mut reading => ended?,
        walked = walker => {
            walked.map_err(|error| TransferError::Transport(error.to_string()))??;
            reading.await?;
        }
    }
    for reader in readers {
        let _ = reader.await;
    }
    let _ = out.send(Ok(packet(PacketType::PacketFin))).await;
    Ok(())
}

/// Path of every entry sent, by id; only regular files may be asked for.
#[derive(Default)]
struct Sent(Mutex<Vec<Option<PathBuf>>>);

impl Sent {
    fn add(&self, stat: &Stat, full: &Path) {
        let requestable = is_regular(stat.mode);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(requestable.then(|| full.to_owned()));
    }

    /// Each file may be asked for once.
    fn take(&self, id: u32) -> Option<PathBuf> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get_mut(usize::try_from(id).ok()?)?.take()
    }
}

fn spawn_walker(
    root: PathBuf,
    selection: Selection,
    sent: Arc<Sent>,
    out: Outgoing,
) -> tokio::task::JoinHandle<Result<(), TransferError>> {
    tokio::task::spawn_blocking(move || {
        walk(&root, &selection, &mut |stat, full| {
            // Known before it is sent, so that no request can come too early.
            sent.add(&stat, full);
            let packet = Packet {
                stat: Some(stat),
                ..packet(PacketType::PacketStat)
            };
            out.blocking_send(Ok(packet)).is_ok()
        })?;
        let _ = out.blocking_send(Ok(packet(PacketType::PacketStat)));
        Ok(())
    })
}

/// Takes requests until the receiver is done. Requests are small, so they queue without bound.
async fn read_requests<S, E>(
    mut incoming: S,
    sent: &Sent,
    requests: mpsc::UnboundedSender<(u32, PathBuf)>,
) -> Result<(), TransferError>
where
    S: Stream<Item = Result<Packet, E>> + Unpin,
    E: std::fmt::Display,
{
    while let Some(received) = incoming.next().await {
        let packet = received.map_err(|error| TransferError::Transport(error.to_string()))?;
        match packet.r#type() {
            PacketType::PacketReq => {
                let path = sent.take(packet.id).ok_or(TransferError::InvalidId(packet.id))?;
                // The readers only go away when the other side did; its stream then ends here too.
                let _ = requests.send((packet.id, path));
            }
            PacketType::PacketFin => return Ok(()),
            PacketType::PacketErr => {
                return Err(TransferError::Receiver(
                    String::from_utf8_lossy(&packet.data).into_owned(),
                ));
            }
            PacketType::PacketStat | PacketType::PacketData => {}
        }
    }
    Err(TransferError::Interrupted)
}

fn spawn_readers(
    wanted: mpsc::UnboundedReceiver<(u32, PathBuf)>,
    out: &Outgoing,
) -> Vec<tokio::task::JoinHandle<()>> {
    let wanted = Arc::new(tokio::sync::Mutex::new(wanted));
    (0..READERS)
        .map(|_| tokio::spawn(read_files(Arc::clone(&wanted), out.clone())))
        .collect()
}

async fn read_files(wanted: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<(u32, PathBuf)>>>, out: Outgoing) {
    loop {
        let mut batch = Vec::new();
        // Several at a time: most files are small, and handing one to the thread pool costs more than reading it.
        if wanted.lock().await.recv_many(&mut batch, 32).await == 0 {
            return;
        }
        let out = out.clone();
        let sent =
            tokio::task::spawn_blocking(move || batch.iter().all(|(id, path)| send_file(*id, path, &out)));
        if !sent.await.unwrap_or(false) {
            return;
        }
    }
}

/// Sends one file; `false` when nobody listens any more. A file that cannot be read any further just ends.
fn send_file(id: u32, path: &Path, out: &Outgoing) -> bool {
    let data = |data: Bytes| Packet {
        id,
        data,
        ..packet(PacketType::PacketData)
    };
    if let Ok(mut file) = File::open(path) {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            match file.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(_) if out.blocking_send(Ok(data(piece.into()))).is_err() => return false,
                Ok(_) => {}
            }
        }
    }
    out.blocking_send(Ok(data(Bytes::new()))).is_ok()
}

/// A packet with nothing but its type.
pub(super) fn packet(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

/// A packet with a text, such as an error.
pub(super) fn text_packet(kind: PacketType, text: &impl std::fmt::Display) -> Packet {
    Packet {
        data: text.to_string().into(),
        ..packet(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::wrappers::ReceiverStream;

    type Received = Result<Packet, String>;

    fn incoming() -> (mpsc::Sender<Received>, ReceiverStream<Received>) {
        let (sender, receiver) = mpsc::channel(1024);
        (sender, ReceiverStream::new(receiver))
    }

    #[tokio::test]
    async fn entries_then_an_end_mark_then_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "xyz").unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/b"), "").unwrap();
        let (requests, stream) = incoming();
        let mut out = send_tree(dir.path().to_owned(), Selection::default(), stream);
        let mut paths = Vec::new();
        while let Some(stat) = out.recv().await.unwrap().unwrap().stat {
            paths.push(stat.path);
        }
        assert_eq!(paths, ["a", "d", "d/b"]);
        for id in [0, 2] {
            requests
                .send(Ok(Packet {
                    id,
                    ..packet(PacketType::PacketReq)
                }))
                .await
                .unwrap();
        }
        let mut data = Vec::new();
        for _ in 0..3 {
            let packet = out.recv().await.unwrap().unwrap();
            data.push((packet.id, packet.data));
        }
        data.sort();
        assert_eq!(data, [(0, Bytes::new()), (0, "xyz".into()), (2, Bytes::new())]);
        requests.send(Ok(packet(PacketType::PacketFin))).await.unwrap();
        assert_eq!(out.recv().await.unwrap().unwrap().r#type(), PacketType::PacketFin);
        assert!(out.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_folder_cannot_be_asked_for_nor_a_file_twice() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let (requests, stream) = incoming();
        let mut out = send_tree(dir.path().to_owned(), Selection::default(), stream);
        out.recv().await.unwrap().unwrap();
        out.recv().await.unwrap().unwrap();
        requests.send(Ok(packet(PacketType::PacketReq))).await.unwrap();
        let error = out.recv().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "invalid file id 0");
    }

    #[tokio::test]
    async fn thousands_of_requests_never_block_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..2000 {
            std::fs::write(dir.path().join(format!("f{n:05}")), "content").unwrap();
        }
        let (requests, stream) = incoming();
        let mut out = send_tree(dir.path().to_owned(), Selection::default(), stream);
        let mut listed = 0;
        while out.recv().await.unwrap().unwrap().stat.is_some() {
            listed += 1;
        }
        // Nothing is read from `out` while all requests are written: a sender that waits would never take them.
        for id in 0..listed {
            let asked = requests.send(Ok(Packet {
                id,
                ..packet(PacketType::PacketReq)
            }));
            tokio::time::timeout(std::time::Duration::from_secs(20), asked)
                .await
                .unwrap()
                .unwrap();
        }
        let mut ended = 0;
        while ended < listed {
            ended += u32::from(out.recv().await.unwrap().unwrap().data.is_empty());
        }
    }
}
