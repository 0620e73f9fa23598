//! Loading an image into an engine while its archive comes: straight through, with progress, and given up whole.

pub(super) mod layers;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use serde::Deserialize;

use self::layers::Layers;
use self::upload::{Sent, Upload};
use super::error::EngineError;
use super::messages::Messages;
use super::transport::{Engine, Request};
use super::watch::{ANSWER, Heard, silent, while_alive};
use crate::buildkit::session::SessionFailure;
use crate::buildkit::spec::{Archive, ReceiveArchive};
use crate::causes::one_line;
use crate::progress::event::Sink;
use crate::progress::step::{Part, Step};

/// What a load is called where builds are shown, as buildx has it.
const STEP: &str = "importing to docker";
/// How often the bytes sent are shown.
const SHOWN_EVERY: Duration = Duration::from_millis(250);
/// How long the rest of an archive may take when the engine has all it needs: the daemon ends it just then.
const REST: Duration = Duration::from_secs(5);

/// How an engine keeps its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStore {
    /// One platform of an image, without attestations: loads docker archives only.
    Classic,
    /// What a registry would keep: loads OCI archives, too.
    Containerd,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    driver_status: Option<Vec<(String, String)>>,
}

/// Asks an engine how it keeps its images.
pub async fn image_store(engine: &Engine) -> Result<ImageStore, EngineError> {
    let asked = tokio::time::timeout(ANSWER, engine.ask_for::<Info>("/info")).await;
    let info = asked.map_err(|_| silent(engine))??;
    let snapshotter = |(key, value): &(String, String)| {
        key == "driver-type" && value.starts_with("io.containerd.snapshotter.")
    };
    Ok(
        match info.driver_status.unwrap_or_default().iter().any(snapshotter) {
            true => ImageStore::Containerd,
            false => ImageStore::Classic,
        },
    )
}

/// Loads what it receives into one engine.
pub struct Loader {
    engine: Arc<Engine>,
    sink: Sink,
}

impl Loader {
    /// Loads into `engine` and shows it as a step of the build that `sink` belongs to.
    pub fn new(engine: Arc<Engine>, sink: Sink) -> Self {
        Self { engine, sink }
    }
}

#[async_trait]
impl ReceiveArchive for Loader {
    /// The engine hears nothing of an archive that has not begun, and an archive that breaks off closes its connection:
    /// engines name an image when they have read all of it.
    async fn receive(&self, mut archive: Archive) -> Result<(), SessionFailure> {
        let first = match archive.try_next().await {
            Ok(Some(first)) => first,
            Ok(None) => return Ok(()),
            Err(error) => return Err(broken_off(&error.to_string())),
        };
        let step = Step::start(&self.sink, STEP).await;
        let (upload, sent) = Upload::new(first, archive);
        match load(&self.engine, upload, &sent, &step).await {
            Ok(()) => {
                step.finish().await;
                Ok(())
            }
            // Whoever sends it has the reason; here it was given up.
            Err(error) if sent.is_broken() => Err(broken_off(&one_line(&error))),
            Err(error) => {
                let failure = failure(&error);
                step.fail(failure.message.clone()).await;
                Err(failure)
            }
        }
    }
}

fn broken_off(message: &str) -> SessionFailure {
    SessionFailure {
        message: message.to_owned(),
        hint: None,
        is_exhausted: false,
    }
}

fn failure(error: &EngineError) -> SessionFailure {
    const GONE: &str = "The engine may have been stopped or restarted, or be out of memory: its log says which. The build itself is cached; the same command loads it again";
    let gone = matches!(error, EngineError::Http { .. } | EngineError::Lost { .. });
    SessionFailure {
        message: one_line(error),
        hint: error.hint().or_else(|| gone.then(|| GONE.to_owned())),
        is_exhausted: error.is_exhausted(),
    }
}

async fn load(engine: &Engine, upload: Upload, sent: &Sent, step: &Step) -> Result<(), EngineError> {
    let mut part = Some(step.part("transferring image").await);
    let request =
        Request::new("POST", "/images/load?quiet=0").with_header("content-type", "application/x-tar");
    let heard = Heard::default();
    let loading = async {
        let answer = engine.upload(&request, upload).await?;
        let mut messages = Messages::new(answer, engine.url(), &heard);
        let mut layers = Layers::new(step, "loading layer");
        while let Some(message) = messages.next().await? {
            if let Some(message) = message.failure() {
                let url = engine.url().to_owned();
                return Err(EngineError::Load { url, message });
            }
            layers.show(&message).await;
        }
        // The engine may have read the end of the archive before the daemon has ended it.
        let _ = tokio::time::timeout(REST, sent.ended()).await;
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = while_alive(engine, || sent.bytes() + heard.times(), loading) => outcome,
        never = keep_showing(&mut part, sent) => never,
    };
    show(&mut part, sent, true).await;
    outcome
}

/// Shows how many bytes have gone out.
async fn show(part: &mut Option<Part>, sent: &Sent, is_last: bool) {
    if let Some(part) = part {
        part.progress(i64::try_from(sent.bytes()).unwrap_or(i64::MAX), 0)
            .await;
    }
    if is_last && let Some(part) = part.take() {
        part.finish().await;
    }
}

async fn keep_showing<T>(part: &mut Option<Part>, sent: &Sent) -> T {
    loop {
        tokio::time::sleep(SHOWN_EVERY).await;
        show(part, sent, sent.has_ended()).await;
    }
}

#[cfg(test)]
mod tests;
