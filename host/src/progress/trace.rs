//! Merges updates into the state of every vertex, for the displays to read.
//!
//! A progress group stands for all its members: it is one vertex here, with merged times.

pub mod intervals;
pub mod lines;
pub mod log;

use std::collections::HashMap;

use indexmap::IndexMap;

use super::duration;
use super::event::{self, Group, Status, Timestamp, Update, Warning};
use super::warnings::Warnings;
use intervals::Intervals;
use log::{LogBuffer, LogKeeping};

/// How an error of a cancelled vertex ends.
const CANCELLED: &str = "context canceled";
/// How many parts of one vertex are remembered; a vertex has as many as it has layers. What a broken sender adds to
/// that is not shown.
const MAX_PARTS: usize = 4096;
/// The same for warnings.
const MAX_WARNINGS: usize = 1024;

/// Everything known about a build so far. Vertexes never disappear and keep their index.
#[derive(Debug)]
pub struct Trace {
    vertexes: Vec<VertexState>,
    by_digest: HashMap<String, usize>,
    groups: HashMap<String, usize>,
    warnings: Warnings,
    keeping: LogKeeping,
    volume: usize,
}

/// One vertex, or a group of them shown as one.
#[derive(Debug)]
pub struct VertexState {
    /// The text to show.
    pub name: String,
    /// The result came from the cache; for a group, all results.
    pub cached: bool,
    /// Empty unless it failed; of a group, the first member's.
    pub error: String,
    /// A group of which only weak members have started.
    pub hidden: bool,
    /// When it ran.
    pub runs: Intervals,
    /// Its parts by id, in the order in which they came.
    pub parts: IndexMap<String, PartState>,
    /// Its output.
    pub log: LogBuffer,
    /// Its warnings.
    pub warnings: Vec<Warning>,
    /// Events since the display last reset it: how lively the vertex is.
    pub events: u64,
    /// Something changed that the display has not taken yet.
    pub changed: bool,
    members: IndexMap<String, Member>,
}

#[derive(Debug, Default)]
struct Member {
    started: bool,
    cached: bool,
    weak: bool,
    error: String,
}

/// A part of a vertex.
#[derive(Debug)]
pub struct PartState {
    /// As it was last reported.
    pub status: Status,
    /// Something changed that the display has not taken yet.
    pub changed: bool,
}

/// A vertex that failed, for the block at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The vertex's name.
    pub name: String,
    /// Its error.
    pub error: String,
    /// The last lines of its output with their time stamps.
    pub log: Vec<String>,
}

impl Trace {
    /// An empty trace that keeps output as `keeping` says.
    pub fn new(keeping: LogKeeping) -> Self {
        Self {
            vertexes: Vec::new(),
            by_digest: HashMap::new(),
            groups: HashMap::new(),
            warnings: Warnings::default(),
            keeping,
            volume: 0,
        }
    }

    /// Takes in what happened. Reports about vertexes that were never announced are ignored.
    pub fn apply(&mut self, update: Update) {
        for vertex in update.vertexes {
            self.vertex(vertex);
        }
        for status in update.statuses {
            self.status(status);
        }
        for log in update.logs {
            self.log(&log);
        }
        for warning in update.warnings {
            self.warning(warning);
        }
    }

    /// All vertexes in the order in which they were announced.
    pub fn vertexes(&self) -> &[VertexState] {
        &self.vertexes
    }

    /// The vertexes that may be seen, in the order in which they started. Daemons announce a build from its end.
    pub fn by_start(&self) -> Vec<&VertexState> {
        let mut visible: Vec<&VertexState> = self
            .vertexes
            .iter()
            .filter(|vertex| vertex.is_visible())
            .collect();
        visible.sort_by_key(|vertex| vertex.runs.first_start());
        visible
    }

