//! The receiving side: a local export on its way from the daemon into a folder.
//!
//! At most [`OUTSTANDING`] files are asked for at a time. Thousands of outstanding requests fill the window towards a
//! sender that serves a few, while each side waits for the other: upstream's clients hang in half of all exports of
//! 40,000 small files.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use bkhost_proto::fsutil::packet::PacketType;
use bkhost_proto::fsutil::{Packet, Stat};
use tokio::sync::mpsc;

use super::entry::is_regular;
use super::send::packet;
use super::tree::{OpenFile, Tree, TreeError};

/// Files asked for and not complete yet. Each request is a few bytes, so all of them fit any window.
pub const OUTSTANDING: usize = 100;

/// What the sender does with entries it does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They stay (`mode=copy`).
    Keep,
    /// They are removed once everything has arrived (`mode=delete`).
    Delete,
}

/// Why a transfer into a folder failed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The folder could not be written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The sender gave up, with its words.
    #[error("error from sender: {0}")]
    Sender(String),
    /// The sender broke the order of entries.
    #[error("changes out of order: {0:?}")]
    OutOfOrder(String),
    /// The sender named a path that is not below the destination.
    #[error("invalid path {0:?}")]
    InvalidPath(String),
    /// Data for a file that was not asked for.
    #[error("invalid file request {0}")]
    InvalidData(u32),
    /// A hard link to something that was not sent.
    #[error("invalid link {path:?} to unknown path: {target:?}")]
    UnknownLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// The stream ended before the transfer was complete.
    #[error("the stream ended early")]
    Interrupted,
}

/// Receives one tree into `destination`: blocks its thread, so it runs on the blocking pool. `incoming` brings the
/// sender's packets, `outgoing` takes ours; the channel must hold at least [`OUTSTANDING`] + 2.
pub fn receive_tree(
    destination: &Path,
    leftovers: Leftovers,
    incoming: &mut mpsc::Receiver<Packet>,
    outgoing: &mpsc::Sender<Packet>,
) -> Result<(), ReceiveError> {
    let mut receiver = Receiver {
        tree: Tree::create(destination)?,
        outgoing,
        next_id: 0,
        last_path: None,
        waiting: VecDeque::new(),
        open: HashMap::new(),
        seen: HashSet::new(),
        folders: Vec::new(),
        listed: false,
    };
    while !receiver.complete() {
        let packet = incoming.blocking_recv().ok_or(ReceiveError::Interrupted)?;
        receiver.take(packet)?;
    }
    receiver.finish(leftovers)?;
    while let Some(packet) = incoming.blocking_recv() {
        if packet.r#type() == PacketType::PacketErr {
            return Err(sender_error(&packet));
        }
    }
    Ok(())
}

struct Receiver<'a> {
    outgoing: &'a mpsc::Sender<Packet>,
    next_id: u32,
    last_path: Option<String>,
    /// Regular files that were listed and not asked for yet.
    waiting: VecDeque<(u32, Stat)>,
    open: HashMap<u32, (OpenFile, Stat)>,
    /// Every path sent: parents must be there before children, and link targets before links.
    seen: HashSet<String>,
    folders: Vec<Stat>,
    listed: bool,
    /// Dropped after the files that are open in it, which remove themselves from folders that it closes again.
    tree: Tree,
}

