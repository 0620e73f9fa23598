//! What an engine tells while it works on a request: a stream of JSON messages, the last of which may be a failure.

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use super::error::EngineError;
use super::watch::Heard;

/// Most bytes of one message.
const MESSAGE: u64 = 1 << 20;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Message {
    /// What is being done (`Downloading`, `Loading layer` …).
    pub status: String,
    /// With what, mostly the beginning of a layer's digest; may be empty.
    pub id: String,
    /// How far it is.
    pub progress_detail: Detail,
    error: String,
    error_detail: ErrorDetail,
    aux: Option<Aux>,
}

/// Bytes that are done and bytes in all; zero where they are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    /// Done.
    pub current: u64,
    /// In all.
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    message: String,
}

/// What a request gave besides its progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Aux {
    digest: String,
}

impl Message {
    /// The digest of what was pushed, in the message that tells it.
    pub fn digest(&self) -> Option<String> {
        let digest = self.aux.as_ref().map(|aux| aux.digest.clone());
        digest.filter(|digest| !digest.is_empty())
    }

    /// The engine's word, if this message says that it failed.
    pub fn failure(&self) -> Option<String> {
        let texts = [&self.error_detail.message, &self.error];
        texts.into_iter().find(|text| !text.is_empty()).cloned()
    }
}

/// The messages of one answer.
pub(super) struct Messages<R> {
    answer: BufReader<R>,
    url: String,
    heard: Heard,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    /// The messages that `answer` of the engine at `url` holds; each is noted in `heard`.
    pub fn new(answer: R, url: &str, heard: &Heard) -> Self {
        Self {
            answer: BufReader::new(answer),
            url: url.to_owned(),
            heard: heard.clone(),
            line: Vec::new(),
        }
    }

    /// The next message; none at the end. What is no message says nothing and is passed over: failures are messages.
    pub async fn next(&mut self) -> Result<Option<Message>, EngineError> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.answer).take(MESSAGE);
            let read = limited.read_until(b'\n', &mut self.line).await;
            let read = read.map_err(|cause| EngineError::Lost {
                url: self.url.clone(),
                cause,
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.heard.add();
            if let Ok(message) = serde_json::from_slice(&self.line) {
                return Ok(Some(message));
            }
        }
    }
}
