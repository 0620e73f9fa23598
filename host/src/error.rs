//! What a user is told when a command fails: kind, cause chain, hints and exit code.
//!
//! Every folder has an error enum of its own; the `From` impls below are the only place where their kind, hint and
//! exit code are chosen.

use std::error::Error as StdError;
use std::fmt;

/// Whose fault it is, which decides nothing but how the failure is filed; exit codes are [`CommandError::exit_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line: an unknown flag, a bad value.
    Usage,
    /// What the user or the environment supplied: a file, an option, a missing builder.
    User,
    /// A driver or what it talks to.
    Driver,
    /// The build itself: a failing step, a refused exporter.
    Build,
    /// Cancelled by the user.
    Cancelled,
    /// A defect of this program.
    Internal,
}

/// Exit code of every failure that has no code of its own.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code when the daemon reports the gRPC code Internal (as buildx).
pub const EXIT_DAEMON_INTERNAL: u8 = 100;
/// Exit code when the daemon reports ResourceExhausted: memory or disk (as buildx).
pub const EXIT_RESOURCE_EXHAUSTED: u8 = 102;
/// Exit code of a wrong flag when docker calls this program as its plugin (as buildx).
pub const EXIT_PLUGIN_USAGE: u8 = 125;
/// Exit code of a cancelled command (128 + SIGINT).
pub const EXIT_CANCELLED: u8 = 130;

/// The error that a command ends with.
#[derive(Debug)]
pub struct CommandError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    hints: Vec<String>,
    /// Printed before the message: source excerpts and policy lines.
    preface: Vec<String>,
    exit_code: u8,
    /// Said without `ERROR:` in front.
    bare: bool,
}

