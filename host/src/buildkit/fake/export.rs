//! Exports of the daemon in memory, over the session of its client.

use bkhost_proto::Frame;
use bkhost_proto::control::BytesMessage;
use bkhost_proto::filesync::file_send_client::FileSendClient;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Answers;
use crate::buildkit::session;
use crate::connect::channel::Channel;

/// An archive or a file that goes to the client. Like BuildKit, the daemon ends it with a half-close whether it is whole or
/// not, and then waits until the client has ended its own half.
#[derive(Clone)]
pub(crate) struct Export {
    pieces: Vec<Bytes>,
    /// Why the daemon could not go on.
    failure: Option<String>,
    session: watch::Sender<Option<Channel>>,
}

impl Export {
    /// These pieces, and nothing fails.
    pub(crate) fn of(pieces: &[&[u8]]) -> Self {
        Self {
            pieces: pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect(),
            failure: None,
            session: watch::Sender::new(None),
        }
    }

    /// After the pieces the daemon fails with these words.
    pub(crate) fn failing(self, words: &str) -> Self {
        Self {
            failure: Some(words.to_owned()),
            ..self
        }
    }

    /// Opens the way into the session whose call this is.
    pub(super) fn enter(&self, mut incoming: Streaming<BytesMessage>) -> Answers<BytesMessage> {
        let (sender, data) = mpsc::channel(16);
        let (outgoing, messages) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                if sender.send(message.data).await.is_err() {
                    return;
                }
            }
        });
        let session = self.session.clone();
        tokio::spawn(async move {
            let channel = Channel::open_unproven(session::way_in(data, outgoing)).await;
            session.send_replace(Some(channel));
        });
        Box::pin(ReceiverStream::new(messages).map(Ok))
    }

    /// Sends everything. Its own failure counts more than what the client makes of the pieces.
    pub(super) async fn run(&self) -> Result<(), Status> {
        let mut session = self.session.subscribe();
        let channel = session.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        // The session ends when nobody holds its connection any more.
        self.session.send_replace(None);
        let frames = self.pieces.clone().into_iter();
        let frames = frames.map(|data| Frame::pack(&BytesMessage { data }));
        let taken = send(channel, futures::stream::iter(frames)).await;
        match &self.failure {
            Some(words) => Err(Status::unknown(words.clone())),
            None => {
                taken.map_err(|status| Status::unknown(format!("error from client: {}", status.message())))
            }
        }
    }
}

async fn send(
    channel: Channel,
    frames: impl futures::Stream<Item = Frame> + Send + 'static,
) -> Result<(), Status> {
    let mut answer = FileSendClient::new(channel).diff_copy(frames).await?.into_inner();
    while answer.message().await?.is_some() {}
    Ok(())
}
