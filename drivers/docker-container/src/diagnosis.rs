//! Why a connection to the daemon was lost, from what the engine knows of its container.
//!
//! The default restart policy starts a container again within a moment, and the new run hides the old one's end: then only
//! the engine's events tell it.

use std::time::Duration;

use bkhost_driver::{
    Deadline, Error, Finding, Instant, Loss, Result, STEP_KILLED, timer, wait_any, wall_clock,
};
use serde_json::Value;

use crate::api::{self, Container};
use crate::clock::Skew;
use crate::{ANSWER, DockerContainer};

/// A connection ends before its container does: how long that may take.
const AFTERMATH: Duration = Duration::from_secs(3);
/// The engine tells of a process that the kernel killed about when the step's end is told.
const TELLING: Duration = Duration::from_secs(1);
/// How long a container that was killed through the engine may still be about to be removed: its end is told first.
const REMOVAL: Duration = Duration::from_secs(1);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// By how much the engine's clock may be taken wrong.
const SLACK: Duration = Duration::from_secs(1);
/// The signal with which the engine begins to stop a container.
const TERMINATION: i64 = 15;
/// Exit code of what the kernel kills for want of memory.
const OUT_OF_MEMORY: i64 = 137;
/// Word of what the kernel killed for want of memory.
const OOM_KILLED: &str = "oom-killed";
const RAISE: &str = "Raise the driver option `memory`, or let fewer steps run at once (`max-parallelism` in `buildkitd.toml`)";
const MORE_ON_THE_MACHINE: &str =
    "Let fewer steps run at once (`max-parallelism` in `buildkitd.toml`), or give the machine more memory";
/// Signals that end containers in practice.
const SIGNALS: [(i64, &str); 8] = [
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (15, "SIGTERM"),
];

/// What the engine says happened since the connection was opened.
#[derive(Debug, Default)]
struct Course {
    /// Exit code of the end.
    end: Option<i64>,
    /// When it ended, on the engine's clock.
    ended_at: Option<Duration>,
    /// Something in it ran out of memory.
    out_of_memory: bool,
    /// Somebody asked the engine to stop it.
    stopped: bool,
    /// A signal that somebody sent through the engine.
    signal: Option<i64>,
    /// It was removed.
    removed: bool,
    /// Another run has begun since.
    restarted: bool,
}

impl DockerContainer {
    /// Finds the reason for a loss. The engine may learn of an end a moment later than we do, so it is asked for a while.
    pub fn find_reason(&self, loss: &Loss) -> Result<Finding> {
        if loss.how == STEP_KILLED {
            return Ok(self.find_reason_of_step(loss));
        }
        let deadline = Deadline::of(&loss.step).or_earlier(Deadline::within(ANSWER));
        let begun = Instant::now();
        loop {
            let (container, course) = match self.observe(loss, deadline) {
                Ok(seen) => seen,
                Err(error) => return Ok(self.engine_gone(&error, loss)),
            };
            let goes_on = container.is_some() && course.may_be_a_removal() && begun.elapsed() < REMOVAL;
            let finding = self.judge(container.as_ref(), &course);
            if let Some(finding) =
                finding.filter(|_| !goes_on || deadline.is_over() || loss.step.is_cancelled())
            {
                let log = api::last_lines(&self.name, course.ended_at, deadline.timeout(ANSWER));
                return Ok(with_facts(finding, &course, log, loss));
            }
            if begun.elapsed() >= AFTERMATH || deadline.is_over() || loss.step.is_cancelled() {
                let log = api::last_lines(&self.name, None, deadline.timeout(ANSWER));
                let finding = match course.out_of_memory {
                    true => self.out_of_memory(container.as_ref(), "Something in the container"),
                    false => self.cut(),
                };
                return Ok(with_facts(finding, &course, log, loss));
            }
            let pause = timer(deadline.timeout(PAUSE));
            wait_any(&[&pause, &loss.step.cancellation()]);
        }
    }

