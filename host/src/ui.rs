//! The one door to the terminal: stdout is data, stderr is talk.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};

/// Where a command's output goes. Cheap to clone.
///
/// A broken pipe is a quiet end and no error: writing reports it as [`io::ErrorKind::BrokenPipe`] for the caller to
/// stop on.
#[derive(Clone)]
pub struct Ui {
    inner: Arc<Mutex<Inner>>,
    terminal: bool,
    out_terminal: bool,
    colour: bool,
    debug: bool,
    warns: bool,
}

struct Inner {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// While a progress display owns stderr, talk is held back here.
    held: Option<Held>,
}

/// Lines that wait for the end of a progress display.
#[derive(Default)]
struct Held {
    lines: Vec<String>,
    /// How many of them are log lines.
    logged: usize,
    /// Log lines that were too many.
    dropped: usize,
}

/// Log lines that are held back; a driver may write a thousand a second, and a display may run for hours.
const HELD_LOG_LINES: usize = 2000;

impl Ui {
    /// The process's own stdout and stderr. `no_colour` is the user's wish, or all that the terminal can do.
    pub fn stdio(no_colour: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            out_terminal: io::stdout().is_terminal(),
            ..Self::new(
                Box::new(io::stdout()),
                Box::new(io::stderr()),
                terminal,
                terminal && !no_colour,
                false,
            )
        }
    }

    /// The same door for a user who asked for debug output, or did not.
    pub fn with_debug(&self, debug: bool) -> Self {
        Self {
            debug,
            ..self.clone()
        }
    }

    /// The same door for a user who wants no warnings.
    pub fn without_warnings(&self) -> Self {
        Self {
            warns: false,
            ..self.clone()
        }
    }

    /// A door to other writers, for tests.
    pub fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        terminal: bool,
        colour: bool,
        debug: bool,
    ) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner { out, err, held: None })),
            terminal,
            out_terminal: false,
            colour,
            debug,
            warns: true,
        }
    }

    /// Whether stderr is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether stdout is a terminal.
    pub fn out_is_terminal(&self) -> bool {
        self.out_terminal
    }

    /// Whether colours may be written to stderr.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Whether the user asked for debug output.
    pub fn debug(&self) -> bool {
        self.debug
    }

    /// Writes data to stdout as it is.
    pub fn out(&self, data: impl AsRef<[u8]>) -> io::Result<()> {
        let mut inner = self.lock();
        inner.out.write_all(data.as_ref())?;
        inner.out.flush()
    }

    /// Stdout as a writer, for data that comes in pieces.
    pub fn out_writer(&self) -> impl Write + Send + use<> {
        OutWriter(self.clone())
    }

    /// Writes one line of talk to stderr; held back while a progress display runs.
    pub fn say(&self, line: impl Into<String>) {
        let mut inner = self.lock();
        let line = line.into();
        match &mut inner.held {
            Some(held) => held.lines.push(line),
            None => {
                let _ = writeln!(inner.err, "{line}");
            }
        }
    }

    /// Writes one line of the log to stderr; held back like talk, but of too many only the first.
    pub fn log(&self, line: impl Into<String>) {
        {
            let mut inner = self.lock();
            if let Some(held) = &mut inner.held {
                if held.logged >= HELD_LOG_LINES {
                    held.dropped += 1;
                    return;
                }
                held.logged += 1;
            }
        }
        self.say(line);
    }

    /// Asks a question that is answered with `y` or `Y`; everything else, the end of the input included, is no.
    pub fn confirm(&self, question: &str) -> io::Result<bool> {
        self.out(format!("{question} [y/N] "))?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim_end_matches(['\r', '\n']), "y" | "Y"))
    }

    /// A warning in the form that buildx users match on.
    pub fn warn(&self, message: impl AsRef<str>) {
        if !self.warns {
            return;
        }
        self.say(format!("WARNING: {}", message.as_ref()));
    }

    /// Writes to stderr at once: for the progress display that owns it.
    pub fn draw(&self, data: impl AsRef<[u8]>) -> io::Result<()> {
        let mut inner = self.lock();
        inner.err.write_all(data.as_ref())?;
        inner.err.flush()
    }

    /// Holds back what is said until the guard is dropped.
    pub fn hold(&self) -> Hold {
        self.lock().held.get_or_insert_default();
        Hold(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct OutWriter(Ui);

impl Write for OutWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().out.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().out.flush()
    }
}

/// The process's own stdin and stdout for a connection that is carried through them: neither direction may block the
/// other, so they bypass [`Ui::out`].
pub fn own_streams() -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
    (tokio::io::stdin(), tokio::io::stdout())
}

/// Holds talk back; see [`Ui::hold`].
pub struct Hold(Ui);

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(held) = self.0.lock().held.take() else {
            return;
        };
        for line in held.lines {
            self.0.say(line);
        }
        if held.dropped > 0 {
            self.0.say(format!("({} more log lines)", held.dropped));
        }
    }
}

/// What was written to stderr, for tests.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Kept {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Kept {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Ui {
    /// A door without a terminal that keeps what is said.
    pub(crate) fn kept() -> (Self, Kept) {
        let kept = Kept::default();
        let ui = Self::new(Box::new(io::sink()), Box::new(kept.clone()), false, false, false);
        (ui, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_holds_back_all_talk_and_as_much_of_the_log_as_can_be_read() {
        let (ui, kept) = Ui::kept();
        let hold = ui.hold();
        for number in 0..HELD_LOG_LINES + 3 {
            ui.log(format!("line {number}"));
        }
        ui.say("said");
        assert!(kept.text().is_empty());
        drop(hold);
        ui.log("afterwards");
        let text = kept.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), HELD_LOG_LINES + 3);
        assert_eq!(
            lines[HELD_LOG_LINES..],
            ["said", "(3 more log lines)", "afterwards"]
        );
    }
}
