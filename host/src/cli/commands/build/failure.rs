//! How a build that failed is told: message, source excerpts, the daemon's last words, the way out, the exit code.

use crate::acquire::{AcquireError, Daemon};
use crate::buildkit::error::{DaemonError, Detail, RpcError, SolveError};
use crate::causes;
use crate::cli::build::solve_spec::exporters::EXPORTERS;
use crate::connect::liveness::Lost;
use crate::driver::node::Finding;
use crate::error::{CommandError, ErrorKind};
use crate::nearest::nearest;
use crate::plan::PlacementError;
use crate::progress::excerpt::excerpt;
use crate::store::docker::helper;

/// No daemon could be reached.
pub fn of_acquire(error: AcquireError) -> CommandError {
    if error.is_cancelled() {
        return CommandError::new(ErrorKind::Cancelled, "Canceled: context canceled");
    }
    let hint = error.hint();
    let details: Vec<String> = error
        .details()
        .iter()
        .map(|(key, value)| detail(key, value))
        .collect();
    let mut command = CommandError::new(ErrorKind::Driver, causes::one_line(&error));
    if let Some(hint) = hint {
        command = command.with_hint(hint);
    }
    details.into_iter().fold(command, CommandError::with_preface)
}

/// A driver's fact: one line, or a block under its name.
fn detail(key: &str, value: &str) -> String {
    match value.contains('\n') {
        true => format!("{key}:\n{}", value.trim_end()),
        false => format!("{key}: {value}"),
    }
}

/// The platforms have no common home.
pub fn of_placement(error: PlacementError) -> CommandError {
    CommandError::user(error.to_string()).with_hint(error.hint())
}

/// A call before or after the build failed; if that was because the daemon went away, its driver is asked why.
pub async fn of_call(error: RpcError, daemon: &Daemon) -> CommandError {
    match error {
        RpcError::Lost { how, .. } => of_solve(SolveError::Lost { how }, daemon).await,
        other => CommandError::new(ErrorKind::Driver, causes::one_line(&other)),
    }
}

/// The build failed, was cancelled, or lost its daemon, whose driver is then asked why.
pub async fn of_solve(error: SolveError, daemon: &Daemon) -> CommandError {
    if let SolveError::Lost { how } = &error {
        let finding = daemon.diagnose(how).await;
        return of_loss(how, &daemon.name, daemon.node.info().counts("logs"), finding);
    }
    let kind = match &error {
        SolveError::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Build,
    };
    let mut command = CommandError::new(kind, text(&error)).with_exit_code(error.exit_code());
    if let Some(finding) = why_killed(&error, daemon).await {
        command = with_finding(command, finding);
    }
    if let Some(hint) = error.hint().map(str::to_owned).or_else(|| way_out(&error)) {
        command = command.with_hint(hint);
    }
    error
        .details()
        .iter()
        .filter_map(excerpt_of)
        .fold(command, CommandError::with_preface)
}

/// Exit code of a process that SIGKILL ended: the kernel's way where memory runs out, and everybody else's.
const KILLED: u32 = 137;

/// A step was killed while its daemon lives: what its driver knows of it.
async fn why_killed(error: &SolveError, daemon: &Daemon) -> Option<Finding> {
    let SolveError::Failed(error) = error else {
        return None;
    };
    match was_killed(error) {
        true => daemon.diagnose_step(KILLED.cast_signed(), error.ran).await,
        false => None,
    }
}

fn was_killed(error: &DaemonError) -> bool {
    match error.process_exit_code() {
        Some(code) => code == KILLED,
        // Old daemons say it in their message only.
        None => error.message.ends_with("exit code: 137"),
    }
}

/// The error is the build's own; what the driver adds stands below it.
fn with_finding(command: CommandError, finding: Finding) -> CommandError {
    let command = command.with_hint(finding.message);
    match finding.hint {
        Some(hint) => command.with_hint(hint),
        None => command,
    }
}

/// What to do about a mistake that only the daemon can see, of which it says no more than what is wrong.
fn way_out(error: &SolveError) -> Option<String> {
    let SolveError::Failed(error) = error else {
        return None;
    };
    let message = &error.message;
    missing_secret(message)
        .or_else(|| unknown_exporter(message))
        .or_else(|| unknown_stage(message))
        .or_else(|| refusing_registry(message))
        .or_else(|| helper::hint(message))
}

/// `exporter "NAME" could not be found`
fn unknown_exporter(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("exporter \"")?;
    let named = rest.strip_suffix("\" could not be found")?;
    let meant = match nearest(named, EXPORTERS) {
        Some(near) => format!("Did you mean `type={near}`? "),
        None => String::new(),
    };
    Some(format!("{meant}Types of `--output`: {}", EXPORTERS.join(", ")))
}

/// `target stage "NAME" could not be found`
fn unknown_stage(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("target stage \"")?;
    rest.ends_with("\" could not be found").then(|| {
        "`--target` takes a stage that the Dockerfile names (`FROM IMAGE AS NAME`), or its number from 0"
            .to_owned()
    })
}