impl Receiver<'_> {
    fn complete(&self) -> bool {
        self.listed && self.waiting.is_empty() && self.open.is_empty()
    }

    fn take(&mut self, packet: Packet) -> Result<(), ReceiveError> {
        match packet.r#type() {
            PacketType::PacketStat => match packet.stat {
                Some(stat) => self.entry(stat)?,
                None => self.listed = true,
            },
            PacketType::PacketData => self.data(&packet)?,
            PacketType::PacketErr => return Err(sender_error(&packet)),
            PacketType::PacketReq | PacketType::PacketFin => {}
        }
        self.ask()
    }

    fn entry(&mut self, stat: Stat) -> Result<(), ReceiveError> {
        let id = self.next_id;
        self.next_id += 1;
        self.check_path(&stat.path)?;
        if !is_regular(stat.mode) {
            self.tree.write_special(&stat)?;
            if stat.mode & super::entry::mode::DIR != 0 {
                self.folders.push(stat.clone());
            }
        } else if stat.linkname.is_empty() {
            self.waiting.push_back((id, stat.clone()));
        } else {
            self.hard_link(&stat)?;
        }
        self.last_path = Some(stat.path.clone());
        self.seen.insert(stat.path);
        Ok(())
    }

    fn check_path(&self, path: &str) -> Result<(), ReceiveError> {
        let plain = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !plain || path.contains('\0') {
            return Err(ReceiveError::InvalidPath(path.to_owned()));
        }
        let in_order = self
            .last_path
            .as_deref()
            .is_none_or(|last| path_order(last, path).is_lt());
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if !in_order || parent.is_some_and(|parent| !self.seen.contains(parent)) {
            return Err(ReceiveError::OutOfOrder(path.to_owned()));
        }
        Ok(())
    }

    /// A link can only be made once its target is there, and targets are written when their data arrives: so the link
    /// waits with the other files, and is made in its turn.
    fn hard_link(&mut self, stat: &Stat) -> Result<(), ReceiveError> {
        if !self.seen.contains(&stat.linkname) {
            return Err(ReceiveError::UnknownLink {
                path: stat.path.clone(),
                target: stat.linkname.clone(),
            });
        }
        self.tree.defer_link(stat.clone());
        Ok(())
    }

    fn data(&mut self, packet: &Packet) -> Result<(), ReceiveError> {
        let (file, _) = self
            .open
            .get_mut(&packet.id)
            .ok_or(ReceiveError::InvalidData(packet.id))?;
        if !packet.data.is_empty() {
            return Ok(file.write(&packet.data)?);
        }
        if let Some((file, stat)) = self.open.remove(&packet.id) {
            self.tree.finish_file(file, &stat)?;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), ReceiveError> {
        while self.open.len() < OUTSTANDING {
            let Some((id, stat)) = self.waiting.pop_front() else {
                break;
            };
            let file = self.tree.create_file(&stat)?;
            self.open.insert(id, (file, stat));
            let request = Packet {
                id,
                ..packet(PacketType::PacketReq)
            };
            self.outgoing
                .blocking_send(request)
                .map_err(|_| ReceiveError::Interrupted)?;
        }
        Ok(())
    }

    fn finish(mut self, leftovers: Leftovers) -> Result<(), ReceiveError> {
        self.tree.make_links()?;
        if leftovers == Leftovers::Delete {
            self.tree.remove_others(&self.seen)?;
        }
        // Children first: setting a folder's time is of use only when nothing below it changes any more.
        for stat in self.folders.iter().rev() {
            self.tree.finish_folder(stat)?;
        }
        self.outgoing
            .blocking_send(packet(PacketType::PacketFin))
            .map_err(|_| ReceiveError::Interrupted)
    }
}

fn sender_error(packet: &Packet) -> ReceiveError {
    ReceiveError::Sender(String::from_utf8_lossy(&packet.data).into_owned())
}

/// Order of paths on the wire: `/` sorts below every other byte.
fn path_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.split('/').cmp(b.split('/'))
}

#[cfg(test)]
mod tests {
    use super::super::entry::mode;
    use super::super::send::{TransferError, send_tree};
    use super::super::walk::Selection;
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use tokio_stream::wrappers::ReceiverStream;

    fn stat(path: &str, bits: u32) -> Packet {
        let stat = Stat {
            path: path.to_owned(),
            mode: bits,
            ..Stat::default()
        };
        Packet {
            stat: Some(stat),
            ..packet(PacketType::PacketStat)
        }
    }

    /// Runs a receiver against scripted packets and gives what it asked for.
    fn receive(destination: &Path, packets: Vec<Packet>) -> (Result<(), ReceiveError>, Vec<Packet>) {
        receive_with(Leftovers::Keep, destination, packets)
    }

    fn receive_with(
        leftovers: Leftovers,
        destination: &Path,
        packets: Vec<Packet>,
    ) -> (Result<(), ReceiveError>, Vec<Packet>) {
        let (sender, mut incoming) = mpsc::channel(packets.len().max(1));
        for packet in packets {
            sender.try_send(packet).unwrap();
        }
        drop(sender);
        let (outgoing, mut asked) = mpsc::channel(OUTSTANDING + 2);
        let result = receive_tree(destination, leftovers, &mut incoming, &outgoing);
        let mut requests = Vec::new();
        while let Ok(packet) = asked.try_recv() {
            requests.push(packet);
        }
        (result, requests)
    }

