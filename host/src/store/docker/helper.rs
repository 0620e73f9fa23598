//! Credential helpers: programs called `docker-credential-…` that keep secrets elsewhere.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::buildkit::spec::Credential;

/// What a helper prints when it has nothing for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    username: String,
    secret: String,
}

/// What helps against a failure to get credentials, in words of [`get`], if a helper is missing.
pub fn hint(text: &str) -> Option<String> {
    let (_, named) = text.split_once("exec: \"docker-credential-")?;
    let (name, _) = named.split_once("\": executable file not found")?;
    Some(format!(
        "Install `docker-credential-{name}` in a folder on PATH, or take `{name}` out of `credsStore` and `credHelpers` \
         in the docker client's `config.json`"
    ))
}

/// Asks helper `name` for the credentials of `registry`; `None` when it has none. The error is a text for the user.
pub async fn get(name: &str, registry: &str, search: &str) -> Result<Option<Credential>, String> {
    let program = format!("docker-credential-{name}");
    let Some(path) = find(&program, search) else {
        return Err(format!(
            "error getting credentials - err: exec: {program:?}: executable file not found in $PATH, out: ``"
        ));
    };
    let output = run(&path, registry)
        .await
        .map_err(|error| format!("error getting credentials - err: {error}, out: ``"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        let answer = serde_json::from_str(&text);
        let answer =
            answer.map_err(|error| format!("Credential helper `{program}` gave no JSON: {error}"))?;
        return Ok(Some(credential(answer)));
    }
    if text.trim() == NOT_FOUND {
        return Ok(None);
    }
    let status = output.status.to_string().replace("exit status:", "exit status");
    Err(format!(
        "error getting credentials - err: {status}, out: `{}`",
        text.trim()
    ))
}

/// Runs a helper; what it says on stderr goes to the user.
async fn run(program: &Path, registry: &str) -> std::io::Result<Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input still answers.
        let _ = input.write_all(registry.as_bytes()).await;
    }
    child.wait_with_output().await
}

fn credential(answer: Answer) -> Credential {
    let is_token = answer.username == TOKEN_USER;
    Credential {
        username: if is_token { String::new() } else { answer.username },
        secret: answer.secret,
        ..Credential::default()
    }
}

/// The helper to try when the configuration says nothing about credentials, if it is installed.
pub fn platform_default(search: &str) -> Option<&'static str> {
    let name = if cfg!(target_os = "macos") {
        "osxkeychain"
    } else if find("pass", search).is_some() {
        "pass"
    } else {
        "secretservice"
    };
    find(&format!("docker-credential-{name}"), search).map(|_| name)
}

fn find(program: &str, search: &str) -> Option<PathBuf> {
    search
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(program))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
