//! Steps that the client or a driver makes itself, shown like a daemon's vertexes.

use bytes::Bytes;

use super::event::{Log, Sink, Status, Timestamp, Update, Vertex};

/// A running step. It must be ended with [`Step::finish`] or [`Step::fail`]; one that is dropped earlier is shown as
/// cancelled.
#[derive(Debug)]
pub struct Step {
    sink: Sink,
    vertex: Vertex,
    ended: bool,
}

impl Step {
    /// Starts a step with the text to show, by custom `[internal] booting buildkit` and the like.
    pub async fn start(sink: &Sink, name: impl Into<String>) -> Self {
        let vertex = Vertex {
            digest: random_digest(),
            name: name.into(),
            started: Some(Timestamp::now()),
            ..Vertex::default()
        };
        sink.send(Update {
            vertexes: vec![vertex.clone()],
            ..Update::default()
        })
        .await;
        Self {
            sink: sink.clone(),
            vertex,
            ended: false,
        }
    }

    /// The vertex digest of this step.
    pub fn digest(&self) -> &str {
        &self.vertex.digest
    }

    /// The sink this step reports to.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Shows a line of output under the step (`stream` 1 is standard output, 2 standard error).
    pub async fn log(&self, stream: i64, data: impl Into<Bytes>) {
        let log = Log {
            vertex: self.vertex.digest.clone(),
            stream,
            data: data.into(),
            timestamp: Some(Timestamp::now()),
        };
        self.sink
            .send(Update {
                logs: vec![log],
                ..Update::default()
            })
            .await;
    }

    /// Begins a named part of the step, such as `pulling image`.
    pub async fn part(&self, id: impl Into<String>) -> Part {
        let now = Timestamp::now();
        let status = Status {
            id: id.into(),
            vertex: self.vertex.digest.clone(),
            timestamp: Some(now),
            started: Some(now),
            ..Status::default()
        };
        let part = Part {
            sink: self.sink.clone(),
            status,
            ended: false,
        };
        part.send().await;
        part
    }

    /// Ends the step well.
    pub async fn finish(self) {
        self.end(String::new()).await;
    }

    /// Ends the step with the error to show.
    pub async fn fail(self, error: impl Into<String>) {
        self.end(error.into()).await;
    }

    async fn end(mut self, error: String) {
        self.ended = true;
        self.vertex.completed = Some(Timestamp::now());
        self.vertex.error = error;
        self.sink
            .send(Update {
                vertexes: vec![self.vertex.clone()],
                ..Update::default()
            })
            .await;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.vertex.completed = Some(Timestamp::now());
            self.vertex.error = "context canceled".to_owned();
            self.sink.try_send(Update {
                vertexes: vec![self.vertex.clone()],
                ..Update::default()
            });
        }
    }
}

/// A running part of a [`Step`].
#[derive(Debug)]
pub struct Part {
    sink: Sink,
    status: Status,
    ended: bool,
}

impl Part {
    /// Reports how far it is; `total` 0 means unknown.
    pub async fn progress(&mut self, current: i64, total: i64) {
        self.status.current = current;
        self.status.total = total;
        self.status.timestamp = Some(Timestamp::now());
        self.send().await;
    }

    /// Ends the part. Dropping it does the same.
    pub async fn finish(mut self) {
        self.complete();
        self.send().await;
    }

    fn complete(&mut self) {
        let now = Timestamp::now();
        self.ended = true;
        self.status.timestamp = Some(now);
        self.status.completed = Some(now);
    }

    async fn send(&self) {
        self.sink
            .send(Update {
                statuses: vec![self.status.clone()],
                ..Update::default()
            })
            .await;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.ended {
            self.complete();
            self.sink.try_send(Update {
                statuses: vec![self.status.clone()],
                ..Update::default()
            });
        }
    }
}

fn random_digest() -> String {
    format!("random:{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_step_is_cancelled() {
        let (sink, mut updates) = Sink::channel();
        let step = Step::start(&sink, "[internal] waiting").await;
        drop(step);
        drop(sink);
        let mut last = None;
        while let Some(update) = updates.recv().await {
            last = update.vertexes.into_iter().next();
        }
        assert_eq!(last.unwrap().error, "context canceled");
    }
}
