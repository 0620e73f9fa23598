//! The facts of a GitHub Actions job as a file for daemons, which add it to the provenance of what they build.
//!
//! Name, keys and groups are those of buildx. The file is nowhere stored: it belongs to the job that a command runs in.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// Name of the file among those of a daemon, below `/etc/buildkit`.
pub const FILE: &str = "provenance.d/github_actions_context.json";

/// Most bytes of an event's payload; GitHub's own limit is 25 MB, which no daemon could be given.
const LONGEST: u64 = 16 << 20;

/// Option of the drivers whose daemons get it: by this switch a user keeps the facts out. Others do not, because a daemon
/// that outlives the job would tell the next one's builds of it.
pub const OPTION: &str = "provenance-add-gha";

/// Variables that are told only all together, group by group. Their keys begin with `github_` and are in lower case; those
/// of the runner's image have keys of their own.
const GROUPS: [&[&str]; 5] = [
    &["GITHUB_ACTOR", "GITHUB_ACTOR_ID", "GITHUB_TRIGGERING_ACTOR"],
    &[
        "GITHUB_REF",
        "GITHUB_REF_NAME",
        "GITHUB_REF_PROTECTED",
        "GITHUB_REF_TYPE",
    ],
    &[
        "GITHUB_REPOSITORY",
        "GITHUB_REPOSITORY_ID",
        "GITHUB_REPOSITORY_OWNER",
        "GITHUB_REPOSITORY_OWNER_ID",
    ],
    &[
        "GITHUB_JOB",
        "GITHUB_RUN_ATTEMPT",
        "GITHUB_RUN_ID",
        "GITHUB_RUN_NUMBER",
        "GITHUB_SERVER_URL",
        "GITHUB_WORKFLOW",
        "GITHUB_WORKFLOW_REF",
        "GITHUB_WORKFLOW_SHA",
    ],
    &[
        IMAGE_OS,
        IMAGE_VERSION,
        "RUNNER_OS",
        "RUNNER_ARCH",
        "RUNNER_ENVIRONMENT",
        "RUNNER_TRACKING_ID",
        "RUNNER_NAME",
    ],
];
const IMAGE_OS: &str = "ImageOS";
const IMAGE_VERSION: &str = "ImageVersion";

/// One job.
#[derive(Debug)]
pub struct JobFacts {
    event: String,
    payload: PathBuf,
    others: BTreeMap<String, String>,
    file: OnceLock<Option<Vec<u8>>>,
}

impl JobFacts {
    /// A job with this event, whose payload is a file; `variable` is asked for everything else.
    pub fn new<'v>(event: &str, payload: &Path, variable: impl Fn(&str) -> Option<&'v str>) -> Self {
        let mut others = BTreeMap::new();
        for group in GROUPS {
            let values: Option<Vec<_>> = group.iter().map(|name| variable(name)).collect();
            let values = values.unwrap_or_default();
            let named = group.iter().zip(values);
            others.extend(named.map(|(name, value)| (key(name), value.to_owned())));
        }
        Self {
            event: event.to_owned(),
            payload: payload.to_owned(),
            others,
            file: OnceLock::new(),
        }
    }

    /// The content of [`FILE`], one JSON object with sorted keys. Without the payload of the event there is none: a
    /// provenance with half of the facts would be taken for a whole one.
    pub fn file(&self) -> Option<&[u8]> {
        self.file.get_or_init(|| self.read()).as_deref()
    }

    fn read(&self) -> Option<Vec<u8>> {
        let path = self.payload.display();
        let content = read(&self.payload)
            .map_err(|error| tracing::warn!("the event of the GitHub Actions job, `{path}`: {error}"))
            .ok()?;
        let payload: Value = serde_json::from_slice(&content)
            .map_err(|error| tracing::warn!("the event of the GitHub Actions job, `{path}`: {error}"))
            .ok()?;
        let mut facts = Map::new();
        for (key, value) in &self.others {
            facts.insert(key.clone(), value.clone().into());
        }
        facts.insert("github_event_name".to_owned(), self.event.clone().into());
        facts.insert("github_event_payload".to_owned(), payload);
        serde_json::to_vec(&facts).ok()
    }
}

/// The content of a file. Nothing but a file is waited for: whatever the variable names, a builder must open.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content)?;
    match content.len() as u64 {
        ..=LONGEST => Ok(content),
        _ => Err(io::Error::other(format!(
            "it has more than {} MiB",
            LONGEST >> 20
        ))),
    }
}

fn key(variable: &str) -> String {
    match variable {
        IMAGE_OS => "github_runner_image_os".to_owned(),
        IMAGE_VERSION => "github_runner_image_version".to_owned(),
        name if name.starts_with("RUNNER_") => format!("github_{}", name.to_ascii_lowercase()),
        name => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(variables: &[(&str, &'static str)], payload: &str) -> Option<Value> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        std::fs::write(&path, payload).unwrap();
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| *value)
        };
        let facts = JobFacts::new("push", &path, find);
        facts.file().map(|file| serde_json::from_slice(file).unwrap())
    }

    #[test]
    fn groups_are_told_whole_or_not_at_all() {
        let variables = [
            ("GITHUB_ACTOR", "ann"),
            ("GITHUB_ACTOR_ID", "1"),
            ("GITHUB_TRIGGERING_ACTOR", "bob"),
            ("GITHUB_REF", "refs/heads/main"),
            ("ImageOS", "ubuntu24"),
            ("ImageVersion", "20260801"),
            ("RUNNER_OS", "Linux"),
            ("RUNNER_ARCH", "X64"),
            ("RUNNER_ENVIRONMENT", "github-hosted"),
            ("RUNNER_TRACKING_ID", "t"),
            ("RUNNER_NAME", "r1"),
        ];
        let wanted = json!({
            "github_actor": "ann",
            "github_actor_id": "1",
            "github_triggering_actor": "bob",
            "github_event_name": "push",
            "github_event_payload": {"a": [1, null]},
            "github_runner_arch": "X64",
            "github_runner_environment": "github-hosted",
            "github_runner_image_os": "ubuntu24",
            "github_runner_image_version": "20260801",
            "github_runner_name": "r1",
            "github_runner_os": "Linux",
            "github_runner_tracking_id": "t",
        });
        assert_eq!(facts(&variables, "{\"a\": [1, null]}"), Some(wanted));
    }

    #[test]
    fn without_the_payload_there_is_no_file() {
        assert_eq!(facts(&[], "no JSON"), None);
        let absent = JobFacts::new("push", Path::new("/nonexistent/event.json"), |_| None);
        assert_eq!(absent.file(), None);
    }

    #[test]
    fn what_is_no_file_or_has_no_end_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let long = folder.path().join("long");
        std::fs::File::create(&long)
            .unwrap()
            .set_len(LONGEST + 1)
            .unwrap();
        for path in [&pipe, Path::new("/dev/zero"), folder.path(), &long] {
            assert_eq!(
                JobFacts::new("push", path, |_| None).file(),
                None,
                "{}",
                path.display()
            );
        }
        assert_eq!(read(&long).unwrap_err().to_string(), "it has more than 16 MiB");
    }
}
