//! Several streams of events become one: names get the stream's prefix, clocks are shifted to ours, and output that
//! two streams report is kept once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::event::{Sink, Timestamp, Update};

/// Makes the lanes of one display.
#[derive(Clone, Debug, Default)]
pub struct Mux {
    /// Which lane was the first to report output of a vertex.
    owners: Arc<Mutex<HashMap<String, u64>>>,
    lanes: u64,
}

impl Mux {
    /// A multiplexer without lanes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A lane for the events of one daemon; `prefix` (a node or target) goes before every name.
    pub fn lane(&mut self, prefix: Option<&str>) -> Lane {
        self.lanes += 1;
        Lane {
            id: self.lanes,
            prefix: prefix.map(str::to_owned),
            owners: Arc::clone(&self.owners),
            shift: None,
        }
    }
}

/// One stream on its way into the display.
#[derive(Debug)]
pub struct Lane {
    id: u64,
    prefix: Option<String>,
    owners: Arc<Mutex<HashMap<String, u64>>>,
    /// What the daemon's clock is behind ours; known once its first vertex has started.
    shift: Option<SignedDuration>,
}

impl Lane {
    /// Passes everything on until the stream ends.
    pub async fn forward(mut self, mut updates: mpsc::Receiver<Update>, sink: Sink) {
        while let Some(update) = updates.recv().await {
            sink.send(self.prepare(update, Timestamp::now())).await;
        }
    }

    /// One update as the display is to see it; `now` is our clock.
    pub fn prepare(&mut self, mut update: Update, now: Timestamp) -> Update {
        self.learn_shift(&update, now);
        self.name(&mut update);
        self.drop_foreign_logs(&mut update);
        if let Some(shift) = self.shift.filter(|shift| !shift.is_zero()) {
            shift_all(&mut update, shift);
        }
        update
    }

    /// The first vertex of a stream starts now, whatever the daemon's clock says.
    fn learn_shift(&mut self, update: &Update, now: Timestamp) {
        if self.shift.is_none() {
            let first = update.vertexes.iter().filter_map(|vertex| vertex.started).min();
            self.shift = first.map(|first| now.duration_since(first));
        }
    }

    fn name(&self, update: &mut Update) {
        let Some(prefix) = &self.prefix else {
            return;
        };
        for vertex in &mut update.vertexes {
            vertex.name = prefixed(prefix, &vertex.name);
            if let Some(group) = &mut vertex.group {
                group.name = prefixed(prefix, &group.name);
            }
        }
    }

    fn drop_foreign_logs(&self, update: &mut Update) {
        if update.logs.is_empty() {
            return;
        }
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        update.logs.retain(|log| match owners.get(&log.vertex) {
            Some(owner) => *owner == self.id,
            None => {
                owners.insert(log.vertex.clone(), self.id);
                true
            }
        });
    }
}

/// `[x] y` becomes `[prefix x] y`; any other name, `[prefix] name`.
pub fn prefixed(prefix: &str, name: &str) -> String {
    match name.strip_prefix('[') {
        Some(rest) => format!("[{prefix} {rest}"),
        None => format!("[{prefix}] {name}"),
    }
}

fn shift_all(update: &mut Update, by: SignedDuration) {
    for vertex in &mut update.vertexes {
        shift(&mut vertex.started, by);
        shift(&mut vertex.completed, by);
    }
    for status in &mut update.statuses {
        shift(&mut status.timestamp, by);
        shift(&mut status.started, by);
        shift(&mut status.completed, by);
    }
    for log in &mut update.logs {
        shift(&mut log.timestamp, by);
    }
}

/// A clock that is further off than time can be written stays as it is.
fn shift(time: &mut Option<Timestamp>, by: SignedDuration) {
    *time = time.map(|time| time.checked_add(by).unwrap_or(time));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::event::{Group, Vertex};
    use crate::progress::sample::{at, log, logs, status, statuses, vertex, vertexes};

    #[test]
    fn names_get_the_prefix() {
        assert_eq!(prefixed("app", "[2/3] RUN make"), "[app 2/3] RUN make");
        assert_eq!(prefixed("app", "exporting to image"), "[app] exporting to image");
        let mut lane = Mux::new().lane(Some("n1"));
        let member = Vertex {
            group: Some(Group {
                name: "[internal] pulling".into(),
                ..Group::default()
            }),
            ..vertex("a", "resolve", None, None)
        };
        let update = lane.prepare(vertexes(vec![member]), at(0));
        assert_eq!(update.vertexes[0].name, "[n1] resolve");
        assert_eq!(
            update.vertexes[0].group.as_ref().unwrap().name,
            "[n1 internal] pulling"
        );
    }

    #[test]
    fn the_first_started_vertex_begins_now() {
        let mut lane = Mux::new().lane(None);
        let waiting = lane.prepare(vertexes(vec![vertex("w", "w", None, None)]), at(0));
        assert_eq!(waiting.vertexes[0].started, None);
        let hour = 3_600_000;
        let update = lane.prepare(vertexes(vec![vertex("a", "a", Some(hour), None)]), at(500));
        assert_eq!(update.vertexes[0].started, Some(at(500)));
        let update = lane.prepare(
            vertexes(vec![vertex("a", "a", Some(hour), Some(hour + 250))]),
            at(9000),
        );
        assert_eq!(update.vertexes[0].completed, Some(at(750)));
        let update = lane.prepare(logs(vec![log("a", "x", hour + 10)]), at(9000));
        assert_eq!(update.logs[0].timestamp, Some(at(510)));
        let update = lane.prepare(statuses(vec![status("a", "part", 0, 0)]), at(9000));
        assert_eq!(update.statuses[0].started, Some(at(500 - hour)));
    }

    #[test]
    fn output_reported_twice_is_kept_once() {
        let mut mux = Mux::new();
        let (mut one, mut two) = (mux.lane(None), mux.lane(None));
        assert_eq!(one.prepare(logs(vec![log("a", "x", 0)]), at(0)).logs.len(), 1);
        let both = logs(vec![log("a", "x", 0), log("b", "y", 0)]);
        let update = two.prepare(both, at(0));
        assert_eq!(update.logs.len(), 1);
        assert_eq!(update.logs[0].vertex, "b");
        assert_eq!(one.prepare(logs(vec![log("a", "z", 0)]), at(0)).logs.len(), 1);
    }

    #[tokio::test]
    async fn a_lane_ends_with_its_stream() {
        let (daemon, updates) = Sink::channel();
        let (sink, mut shown) = Sink::channel();
        daemon.send(vertexes(vec![vertex("a", "a", None, None)])).await;
        drop(daemon);
        Mux::new().lane(Some("p")).forward(updates, sink).await;
        assert_eq!(shown.recv().await.unwrap().vertexes[0].name, "[p] a");
        assert!(shown.recv().await.is_none());
    }
}
