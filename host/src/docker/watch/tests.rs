//! Engines that fall silent in the middle of their work, over a real socket.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::buildkit::spec::RegistryCredentials;
use crate::docker::pull::{self, ImageName};
use crate::docker::{EngineSettings, Engines, push};
use crate::progress::event::Sink;
use crate::progress::step::Step;

const PONG: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n";
const BEGIN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n";

/// An engine that begins to answer whatever it is asked to do and says nothing more. It answers pings while it `lives`.
async fn serve(listener: UnixListener, lives: Arc<AtomicBool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(converse(stream, Arc::clone(&lives)));
    }
}

async fn converse(mut stream: UnixStream, lives: Arc<AtomicBool>) {
    let mut head = Vec::with_capacity(4096);
    while stream.read_buf(&mut head).await.unwrap_or(0) > 0 {
        let is_ping = head.starts_with(b"HEAD") || head.starts_with(b"GET");
        let answer = if is_ping { PONG } else { BEGIN };
        if lives.load(Ordering::Relaxed) {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        head.clear();
    }
}

struct Unseen;

#[async_trait]
impl pull::Progress for Unseen {
    async fn report(&mut self, _: u64, _: u64) {}
}

/// An engine that hangs after some minutes ends the work within half a minute, and not before.
async fn hangs<T>(work: impl AsyncFnOnce(&Engine, &dyn RegistryCredentials) -> Result<T, EngineError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let lives = Arc::new(AtomicBool::new(true));
    let serving = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), Arc::clone(&lives)));
    let engines = Engines::new(EngineSettings::default());
    let engine = engines.engine(&format!("unix://{}", path.display())).unwrap();
    let begun = Instant::now();
    let minutes = Duration::from_secs(180);
    let end = async {
        tokio::time::sleep(minutes).await;
        lives.store(false, Ordering::Relaxed);
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        outcome = work(&engine, engines.credentials()) => outcome.err().unwrap(),
        () = end => unreachable!(),
    };
    assert!(matches!(error, EngineError::Silent { .. }), "{error}");
    let took = begun.elapsed();
    assert!(
        took >= minutes && took < minutes + Duration::from_secs(30),
        "{took:?}"
    );
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_ends_a_pull() {
    let image = ImageName::parse("a").unwrap();
    hangs(async |engine, user| pull::pull(engine, user, &image, None, &mut Unseen).await).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_ends_a_push() {
    let step = Step::start(&Sink::discard(), "pushing").await;
    hangs(async |engine, user| push::push(engine, user, "r.example/a", &step).await).await;
}
