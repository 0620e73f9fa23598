//! What a task says when it cannot go on: one message, and a hint with the way out where there is one.

use std::fmt;
use std::path::Path;

/// A failure that ends the task.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
}

/// The result of everything in this program that can fail.
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with a message in plain words.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An input or output error, with the file that it is about.
    pub fn io(what: &str, path: &Path, cause: &std::io::Error) -> Self {
        Self::new(format!("Cannot {what} `{}`: {cause}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}
