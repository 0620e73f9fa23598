//! Which rows a build has at one moment on a terminal of a given size. Pure.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::painter::Line;
use crate::progress::duration;
use crate::progress::event::Timestamp;
use crate::progress::palette::{Colour, FAINT, Palette, RESET};
use crate::progress::size;
use crate::progress::terminal::Size;
use crate::progress::trace::{PartState, Trace, VertexState};

/// A row whose name would have fewer columns says nothing and is left out.
const MIN_NAME: usize = 12;
/// A vertex's small terminal never gets lower than this.
const MIN_LOG_LINES: usize = 6;
/// Rows that are kept free of small terminals.
const ROWS_BESIDE_LOG: usize = 7;
/// Rows that must stay free beside each small terminal.
const ROWS_BETWEEN_LOGS: usize = 3;
/// What a line counts in bytes when the busiest vertex is looked for.
const LINE_WEIGHT: usize = 50;

/// What a frame depends on beside the trace.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub now: Timestamp,
    pub begun: Timestamp,
    pub size: Size,
    /// What the header calls the work.
    pub heading: &'static str,
    pub label: &'a str,
    /// Wanted height of a small terminal.
    pub log_lines: usize,
    /// This is the last frame: it shows all rows, however many.
    pub last: bool,
}

/// How a row is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Run,
    Cancel,
    Error,
    Warning,
    Faint,
}

/// One row of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub text: String,
    pub style: Style,
}

impl Row {
    /// The row with its colour codes, without any if there is no palette.
    pub fn line(&self, palette: Option<&Palette>) -> Line {
        match palette.and_then(|palette| self.style.code(palette)) {
            Some(code) => Line::new(&self.text, &code, RESET),
            None => Line::new(&self.text, "", ""),
        }
    }
}

impl Style {
    /// The escape code that switches the style on, if it takes one.
    fn code(self, palette: &Palette) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Run => Some(palette.run.code()),
            Self::Cancel => Some(palette.cancel.code()),
            Self::Error => Some(palette.error.code()),
            Self::Warning => palette.warning.map(Colour::code),
            Self::Faint => Some(FAINT.to_owned()),
        }
    }
}

/// One thing that has a row: a vertex, a part of it, or a warning.
struct Job<'a> {
    /// Set on the row of a vertex itself.
    vertex: Option<&'a VertexState>,
    name: String,
    sizes: String,
    seconds: f64,
    done: bool,
    style: Style,
    /// Rows of its small terminal.
    log: Vec<String>,
}

/// The rows of the block, the header first.
pub(super) fn compose(trace: &Trace, view: &View<'_>) -> Vec<Row> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for vertex in trace.by_start() {
        add_jobs(&mut jobs, vertex, view.now);
    }
    if !view.last {
        let room = view.size.height.saturating_sub(2);
        let used = open_logs(&mut jobs, view, room);
        jobs = fit(jobs, room.saturating_sub(used));
    }
    let mut rows = vec![header(trace, view)];
    for job in &jobs {
        rows.extend(job.row(view.size.width));
        rows.extend(job.log_rows(view.size.width));
    }
    rows
}

fn header(trace: &Trace, view: &View<'_>) -> Row {
    let counted = || trace.vertexes().iter().filter(|vertex| !vertex.hidden);
    let total = counted().count();
    let completed = counted().filter(|vertex| vertex.runs.is_completed()).count();
    let seconds = duration::seconds(view.begun, view.now);
    let mut state = format!("{seconds:.1}s ({completed}/{total})");
    if view.last && completed == total {
        state.push_str(" FINISHED");
    }
    // The last column stays free, or some terminals would begin a new row.
    let width = view.size.width.saturating_sub(1);
    Row {
        text: header_text(view.heading, &state, view.label, width),
        style: Style::Plain,
    }
}

/// As much of the header as fits.
fn header_text(heading: &str, state: &str, label: &str, width: usize) -> String {
    let full = format!("[+] {heading} {state}");
    let taken = full.width() + label.width();
    if width > taken && !label.is_empty() {
        format!("{full}{}{label}", " ".repeat(width - taken))
    } else if width >= full.width() {
        full
    } else {
        cut(&format!("[+] {state}"), width)
    }
}

/// The rows of a vertex: itself, its parts, its warnings.
fn add_jobs<'a>(jobs: &mut Vec<Job<'a>>, vertex: &'a VertexState, now: Timestamp) {
    let seconds = vertex.runs.elapsed(now);
    let done = vertex.runs.is_completed();
    jobs.push(vertex_job(vertex, seconds));
    jobs.extend(vertex.parts.values().filter_map(|part| part_job(part, now)));
    jobs.extend(vertex.warnings.iter().map(|warning| Job {
        vertex: None,
        name: printable(&format!("WARN: {}", String::from_utf8_lossy(&warning.short))),
        sizes: String::new(),
        seconds,
        done,
        style: Style::Warning,
        log: Vec::new(),
    }));
}

