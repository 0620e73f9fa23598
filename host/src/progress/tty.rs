//! The terminal display: a block of rows that is redrawn in place.

mod frame;
mod painter;

use super::event::Timestamp;
use super::palette::Palette;
use super::settings::{Settings, SizeSource};
use super::terminal::Size;
use super::trace::Trace;
use super::{Rendering, failures};
use frame::View;
use painter::Painter;

/// The state of the terminal display.
pub struct Tty {
    size: SizeSource,
    palette: Option<Palette>,
    heading: &'static str,
    label: String,
    log_lines: usize,
    begun: Option<Timestamp>,
    painter: Painter,
}

impl Tty {
    /// A display with `label` (such as `remote:b1`) at the right of its header.
    pub fn new(settings: &Settings, label: &str) -> Self {
        Self {
            size: settings.size.clone(),
            palette: settings.palette,
            heading: settings.heading,
            label: label.to_owned(),
            log_lines: settings.log_lines,
            begun: None,
            painter: Painter::default(),
        }
    }

    fn draw(&mut self, trace: &Trace, now: Timestamp, last: bool) -> Vec<u8> {
        if trace.vertexes().is_empty() {
            return Vec::new();
        }
        let size = (self.size)().unwrap_or(Size::DEFAULT);
        let view = View {
            now,
            begun: *self.begun.get_or_insert(now),
            size,
            heading: self.heading,
            label: &self.label,
            log_lines: self.log_lines,
            last,
        };
        let rows = frame::compose(trace, &view);
        let lines = rows.iter().map(|row| row.line(self.palette.as_ref())).collect();
        self.painter.paint(lines, size)
    }
}

impl Rendering for Tty {
    fn refresh(&mut self, trace: &mut Trace, now: Timestamp) -> Vec<u8> {
        self.draw(trace, now, false)
    }

    fn finish(&mut self, trace: &mut Trace, now: Timestamp) -> Vec<u8> {
        let mut out = self.draw(trace, now, true);
        out.extend_from_slice(failures::blocks(&trace.failures()).as_bytes());
        out
    }
}

#[cfg(test)]
mod tests;
