//! Times programs and asks for their peak memory.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::process;

/// A program that is measured.
#[derive(Debug)]
pub struct Subject {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, OsString)>,
    /// A file in memory for what `time` says.
    pub note: PathBuf,
    /// What is done before each turn and not measured: programs with their arguments.
    pub before: Vec<(PathBuf, Vec<String>)>,
    /// It takes seconds: one run a turn gives time, processor time and memory, because what `time` adds is nothing then,
    /// and its hundredths of a second are enough.
    pub is_long: bool,
}

/// What was measured of one program.
#[derive(Debug, Clone)]
pub struct Figures {
    /// From start to end, sorted.
    pub wall: Vec<Duration>,
    /// Processor time of the program and of what it started, sorted; only of what takes long.
    pub cpu: Vec<Duration>,
    /// Largest resident memory in KiB, sorted.
    pub memory: Vec<u64>,
}

impl Figures {
    /// Median time in milliseconds.
    pub fn wall_ms(&self) -> f64 {
        middle(&self.wall).map_or(f64::NAN, |wall| wall.as_secs_f64() * 1000.0)
    }

    /// Median processor time in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        middle(&self.cpu).map_or(f64::NAN, |cpu| cpu.as_secs_f64() * 1000.0)
    }

    /// Shortest and longest time in milliseconds.
    pub fn range_ms(&self) -> (f64, f64) {
        let ms = |wall: Option<&Duration>| wall.map_or(f64::NAN, |wall| wall.as_secs_f64() * 1000.0);
        (ms(self.wall.first()), ms(self.wall.last()))
    }

    /// Median peak memory in MiB.
    pub fn memory_mib(&self) -> f64 {
        // A peak is far below 2^52 KiB: the conversion is exact.
        middle(&self.memory).map_or(f64::NAN, |kib| *kib as f64 / 1024.0)
    }
}

/// Measures the subjects in turns, so that whatever else the machine does falls on all of them.
pub fn alternating(subjects: &[Subject], runs: usize) -> Result<Vec<Figures>> {
    let mut figures: Vec<Figures> = subjects
        .iter()
        .map(|_| Figures {
            wall: Vec::new(),
            cpu: Vec::new(),
            memory: Vec::new(),
        })
        .collect();
    for subject in subjects {
        subject.prepare()?;
        subject.wall()?;
    }
    for _ in 0..runs {
        for (subject, figures) in subjects.iter().zip(&mut figures) {
            subject.turn(figures)?;
        }
    }
    for figures in &mut figures {
        figures.wall.sort();
        figures.cpu.sort();
        figures.memory.sort_unstable();
    }
    Ok(figures)
}

fn middle<T>(sorted: &[T]) -> Option<&T> {
    sorted.get(sorted.len() / 2)
}

impl Subject {
    fn turn(&self, figures: &mut Figures) -> Result {
        self.prepare()?;
        if !self.is_long {
            figures.wall.push(self.wall()?);
        }
        let seen = self.seen()?;
        if self.is_long {
            figures.wall.push(seen.wall);
            figures.cpu.push(seen.cpu);
        }
        figures.memory.push(seen.memory);
        Ok(())
    }

    fn prepare(&self) -> Result {
        for (program, arguments) in &self.before {
            let mut command = Command::new(program);
            command.args(arguments).envs(self.variables());
            process::run_quietly(&mut command)?;
        }
        Ok(())
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.environment.iter().map(|(name, value)| (*name, value))
    }

    fn wall(&self) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        self.perform(&mut command)
    }

    /// One run as `time` sees it.
    fn seen(&self) -> Result<Seen> {
        let mut command = Command::new("/usr/bin/time");
        command
            .args(["--format=%M %U %S", "--output"])
            .arg(&self.note)
            .arg(&self.program)
            .args(&self.arguments);
        let wall = self.perform(&mut command)?;
        let text = fs::read_to_string(&self.note).map_err(|cause| Failure::io("read", &self.note, &cause))?;
        Seen::parse(&text, wall).ok_or_else(|| Failure::new(format!("`time` said `{}`", text.trim())))
    }

    fn perform(&self, command: &mut Command) -> Result<Duration> {
        command.envs(self.variables());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Instant::now();
        let status = command.status();
        let took = started.elapsed();
        match status {
            Ok(status) if status.success() => Ok(took),
            Ok(status) => Err(Failure::new(format!(
                "`{}` failed: {status}",
                process::shown(command)
            ))),
            Err(cause) => Err(Failure::new(format!(
                "Cannot start `{}`: {cause}",
                process::shown(command)
            ))),
        }
    }
}

/// One run.
struct Seen {
    wall: Duration,
    cpu: Duration,
    /// In KiB.
    memory: u64,
}

impl Seen {
    fn parse(text: &str, wall: Duration) -> Option<Self> {
        let mut words = text.split_whitespace();
        let memory = words.next()?.parse().ok()?;
        let mut seconds = || Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok();
        let cpu = seconds()? + seconds()?;
        Some(Self { wall, cpu, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_says_is_read() {
        let seen = Seen::parse("20772 0.36 0.24\n", Duration::ZERO).unwrap();
        assert_eq!((seen.memory, seen.cpu), (20772, Duration::from_millis(600)));
        assert!(Seen::parse("Command exited", Duration::ZERO).is_none());
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted() {
        let figures = Figures {
            wall: [1, 2, 90].map(Duration::from_millis).into(),
            cpu: Vec::new(),
            memory: vec![1024, 2048, 4096],
        };
        assert!((figures.wall_ms() - 2.0).abs() < 1e-9);
        assert!((figures.memory_mib() - 2.0).abs() < 1e-9);
        assert_eq!(figures.range_ms(), (1.0, 90.0));
    }

    #[test]
    fn a_program_that_fails_is_no_measurement() {
        let subject = |program: &str| Subject {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            note: PathBuf::new(),
            before: Vec::new(),
            is_long: false,
        };
        assert!(subject("true").wall().is_ok());
        assert!(
            subject("false")
                .wall()
                .unwrap_err()
                .to_string()
                .contains("`false` failed")
        );
    }
}
