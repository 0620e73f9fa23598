//! Where a context comes from, as git tells it: revision, remote address, and the place of folders in the work tree.
//!
//! Nothing here is ever an error of the build: what git cannot tell is left out, and said if a work tree is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// How long git may take for all that it is asked. Nothing of it needs a network, and the slowest part, listing the
/// changes of a work tree, takes a second or two in the largest repositories; what takes longer hangs: a dead mount, a
/// file-system monitor that does not answer, a wrapper that asks a question. No build should wait for that.
const LIMIT: Duration = Duration::from_secs(10);

/// What is wanted from git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// `vcs:…` attributes, which end up in the provenance.
    pub info: bool,
    /// Labels of the image.
    pub labels: bool,
    /// Mark the revision of a changed work tree with `-dirty`.
    pub dirty: bool,
}

/// What git told, as frontend attributes, and a warning if it should have told more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Frontend attributes.
    pub attributes: BTreeMap<String, String>,
    /// Why something is missing.
    pub warning: Option<String>,
}

/// Asks git about the folder `context`. `dockerfile` is the file's path if one was named, `mounts` the folders that
/// the daemon may read, by mount name.
pub async fn facts(
    context: &Path,
    dockerfile: Option<&Path>,
    mounts: &BTreeMap<String, PathBuf>,
    wishes: Wishes,
) -> Facts {
    let Ok(folder) = context.canonicalize() else {
        return Facts::default();
    };
    if !(wishes.info || wishes.labels) || !may_be_work_tree(&folder) {
        return Facts::default();
    }
    let git = Git {
        program: Path::new("git"),
        folder: &folder,
    };
    facts_within(LIMIT, &git, dockerfile, mounts, wishes).await
}

async fn facts_within(
    limit: Duration,
    git: &Git<'_>,
    dockerfile: Option<&Path>,
    mounts: &BTreeMap<String, PathBuf>,
    wishes: Wishes,
) -> Facts {
    let asked = tokio::time::timeout(limit, ask(git, dockerfile, mounts, wishes));
    match asked.await {
        Ok(Ok(attributes)) => Facts {
            attributes,
            warning: None,
        },
        Ok(Err(why)) if git.folder.join(".git").is_dir() => Facts::missing(&why),
        Ok(Err(_)) => Facts::default(),
        // The user has waited for it.
        Err(_) => Facts::missing(&format!("git did not end within {limit:?} and was stopped")),
    }
}

impl Facts {
    fn missing(why: &str) -> Self {
        Self {
            attributes: BTreeMap::new(),
            warning: Some(format!(
                "current commit information was not captured by the build: {why}"
            )),
        }
    }
}

/// Spares most builds outside of a repository the start of a process.
fn may_be_work_tree(folder: &Path) -> bool {
    std::env::var_os("GIT_DIR").is_some() || folder.ancestors().any(|ancestor| ancestor.join(".git").exists())
}

async fn ask(
    git: &Git<'_>,
    dockerfile: Option<&Path>,
    mounts: &BTreeMap<String, PathBuf>,
    wishes: Wishes,
) -> Result<BTreeMap<String, String>, String> {
    let folder = git.folder;
    let root = git.run(&["rev-parse", "--show-toplevel"]).await;
    let root = root.map_err(|error| match error {
        GitError::NotFound => "git was not found in the system".to_owned(),
        GitError::Failed(text) => format!("failed to get git root dir: {text}"),
    })?;
    let root = PathBuf::from(root);
    let mut attributes = commit(git, wishes).await?;
    if wishes.labels {
        attributes.extend(entrypoint(&root, folder, dockerfile));
    }
    if wishes.info {
        attributes.extend(places(&root, mounts));
    }
    Ok(attributes)
}

/// What is checked out, and where it comes from.
async fn commit(git: &Git<'_>, wishes: Wishes) -> Result<BTreeMap<String, String>, String> {
    let (revision, source) = tokio::join!(revision(git, wishes.dirty), source(git));
    let mut attributes = BTreeMap::new();
    let mut tell = |vcs: &str, label: &str, value: Option<String>| {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return;
        };
        if wishes.labels {
            attributes.insert(format!("label:{label}"), value.clone());
        }
        if wishes.info {
            attributes.insert(vcs.to_owned(), value);
        }
    };
    tell("vcs:revision", "org.opencontainers.image.revision", revision?);
    tell("vcs:source", "org.opencontainers.image.source", source);
    Ok(attributes)
}

