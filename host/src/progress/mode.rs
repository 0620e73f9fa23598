//! Which display a user gets.

use std::fmt;
use std::str::FromStr;

/// What `--progress` can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The environment or the kind of stderr decides.
    #[default]
    Auto,
    /// No display and no result either.
    None,
    /// A text log.
    Plain,
    /// No display; the result goes to stdout.
    Quiet,
    /// One JSON object per event.
    RawJson,
    /// A block that is redrawn in place.
    Tty,
}

/// What stderr is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// A file or a pipe.
    None,
    /// A terminal that cannot move its cursor (`TERM=dumb`), such as an editor's: for those who insist.
    Dumb,
    /// A terminal.
    Terminal,
}

impl Console {
    /// `term` is the value of `TERM`.
    pub fn of(terminal: bool, term: Option<&str>) -> Self {
        match (terminal, term) {
            (false, _) => Self::None,
            (true, Some("dumb")) => Self::Dumb,
            (true, _) => Self::Terminal,
        }
    }
}

/// A mode that cannot be used. The texts are buildx's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// There is no such mode.
    #[error("invalid progress mode {0}")]
    Unknown(String),
    /// `tty` was asked for and stderr is none.
    #[error("failed to get console: provided file is not a console")]
    NoTerminal,
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        Ok(match text {
            "" | "auto" => Self::Auto,
            "none" => Self::None,
            "plain" => Self::Plain,
            "quiet" => Self::Quiet,
            "rawjson" => Self::RawJson,
            "tty" => Self::Tty,
            other => return Err(ModeError::Unknown(other.to_owned())),
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Plain => "plain",
            Self::Quiet => "quiet",
            Self::RawJson => "rawjson",
            Self::Tty => "tty",
        })
    }
}

impl Mode {
    /// Decides what is left open: never [`Mode::Auto`] afterwards.
    ///
    /// `environment` is the value of `BUILDKIT_PROGRESS`, which counts only for `auto`.
    pub fn resolve(self, environment: Option<&str>, console: Console) -> Result<Self, ModeError> {
        let wanted = match self {
            Self::Auto => environment.unwrap_or_default().parse()?,
            decided => decided,
        };
        match wanted {
            Self::Auto if console == Console::Terminal => Ok(Self::Tty),
            Self::Auto => Ok(Self::Plain),
            Self::Tty if console == Console::None => Err(ModeError::NoTerminal),
            decided => Ok(decided),
        }
    }

    /// Whether nothing is shown.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::None | Self::Quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_is_not_redrawn_unless_asked_for() {
        let dumb = Console::of(true, Some("dumb"));
        assert_eq!(Mode::Auto.resolve(None, dumb), Ok(Mode::Plain));
        assert_eq!(Mode::Auto.resolve(Some("tty"), dumb), Ok(Mode::Tty));
        assert_eq!(Mode::Tty.resolve(None, dumb), Ok(Mode::Tty));
        assert_eq!(Console::of(true, None), Console::Terminal);
        assert_eq!(Console::of(false, Some("dumb")), Console::None);
    }

    #[test]
    fn the_environment_counts_only_for_auto() {
        assert_eq!(
            Mode::Auto.resolve(Some("rawjson"), Console::Terminal),
            Ok(Mode::RawJson)
        );
        assert_eq!(
            Mode::Plain.resolve(Some("rawjson"), Console::Terminal),
            Ok(Mode::Plain)
        );
        assert_eq!(Mode::Auto.resolve(Some(""), Console::Terminal), Ok(Mode::Tty));
        assert_eq!(Mode::Auto.resolve(None, Console::None), Ok(Mode::Plain));
    }

    #[test]
    fn a_mode_reads_as_it_is_written() {
        for text in ["auto", "none", "plain", "quiet", "rawjson", "tty"] {
            assert_eq!(text.parse::<Mode>().unwrap().to_string(), text);
        }
        assert_eq!("".parse(), Ok(Mode::Auto));
    }

    #[test]
    fn refusals_have_buildx_words() {
        let error = "fancy".parse::<Mode>().unwrap_err();
        assert_eq!(error.to_string(), "invalid progress mode fancy");
        assert_eq!(
            Mode::Auto.resolve(Some("x"), Console::None),
            Err(ModeError::Unknown("x".into()))
        );
        let error = Mode::Auto.resolve(Some("tty"), Console::None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to get console: provided file is not a console"
        );
    }
}
