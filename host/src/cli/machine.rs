//! What drivers and the keeper come to know of this machine, gathered once from the environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use super::env_vars::{self, Environment};
use super::{settings, values};
use crate::buildkit::client::Client;
use crate::connect::pipe::Pipe;
use crate::docker::Engines;
use crate::driver::environment::HostEnvironment;
use crate::driver::job_facts::JobFacts;
use crate::keeper::ActiveBuilds;
use crate::keeper::paths::Variables;

/// Longest wait for a daemon that is asked whether it is idle. One that does not answer is not stopped.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// The machine and the user as drivers may come to know them.
pub fn of(environment: &Environment) -> HostEnvironment {
    let folder = |name: &str| {
        environment
            .get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let variables = Variables {
        home: environment.known_home().filter(|path| path.is_absolute()),
        runtime: folder(env_vars::XDG_RUNTIME_DIR),
        data: folder(env_vars::XDG_DATA_HOME),
        cache: folder(env_vars::XDG_CACHE_HOME),
    };
    let user_id = rustix::process::geteuid().as_raw();
    HostEnvironment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        executable: std::env::current_exe().unwrap_or_default(),
        runtime_dir: variables.runtime_folder(user_id),
        cache_dir: variables.cache_folder().unwrap_or_default(),
        data_dir: variables.data_folder(user_id).unwrap_or_default(),
        path: environment.get(env_vars::PATH).unwrap_or_default().into(),
        user_id,
        kubeconfig: environment.get(env_vars::KUBECONFIG).map(str::to_owned),
        engines: Arc::new(Engines::new(settings::engines(environment))),
        job: job(environment).map(Arc::new),
        wsl: environment.get(env_vars::WSL_DISTRO_NAME).map(str::to_owned),
        wsl_lib: std::path::Path::new("/usr/lib/wsl").is_dir(),
        home: variables.home,
    }
}

/// The GitHub Actions job that this runs in.
fn job(environment: &Environment) -> Option<JobFacts> {
    let said = environment.get(env_vars::GITHUB_ACTIONS)?;
    if !values::boolean(said).unwrap_or(false) {
        return None;
    }
    let event = environment.get(env_vars::GITHUB_EVENT_NAME)?;
    let payload = environment.get(env_vars::GITHUB_EVENT_PATH)?;
    let payload = environment.folder.join(payload);
    Some(JobFacts::new(event, &payload, |name| environment.get(name)))
}

/// How the keeper learns whether builds run: it asks the daemon for its active ones.
pub fn active_builds() -> ActiveBuilds {
    ActiveBuilds::new(|socket| async move {
        let stream = UnixStream::connect(&socket).await.ok()?;
        let deadline = Instant::now() + ASK_LIMIT;
        let client = Client::connect(Pipe::new(stream), Some(deadline)).await.ok()?;
        let asked = tokio::time::timeout(ASK_LIMIT, client.active_builds())
            .await
            .ok()?;
        // A daemon without history cannot say; then the leases alone count.
        Some(asked.ok()?.unwrap_or(0))
    })
}