    /// One vertex, to mark what has been shown.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut VertexState> {
        self.vertexes.get_mut(index)
    }

    /// Bytes of output since [`Trace::reset_volume`].
    pub fn volume(&self) -> usize {
        self.volume
    }

    /// Begins to count output anew.
    pub fn reset_volume(&mut self) {
        self.volume = 0;
    }

    /// Those that failed, in the order in which they started, without the cancelled ones.
    pub fn failures(&self) -> Vec<Failure> {
        let failed = self.vertexes.iter().filter(|vertex| vertex.has_failed());
        let mut failed: Vec<&VertexState> = failed.collect();
        failed.sort_by_key(|vertex| vertex.runs.first_start());
        failed
            .into_iter()
            .map(|vertex| Failure {
                name: vertex.name.clone(),
                error: vertex.error.clone(),
                log: vertex.log.tail(),
            })
            .collect()
    }

    /// The distinct warnings.
    pub fn into_warnings(self) -> Vec<Warning> {
        self.warnings.into_vec()
    }

    fn vertex(&mut self, vertex: event::Vertex) {
        match vertex.group.clone() {
            Some(group) => self.member(&group, vertex),
            None => self.single(vertex),
        }
    }

    fn single(&mut self, vertex: event::Vertex) {
        let next = self.vertexes.len();
        let index = *self.by_digest.entry(vertex.digest).or_insert(next);
        if index == next {
            self.vertexes.push(VertexState::new(self.keeping));
        }
        let Some(state) = self.vertexes.get_mut(index) else {
            return;
        };
        let known = (&state.name, state.cached, &state.error);
        let news = known != (&vertex.name, vertex.cached, &vertex.error);
        state.name = vertex.name;
        state.cached = vertex.cached;
        state.error = vertex.error;
        state.run(0, vertex.started, vertex.completed, news);
    }

    fn member(&mut self, group: &Group, vertex: event::Vertex) {
        let next = self.vertexes.len();
        let index = *self.groups.entry(group.id.clone()).or_insert(next);
        if index == next {
            self.vertexes.push(VertexState::new(self.keeping));
        }
        self.by_digest.insert(vertex.digest.clone(), index);
        if let Some(state) = self.vertexes.get_mut(index) {
            state.name.clone_from(&group.name);
            state.merge(group.weak, vertex);
        }
    }

    fn status(&mut self, status: Status) {
        let Some(vertex) = self.of(&status.vertex) else {
            return;
        };
        if vertex.parts.len() >= MAX_PARTS && !vertex.parts.contains_key(&status.id) {
            return;
        }
        let known = vertex.parts.get(&status.id);
        if known.is_some_and(|part| part.status == status) {
            return;
        }
        vertex.touch();
        let changed = true;
        vertex
            .parts
            .insert(status.id.clone(), PartState { status, changed });
    }

    fn log(&mut self, log: &event::Log) {
        self.volume = self.volume.saturating_add(log.data.len());
        let Some(vertex) = self.of(&log.vertex) else {
            return;
        };
        let start = vertex.runs.last_start();
        let seconds = match (start, log.timestamp) {
            (Some(start), Some(at)) => duration::seconds(start, at),
            _ => 0.0,
        };
        vertex.touch();
        vertex.log.push(&log.data, seconds);
    }

    fn warning(&mut self, warning: Warning) {
        if let Some(vertex) = self.of(&warning.vertex)
            && vertex.warnings.len() < MAX_WARNINGS
        {
            vertex.touch();
            vertex.warnings.push(warning.clone());
        }
        self.warnings.add(warning);
    }

    fn of(&mut self, digest: &str) -> Option<&mut VertexState> {
        let index = *self.by_digest.get(digest)?;
        self.vertexes.get_mut(index)
    }
}

impl VertexState {
    fn new(keeping: LogKeeping) -> Self {
        Self {
            name: String::new(),
            cached: false,
            error: String::new(),
            hidden: false,
            runs: Intervals::default(),
            parts: IndexMap::new(),
            log: LogBuffer::new(keeping),
            warnings: Vec::new(),
            events: 0,
            changed: false,
            members: IndexMap::new(),
        }
    }

    /// Whether it has started and may be seen.
    pub fn is_visible(&self) -> bool {
        self.runs.is_started() && !self.hidden
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.runs.is_started() && !self.runs.is_completed()
    }