    /// Looks for evidence that a step of a daemon that lives was killed for want of memory. Only an event of the engine in
    /// the step's time is any: `OOMKilled` stays set from an earlier time, and a container reaches its limit by its file
    /// cache alone.
    fn find_reason_of_step(&self, loss: &Loss) -> Finding {
        let deadline = Deadline::of(&loss.step).or_earlier(Deadline::within(TELLING));
        loop {
            match self.observe(loss, deadline) {
                Ok((container, course)) if course.out_of_memory => {
                    return self.step_out_of_memory(container.as_ref());
                }
                Ok(_) if !deadline.is_over() && !loss.step.is_cancelled() => {}
                _ => return Finding::new("unknown", "Nothing is known of why the step was killed"),
            }
            let pause = timer(deadline.timeout(PAUSE));
            wait_any(&[&pause, &loss.step.cancellation()]);
        }
    }

    fn step_out_of_memory(&self, container: Option<&Container>) -> Finding {
        let name = &self.name;
        let limit = container.map_or(0, |container| container.number("/HostConfig/Memory"));
        let begin =
            "Probably out of memory: while the step ran, the kernel killed a process in the container";
        match limit {
            0 => Finding::new(
                OOM_KILLED,
                format!("{begin} `{name}`, which has no limit of its own"),
            )
            .with_hint(MORE_ON_THE_MACHINE),
            limit => Finding::new(
                OOM_KILLED,
                format!("{begin} `{name}`, whose limit is {}", size(limit)),
            )
            .with_hint(RAISE)
            .with_detail("limit", limit.to_string()),
        }
    }

    fn observe(&self, loss: &Loss, deadline: Deadline) -> Result<(Option<Container>, Course)> {
        let asked = wall_clock();
        let info = api::info(deadline.timeout(ANSWER))?;
        let now = wall_clock();
        let skew = Skew::between(info.time().unwrap_or(now), asked, now);
        let since = skew.on_engine(loss.opened_at);
        let container = api::inspect(&self.name, deadline.timeout(ANSWER))?;
        let until = skew.on_engine(now);
        let events = api::events(&self.name, since, until, deadline.timeout(ANSWER));
        // An engine that was restarted has forgotten its events; the container still tells something.
        let mut course = Course::of(&events.unwrap_or_default());
        let begun = container.as_ref().and_then(Container::started_at);
        course.restarted = begun.is_some_and(|begun| begun > since + SLACK);
        if let (None, Some(container)) = (course.end, &container) {
            course.take_state(container);
        }
        Ok((container, course))
    }

    /// The finding, when what is known is enough.
    fn judge(&self, container: Option<&Container>, course: &Course) -> Option<Finding> {
        let name = &self.name;
        if container.is_none() || course.removed {
            let words = format!("The container `{name}` was removed");
            return Some(
                Finding::new("removed", words).with_hint("Somebody removed the builder or its container"),
            );
        }
        if let Some(code) = course.end {
            return Some(self.ended(container, course, code));
        }
        course.restarted.then(|| {
            let words = format!(
                "The container `{name}` was started anew; the engine does not know any more why it ended"
            );
            Finding::new("exited", words)
                .with_hint("The Docker Engine or its machine may have been restarted")
        })
    }

    fn ended(&self, container: Option<&Container>, course: &Course, code: i64) -> Finding {
        let name = &self.name;
        // A step that ran out of memory earlier has nothing to do with a kill that somebody asked for.
        if course.out_of_memory && course.signal.is_none() && code == OUT_OF_MEMORY {
            return self.out_of_memory(container, "The container");
        }
        if course.stopped {
            return Finding::new("stopped", format!("The container `{name}` was stopped"))
                .with_hint("Somebody stopped the builder, or its container, while it was in use");
        }
        let signal = course.signal.or((code > 128).then_some(code - 128));
        match signal {
            Some(signal) => {
                let finding = Finding::new(
                    "killed",
                    format!("The container `{name}` was killed by {}", signal_name(signal)),
                );
                match signal == 9 && course.signal.is_none() {
                    true => finding.with_hint(
                        "Not by way of the engine: where the machine ran out of memory, its kernel log (`dmesg`) says so",
                    ),
                    false => finding,
                }
            }
            None => Finding::new(
                "exited",
                format!("`buildkitd` in the container `{name}` exited with code {code}"),
            ),
        }
    }

