//! What a guest says to whoever looks for the reason of a failure: log lines, its last panic, its standard output.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::driver::bindings::log::{Host, Level};
use crate::driver::limits::{LOG_LINE, LOG_LINES_PER_SECOND, Rate, SHOWN_TEXT, WARNINGS, clean_line};
use crate::driver::state::{Call, View};

/// What a guest said during one operation.
#[derive(Debug)]
pub(crate) struct Notes(Mutex<Said>);

#[derive(Debug)]
struct Said {
    panic: Option<String>,
    warnings: Vec<String>,
    rate: Rate,
}

impl Notes {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self(Mutex::new(Said {
            panic: None,
            warnings: Vec::new(),
            rate: Rate::new(LOG_LINES_PER_SECOND),
        }))
    }

    /// The message of the panic that preceded a trap.
    pub fn panic(&self) -> Option<String> {
        self.lock().panic.clone()
    }

    /// Takes the warnings for the user.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().warnings)
    }

    /// How many lines at the end were dropped.
    pub fn dropped(&self) -> u64 {
        self.lock().rate.dropped()
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Takes one line of the guest: cleaned, cut, and dropped when there are too many.
    pub fn log(&self, level: Level, message: &str) {
        let line = clean_line(message, LOG_LINE);
        let dropped = {
            let mut said = self.notes.lock();
            if level == Level::Warning && said.warnings.len() < WARNINGS {
                let warning = clean_line(message, SHOWN_TEXT);
                said.warnings.push(warning);
            }
            match said.rate.pass() {
                Some(dropped) => dropped,
                None => return,
            }
        };
        if dropped > 0 {
            tracing::debug!(driver = %self.driver, "{dropped} log lines were dropped");
        }
        let (driver, function) = (&self.driver, self.function.name());
        match level {
            Level::Debug | Level::Other => tracing::debug!(%driver, function, "{line}"),
            Level::Info | Level::Warning => tracing::info!(%driver, function, "{line}"),
            Level::Error => tracing::warn!(%driver, function, "{line}"),
        }
    }
}

impl Host for View<'_> {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.call.log(level, &message);
        Ok(())
    }

    async fn panicked(&mut self, message: String) -> wasmtime::Result<()> {
        let message = clean_line(&message, SHOWN_TEXT);
        tracing::debug!(driver = %self.call.driver, "panicked: {message}");
        self.call.notes.lock().panic = Some(message);
        Ok(())
    }
}

/// A guest's standard output or error: its lines go to the log.
#[derive(Clone)]
pub(crate) struct StdioLog {
    call: Arc<Call>,
    level: Level,
}

impl StdioLog {
    /// Lines of `level` for the operation's log.
    pub fn new(call: Arc<Call>, level: Level) -> Self {
        Self { call, level }
    }
}

impl IsTerminal for StdioLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for StdioLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines {
            log: self.clone(),
            pending: Vec::new(),
        })
    }
}

/// Cuts what is written into lines.
struct Lines {
    log: StdioLog,
    pending: Vec<u8>,
}

impl Lines {
    fn push(&mut self, data: &[u8]) {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") || self.pending.len() > LOG_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.pending);
        if !line.is_empty() {
            self.log.call.log(self.log.level, &String::from_utf8_lossy(&line));
        }
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.push(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.end_line();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}
