//! When the steps of a build ran that failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::buildkit::error::Ran;
use crate::progress::event::{Update, Vertex};

/// Times by digest; clones share them.
#[derive(Clone, Debug, Default)]
pub struct FailedSteps(Arc<Mutex<BTreeMap<String, Ran>>>);

impl FailedSteps {
    /// Keeps what an update tells that has just come. The daemon's clock may be wrong: only its durations count.
    pub fn note(&self, update: &Update) {
        let ended = SystemTime::now();
        for vertex in &update.vertexes {
            if let (false, Some(ran_for)) = (vertex.error.is_empty(), duration(vertex)) {
                let began = ended.checked_sub(ran_for).unwrap_or(SystemTime::UNIX_EPOCH);
                let ran = Ran { began, ended };
                // The first word of an end is the nearest to it; states are sent again.
                self.times().entry(vertex.digest.clone()).or_insert(ran);
            }
        }
    }

    /// When the step of this digest ran.
    pub fn ran(&self, digest: &str) -> Option<Ran> {
        self.times().get(digest).copied()
    }

    fn times(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Ran>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn duration(vertex: &Vertex) -> Option<Duration> {
    let ran_for = vertex.completed?.duration_since(vertex.started?);
    Duration::try_from(ran_for).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn vertex(digest: &str, seconds: Option<i64>, error: &str) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            started: Some(Timestamp::from_second(1000).unwrap()),
            completed: seconds.map(|seconds| Timestamp::from_second(1000 + seconds).unwrap()),
            error: error.to_owned(),
            ..Vertex::default()
        }
    }

    #[test]
    fn a_failed_step_ran_as_long_as_its_daemon_says_until_now() {
        let steps = FailedSteps::default();
        let vertexes = vec![
            vertex("good", Some(5), ""),
            vertex("bad", Some(7), "exit code: 137"),
            vertex("odd", Some(-7), "exit code: 137"),
            vertex("running", None, "exit code: 137"),
        ];
        let update = Update {
            vertexes,
            ..Update::default()
        };
        let before = SystemTime::now();
        steps.note(&update);
        let ran = steps.ran("bad").unwrap();
        assert!(ran.ended >= before && ran.ended <= SystemTime::now());
        assert_eq!(
            ran.ended.duration_since(ran.began).unwrap(),
            Duration::from_secs(7)
        );
        for other in ["good", "odd", "running", "unknown"] {
            assert_eq!(steps.ran(other), None, "{other}");
        }
        steps.note(&update);
        assert_eq!(steps.ran("bad"), Some(ran));
    }
}