/// `failed to push REFERENCE: …`, with what registries say to whoever did not log in, or where nobody listens.
fn refusing_registry(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("failed to push ")?;
    let (reference, cause) = rest.split_once(": ")?;
    let registry = match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    };
    let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    if says(&[
        "401 Unauthorized",
        "authorization failed",
        "no basic auth credentials",
        "access denied",
    ]) {
        return Some(format!(
            "`docker login {registry}` stores credentials that are used here, too; they may lack the right to push"
        ));
    }
    if says(&["connection refused", "no such host"]) {
        return Some(format!(
            "The daemon cannot reach the registry `{registry}`: check its name and port; the daemon's own network counts, not this machine's"
        ));
    }
    says(&["server gave HTTP response to HTTPS client"]).then(|| {
        format!("The registry `{registry}` speaks plain HTTP: `--output type=registry,registry.insecure=true`, or the daemon's configuration, allows it")
    })
}

/// `secret ID: not found`, where a step requires it.
fn missing_secret(message: &str) -> Option<String> {
    let (_, named) = message.strip_suffix(": not found")?.rsplit_once("secret ")?;
    Some(format!(
        "The build needs a secret `{named}` that was not given: `--secret id={named},src=FILE`, or `--secret id={named},env=VARIABLE`"
    ))
}

/// Capabilities that a frontend lacks are said in words that name the way out.
fn text(error: &SolveError) -> String {
    let lacks = |name: &str| {
        let wanted = format!("moby.buildkit.frontend.{name}");
        let named =
            |detail: &Detail| matches!(detail, Detail::FrontendCap { name } if name.starts_with(&wanted));
        error.details().iter().any(named)
            || error
                .to_string()
                .contains(&format!("unsupported frontend capability {wanted}"))
    };
    if lacks("contexts") {
        return "current frontend does not support --build-context. Named contexts are supported since Dockerfile v1.4. Use #syntax directive in Dockerfile or update to latest BuildKit.".to_owned();
    }
    if lacks("gitquerystring") {
        return "current frontend does not support Git URLs with query string components. Git URLs with query string are supported since Dockerfile v1.18 and BuildKit v0.24. Use BUILDKIT_SYNTAX build-arg, #syntax directive in Dockerfile or update to latest BuildKit.".to_owned();
    }
    causes::one_line(error)
}

fn excerpt_of(detail: &Detail) -> Option<String> {
    match detail {
        Detail::Source { info, ranges } => excerpt(info, ranges),
        _ => None,
    }
}

