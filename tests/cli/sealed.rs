//! A sealed environment: temporary home, chosen variables, captured output.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![allow(
    dead_code,
    reason = "several test programs use this file, none of them all of it"
)]

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bkhost::cli;
use bkhost::cli::env_vars::Environment;
use bkhost::driver::node::Drivers;
use bkhost::ui::Ui;

/// What a command left.
#[must_use = "check the exit code and the output"]
#[derive(Debug)]
pub struct Output {
    /// Exit code.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// The standard output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The standard error of a command that must have failed with exit code 1.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        self.err
    }
}

/// A home of its own.
pub struct Sealed {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Sealed {
    /// An empty home.
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// An empty home below a folder.
    pub fn below(folder: &std::path::Path) -> Self {
        Self {
            home: tempfile::tempdir_in(folder).unwrap(),
            variables: Vec::new(),
        }
    }

    /// The same with one more variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder of the store.
    pub fn store(&self) -> PathBuf {
        self.home.path().join(".docker/buildx")
    }

    /// The home folder.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// All variables of the environment.
    pub fn variables(&self) -> Vec<(String, String)> {
        let home = ("HOME".to_owned(), self.home.path().display().to_string());
        [home].into_iter().chain(self.variables.iter().cloned()).collect()
    }

    /// Runs a command line, split at blanks, in this process.
    pub fn run(&self, drivers: &dyn Drivers, line: &str) -> Output {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        self.run_with(drivers, &arguments)
    }

    /// Runs a command line in this process.
    pub fn run_with(&self, drivers: &dyn Drivers, arguments: &[String]) -> Output {
        let program = std::iter::once("bkhost".into());
        self.call(
            drivers,
            program.chain(arguments.iter().map(OsString::from)).collect(),
        )
    }

    /// Runs a command line, split at blanks and with docker's own flags first, in this process as docker's plugin.
    pub fn run_by_docker(&self, drivers: &dyn Drivers, line: &str) -> Output {
        let words = line.split_whitespace().map(OsString::from);
        self.call(
            drivers,
            std::iter::once("docker-buildx".into()).chain(words).collect(),
        )
    }

    fn call(&self, drivers: &dyn Drivers, words: Vec<OsString>) -> Output {
        let (out, err) = (Buffer::default(), Buffer::default());
        let ui = Ui::new(Box::new(out.clone()), Box::new(err.clone()), false, false, false);
        let variables = self.variables();
        let pairs = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let environment = Environment::of(pairs, self.home.path());
        let (arguments, environment) = cli::plugin::receive(words, environment);
        let code = cli::run(&arguments, &environment, &ui, drivers);
        let home = self.home.path().display().to_string();
        Output {
            code,
            out: out.text().replace(&home, "HOME"),
            err: err.text().replace(&home, "HOME"),
        }
    }
}
