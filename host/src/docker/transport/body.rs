//! Bodies of answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use super::Link;
use crate::causes::one_line;
use crate::connect::helper_program::LastWords;
use crate::connect::pipe::Pipe;

/// Reads at most `limit` bytes of a body, and whether that is all of it.
pub(super) async fn read(mut body: Incoming, limit: usize) -> hyper::Result<(Bytes, bool)> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        read.extend_from_slice(&data);
        if read.len() > limit {
            read.truncate(limit);
            return Ok((read.freeze(), false));
        }
    }
    Ok((read.freeze(), true))
}

/// The body of an answer as it comes. Dropping it closes the connection.
pub struct AnswerStream {
    body: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
    _link: Box<dyn Send>,
}

impl AnswerStream {
    /// `link` is what must stay open for it.
    pub(super) fn new<B: Send + 'static>(body: Incoming, link: Link<B>) -> Self {
        let data = BodyDataStream::new(body).map_err(io_error);
        Self {
            body: StreamReader::new(data.boxed()),
            _link: Box::new(link),
        }
    }
}

/// A failure of a body as one of a stream.
fn io_error(error: hyper::Error) -> io::Error {
    let kind = match error.is_incomplete_message() {
        true => io::ErrorKind::UnexpectedEof,
        false => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, one_line(&error))
}

impl AsyncRead for AnswerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.body).poll_read(cx, buf)
    }
}

/// The stream below HTTP, with what was read of it too far.
pub(super) fn resumed(pipe: Pipe, ahead: Bytes) -> Pipe {
    if ahead.is_empty() {
        return pipe;
    }
    let last_words: Option<LastWords> = pipe.last_words().cloned();
    Pipe::new(pipe).with_ahead(ahead).with_last_words(last_words)
}
