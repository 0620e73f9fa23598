//! The text log: one vertex at a time, numbered in the order in which they are first printed.

mod turn;

use std::collections::HashMap;
use std::io::Write;

use super::Rendering;
use super::duration;
use super::event::{Status, Timestamp};
use super::failures;
use super::size;
use super::trace::{Trace, VertexState};

/// A part is printed again after so many percent of its total.
const PART_PERCENT: i128 = 5;
/// Or after so many seconds.
const PART_SECONDS: f64 = 5.0;

/// The state of the text log.
#[derive(Debug)]
pub struct Plain {
    description: Option<String>,
    name_limit: Option<usize>,
    views: Vec<View>,
    /// The vertex that was printed last.
    shown: Option<usize>,
    numbers: usize,
}

/// What has been printed of a vertex.
#[derive(Debug, Default)]
struct View {
    number: Option<usize>,
    /// When it got or lost its turn, or was first seen.
    since: Option<Timestamp>,
    ended: bool,
    warnings: usize,
    /// How much of the line without end has been printed on the current row.
    open: usize,
    parts: HashMap<String, (Timestamp, i64)>,
}

impl Plain {
    /// A text log that begins with `#0 description` and cuts names at `name_limit` characters.
    pub fn new(description: Option<String>, name_limit: Option<usize>) -> Self {
        Self {
            description,
            name_limit,
            views: Vec::new(),
            shown: None,
            numbers: 0,
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>, trace: &Trace, now: Timestamp) {
        let visible = trace.vertexes().iter().any(VertexState::is_visible);
        if visible && let Some(description) = self.description.take() {
            let _ = write!(out, "#0 {description}\n\n");
        }
        self.views.resize_with(trace.vertexes().len(), View::default);
        for (view, vertex) in self.views.iter_mut().zip(trace.vertexes()) {
            if vertex.is_visible() {
                view.since.get_or_insert(now);
            }
        }
    }

    /// Prints what is new about one vertex, after its name if another one was printed last.
    fn print(&mut self, out: &mut Vec<u8>, trace: &mut Trace, index: usize, now: Timestamp) {
        let again = self.views.get(index).is_some_and(|view| view.ended);
        if self.shown != Some(index) || again {
            self.leave(out, trace, now);
            self.enter(out, trace, index, now);
        }
        let (Some(view), Some(vertex)) = (self.views.get_mut(index), trace.get_mut(index)) else {
            return;
        };
        let number = view.number.unwrap_or_default();
        vertex.changed = false;
        view.parts(out, number, vertex, now);
        view.warnings(out, number, vertex);
        view.logs(out, number, vertex);
        if vertex.runs.is_completed() {
            view.break_line(out);
            end(out, number, vertex, now);
            view.ended = true;
        }
    }

    /// Ends the turn of the vertex that was printed last.
    fn leave(&mut self, out: &mut Vec<u8>, trace: &mut Trace, now: Timestamp) {
        let Some(index) = self.shown else {
            return;
        };
        let (Some(view), Some(vertex)) = (self.views.get_mut(index), trace.get_mut(index)) else {
            return;
        };
        view.break_line(out);
        if !view.ended {
            let _ = writeln!(out, "#{} ...", view.number.unwrap_or_default());
        }
        view.since = Some(now);
        vertex.events = 0;
        let _ = writeln!(out);
    }

    fn enter(&mut self, out: &mut Vec<u8>, trace: &mut Trace, index: usize, now: Timestamp) {
        let (Some(view), Some(vertex)) = (self.views.get_mut(index), trace.get_mut(index)) else {
            return;
        };
        let number = *view.number.get_or_insert_with(|| {
            self.numbers += 1;
            self.numbers
        });
        let _ = writeln!(out, "#{number} {}", cut(&vertex.name, self.name_limit));
        view.since = Some(now);
        view.ended = false;
        vertex.events = 0;
        self.shown = Some(index);
    }

    fn print_finished(&mut self, out: &mut Vec<u8>, trace: &mut Trace, now: Timestamp) {
        let mut finished: Vec<_> = trace
            .vertexes()
            .iter()
            .enumerate()
            .filter(|(_, vertex)| vertex.changed && vertex.is_visible())
            .filter_map(|(index, vertex)| Some((vertex.runs.completed()?, index)))
            .collect();
        finished.sort_unstable_by_key(|(completed, index)| (self.shown != Some(*index), *completed));
        for (_, index) in finished {
            self.print(out, trace, index, now);
        }
    }

    /// The vertex whose turn it is, if it still runs.
    fn current(&self, trace: &Trace) -> Option<usize> {
        let running = |index: &usize| trace.vertexes().get(*index).is_some_and(VertexState::is_running);
        self.shown.filter(running)
    }

    fn print_running(&mut self, out: &mut Vec<u8>, trace: &mut Trace, now: Timestamp) {
        let current = self.current(trace);
        let news = |index: usize| trace.vertexes().get(index).is_some_and(|vertex| vertex.changed);
        if let Some(index) = current.filter(|index| news(*index)) {
            self.print(out, trace, index, now);
        }
        let next = turn::next(&self.rivals(trace, current, now), current.is_some());
        if let Some(index) = next {
            self.print(out, trace, index, now);
        }
    }

    fn rivals(&self, trace: &Trace, current: Option<usize>, now: Timestamp) -> Vec<turn::Rival> {
        let vertexes = trace.vertexes().iter().zip(&self.views).enumerate();
        let running = vertexes.filter(|(_, (vertex, _))| vertex.is_visible() && vertex.is_running());
        running
            .map(|(index, (vertex, view))| turn::Rival {
                index,
                current: current == Some(index),
                changed: vertex.changed,
                waited: view.since.map_or(0.0, |since| duration::seconds(since, now)),
                events: vertex.events,
                bytes: vertex.log.waiting(),
            })
            .collect()
    }
}

impl Rendering for Plain {
    fn refresh(&mut self, trace: &mut Trace, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::new();
        self.begin(&mut out, trace, now);
        self.print_finished(&mut out, trace, now);
        self.print_running(&mut out, trace, now);
        out
    }

