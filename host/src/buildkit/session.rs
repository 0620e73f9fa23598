//! The services a daemon calls back during a solve.

pub mod content;
pub mod file_send;
pub mod file_sync;
pub mod fsutil;

/// An error with its causes in one line, each said once.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
