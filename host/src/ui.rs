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
}

struct Inner {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// While a progress display owns stderr, talk is held back here.
    held: Option<Vec<String>>,
}

impl Ui {
    /// The process's own stdout and stderr. `no_colour` is the user's wish, or all that the terminal can do.
    pub fn stdio(no_colour: bool, debug: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            out_terminal: io::stdout().is_terminal(),
            ..Self::new(
                Box::new(io::stdout()),
                Box::new(io::stderr()),
                terminal,
                terminal && !no_colour,
                debug,
            )
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
            Some(held) => held.push(line),
            None => {
                let _ = writeln!(inner.err, "{line}");
            }
        }
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
        let held = self.0.lock().held.take();
        for line in held.into_iter().flatten() {
            self.0.say(line);
        }
    }
}