/// The daemon went away in the middle of a build. `logs` says whether its driver shows any.
fn of_loss(how: &Lost, node: &str, logs: bool, finding: Option<Finding>) -> CommandError {
    let Some(finding) = finding else {
        let hint = match logs {
            true => format!("`bkhost logs` may show the last words of the daemon of node `{node}`"),
            false => {
                format!("The log of the daemon of node `{node}`, where it runs, may hold its last words")
            }
        };
        return CommandError::new(ErrorKind::Driver, format!("failed to solve: {how}")).with_hint(hint);
    };
    let mut command = CommandError::new(
        ErrorKind::Driver,
        format!(
            "failed to solve: the daemon of node `{node}` was lost ({}): {}",
            finding.word, finding.message
        ),
    );
    for (key, value) in &finding.details {
        command = command.with_preface(detail(key, value));
    }
    match finding.hint {
        Some(hint) => command.with_hint(hint),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::error::Code;
    use crate::connect::liveness::Ending;
    use crate::progress::event::{Position, Range, SourceInfo};
    use std::time::Duration;

    fn lost() -> Lost {
        Lost {
            how: Ending::Eof,
            open_for: Duration::from_secs(7),
        }
    }

    #[test]
    fn a_missing_credential_helper_is_told_how_to_get_around() {
        let hint = |message: &str| {
            way_out(&SolveError::Failed(DaemonError {
                message: message.to_owned(),
                code: Code::Unknown,
                details: Vec::new(),
                ran: None,
            }))
        };
        let words = "failed to authorize: rpc error: code = Unknown desc = error getting credentials - err: exec: \
                     \"docker-credential-desktop\": executable file not found in $PATH, out: ``";
        assert!(
            hint(words)
                .unwrap()
                .contains("Install `docker-credential-desktop`")
        );
        assert_eq!(hint("failed to authorize: no"), None);
    }

    #[test]
    fn a_loss_has_the_drivers_words_and_the_last_log_lines() {
        let finding = Finding {
            word: "killed".into(),
            message: "buildkitd was ended by SIGKILL".into(),
            hint: Some("Look for the out-of-memory killer".into()),
            details: vec![("signal".into(), "9".into()), ("log".into(), "a\nb\n".into())],
        };
        let error = of_loss(&lost(), "local", true, Some(finding));
        assert_eq!(
            error.line(),
            "failed to solve: the daemon of node `local` was lost (killed): buildkitd was ended by SIGKILL"
        );
        assert_eq!(error.preface(), ["signal: 9", "log:\na\nb"]);
        assert_eq!(error.hints(), ["Look for the out-of-memory killer"]);
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn a_loss_without_a_finding_says_how() {
        let without = of_loss(&lost(), "n", false, None);
        assert!(!without.hints()[0].contains("bkhost logs"), "{without:?}");
        let with = of_loss(&lost(), "n", true, None);
        assert!(with.hints()[0].starts_with("`bkhost logs` "), "{with:?}");
        assert_eq!(
            with.line(),
            "failed to solve: Lost the connection to the daemon after 7 s: the other side closed it"
        );
    }

    fn failed(message: &str) -> Option<String> {
        way_out(&SolveError::Failed(DaemonError {
            code: Code::Unknown,
            message: message.into(),
            details: Vec::new(),
            ran: None,
        }))
    }

    #[test]
    fn only_a_kill_is_asked_about() {
        let killed = |details: Vec<Detail>, message: &str| {
            was_killed(&DaemonError {
                code: Code::Unknown,
                message: message.into(),
                details,
                ran: None,
            })
        };
        let words = "process \"/bin/sh\" did not complete successfully: exit code: ";
        assert!(killed(vec![Detail::Exit { code: 137 }], ""));
        assert!(killed(Vec::new(), &format!("{words}137")));
        assert!(!killed(vec![Detail::Exit { code: 1 }], &format!("{words}137")));
        assert!(!killed(Vec::new(), &format!("{words}1")));
    }

    #[test]
    fn what_a_driver_knows_of_a_step_stands_below_the_error() {
        let error = CommandError::new(ErrorKind::Build, "exit code: 137");
        let finding = Finding {
            word: "oom-killed".into(),
            message: "Probably out of memory".into(),
            hint: Some("Raise it".into()),
            details: vec![("limit".into(), "1".into())],
        };
        let error = with_finding(error, finding);
        assert_eq!(error.line(), "exit code: 137");
        assert_eq!(error.hints(), ["Probably out of memory", "Raise it"]);
        assert!(error.preface().is_empty());
    }

    #[test]
    fn a_missing_secret_is_named_with_its_flag() {
        assert_eq!(
            failed("failed to compute cache key: secret tok: not found").unwrap(),
            "The build needs a secret `tok` that was not given: `--secret id=tok,src=FILE`, or `--secret id=tok,env=VARIABLE`"
        );
        assert_eq!(failed("docker.io/library/secret: not found"), None);
        assert_eq!(failed("secret tok: permission denied"), None);
    }

    #[test]
    fn mistakes_that_the_daemon_finds_have_a_way_out() {
        assert_eq!(
            failed("exporter \"locl\" could not be found").unwrap(),
            "Did you mean `type=local`? Types of `--output`: cacheonly, docker, image, local, oci, registry, tar"
        );
        assert!(
            failed("target stage \"x\" could not be found")
                .unwrap()
                .contains("FROM IMAGE AS NAME")
        );
        let push = |cause: &str| {
            failed(&format!(
                "failed to push localhost:1/x: failed to do request: {cause}"
            ))
        };
        assert!(
            push("dial tcp 127.0.0.1:1: connect: connection refused")
                .unwrap()
                .contains("`localhost:1`")
        );
        assert!(
            push("unexpected status: 401 Unauthorized")
                .unwrap()
                .contains("`docker login localhost:1`")
        );
        assert!(
            push("http: server gave HTTP response to HTTPS client")
                .unwrap()
                .contains("registry.insecure")
        );
        assert_eq!(push("no space left on device"), None);
        assert!(
            failed("failed to push user/x: no such host")
                .unwrap()
                .contains("`docker.io`")
        );
    }

    #[test]
    fn a_missing_frontend_capability_names_the_way_out() {
        let error = SolveError::Failed(DaemonError {
            code: Code::Unimplemented,
            message: "unsupported frontend capability moby.buildkit.frontend.contexts".into(),
            details: Vec::new(),
            ran: None,
        });
        assert!(text(&error).starts_with("current frontend does not support --build-context."));
    }

    #[test]
    fn an_excerpt_is_made_of_every_source() {
        let detail = Detail::Source {
            info: SourceInfo {
                filename: "Dockerfile".into(),
                data: "FROM scratch\nRUN x\n".into(),
                language: String::new(),
            },
            ranges: vec![Range {
                start: Position {
                    line: 2,
                    character: 0,
                },
                end: Position {
                    line: 2,
                    character: 5,
                },
            }],
        };
        assert!(excerpt_of(&detail).unwrap().contains("   2 | >>> RUN x"));
        assert_eq!(excerpt_of(&Detail::Exit { code: 1 }), None);
    }

    #[test]
    fn a_cancelled_acquire_is_a_cancelled_build() {
        let error = of_acquire(AcquireError::Cancelled);
        assert_eq!(
            (error.line().as_str(), error.exit_code()),
            ("Canceled: context canceled", 130)
        );
    }
}