/// The Dockerfile's place in the work tree.
fn entrypoint(root: &Path, folder: &Path, dockerfile: Option<&Path>) -> Option<(String, String)> {
    let file = dockerfile.map_or_else(|| folder.join("Dockerfile"), Path::to_owned);
    let file = std::path::absolute(&file).unwrap_or(file);
    let inside = file.strip_prefix(root).ok()?.display().to_string();
    Some(("label:com.docker.image.source.entrypoint".to_owned(), inside))
}

/// The places of the folders that the daemon may read.
fn places(root: &Path, mounts: &BTreeMap<String, PathBuf>) -> Vec<(String, String)> {
    let place = |(mount, path): (&String, &PathBuf)| {
        let inside = below(root, &path.canonicalize().ok()?)?;
        Some((format!("vcs:localdir:{mount}"), inside))
    };
    mounts.iter().filter_map(place).collect()
}

/// `path` relative to `root`, `.` for the root itself.
fn below(root: &Path, path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root).ok()?;
    Some(match inside.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => inside.display().to_string(),
    })
}

/// The commit that is checked out; `None` before the first one.
async fn revision(git: &Git<'_>, dirty: bool) -> Result<Option<String>, String> {
    let mut commit = match git.run(&["show", "--format=%H", "HEAD", "--quiet", "--"]).await {
        Ok(commit) => commit,
        Err(GitError::Failed(text)) if is_unborn(&text) => return Ok(None),
        Err(error) => return Err(format!("failed to get git commit: {error}")),
    };
    if dirty
        && git
            .run(&["status", "--porcelain", "--ignored"])
            .await
            .is_ok_and(|lines| !lines.is_empty())
    {
        commit.push_str("-dirty");
    }
    Ok(Some(commit))
}

