//! Engines that answer as they like, over a real socket.

use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::docker::{EngineSettings, Engines};
use crate::progress::event::Update;

const PONG: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

struct Fake {
    engine: Arc<Engine>,
    /// What came after the ping.
    got: Arc<Mutex<Vec<u8>>>,
    _folder: tempfile::TempDir,
}

/// An engine that says its version, and then reads `wanted` bytes of a load (or all of it) before it says `answer` and
/// closes.
fn fake(wanted: usize, answer: String) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let got = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&got);
    tokio::spawn(async move {
        let (mut ping, _) = listener.accept().await.unwrap();
        ping.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        ping.write_all(PONG.as_bytes()).await.unwrap();
        let (mut load, _) = listener.accept().await.unwrap();
        read(&mut load, wanted, &kept).await;
        let _ = load.write_all(answer.as_bytes()).await;
    });
    let engine = Engines::new(EngineSettings::default())
        .engine(&format!("unix://{}", path.display()))
        .unwrap();
    Fake {
        engine,
        got,
        _folder: folder,
    }
}

async fn read(stream: &mut UnixStream, wanted: usize, kept: &Mutex<Vec<u8>>) {
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = stream.read(&mut piece).await.unwrap_or(0);
        let mut kept = kept.lock().unwrap();
        kept.extend_from_slice(&piece[..read]);
        if read == 0 || kept.len() >= wanted || kept.ends_with(b"\r\n0\r\n\r\n") {
            return;
        }
    }
}

fn pieces(list: Vec<io::Result<Bytes>>) -> Archive {
    futures::stream::iter(list).boxed()
}

fn whole() -> Archive {
    pieces(vec![Ok("abc".into()), Ok("de".into())])
}

/// Loads, and tells what was shown.
async fn loaded(fake: &Fake, archive: Archive) -> (Result<(), SessionFailure>, Vec<Update>) {
    let (sink, mut updates) = Sink::channel();
    let loader = Loader::new(Arc::clone(&fake.engine), sink);
    let outcome = tokio::time::timeout(Duration::from_secs(60), loader.receive(archive)).await;
    drop(loader);
    let mut shown = Vec::new();
    while let Some(update) = updates.recv().await {
        shown.push(update);
    }
    (outcome.expect("a load ends"), shown)
}

fn errors(shown: &[Update]) -> Vec<&str> {
    let vertexes = shown.iter().flat_map(|update| &update.vertexes);
    vertexes
        .filter(|vertex| vertex.completed.is_some())
        .map(|vertex| vertex.error.as_str())
        .collect()
}

#[tokio::test]
async fn an_archive_goes_through_as_it_comes() {
    let told = "{\"status\":\"Loading layer\",\"progressDetail\":{\"current\":2,\"total\":5},\"id\":\"1\"}\n\
                {\"status\":\"Loading layer\",\"progressDetail\":{\"current\":5,\"total\":5},\"id\":\"1\"}\n\
                {\"stream\":\"Loaded image: a:1\\n\"}\n";
    let fake = fake(usize::MAX, format!("{OK}{told}"));
    let (outcome, shown) = loaded(&fake, whole()).await;
    outcome.unwrap();
    let got = String::from_utf8(fake.got.lock().unwrap().clone()).unwrap();
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /v1.41/images/load?quiet=0 HTTP/1.1"),
        "{head}"
    );
    assert!(head.contains("content-type: application/x-tar") && !head.contains("content-length"));
    assert_eq!(body, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let statuses: Vec<_> = shown.iter().flat_map(|update| &update.statuses).collect();
    let last = statuses
        .iter()
        .rfind(|status| status.id == "loading layer 1")
        .unwrap();
    assert_eq!((last.current, last.total), (5, 5));
    assert!(last.completed.is_some());
    assert_eq!(errors(&shown), [""]);
}

