//! Log lines for whoever looks for the reason of a failure; shown with `--debug`.

use crate::host;
use crate::host::log::Level;

/// For the driver's author.
pub fn debug(message: impl AsRef<str>) {
    host::log::write(Level::Debug, message.as_ref());
}

/// Worth knowing.
pub fn info(message: impl AsRef<str>) {
    host::log::write(Level::Info, message.as_ref());
}

/// Something is odd; shown to the user once the operation ends.
pub fn warning(message: impl AsRef<str>) {
    host::log::write(Level::Warning, message.as_ref());
}

/// Something failed.
pub fn error(message: impl AsRef<str>) {
    host::log::write(Level::Error, message.as_ref());
}
