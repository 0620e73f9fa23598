//! Waiting for the daemon in a container that was started.

use std::time::Duration;

use bkhost_driver::{Deadline, Error, ErrorKind, Result, Step, timer, wait_any};

use crate::api::{self, Container};
use crate::{ANSWER, DockerContainer};

/// What succeeds when the daemon serves.
const QUESTION: [&str; 3] = ["buildctl", "debug", "workers"];
/// Pause after the first failure; after the next it is twice as long, then three times.
const PAUSE: Duration = Duration::from_millis(120);
/// How often the pause grows, and how many failures are too many where the operation has no deadline.
const TRIES: u32 = 15;
/// Restarts by the engine after which nobody need wait for another.
const RESTARTS: i64 = 3;

/// Limit of asking for the log when the time is over: the host ends the call a second later.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Why the daemon cannot be used yet.
enum Hurdle {
    /// It may come; the cause so far, and what the question printed.
    NotYet(Error, String),
    /// It will not.
    Final(Error),
}

impl DockerContainer {
    /// Asks until the daemon answers, its container ends, or the time is over.
    pub fn wait(&self, step: &Step<'_>) -> Result<()> {
        step.run("waiting for buildkitd", |part| {
            let deadline = Deadline::of(part);
            let mut restarts = None;
            for failures in 1.. {
                if part.is_cancelled() {
                    return Err(Error::new(ErrorKind::Cancelled, "Cancelled"));
                }
                let (cause, output) = match self.ask(deadline, &mut restarts) {
                    Ok(()) => return Ok(()),
                    Err(Hurdle::Final(error)) => return Err(error),
                    Err(Hurdle::NotYet(cause, output)) => (cause, output),
                };
                let without_end = deadline.time_left().is_none() && failures > TRIES;
                let pause = timer(deadline.timeout(PAUSE * failures.min(TRIES)));
                if !without_end {
                    wait_any(&[&pause, &part.cancellation()]);
                }
                if without_end || (deadline.is_over() && !part.is_cancelled()) {
                    return Err(self.too_slow(cause, &output));
                }
            }
            Ok(())
        })
    }

    fn ask(&self, deadline: Deadline, restarts: &mut Option<i64>) -> std::result::Result<(), Hurdle> {
        let (cause, output) = match api::run(&self.name, &QUESTION, deadline.timeout(ANSWER)) {
            Ok(outcome) if outcome.code == 0 => return Ok(()),
            Ok(outcome) => {
                let words = format!("`{}`: exit code {}", QUESTION.join(" "), outcome.code);
                (Error::new(ErrorKind::Unavailable, words), outcome.output)
            }
            Err(error) if is_final(&error) => return Err(Hurdle::Final(error)),
            Err(error) => (error, String::new()),
        };
        match api::inspect(&self.name, deadline.timeout(ANSWER)) {
            Ok(None) => Err(Hurdle::Final(self.removed())),
            Ok(Some(container)) if self.is_hopeless(&container, restarts) => {
                Err(Hurdle::Final(self.early_end(&container)))
            }
            _ => Err(Hurdle::NotYet(cause, output)),
        }
    }

    /// It ended for good, or is started again and again.
    fn is_hopeless(&self, container: &Container, restarts: &mut Option<i64>) -> bool {
        let count = container.number("/RestartCount");
        let begin = *restarts.get_or_insert(count);
        let ended = !container.is_running() && !container.is_restarting() && !container.was_never_started();
        ended || count >= begin + RESTARTS
    }

    fn removed(&self) -> Error {
        let words = format!("The container `{}` was removed while it started", self.name);
        Error::new(ErrorKind::NotFound, words)
    }

    fn early_end(&self, container: &Container) -> Error {
        let code = container.number("/State/ExitCode");
        let name = &self.name;
        let log = format!("Its whole log: `docker logs {name}`");
        let (words, hint) = match container.flag("/State/OOMKilled") {
            true => (
                format!("`buildkitd` in the container `{name}` ran out of memory before it served"),
                "Raise the driver option `memory`, or give the machine more".to_owned(),
            ),
            false => (
                format!("`buildkitd` in the container `{name}` exited with code {code} before it served"),
                log,
            ),
        };
        let error = Error::new(ErrorKind::Other, words)
            .with_hint(hint)
            .with_detail("exit-code", code.to_string());
        with_log(error, api::last_lines(&self.name, None, ANSWER))
    }

    fn too_slow(&self, cause: Error, output: &str) -> Error {
        let words = format!("`buildkitd` in the container `{}` does not serve yet", self.name);
        let error = Error::new(ErrorKind::TimedOut, words).with_detail("cause", cause.message());
        let error = match output.trim_end() {
            "" => error,
            output => error.with_detail("output", output),
        };
        // An engine that has not answered just now would not tell a log either.
        match cause.kind() {
            ErrorKind::TimedOut => error,
            _ => with_log(error, api::last_lines(&self.name, None, LAST_WORDS)),
        }
    }
}

/// Asking again cannot help.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::Certificate | ErrorKind::Protocol
    )
}

fn with_log(error: Error, log: String) -> Error {
    match log.is_empty() {
        true => error,
        false => error.with_detail("log", log),
    }
}

#[cfg(test)]
mod tests {
    use bkhost_driver::Driver;
    use bkhost_driver::testing::Host;

    use super::*;

    #[test]
    fn an_engine_that_hangs_is_not_asked_for_a_log() {
        let host = Host::new();
        let driver = DockerContainer::open(host.config()).unwrap();
        let error = driver.too_slow(Error::new(ErrorKind::TimedOut, "It hangs"), "no answer\n");
        let detail = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let details = [detail("cause", "It hangs"), detail("output", "no answer")];
        assert_eq!(error.details(), details);
        assert_eq!(host.engine_requests(), []);
        host.engine_answers(200, "last words");
        let error = driver.too_slow(Error::new(ErrorKind::Unavailable, "It fails"), "");
        assert_eq!(error.details()[1], detail("log", "last words"));
    }
}
