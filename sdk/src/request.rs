//! What the host asks for, fetched once at the start of a call.

use std::time::Duration;

use crate::Step;

/// Why and how to connect.
#[derive(Debug)]
#[non_exhaustive]
pub struct DialRequest {
    /// The step under which connecting is shown; it carries deadline and cancellation.
    pub step: Step<'static>,
    /// What the connection is for: `build`, `inspect`, `dial-stdio` … For logs, never for decisions.
    pub purpose: String,
}

/// How much to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// Keep cache and state of the daemon.
    pub keep_state: bool,
    /// Keep the daemon itself; only forget about it.
    pub keep_daemon: bool,
}

/// A worker as the daemon lists it after the first connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// Its id.
    pub id: String,
    /// Its labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Its platforms in printed form, native first.
    pub platforms: Vec<String>,
}

/// [`Loss::how`] of a step of a build that was killed (exit code 137) while its daemon lives. Only a driver that describes
/// itself with the extra `step-ends=true` is asked about these.
pub const STEP_KILLED: &str = "step-killed";

/// How a connection that was in use was lost; or, where `how` is [`STEP_KILLED`], how a step of a build ended whose daemon
/// lives.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loss {
    /// The instance it went to.
    pub instance: String,
    /// When it was opened, since 1970; when the step began, for a step.
    pub opened_at: Duration,
    /// When its loss was noticed, since 1970; when the step ended, for a step.
    pub lost_at: Duration,
    /// A word: `eof`, `reset`, `silent`, `goaway`, [`STEP_KILLED`], or another.
    pub how: String,
    /// Exit status of the helper program behind the connection, if there was one.
    pub exit_status: Option<i32>,
    /// The last of what that program wrote to stderr; may be empty.
    pub stderr_tail: String,
    /// The step under which looking for the reason is shown; it carries deadline and cancellation.
    pub step: Step<'static>,
}

/// Which part of a daemon's log is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRequest {
    /// Keep the stream open for new lines.
    pub follow: bool,
    /// Only that many last lines; absent means all.
    pub tail: Option<u64>,
}

#[cfg(not(target_arch = "wasm32"))]
#[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))]
impl DialRequest {
    pub(crate) fn new(step: Step<'static>, purpose: &str) -> Self {
        Self {
            step,
            purpose: purpose.to_owned(),
        }
    }
}
