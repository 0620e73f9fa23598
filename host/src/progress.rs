//! What the user watches: one stream of events, many renderings.

pub mod event;
pub mod step;

pub mod mode;
pub mod settings;
pub mod palette;
pub mod terminal;

pub mod mux;
pub mod trace;

pub mod plain;
pub mod tty;
pub mod rawjson;
pub mod quiet;

pub mod duration;
pub mod excerpt;
pub mod failures;
pub mod size;
pub mod warnings;

#[cfg(test)]
mod sample;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

pub use mode::{Mode, ModeError};
pub use settings::{Environment, Settings};

use crate::ui::{Hold, Ui};
use event::{Timestamp, Update, Warning};
use terminal::HiddenCursor;
use trace::log::LogKeeping;
use trace::{Failure, Trace};

/// So much output is drawn at once, without waiting for the time of the next refresh: it is kept in memory until then.
const MAX_UNDRAWN_BYTES: usize = 1024 * 1024;

/// What is left of a build when its display has ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The distinct warnings.
    pub warnings: Vec<Warning>,
    /// The vertexes that failed, each with the last of its output. The displays have shown them already.
    pub failures: Vec<Failure>,
    mode: Mode,
}

impl Summary {
    /// The summary of warnings to write to stderr, where the mode has one; see [`warnings::summary`].
    pub fn warnings_text(&self, expand: bool, colour: bool) -> Option<String> {
        match self.mode {
            Mode::Quiet | Mode::None | Mode::RawJson => None,
            Mode::Auto | Mode::Plain | Mode::Tty => warnings::summary(&self.warnings, expand, colour),
        }
    }
}

/// One way to show a build. Implementations decide what to write and write nothing themselves.
trait Rendering: Send {
    /// What to write for an update at once.
    fn event(&mut self, _update: &Update) -> Vec<u8> {
        Vec::new()
    }

    /// What to write now that something has changed or time has passed.
    fn refresh(&mut self, trace: &mut Trace, now: Timestamp) -> Vec<u8>;

    /// What to write last.
    fn finish(&mut self, trace: &mut Trace, now: Timestamp) -> Vec<u8>;

    /// Whether refreshes are of any use.
    fn is_animated(&self) -> bool {
        true
    }
}

/// Shows what comes from `updates` until that stream ends, and returns what is left to tell.
///
/// `description` is the first line of plain output (`building with "b1" instance using remote driver`), `label` stands
/// in the header of the terminal display (`remote:b1`). What is said through `ui` meanwhile is held back. Writing blocks
/// like the terminal itself, so this wants a task of its own. Once stderr is gone (a broken pipe) nothing is shown any
/// more, but the stream is read to its end. If this future is dropped, the cursor is shown again.
pub async fn drive(
    settings: &Settings,
    ui: &Ui,
    description: Option<String>,
    label: &str,
    mut updates: mpsc::Receiver<Update>,
) -> Summary {
    let mut display = Display::begin(settings, ui, description, label);
    while let Some(update) = display.next(&mut updates).await {
        display.take(update);
    }
    display.end()
}

/// A display that runs. The order of the fields matters: the cursor comes back before held talk is written.
struct Display<'a> {
    settings: &'a Settings,
    ui: &'a Ui,
    rendering: Box<dyn Rendering>,
    trace: Trace,
    /// Changes that have not been drawn.
    dirty: bool,
    drawn: Instant,
    /// Stderr is gone.
    lost: bool,
    cursor: Option<HiddenCursor>,
    _hold: Option<Hold>,
}

impl<'a> Display<'a> {
    fn begin(settings: &'a Settings, ui: &'a Ui, description: Option<String>, label: &str) -> Self {
        let (rendering, keeping): (Box<dyn Rendering>, LogKeeping) = match settings.mode {
            Mode::Tty => (Box::new(tty::Tty::new(settings, label)), LogKeeping::Screen),
            Mode::Auto | Mode::Plain => {
                let plain = plain::Plain::new(description, settings.name_limit);
                (Box::new(plain), LogKeeping::Plain)
            }
            Mode::RawJson => (Box::new(rawjson::RawJson), LogKeeping::Tail),
            Mode::Quiet | Mode::None => (Box::new(quiet::Quiet), LogKeeping::Tail),
        };
        if settings.mode == Mode::Tty {
            for entry in &settings.bad_colours {
                ui.warn(format!("Could not read `{entry}` in `BUILDKIT_COLORS`"));
            }
        }
        Self {
            settings,
            ui,
            rendering,
            trace: Trace::new(keeping),
            dirty: false,
            drawn: Instant::now(),
            lost: false,
            cursor: (settings.mode == Mode::Tty).then(|| HiddenCursor::hide(ui)),
            _hold: (!settings.mode.is_silent()).then(|| ui.hold()),
        }
    }

    /// The next update; refreshes while there is none.
    async fn next(&mut self, updates: &mut mpsc::Receiver<Update>) -> Option<Update> {
        if !self.rendering.is_animated() || self.lost {
            return updates.recv().await;
        }
        loop {
            let due = self.drawn + self.pause();
            tokio::select! {
                // A full channel must not keep the display from being drawn.
                biased;
                () = sleep_until(due) => self.refresh(),
                update = updates.recv() => return update,
            }
        }
    }

    fn pause(&self) -> std::time::Duration {
        if self.trace.volume() > MAX_UNDRAWN_BYTES {
            std::time::Duration::ZERO
        } else if self.dirty {
            self.settings.refresh_event
        } else {
            self.settings.refresh_silence
        }
    }

    fn take(&mut self, update: Update) {
        let text = self.rendering.event(&update);
        self.write(&text);
        self.trace.apply(update);
        self.dirty = true;
        if self.lost && self.trace.volume() > MAX_UNDRAWN_BYTES {
            // What waits to be written is in memory, and nobody will take it.
            self.refresh();
        }
    }

    fn refresh(&mut self) {
        let text = self.rendering.refresh(&mut self.trace, Timestamp::now());
        self.write(&text);
        self.trace.reset_volume();
        self.dirty = false;
        self.drawn = Instant::now();
    }

    fn write(&mut self, text: &[u8]) {
        if !text.is_empty() && !self.lost {
            self.lost = self.ui.draw(text).is_err();
        }
    }

    fn end(mut self) -> Summary {
        let text = self.rendering.finish(&mut self.trace, Timestamp::now());
        self.write(&text);
        drop(self.cursor.take());
        Summary {
            failures: self.trace.failures(),
            warnings: self.trace.into_warnings(),
            mode: self.settings.mode,
        }
    }
}

#[cfg(test)]
mod tests;