    fn data(id: u32, text: &'static str) -> Packet {
        Packet {
            id,
            data: text.into(),
            ..packet(PacketType::PacketData)
        }
    }

    #[test]
    fn a_tree_arrives_with_modes_times_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut file = stat("d/file", 0o640);
        file.stat.as_mut().unwrap().mod_time = 1_600_000_000_000_000_001;
        let mut link = stat("d/link", mode::SYMLINK | 0o777);
        link.stat.as_mut().unwrap().linkname = "/etc/passwd".to_owned();
        let mut hard = stat("d/same", 0o640);
        hard.stat.as_mut().unwrap().linkname = "d/file".to_owned();
        let packets = vec![
            stat("d", mode::DIR | 0o555),
            file,
            link,
            hard,
            packet(PacketType::PacketStat),
            data(1, "content"),
            data(1, ""),
        ];
        let (result, requests) = receive(&out, packets);
        result.unwrap();
        assert_eq!(requests[0].id, 1);
        assert_eq!(requests[1].r#type(), PacketType::PacketFin);
        let metadata = std::fs::metadata(out.join("d/file")).unwrap();
        assert_eq!(std::fs::read(out.join("d/same")).unwrap(), b"content");
        assert_eq!(
            (metadata.permissions().mode() & 0o7777, metadata.nlink()),
            (0o640, 2)
        );
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_600_000_000, 1));
        assert_eq!(
            std::fs::read_link(out.join("d/link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(
            std::fs::metadata(out.join("d")).unwrap().permissions().mode() & 0o777,
            0o555
        );
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (out, outside) = (dir.path().join("out"), dir.path().join("outside"));
        std::fs::create_dir_all(&out).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, out.join("d")).unwrap();
        let packets = vec![
            stat("d", mode::DIR | 0o755),
            stat("d/x", 0o644),
            packet(PacketType::PacketStat),
            data(1, "evil"),
            data(1, ""),
        ];
        receive(&out, packets).0.unwrap();
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        assert!(std::fs::symlink_metadata(out.join("d")).unwrap().is_dir());
    }

    #[test]
    fn a_link_of_the_sender_is_no_way_out_either() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut link = stat("d", mode::SYMLINK | 0o777);
        link.stat.as_mut().unwrap().linkname = dir.path().to_string_lossy().into_owned();
        let (result, _) = receive(
            &out,
            vec![link, stat("d/x", 0o644), packet(PacketType::PacketStat)],
        );
        assert!(matches!(result, Err(ReceiveError::Tree(_))), "{result:?}");
        assert!(!dir.path().join("x").exists());
    }

    #[test]
    fn bad_paths_and_orders_are_refused() {
        for path in ["../x", "/x", "a/../b", "", "a//b", "./a"] {
            let dir = tempfile::tempdir().unwrap();
            let (result, _) = receive(dir.path(), vec![stat(path, 0o644)]);
            assert!(matches!(result, Err(ReceiveError::InvalidPath(_))), "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (result, _) = receive(dir.path(), vec![stat("b", 0o644), stat("a", 0o644)]);
        assert!(matches!(result, Err(ReceiveError::OutOfOrder(_))));
        let (result, _) = receive(dir.path(), vec![stat("no/parent", 0o644)]);
        assert!(matches!(result, Err(ReceiveError::OutOfOrder(_))));
        let (result, _) = receive(dir.path(), vec![data(7, "x")]);
        assert!(matches!(result, Err(ReceiveError::InvalidData(7))));
    }

    #[test]
    fn an_early_end_leaves_no_file_that_looks_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (result, _) = receive(dir.path(), vec![stat("f", 0o644), data(0, "half")]);
        assert!(matches!(result, Err(ReceiveError::Interrupted)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_existing_entry_of_another_kind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("f/deep")).unwrap();
        std::fs::write(dir.path().join("f/deep/x"), "").unwrap();
        let packets = vec![
            stat("f", 0o644),
            packet(PacketType::PacketStat),
            data(0, "new"),
            data(0, ""),
        ];
        receive(dir.path(), packets).0.unwrap();
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"new");
    }

    /// Two folders that are closed to their owner, and a file in the inner one.
    fn closed(text: &'static str) -> Vec<Packet> {
        vec![
            stat("d", mode::DIR | 0o500),
            stat("d/deep", mode::DIR | 0o100),
            stat("d/deep/f", 0o400),
            packet(PacketType::PacketStat),
            data(2, text),
            data(2, ""),
        ]
    }

    fn permissions(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn assert_closed(out: &Path, text: &str) {
        assert_eq!(permissions(&out.join("d")), 0o500);
        assert_eq!(permissions(&out.join("d/deep")), 0o100);
        assert_eq!(std::fs::read_to_string(out.join("d/deep/f")).unwrap(), text);
        assert_eq!(std::fs::read_dir(out.join("d/deep")).unwrap().count(), 1);
    }

    #[test]
    fn what_an_earlier_export_closed_is_written_again() {
        let user = bkhost_test_support::user::OrdinaryUser::new();
        let dir = tempfile::tempdir().unwrap();
        user.own(dir.path());
        let out = dir.path().join("out");
        for text in ["one", "two"] {
            user.run(|| receive(&out, closed(text))).0.unwrap();
            assert_closed(&out, text);
        }
        let mut cut = closed("three");
        cut.pop();
        let (result, _) = user.run(|| receive(&out, cut));
        assert!(matches!(result, Err(ReceiveError::Interrupted)), "{result:?}");
        assert_closed(&out, "two");
    }

    #[test]
    fn what_an_earlier_export_closed_is_removed() {
        let user = bkhost_test_support::user::OrdinaryUser::new();
        let dir = tempfile::tempdir().unwrap();
        user.own(dir.path());
        let (kept, replaced) = (dir.path().join("kept"), dir.path().join("replaced"));
        for out in [&kept, &replaced] {
            user.run(|| receive(out, closed("one"))).0.unwrap();
        }
        let nothing = vec![packet(PacketType::PacketStat)];
        let (result, _) = user.run(|| receive_with(Leftovers::Delete, &kept, nothing));
        result.unwrap();
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
        let file = vec![
            stat("d", 0o644),
            packet(PacketType::PacketStat),
            data(0, "file"),
            data(0, ""),
        ];
        user.run(|| receive(&replaced, file)).0.unwrap();
        assert_eq!(std::fs::read(replaced.join("d")).unwrap(), b"file");
    }

    #[test]
    fn a_folder_of_somebody_else_stays_closed() {
        let user = bkhost_test_support::user::OrdinaryUser::new();
        let dir = tempfile::tempdir().unwrap();
        user.own(dir.path());
        let folder = dir.path().join("d");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
        let (result, _) = user.run(|| receive(dir.path(), closed("one")));
        let error = result.unwrap_err();
        assert!(matches!(&error, ReceiveError::Tree(_)), "{error}");
        assert_eq!(permissions(&folder), 0o555);
    }

    #[test]
    fn requests_are_capped() {
        let dir = tempfile::tempdir().unwrap();
        let mut packets: Vec<Packet> = (0..300).map(|n| stat(&format!("f{n:04}"), 0o644)).collect();
        packets.push(packet(PacketType::PacketStat));
        let (result, requests) = receive(dir.path(), packets);
        assert!(matches!(result, Err(ReceiveError::Interrupted)));
        assert_eq!(requests.len(), OUTSTANDING);
    }

    #[tokio::test]
    async fn sender_and_receiver_carry_a_tree_over() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("deep/er")).unwrap();
        for n in 0..500 {
            std::fs::write(source.join(format!("deep/er/{n:04}")), format!("content {n}")).unwrap();
        }
        let (requests, stream) = mpsc::channel::<Result<Packet, String>>(8);
        let mut packets = send_tree(source.clone(), Selection::default(), ReceiverStream::new(stream));
        let (outgoing, mut asked) = mpsc::channel(OUTSTANDING + 2);
        tokio::spawn(async move {
            while let Some(packet) = asked.recv().await {
                requests.send(Ok(packet)).await.unwrap();
            }
        });
        let (forward, mut incoming) = mpsc::channel(8);
        tokio::spawn(async move {
            while let Some(Ok::<_, TransferError>(packet)) = packets.recv().await {
                forward.send(packet).await.unwrap();
            }
        });
        let out = dir.path().join("out");
        let destination = out.clone();
        tokio::task::spawn_blocking(move || {
            receive_tree(&destination, Leftovers::Keep, &mut incoming, &outgoing)
        })
        .await
        .unwrap()
        .unwrap();
        assert_eq!(std::fs::read(out.join("deep/er/0123")).unwrap(), b"content 123");
        assert_eq!(std::fs::read_dir(out.join("deep/er")).unwrap().count(), 500);
    }
}
