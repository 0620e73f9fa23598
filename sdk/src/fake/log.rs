//! Keeps log lines.

pub(crate) use crate::bindings::bkhost::host::log::Level;

use super::with;

pub(crate) fn write(level: Level, message: &str) {
    let word = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
        Level::Other => "other",
    };
    with(|world| world.log.push((word.to_owned(), message.to_owned())));
}