    /// `what` is what the kernel chose: the daemon and with it the container, or a process in it, such as a step's.
    fn out_of_memory(&self, container: Option<&Container>, what: &str) -> Finding {
        let name = &self.name;
        let limit = container.map_or(0, |container| container.number("/HostConfig/Memory"));
        match limit {
            0 => Finding::new(
                OOM_KILLED,
                format!("{what} `{name}` was killed: its machine ran out of memory"),
            )
            .with_hint(MORE_ON_THE_MACHINE),
            limit => Finding::new(
                OOM_KILLED,
                format!(
                    "{what} `{name}` was killed: it ran out of memory, its limit is {}",
                    size(limit)
                ),
            )
            .with_hint(RAISE)
            .with_detail("limit", limit.to_string()),
        }
    }

    fn cut(&self) -> Finding {
        let words = format!(
            "The connection into the container `{}` was cut; the container runs",
            self.name
        );
        Finding::new("tunnel-cut", words)
            .with_hint("Either the way to the Docker Engine was interrupted, or `buildctl dial-stdio` ended in the container")
    }

    fn engine_gone(&self, error: &Error, loss: &Loss) -> Finding {
        let words = format!(
            "The Docker Engine of the container `{}` does not answer any more",
            self.name
        );
        let finding = Finding::new("engine-gone", words)
            .with_hint("It was stopped or restarted, or its machine is out of reach")
            .with_detail("error", error.message());
        with_facts(finding, &Course::default(), String::new(), loss)
    }
}

impl Course {
    fn of(events: &[Value]) -> Self {
        let mut course = Self::default();
        for event in events {
            let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default();
            // The first end is that of the connection; a run that came later may have ended, too.
            let before = course.end.is_none();
            match text("/Action") {
                "die" if before => {
                    course.end = Some(text("/Actor/Attributes/exitCode").parse().unwrap_or(-1));
                    let time = event.pointer("/timeNano").and_then(Value::as_u64);
                    course.ended_at = time.map(Duration::from_nanos);
                }
                "oom" if before => course.out_of_memory = true,
                "kill" if before => {
                    course.signal = text("/Actor/Attributes/signal").parse().ok();
                    // Engines differ in whether they tell of a stop before or after the end.
                    course.stopped |= course.signal == Some(TERMINATION);
                }
                "stop" => course.stopped = true,
                "destroy" => course.removed = true,
                _ => {}
            }
        }
        course
    }

    /// Somebody ended it through the engine, and nothing has followed yet.
    fn may_be_a_removal(&self) -> bool {
        self.signal.is_some() && !self.removed && !self.restarted
    }

    /// Without an event: what the engine says of a container that has ended and was not started again.
    fn take_state(&mut self, container: &Container) {
        let ended = !container.is_running() && !container.was_never_started();
        if ended || container.is_restarting() {
            self.end = Some(container.number("/State/ExitCode"));
            self.out_of_memory |= container.flag("/State/OOMKilled");
        }
    }
}

fn with_facts(finding: Finding, course: &Course, log: String, loss: &Loss) -> Finding {
    let finding = match course.end {
        Some(code) => finding.with_detail("exit-code", code.to_string()),
        None => finding,
    };
    let finding = match course.signal {
        Some(signal) => finding.with_detail("signal", signal.to_string()),
        None => finding,
    };
    let log = if log.is_empty() {
        loss.stderr_tail.clone()
    } else {
        log
    };
    match log.is_empty() {
        true => finding,
        false => finding.with_detail("log", log),
    }
}

fn signal_name(signal: i64) -> String {
    let known = SIGNALS.iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

/// A size as a person reads it: `512 MiB`.
fn size(bytes: i64) -> String {
    const MIB: i64 = 1 << 20;
    match bytes {
        ..MIB => format!("{bytes} bytes"),
        _ => format!("{} MiB", bytes / MIB),
    }
}