impl CommandError {
    /// An error of `kind` with the text that names the thing.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let exit_code = if kind == ErrorKind::Cancelled {
            EXIT_CANCELLED
        } else {
            EXIT_FAILURE
        };
        Self {
            kind,
            message: message.into(),
            source: None,
            hints: Vec::new(),
            preface: Vec::new(),
            exit_code,
            bare: false,
        }
    }

    /// A failure that the user can mend.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message)
    }

    /// A defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The same error with its cause, which is printed after the message.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with one more way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same error with a block to print before the message.
    pub fn with_preface(mut self, block: impl Into<String>) -> Self {
        self.preface.push(block.into());
        self
    }

    /// The same error with another exit code.
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }

    /// The same error, said without `ERROR:` in front.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// The same error with `text` after its message.
    pub fn followed_by(mut self, text: &str) -> Self {
        self.message.push_str(text);
        self
    }

    /// The same error with its hints in other words.
    pub fn with_hints_in(mut self, words: impl Fn(&str) -> String) -> Self {
        self.hints.iter_mut().for_each(|hint| *hint = words(hint));
        self
    }

    /// The same error with `prefix: ` in front of its message, as `failed to build: …`.
    pub fn prefixed(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }

    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Ways out, one line each.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Blocks to print before the message.
    pub fn preface(&self) -> &[String] {
        &self.preface
    }

    /// The message and its causes in one line, separated by `: `, each said once.
    pub fn line(&self) -> String {
        let mut line = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !text.is_empty() && !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for CommandError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What every command returns.
pub type Result<T, E = CommandError> = std::result::Result<T, E>;

impl From<crate::fs::FileError> for CommandError {
    fn from(error: crate::fs::FileError) -> Self {
        let hint = error.hint();
        let base = CommandError::user(error.to_string());
        let base = match StdError::source(&error) {
            Some(source) => base.with_source(source.to_string()),
            None => base,
        };
        match hint {
            Some(hint) => base.with_hint(hint),
            None => base,
        }
    }
}

impl CommandError {
    /// Says the failure on stderr: what comes before it, `ERROR: …`, then a `hint: …` line for each way out.
    pub fn report(&self, ui: &crate::ui::Ui) {
        for block in &self.preface {
            ui.say(block.trim_end());
        }
        let heading = if self.bare { "" } else { "ERROR: " };
        ui.say(format!("{heading}{}", self.line()));
        for hint in &self.hints {
            ui.say(format!("hint: {hint}"));
        }
    }
}

impl From<crate::driver::node::DriverError> for CommandError {
    fn from(error: crate::driver::node::DriverError) -> Self {
        use crate::driver::node::DriverErrorKind as Kind;
        let kind = match error.kind {
            Kind::Cancelled => ErrorKind::Cancelled,
            Kind::InvalidConfig => ErrorKind::User,
            _ => ErrorKind::Driver,
        };
        let mut command = Self::new(kind, error.message);
        command.hints.extend(error.hint);
        for (name, value) in error.details {
            command = command.with_preface(format!("{name}: {value}"));
        }
        command
    }
}

impl From<crate::output::layout_index::LayoutIndexError> for CommandError {
    fn from(error: crate::output::layout_index::LayoutIndexError) -> Self {
        use crate::output::layout_index::LayoutIndexError;
        match error {
            LayoutIndexError::File(error) => error.into(),
            other => Self::user(other.to_string()).with_source(error_source(&other)),
        }
    }
}

impl From<crate::docker::error::EngineError> for CommandError {
    fn from(error: crate::docker::error::EngineError) -> Self {
        use crate::docker::error::EngineError as E;
        let kind = match &error {
            E::Context(_) | E::Address(_) | E::NoContext { .. } | E::NoEngine { .. } | E::NoHost { .. } => {
                ErrorKind::User
            }
            _ => ErrorKind::Driver,
        };
        let command = Self::new(kind, crate::causes::one_line(&error));
        match error.hint() {
            Some(hint) => command.with_hint(hint),
            None => command,
        }
    }
}

impl From<crate::store::StoreError> for CommandError {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::File(error) => {
                Self::from(error).with_hint("`BUILDX_CONFIG` names the folder that builders are kept in")
            }
            StoreError::Broken { ref name, .. } => {
                let hint =
                    format!("`bkhost rm --keep-daemon {name}` forgets the builder, whatever is in its file");
                Self::user(error.to_string())
                    .with_source(error_source(&error))
                    .with_hint(hint)
            }
            StoreError::Unreadable { ref name, ref source } => {
                let hint = match source.io_kind() {
                    Some(std::io::ErrorKind::IsADirectory) => {
                        "A folder is no builder: move it to another place".to_owned()
                    }
                    _ => format!(
                        "`bkhost rm --keep-daemon {name}` forgets the builder without reading its file"
                    ),
                };
                Self::user(error.to_string())
                    .with_source(error_source(&error))
                    .with_hint(hint)
            }
            StoreError::Encode { .. } => Self::internal(error.to_string()).with_source(error_source(&error)),
            StoreError::Changed { .. } => Self::user(error.to_string()).with_hint("Run the command again"),
            StoreError::Name(name) => Self::user(name.to_string()),
        }
    }
}

impl From<crate::store::docker::contexts::ContextError> for CommandError {
    fn from(error: crate::store::docker::contexts::ContextError) -> Self {
        let hint = error.hint();
        let error = Self::user(error.to_string()).with_source(error_source(&error));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<crate::store::update::UpdateError> for CommandError {
    fn from(error: crate::store::update::UpdateError) -> Self {
        Self::user(error.to_string())
    }
}

impl From<crate::store::name::InvalidName> for CommandError {
    fn from(error: crate::store::name::InvalidName) -> Self {
        Self::user(error.to_string())
    }
}

impl From<crate::store::daemon_config::ConfigError> for CommandError {
    fn from(error: crate::store::daemon_config::ConfigError) -> Self {
        let base = Self::user(error.to_string());
        match StdError::source(&error) {
            Some(source) => base.with_source(source.to_string()),
            None => base,
        }
    }
}

/// The causes of an error as one text, so that an error which is not `Sync` or `'static` elsewhere can be passed on.
fn error_source(error: &dyn StdError) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    texts.join(": ")
}
