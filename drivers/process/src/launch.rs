//! How buildkitd is started: programs, arguments, files.

use bkhost_driver::process::{self, Launch, Program};
use bkhost_driver::{Config, Error, ErrorKind, Result};

use crate::fingerprint;
use crate::options::Settings;

/// File name of the daemon's socket.
pub const SOCKET_NAME: &str = "/buildkitd.sock";
/// The configuration among the daemon's files.
const CONFIG_NAME: &str = "buildkitd.toml";
/// Where the configuration believes the other files to be.
const CONFIG_FOLDER: &str = "/etc/buildkit/";
/// Folder of what is added to the provenance of builds, and the key of the configuration that names it.
pub const PROVENANCE_FOLDER: &str = "provenance.d/";
const PROVENANCE_KEY: &str = "provenanceEnvDir";

/// The daemon's socket.
pub fn socket(runtime_folder: &str) -> String {
    format!("{runtime_folder}{SOCKET_NAME}")
}

/// Everything that the keeper needs to start the daemon.
pub fn prepare(settings: &Settings, config: &Config) -> Result<Launch> {
    let buildkitd = program("buildkitd", "binary")?;
    let runc = program("runc", "")?;
    let runtime = process::runtime_folder()?;
    let state = process::state_folder("root")?;
    let socket = socket(&runtime);

    let launch = match settings.rootless {
        true => rootless(&buildkitd, &runtime)?,
        false => Launch::new(&buildkitd),
    };
    launch.args([
        "--root",
        &state,
        "--addr",
        &format!("unix://{socket}"),
        "--oci-worker-binary",
    ]);
    launch
        .program_arg(&runc)
        .args(["--oci-worker-net", "host", "--containerd-worker=false"]);
    if let Some(path) = files(&launch, config)? {
        launch.args(["--config", &path]);
    }
    launch.args(config.daemon_flags());
    // Whatever `--oci-worker-binary` says: without `runc` on its PATH, buildkitd goes without this worker.
    launch.path_of(&runc).path_of(&buildkitd);
    for (name, value) in &settings.env {
        launch.env(name, value);
    }
    launch.create_folder(&state)?;
    launch.socket(&socket).idle_timeout(settings.idle_timeout);
    launch.fingerprint(&fingerprint::of(settings, config));
    Ok(launch)
}

/// rootlesskit makes the user namespace; the host's network needs no helper, and the copied folders let buildkitd write
/// where only root may.
fn rootless(buildkitd: &Program, runtime: &str) -> Result<Launch> {
    let rootlesskit = program("rootlesskit", "rootlesskit")?;
    let launch = Launch::new(&rootlesskit);
    launch.args(["--net=host", "--copy-up=/etc", "--copy-up=/run"]);
    launch.arg(format!("--state-dir={runtime}/rootlesskit"));
    launch.program_arg(buildkitd).arg("--rootless");
    launch.env("XDG_RUNTIME_DIR", runtime);
    Ok(launch)
}

fn program(name: &str, option: &str) -> Result<Program> {
    let missing = || {
        let error = Error::new(ErrorKind::NotFound, format!("`{name}` was not found"));
        match option {
            "" => error.with_hint(format!("Install {name}, so that it is on PATH")),
            _ => error.with_hint(format!(
                "Install {name} and put it on PATH, or name it with `--driver-opt {option}=PATH`"
            )),
        }
    };
    process::find(name, option)?.ok_or_else(missing)
}

/// Writes the daemon's files and returns the path of its configuration, if it needs one.
fn files(launch: &Launch, config: &Config) -> Result<Option<String>> {
    let names = config.file_names();
    for name in names.iter().filter(|name| *name != CONFIG_NAME) {
        launch.file(name, &config.file(name).unwrap_or_default())?;
    }
    let provenance = names.iter().any(|name| name.starts_with(PROVENANCE_FOLDER));
    let text = match config.file(CONFIG_NAME) {
        Some(content) => String::from_utf8(content)
            .map_err(|_| Error::invalid_config(format!("`{CONFIG_NAME}` is no text")))?,
        None if provenance => String::new(),
        None => return Ok(None),
    };
    // Written twice: only the first writing tells the folder.
    let path = launch.file(CONFIG_NAME, text.as_bytes())?;
    let folder = path.strip_suffix(CONFIG_NAME).unwrap_or(CONFIG_FOLDER);
    let text = relocated(&text, folder, provenance);
    launch.file(CONFIG_NAME, text.as_bytes()).map(Some)
}

/// The configuration with its paths turned to where the files lie. What is added to the provenance of builds is looked for
/// in a folder of its own.
fn relocated(text: &str, folder: &str, provenance: bool) -> String {
    let text = text.replace(&format!("\"{CONFIG_FOLDER}"), &format!("\"{folder}"));
    let named = text
        .lines()
        .any(|line| line.trim_start().starts_with(PROVENANCE_KEY));
    match provenance && !named {
        // In front, where no table has begun.
        true => format!("{PROVENANCE_KEY} = \"{folder}{PROVENANCE_FOLDER}\"\n{text}"),
        false => text,
    }
}
