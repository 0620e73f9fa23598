//! The running progress display of a command, and what of the environment shapes it.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::env_vars::{self, Environment};
use super::settings::Context;
use crate::error::{CommandError, Result};
use crate::progress::event::Sink;
use crate::progress::mux::Mux;
use crate::progress::{self, Mode, Settings, Summary};
use crate::ui::Ui;

/// A running display. Every sink that was handed out must be dropped before it can end.
pub struct Display {
    sink: Sink,
    lanes: Mutex<Lanes>,
    task: JoinHandle<Summary>,
    /// Says the warnings that are left at the end.
    warns: Option<Ui>,
}

#[derive(Default)]
struct Lanes {
    mux: Mux,
    tasks: Vec<JoinHandle<()>>,
}

/// What a display looks like for this user: `mode` is the wish of the command line, the rest comes from the environment.
///
/// # Errors
///
/// `tty` without a terminal, or a `BUILDKIT_PROGRESS` that is no mode.
pub fn settings(environment: &Environment, ui: &Ui, mode: Mode) -> Result<Settings> {
    let get = |name: &str| environment.variables().get(name).cloned();
    let environment = progress::Environment {
        mode: get(env_vars::BUILDKIT_PROGRESS),
        no_colour: get(env_vars::NO_COLOR),
        colours: get(env_vars::BUILDKIT_COLORS),
        log_lines: get(env_vars::BUILDKIT_TTY_LOG_LINES),
        display_rate: get(env_vars::TTY_DISPLAY_RATE),
        no_truncation: get(env_vars::PROGRESS_NO_TRUNC),
        term: get(env_vars::TERM),
    };
    Settings::new(mode, &environment, ui.is_terminal()).map_err(|error| CommandError::user(error.to_string()))
}

impl Display {
    /// Starts a display for the steps of drivers; `heading` says what is done (`Stopping`), `label` to whom.
    ///
    /// # Errors
    ///
    /// As [`settings`].
    pub fn of_steps(context: &Context<'_>, heading: &'static str, label: &str) -> Result<Self> {
        let settings = settings(context.environment, context.ui, Mode::Auto)?.with_heading(heading);
        Ok(Self::begin_steps(context.ui, settings, None, label))
    }

    /// Like [`Display::begin`], for work whose warnings are said at its end: the summary of a build is about Dockerfiles.
    pub fn begin_steps(ui: &Ui, settings: Settings, description: Option<String>, label: &str) -> Self {
        let warns = matches!(settings.mode, Mode::Plain | Mode::Tty).then(|| ui.clone());
        Self {
            warns,
            ..Self::begin(ui, settings, description, label)
        }
    }

    /// Starts a display that begins with `description` where the mode has such a line.
    pub fn begin(ui: &Ui, settings: Settings, description: Option<String>, label: &str) -> Self {
        let (sink, updates) = Sink::channel();
        let (ui, label) = (ui.clone(), label.to_owned());
        // Before the task runs: what is said meanwhile must not come before the first line of the display.
        let hold = (!settings.mode.is_silent()).then(|| ui.hold());
        let task = async move {
            let summary = progress::drive(&settings, &ui, description, &label, updates).await;
            drop(hold);
            summary
        };
        Self {
            sink,
            lanes: Mutex::default(),
            task: tokio::spawn(task),
            warns: None,
        }
    }

    /// Where updates are sent as they are to be shown.
    pub fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Where the steps of one node are sent; `prefix` goes before their names.
    pub fn lane(&self, prefix: Option<&str>) -> Sink {
        let (sink, updates) = Sink::channel();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.mux.lane(prefix);
        lanes
            .tasks
            .push(tokio::spawn(lane.forward(updates, self.sink.clone())));
        sink
    }

    /// Waits until everything is shown, and gives what is left to tell.
    pub async fn end(self) -> Summary {
        let lanes = self.lanes.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(self.sink);
        for task in lanes.tasks {
            // A display that broke must not hide how the command ended.
            let _ = task.await;
        }
        let summary = self.task.await.unwrap_or_default();
        if let Some(ui) = self.warns {
            for warning in &summary.warnings {
                ui.warn(String::from_utf8_lossy(&warning.short));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::progress::event::{Update, Warning};

    async fn shown(mode: Mode) -> String {
        let (ui, kept) = Ui::kept();
        let environment = Environment::of([], Path::new("/"));
        let settings = settings(&environment, &ui, mode).unwrap();
        let display = Display::begin_steps(&ui, settings, None, "l");
        let warning = Warning {
            short: "Driver `remote`: no effect".into(),
            ..Warning::default()
        };
        let update = Update {
            warnings: vec![warning],
            ..Update::default()
        };
        display.lane(None).send(update).await;
        display.end().await;
        kept.text()
    }

    #[tokio::test]
    async fn what_a_driver_found_odd_is_said_after_its_steps() {
        assert_eq!(shown(Mode::Plain).await, "WARNING: Driver `remote`: no effect\n");
        assert!(shown(Mode::RawJson).await.starts_with('{'), "it is in the events");
        assert_eq!(shown(Mode::Quiet).await, "");
    }
}