#[tokio::test]
async fn an_engine_hears_nothing_of_an_archive_that_does_not_begin() {
    for archive in [pieces(vec![]), pieces(vec![Err(io::Error::other("gone"))])] {
        let fake = fake(usize::MAX, String::new());
        let (_, shown) = loaded(&fake, archive).await;
        assert_eq!((shown.len(), fake.got.lock().unwrap().len()), (0, 0));
    }
}

#[tokio::test]
async fn an_archive_that_breaks_off_is_never_ended() {
    let fake = fake(usize::MAX, OK.to_owned());
    let cut = pieces(vec![Ok("abc".into()), Err(io::Error::other("gone"))]);
    let (outcome, shown) = loaded(&fake, cut).await;
    assert!(outcome.is_err());
    assert_eq!(errors(&shown), ["context canceled"]);
    let got = fake.got.lock().unwrap().clone();
    assert!(!got.ends_with(b"0\r\n\r\n"), "{got:?}");
}

#[tokio::test]
async fn what_the_engine_says_is_the_failure() {
    let cases = [
        (
            format!(
                "{OK}{{\"errorDetail\":{{\"message\":\"write /x: no space left on device\"}},\"error\":\"\"}}\n"
            ),
            "write /x: no space left on device",
            true,
        ),
        (
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 18\r\n\r\n{\"message\":\"boom\"}"
                .to_owned(),
            "Error response from daemon: boom",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"st".to_owned(),
            "was lost",
            false,
        ),
        (String::new(), "ended before the answer did", false),
    ];
    for (answer, text, is_exhausted) in cases {
        let fake = fake(usize::MAX, answer);
        let (outcome, shown) = loaded(&fake, whole()).await;
        let failure = outcome.unwrap_err();
        assert!(failure.message.contains(text), "{failure:?}");
        assert_eq!(failure.is_exhausted, is_exhausted);
        assert_eq!(errors(&shown), [failure.message.as_str()]);
    }
}

/// The engine says why and closes while the archive still comes: writing fails, and the answer counts all the same.
#[tokio::test]
async fn an_engine_that_gives_up_early_is_heard() {
    let answer = format!("{OK}{{\"error\":\"no space left on device\"}}\n");
    let fake = fake(1 << 20, answer);
    let endless = futures::stream::repeat_with(|| Ok(Bytes::from(vec![7; 1 << 20]))).boxed();
    let (outcome, _) = loaded(&fake, endless).await;
    let failure = outcome.unwrap_err();
    assert!(failure.message.contains("no space left on device"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_any_more_ends_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let (mut ping, _) = listener.accept().await.unwrap();
        ping.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        ping.write_all(PONG.as_bytes()).await.unwrap();
        let mut held = vec![ping];
        loop {
            held.push(listener.accept().await.unwrap().0);
        }
    });
    let engines = Engines::new(EngineSettings::default());
    let engine = engines.engine(&format!("unix://{}", path.display())).unwrap();
    engine.version().await.unwrap();
    let loader = Loader::new(engine, Sink::discard());
    let failure = loader.receive(whole()).await.unwrap_err();
    assert!(
        failure.message.contains("did not answer within 15"),
        "{failure:?}"
    );
    serving.abort();
}

#[tokio::test]
async fn stores_are_told_apart() {
    for (status, store) in [
        (
            "[[\"driver-type\",\"io.containerd.snapshotter.v1\"]]",
            ImageStore::Containerd,
        ),
        ("[[\"Backing Filesystem\",\"extfs\"]]", ImageStore::Classic),
        ("null", ImageStore::Classic),
    ] {
        let body = format!("{{\"DriverStatus\":{status}}}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for said in [PONG.to_owned(), answer] {
                stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
                stream.write_all(said.as_bytes()).await.unwrap();
            }
            // Kept until the client has read it.
            let _ = stream.read_buf(&mut Vec::with_capacity(4096)).await;
        });
        let engines = Engines::new(EngineSettings::default());
        let engine = engines.engine(&format!("unix://{}", path.display())).unwrap();
        assert_eq!(image_store(&engine).await.unwrap(), store);
    }
}
