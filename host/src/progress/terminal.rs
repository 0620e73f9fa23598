//! The size of the terminal, and putting it back in order.

use std::io;

use crate::ui::Ui;

/// Hides the cursor.
pub(super) const HIDE_CURSOR: &str = "\u{1b}[?25l";
/// Shows the cursor.
pub(super) const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Size {
    /// What is assumed of a terminal that does not tell.
    pub const DEFAULT: Self = Self {
        width: 80,
        height: 10,
    };
}

/// The size of the terminal behind stderr, if it has one and tells.
pub fn stderr_size() -> Option<Size> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| Size {
        width: usize::from(size.ws_col),
        height: usize::from(size.ws_row),
    })
}

/// Shows the cursor again, for a command that ends without waiting for its display.
pub fn restore(ui: &Ui) {
    if ui.is_terminal() {
        let _ = ui.draw(SHOW_CURSOR);
    }
}

/// Hides the cursor from its first use on until it is dropped, however that happens.
pub(super) struct HiddenCursor {
    ui: Ui,
}

impl HiddenCursor {
    pub(super) fn hide(ui: &Ui) -> Self {
        let _ = ui.draw(HIDE_CURSOR);
        Self { ui: ui.clone() }
    }
}

impl Drop for HiddenCursor {
    fn drop(&mut self) {
        let _ = self.ui.draw(SHOW_CURSOR);
    }
}
