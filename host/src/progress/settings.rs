//! How a display is to look, decided once from plain values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::mode::{Console, Mode, ModeError};
use super::palette::Palette;
use super::terminal::{Size, stderr_size};

/// A refresh follows an event at once, but not sooner than this after the last one.
const REFRESH_EVENT: Duration = Duration::from_millis(100);
/// A refresh happens after this much silence, for the times on display.
const REFRESH_SILENCE: Duration = Duration::from_millis(150);
/// Rows of the small terminal below a running vertex.
const LOG_LINES: usize = 6;
/// Where names are cut when the user wants them cut.
const NAME_LIMIT: usize = 72;

/// The values of the environment that shape a display, as they are; absent is `None`.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `BUILDKIT_PROGRESS`: the mode, for `auto` only.
    pub mode: Option<String>,
    /// `NO_COLOR`: no colours unless empty.
    pub no_colour: Option<String>,
    /// `BUILDKIT_COLORS`.
    pub colours: Option<String>,
    /// `BUILDKIT_TTY_LOG_LINES`: rows of a vertex's small terminal.
    pub log_lines: Option<String>,
    /// `TTY_DISPLAY_RATE`: milliseconds between refreshes.
    pub display_rate: Option<String>,
    /// `TERM`: `dumb` is not drawn on unless asked for.
    pub term: Option<String>,
    /// `PROGRESS_NO_TRUNC`: `0` cuts names in plain output.
    pub no_truncation: Option<String>,
}

/// Asks for the size of the terminal; it may change at any time.
pub type SizeSource = Arc<dyn Fn() -> Option<Size> + Send + Sync>;

/// How to display.
#[derive(Clone)]
pub struct Settings {
    /// Never [`Mode::Auto`].
    pub mode: Mode,
    /// What the header of the terminal display calls the work.
    pub heading: &'static str,
    /// The terminal's size.
    pub size: SizeSource,
    /// Colours of the terminal display; `None` is without.
    pub palette: Option<Palette>,
    /// Entries of `BUILDKIT_COLORS` that could not be read.
    pub bad_colours: Vec<String>,
    /// Rows of a vertex's small terminal.
    pub log_lines: usize,
    /// The least time between two refreshes.
    pub refresh_event: Duration,
    /// The longest time between two refreshes.
    pub refresh_silence: Duration,
    /// Where plain output cuts names, in characters.
    pub name_limit: Option<usize>,
}

impl Settings {
    /// Decides everything; `terminal` says whether stderr is one.
    pub fn new(mode: Mode, environment: &Environment, terminal: bool) -> Result<Self, ModeError> {
        let mode = mode.resolve(
            environment.mode.as_deref(),
            Console::of(terminal, environment.term.as_deref()),
        )?;
        let (palette, bad_colours) = Palette::parse(environment.colours.as_deref().unwrap_or_default());
        let plain_colours = environment
            .no_colour
            .as_deref()
            .is_some_and(|value| !value.is_empty());
        let rate = number(environment.display_rate.as_deref()).map(Duration::from_millis);
        let lines = number(environment.log_lines.as_deref()).and_then(|lines| usize::try_from(lines).ok());
        Ok(Self {
            mode,
            heading: "Building",
            size: Arc::new(stderr_size),
            palette: (!plain_colours).then_some(palette),
            bad_colours,
            log_lines: lines.unwrap_or(LOG_LINES),
            refresh_event: rate.unwrap_or(REFRESH_EVENT),
            refresh_silence: rate.unwrap_or(REFRESH_SILENCE),
            name_limit: (environment.no_truncation.as_deref() == Some("0")).then_some(NAME_LIMIT),
        })
    }

    /// The same settings for work that is no build (`Stopping`).
    pub fn with_heading(mut self, heading: &'static str) -> Self {
        self.heading = heading;
        self
    }

    /// The same settings for a terminal of a given size.
    pub fn with_size(mut self, size: impl Fn() -> Option<Size> + Send + Sync + 'static) -> Self {
        self.size = Arc::new(size);
        self
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// A positive number; anything else counts as absent, as it does for buildx.
fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let settings = Settings::new(Mode::Auto, &Environment::default(), false).unwrap();
        assert_eq!(settings.mode, Mode::Plain);
        assert_eq!(settings.log_lines, 6);
        assert_eq!(settings.refresh_event, Duration::from_millis(100));
        assert_eq!(settings.refresh_silence, Duration::from_millis(150));
        assert_eq!(settings.palette, Some(Palette::default()));
        assert_eq!(settings.name_limit, None);
    }

    #[test]
    fn values_of_the_environment() {
        let environment = Environment {
            no_colour: Some("1".into()),
            colours: Some("run=nope".into()),
            log_lines: Some("12".into()),
            display_rate: Some("500".into()),
            no_truncation: Some("0".into()),
            ..Environment::default()
        };
        let settings = Settings::new(Mode::Plain, &environment, false).unwrap();
        assert_eq!(settings.palette, None);
        assert_eq!(settings.bad_colours, ["run=nope"]);
        assert_eq!(settings.log_lines, 12);
        assert_eq!(settings.refresh_event, Duration::from_millis(500));
        assert_eq!(settings.refresh_silence, Duration::from_millis(500));
        assert_eq!(settings.name_limit, Some(72));
    }

    #[test]
    fn empty_and_broken_values_count_as_absent() {
        let environment = Environment {
            no_colour: Some(String::new()),
            log_lines: Some("many".into()),
            display_rate: Some("0".into()),
            no_truncation: Some("1".into()),
            ..Environment::default()
        };
        let settings = Settings::new(Mode::Plain, &environment, false).unwrap();
        assert!(settings.palette.is_some());
        assert_eq!(settings.log_lines, 6);
        assert_eq!(settings.refresh_event, Duration::from_millis(100));
        assert_eq!(settings.name_limit, None);
    }
}