fn is_unborn(text: &str) -> bool {
    [
        "unknown revision",
        "bad revision",
        "ambiguous argument 'HEAD'",
        "bad object HEAD",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// Address of the remote that the branch follows, else of `origin`, else of `upstream`, without credentials.
async fn source(git: &Git<'_>) -> Option<String> {
    let followed = match git.run(&["symbolic-ref", "-q", "HEAD"]).await {
        Ok(branch) => git
            .run(&["for-each-ref", "--format=%(upstream:remotename)", &branch])
            .await
            .ok(),
        Err(_) => None,
    };
    let remotes = followed.filter(|remote| !remote.is_empty()).into_iter();
    for remote in remotes.chain(["origin".to_owned(), "upstream".to_owned()]) {
        if let Ok(address) = git.run(&["remote", "get-url", &remote]).await
            && !address.is_empty()
        {
            return Some(without_credentials(&address));
        }
    }
    None
}

fn without_credentials(address: &str) -> String {
    match url::Url::parse(address) {
        Ok(mut url) if matches!(url.scheme(), "http" | "https") => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        _ => address.to_owned(),
    }
}

#[derive(Debug, thiserror::Error)]
enum GitError {
    #[error("git was not found in the system")]
    NotFound,
    #[error("{0}")]
    Failed(String),
}

/// The program, and the folder that it is asked about.
struct Git<'a> {
    program: &'a Path,
    folder: &'a Path,
}

impl Git<'_> {
    /// What it prints. Dropping the future ends it.
    async fn run(&self, arguments: &[&str]) -> Result<String, GitError> {
        let child = Command::new(self.program)
            .args(["-c", "log.showSignature=false"])
            .args(arguments)
            .current_dir(self.folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(GitError::of)?;
        let mut group = Group::of(&child);
        let output = child.wait_with_output().await.map_err(GitError::of)?;
        group.ended();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(GitError::Failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

impl GitError {
    fn of(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// The processes of one command, which are killed together: `git` may be a wrapper, and starts helpers itself.
struct Group(Option<rustix::process::Pid>);

impl Group {
    /// Of a child that leads a group.
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    /// The leader has been waited for: its number may be somebody else's by now.
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended on its own.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Wishes = Wishes {
        info: true,
        labels: true,
        dirty: true,
    };

    async fn git(folder: &Path, arguments: &[&str]) -> String {
        let program = Path::new("git");
        Git { program, folder }.run(arguments).await.unwrap()
    }

    async fn run(folder: &Path, arguments: &[&str]) {
        let identity = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "init.defaultBranch=main",
        ];
        let words: Vec<&str> = identity.iter().chain(arguments).copied().collect();
        git(folder, &words).await;
    }

    async fn repository() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        run(&root, &["init", "-q"]).await;
        (dir, root)
    }

    #[tokio::test]
    async fn a_repository_tells_revision_source_and_places() {
        let (_dir, root) = repository().await;
        std::fs::create_dir(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/f"), "x").unwrap();
        run(&root, &["add", "."]).await;
        run(&root, &["commit", "-qm", "x"]).await;
        run(
            &root,
            &["remote", "add", "upstream", "https://me:secret@host/a.git"],
        )
        .await;
        let mounts = BTreeMap::from([
            ("context".to_owned(), root.join("sub")),
            ("dockerfile".to_owned(), root.clone()),
            ("elsewhere".to_owned(), PathBuf::from("/")),
        ]);
        let told = facts(&root.join("sub"), None, &mounts, ALL).await;
        assert_eq!(told.warning, None);
        let commit = git(&root, &["rev-parse", "HEAD"]).await;
        let expected = [
            ("label:com.docker.image.source.entrypoint", "sub/Dockerfile"),
            ("label:org.opencontainers.image.revision", &commit),
            ("label:org.opencontainers.image.source", "https://host/a.git"),
            ("vcs:localdir:context", "sub"),
            ("vcs:localdir:dockerfile", "."),
            ("vcs:revision", &commit),
            ("vcs:source", "https://host/a.git"),
        ];
        assert!(
            told.attributes
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .eq(expected)
        );

        std::fs::write(root.join("new"), "x").unwrap();
        let told = facts(&root, None, &mounts, ALL).await;
        assert_eq!(told.attributes["vcs:revision"], format!("{commit}-dirty"));
    }

    #[tokio::test]
    async fn an_unborn_branch_is_fine() {
        let (_dir, root) = repository().await;
        let told = facts(&root, None, &BTreeMap::new(), ALL).await;
        assert_eq!(told.warning, None);
        assert!(!told.attributes.contains_key("vcs:revision"));
    }

    #[tokio::test]
    async fn outside_of_a_repository_nothing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            facts(dir.path(), None, &BTreeMap::new(), ALL).await,
            Facts::default()
        );
    }

    #[tokio::test]
    async fn a_broken_repository_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".git")).unwrap();
        let told = facts(dir.path(), None, &BTreeMap::new(), ALL).await;
        let warning = told.warning.unwrap();
        assert!(
            warning.starts_with("current commit information was not captured by the build: "),
            "{warning}"
        );
    }

    #[tokio::test]
    async fn a_git_that_hangs_is_ended_with_all_that_it_started() {
        use std::os::unix::fs::PermissionsExt as _;
        // Outside of a repository too: the user has waited.
        let dir = tempfile::tempdir().unwrap();
        let (program, started) = (dir.path().join("git"), dir.path().join("started"));
        let script = format!(
            "#!/bin/sh\nsleep 600 &\necho $! > {0}.new\nmv {0}.new {0}\nwait\n",
            started.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let git = Git {
            program: &program,
            folder: dir.path(),
        };
        let limit = Duration::from_secs(5);
        let told = facts_within(limit, &git, None, &BTreeMap::new(), ALL).await;
        assert_eq!(
            told.warning.as_deref(),
            Some(
                "current commit information was not captured by the build: git did not end within 5s and was stopped"
            )
        );
        assert!(told.attributes.is_empty());
        let sleeper = std::fs::read_to_string(&started).unwrap();
        let stat = format!("/proc/{}/stat", sleeper.trim());
        let runs = || std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z "));
        for _ in 0..100 {
            if !runs() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("what the wrapper started still runs");
    }
}