fn vertex_job(vertex: &VertexState, seconds: f64) -> Job<'_> {
    let (prefix, ended) = if vertex.is_cancelled() {
        ("CANCELED ", Style::Cancel)
    } else if vertex.has_failed() {
        ("ERROR ", Style::Error)
    } else if vertex.cached {
        ("CACHED ", Style::Run)
    } else {
        ("", Style::Run)
    };
    let done = vertex.runs.is_completed();
    Job {
        vertex: Some(vertex),
        name: printable(&format!("{prefix}{}", vertex.name)),
        sizes: String::new(),
        seconds,
        done,
        style: if done { ended } else { Style::Plain },
        log: Vec::new(),
    }
}

fn part_job<'a>(part: &PartState, now: Timestamp) -> Option<Job<'a>> {
    let status = &part.status;
    let started = status.started?;
    let done = status.completed.is_some();
    Some(Job {
        vertex: None,
        name: printable(&format!("=> {}", status.id)),
        sizes: size::of_total(status.current, status.total),
        seconds: duration::seconds(started, status.completed.unwrap_or(now)),
        done,
        style: if done { Style::Run } else { Style::Plain },
        log: Vec::new(),
    })
}

impl Job<'_> {
    fn row(&self, width: usize) -> Option<Row> {
        let time = duration::short(self.seconds);
        // " => " before, "  " between, and the last column free.
        let mut left = width.checked_sub(4 + 2 + time.len() + 1)?;
        let mut sizes = "";
        if !self.sizes.is_empty() && left > MIN_NAME + self.sizes.len() {
            sizes = &self.sizes;
            left -= sizes.len() + 1;
        }
        if left < MIN_NAME {
            return None;
        }
        let mut text = format!(" => {}", cut(&self.name, left));
        if !sizes.is_empty() {
            text.push(' ');
            text.push_str(sizes);
        }
        let fill = width.saturating_sub(1 + time.len() + text.width());
        text.push_str(&" ".repeat(fill));
        text.push_str(&time);
        Some(Row {
            text,
            style: self.style,
        })
    }

    fn log_rows(&self, width: usize) -> impl Iterator<Item = Row> {
        let left = width.saturating_sub(" => => # ".len() + 1);
        let lines = self.log.iter().filter(move |_| left >= MIN_NAME);
        lines.map(move |line| Row {
            text: format!(" => => # {}", cut(&printable(line), left)),
            style: Style::Faint,
        })
    }

    fn is_running_vertex(&self) -> bool {
        self.vertex.is_some() && !self.done
    }

    /// How much output it has had.
    fn liveliness(&self) -> usize {
        self.vertex.map_or(0, |vertex| {
            vertex.log.total_bytes() + vertex.log.total_lines() * LINE_WEIGHT
        })
    }
}

/// Gives the busiest running vertexes small terminals while there is room; returns the rows they take.
fn open_logs(jobs: &mut [Job<'_>], view: &View<'_>, room: usize) -> usize {
    let wanted = view
        .log_lines
        .min(view.size.height.saturating_sub(ROWS_BESIDE_LOG));
    let height = wanted.max(MIN_LOG_LINES);
    let open = jobs.iter().filter(|job| !job.done).count();
    let mut free = room.saturating_sub(open);
    let mut running: Vec<&mut Job<'_>> = jobs
        .iter_mut()
        .filter(|job| job.is_running_vertex() && job.liveliness() > 0)
        .collect();
    running.sort_by_key(|job| std::cmp::Reverse(job.liveliness()));
    let mut used = 0;
    for job in running {
        if free <= height + ROWS_BETWEEN_LOGS {
            break;
        }
        free -= height + ROWS_BETWEEN_LOGS;
        job.log = job
            .vertex
            .map(|vertex| vertex.log.last(height))
            .unwrap_or_default();
        used += job.log.len();
    }
    used
}

/// The newest rows that fit; unfinished older ones replace finished ones.
fn fit(jobs: Vec<Job<'_>>, room: usize) -> Vec<Job<'_>> {
    let cut = jobs.len().saturating_sub(room);
    let hidden_open = jobs.iter().take(cut).filter(|job| !job.done).count();
    let shown_done = jobs.iter().skip(cut).filter(|job| job.done).count();
    let swaps = hidden_open.min(shown_done);
    let (mut passed, mut dropped) = (hidden_open - swaps, swaps);
    let mut kept = Vec::new();
    for (index, job) in jobs.into_iter().enumerate() {
        let keep = match (index < cut, job.done) {
            (true, done) => !done && !take_one(&mut passed),
            (false, true) => !take_one(&mut dropped),
            (false, false) => true,
        };
        if keep {
            kept.push(job);
        }
    }
    kept
}

/// Counts down; says whether there was anything left.
fn take_one(count: &mut usize) -> bool {
    let left = *count > 0;
    *count = count.saturating_sub(1);
    left
}

/// What names bring along must not move the cursor.
fn printable(text: &str) -> String {
    let blank = |character: char| if character.is_whitespace() { ' ' } else { character };
    text.chars()
        .map(blank)
        .filter(|character| !character.is_control())
        .collect()
}

/// The first `width` columns of a text.
fn cut(text: &str, width: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += character.width().unwrap_or(0);
        used <= width
    };
    text.chars().take_while(fits).collect()
}