    /// Whether it ended because the build was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.error.ends_with(CANCELLED)
    }

    /// Whether it ended with an error of its own.
    pub fn has_failed(&self) -> bool {
        !self.error.is_empty() && !self.is_cancelled()
    }

    fn touch(&mut self) {
        self.changed = true;
        self.events = self.events.saturating_add(1);
    }

    /// A vertex is sent again whole when anything about it changes; `news` says whether something else has changed.
    fn run(&mut self, member: usize, started: Option<Timestamp>, completed: Option<Timestamp>, news: bool) {
        let ran = started.is_some_and(|started| self.runs.set(member, started, completed));
        if news || ran {
            self.touch();
        }
        if self.runs.is_completed() && !self.has_failed() {
            self.log.forget_tail();
        }
    }

    fn merge(&mut self, weak: bool, vertex: event::Vertex) {
        let entry = self.members.entry(vertex.digest);
        let index = entry.index();
        let member = entry.or_default();
        member.started |= vertex.started.is_some();
        member.cached = vertex.cached;
        member.weak = weak;
        member.error = vertex.error;
        let news = self.sum_up();
        self.run(index, vertex.started, vertex.completed, news);
    }

    /// Derives the group from its members; says whether it looks different now.
    fn sum_up(&mut self) -> bool {
        let members = self.members.values();
        let mut errors = members.clone().map(|member| &member.error);
        let error = errors
            .find(|error| !error.is_empty())
            .cloned()
            .unwrap_or_default();
        let cached = members.clone().all(|member| member.cached);
        let strong = members.clone().any(|member| member.started && !member.weak);
        let hidden = !strong && error.is_empty();
        let news = (&error, cached, hidden) != (&self.error, self.cached, self.hidden);
        self.error = error;
        self.cached = cached;
        self.hidden = hidden;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::sample::{at, log, status, vertex};

    fn updates(trace: &mut Trace, vertexes: Vec<event::Vertex>) {
        trace.apply(Update {
            vertexes,
            ..Update::default()
        });
    }

    fn member(digest: &str, start: Option<i64>, end: Option<i64>, weak: bool) -> event::Vertex {
        event::Vertex {
            group: Some(Group {
                id: "g".into(),
                name: "group".into(),
                weak,
            }),
            ..vertex(digest, digest, start, end)
        }
    }

    #[test]
    fn a_vertex_that_runs_twice_is_running_again() {
        let mut trace = Trace::new(LogKeeping::Plain);
        updates(&mut trace, vec![vertex("a", "a", Some(0), Some(1000))]);
        assert!(trace.vertexes()[0].runs.is_completed());
        updates(&mut trace, vec![vertex("a", "a", Some(2000), None)]);
        assert!(trace.vertexes()[0].is_running());
        updates(&mut trace, vec![vertex("a", "a", Some(2000), Some(2500))]);
        let runs = &trace.vertexes()[0].runs;
        assert!((runs.elapsed(at(9000)) - 1.5).abs() < 1e-6);
    }

    #[test]
    fn what_is_sent_again_unchanged_is_no_news() {
        let mut trace = Trace::new(LogKeeping::Plain);
        updates(&mut trace, vec![vertex("a", "a", Some(0), Some(1000))]);
        trace.get_mut(0).unwrap().changed = false;
        updates(&mut trace, vec![vertex("a", "a", Some(0), Some(1000))]);
        assert!(!trace.vertexes()[0].changed);
        updates(&mut trace, vec![vertex("a", "other name", Some(0), Some(1000))]);
        assert!(trace.vertexes()[0].changed);
    }

    #[test]
    fn a_group_is_one_vertex_with_merged_times() {
        let mut trace = Trace::new(LogKeeping::Plain);
        updates(
            &mut trace,
            vec![
                member("a", Some(0), Some(2000), false),
                member("b", Some(1000), Some(3000), false),
            ],
        );
        assert_eq!(trace.vertexes().len(), 1);
        let group = &trace.vertexes()[0];
        assert_eq!(group.name, "group");
        assert!((group.runs.elapsed(at(9000)) - 3.0).abs() < 1e-6);
        trace.apply(Update {
            statuses: vec![status("b", "layer", 1, 2)],
            ..Update::default()
        });
        assert!(trace.vertexes()[0].parts.contains_key("layer"));
    }

    #[test]
    fn a_weak_member_alone_stays_hidden() {
        let mut trace = Trace::new(LogKeeping::Plain);
        updates(&mut trace, vec![member("a", Some(0), None, true)]);
        assert!(!trace.vertexes()[0].is_visible());
        updates(&mut trace, vec![member("b", None, None, false)]);
        assert!(!trace.vertexes()[0].is_visible());
        updates(&mut trace, vec![member("b", Some(5), None, false)]);
        assert!(trace.vertexes()[0].is_visible());
    }

    #[test]
    fn a_group_is_cached_only_as_a_whole_and_shows_its_first_error() {
        let mut trace = Trace::new(LogKeeping::Plain);
        let cached = event::Vertex {
            cached: true,
            ..member("a", Some(0), Some(1), true)
        };
        updates(&mut trace, vec![cached]);
        assert!(trace.vertexes()[0].cached);
        let failed = event::Vertex {
            error: "exit code: 1".into(),
            ..member("b", Some(0), Some(1), true)
        };
        updates(&mut trace, vec![failed]);
        let group = &trace.vertexes()[0];
        assert!(!group.cached);
        assert!(group.is_visible() && group.has_failed());
    }

    #[test]
    fn reports_of_unknown_vertexes_are_ignored() {
        let mut trace = Trace::new(LogKeeping::Plain);
        trace.apply(Update {
            statuses: vec![status("nobody", "layer", 1, 2)],
            logs: vec![log("nobody", "text\n", 5)],
            ..Update::default()
        });
        assert!(trace.vertexes().is_empty());
    }

    #[test]
    fn cancelled_vertexes_are_no_failures() {
        let mut trace = Trace::new(LogKeeping::Plain);
        let cancelled = event::Vertex {
            error: "failed: context canceled".into(),
            ..vertex("a", "a", Some(0), Some(1))
        };
        updates(&mut trace, vec![cancelled]);
        assert!(trace.vertexes()[0].is_cancelled());
        assert!(trace.failures().is_empty());
    }

    #[test]
    fn parts_without_end_are_bounded() {
        let mut trace = Trace::new(LogKeeping::Plain);
        updates(&mut trace, vec![vertex("a", "a", Some(0), None)]);
        for n in 0..MAX_PARTS + 100 {
            trace.apply(Update {
                statuses: vec![status("a", &format!("part {n}"), 0, 0)],
                ..Update::default()
            });
        }
        assert_eq!(trace.vertexes()[0].parts.len(), MAX_PARTS);
    }
}