    fn finish(&mut self, trace: &mut Trace, now: Timestamp) -> Vec<u8> {
        let mut out = self.refresh(trace, now);
        for index in 0..trace.vertexes().len() {
            let vertex = trace.vertexes().get(index);
            if vertex.is_some_and(|vertex| vertex.changed && vertex.is_visible()) {
                self.print(&mut out, trace, index, now);
            }
        }
        for view in &mut self.views {
            view.break_line(&mut out);
        }
        out.extend_from_slice(failures::blocks(&trace.failures()).as_bytes());
        out
    }
}

impl View {
    /// Ends the row of a line that has not ended; it is printed again as a whole when it goes on.
    fn break_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.open) > 0 {
            out.push(b'\n');
        }
    }

    fn parts(&mut self, out: &mut Vec<u8>, number: usize, vertex: &mut VertexState, now: Timestamp) {
        for (id, part) in &mut vertex.parts {
            if !part.changed || !self.is_due(id, &part.status, now) {
                continue;
            }
            self.break_line(out);
            let _ = writeln!(out, "#{number} {}", part_line(&part.status, now));
            part.changed = false;
            self.parts.insert(id.clone(), (now, part.status.current));
        }
    }

    fn is_due(&self, id: &str, status: &Status, now: Timestamp) -> bool {
        let Some((printed, current)) = self.parts.get(id) else {
            return true;
        };
        let step = (i128::from(status.current) - i128::from(*current)).abs();
        status.completed.is_some()
            || status.total > 0 && step * 100 >= i128::from(status.total) * PART_PERCENT
            || duration::seconds(*printed, now) >= PART_SECONDS
    }

    fn warnings(&mut self, out: &mut Vec<u8>, number: usize, vertex: &VertexState) {
        for warning in vertex.warnings.iter().skip(self.warnings) {
            self.break_line(out);
            let _ = write!(out, "#{number} WARN: ");
            out.extend_from_slice(&warning.short);
            out.push(b'\n');
        }
        self.warnings = vertex.warnings.len();
    }

    fn logs(&mut self, out: &mut Vec<u8>, number: usize, vertex: &mut VertexState) {
        for line in vertex.log.take() {
            match std::mem::take(&mut self.open) {
                0 => {
                    let _ = write!(out, "#{number} ");
                    out.extend_from_slice(&line.stamped());
                }
                printed => out.extend_from_slice(line.text.get(printed..).unwrap_or_default()),
            }
            out.push(b'\n');
        }
        let Some(open) = vertex.log.open() else {
            return;
        };
        match self.open {
            0 => {
                let _ = write!(out, "#{number} ");
                out.extend_from_slice(&open.stamped());
            }
            printed => out.extend_from_slice(open.text.get(printed..).unwrap_or_default()),
        }
        self.open = open.text.len();
    }
}

/// `id[ current / total][ time][ done]`
fn part_line(status: &Status, now: Timestamp) -> String {
    let mut line = status.id.clone();
    let sizes = size::of_total(status.current, status.total);
    if !sizes.is_empty() {
        line.push(' ');
        line.push_str(&sizes);
    }
    if let Some(started) = status.started {
        let seconds = duration::seconds(started, status.completed.unwrap_or(now));
        if seconds > 0.01 {
            line.push_str(&format!(" {seconds:.1}s"));
        }
    }
    if status.completed.is_some() {
        line.push_str(" done");
    }
    line
}

fn end(out: &mut Vec<u8>, number: usize, vertex: &VertexState, now: Timestamp) {
    let _ = if vertex.is_cancelled() {
        writeln!(out, "#{number} CANCELED")
    } else if vertex.has_failed() {
        writeln!(out, "#{number} ERROR: {}", vertex.error)
    } else if vertex.cached {
        writeln!(out, "#{number} CACHED")
    } else {
        writeln!(out, "#{number} DONE {:.1}s", vertex.runs.elapsed(now))
    };
}

fn cut(name: &str, limit: Option<usize>) -> String {
    match limit {
        Some(limit) if name.chars().count() > limit => {
            let kept: String = name.chars().take(limit).collect();
            format!("{kept}...")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
