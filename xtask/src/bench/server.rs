//! The servers of benchmarks: a buildkitd, or a Docker Engine in namespaces of its own.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use crate::engines::debian;
use crate::engines::{self, Engine};
use crate::failure::{Failure, Result};
use crate::packages::{self, Needed};
use crate::place::{self, Place};
use crate::{images, process};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A buildkitd.
    Buildkit,
    /// A current Docker Engine, with the image that builders are started from.
    Docker,
}

/// Becomes the engine. It and its containerd write to fixed places, too: those writes stay in its folder.
const ENTER: &str = concat!(
    include_str!("../../../tests/engines/docker/private.sh"),
    include_str!("../../../tests/engines/docker/enter.sh")
);

impl Kind {
    /// Its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buildkit => "buildkitd",
            Self::Docker => "dockerd",
        }
    }

    /// Installs what it needs.
    pub fn install(self, place: &Place) -> Result {
        const BUILDKIT: &[&Engine] = &[&engines::BUILDKIT, &engines::RUNC];
        const DOCKER: &[&Engine] = &[&engines::RUNC, &engines::DOCKER, &engines::DOCKER_CLI];
        if self == Self::Buildkit {
            return engines::install(place, BUILDKIT);
        }
        packages::install(&[
            Needed {
                package: "iproute2",
                proof: "ip",
            },
            Needed {
                package: "iptables",
                proof: "iptables",
            },
        ])?;
        engines::install(place, DOCKER)?;
        debian::install(place, &[&debian::DOCKER_INIT])?;
        images::for_engines(place)
    }

    /// Its socket in this folder.
    pub fn socket(self, folder: &Path) -> PathBuf {
        folder.join("s.sock")
    }

    /// Driver of the builders on it, with the words that `create` wants for it.
    pub fn driver(self) -> &'static [&'static str] {
        match self {
            Self::Buildkit => &["remote", "{address}"],
            Self::Docker => &["docker-container"],
        }
    }

    /// Starts it.
    pub fn start(self, folder: &Path, place: &Place) -> Result<Child> {
        let log = folder.join("log");
        let output = fs::File::create(&log).map_err(|cause| Failure::io("write", &log, &cause))?;
        let errors = output
            .try_clone()
            .map_err(|cause| Failure::io("write", &log, &cause))?;
        let mut server = match self {
            Self::Buildkit => buildkitd(folder, place),
            Self::Docker => dockerd(folder, place),
        };
        server
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|cause| Failure::new(format!("Cannot start {}: {cause}", self.name())))
    }

    /// Whether it answers.
    pub fn is_ready(self, folder: &Path, place: &Place) -> bool {
        let address = format!("unix://{}", self.socket(folder).display());
        let mut question = match self {
            Self::Buildkit => Command::new(place.engines().join("buildctl")),
            Self::Docker => docker(place),
        };
        let question = match self {
            Self::Buildkit => question.args(["--addr", &address, "debug", "workers"]),
            Self::Docker => question.args(["--host", &address, "version"]),
        };
        UnixStream::connect(self.socket(folder)).is_ok() && process::output(question).is_ok()
    }

    /// Gives it what benchmarks need.
    pub fn fill(self, folder: &Path, place: &Place) -> Result {
        if self == Self::Buildkit {
            return Ok(());
        }
        let address = format!("unix://{}", self.socket(folder).display());
        let image = place.images().join("buildkit/image.tar");
        let mut load = docker(place);
        load.args(["--host", &address, "load", "--quiet", "--input"])
            .arg(image);
        process::run_quietly(&mut load)
    }

    /// The process that is asked to stop.
    pub fn pid(self, folder: &Path, server: &Child) -> String {
        let own = server.id().to_string();
        match self {
            Self::Buildkit => own,
            // The first process of its namespace, which passes the signal on.
            Self::Docker => first_child(&own).unwrap_or_else(|| {
                eprintln!("dockerd in {} has ended by itself", folder.display());
                own
            }),
        }
    }
}

fn first_child(pid: &str) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}

/// The docker command.
pub fn docker(place: &Place) -> Command {
    Command::new(place.engines().join(place::DOCKER).join("docker"))
}

fn buildkitd(folder: &Path, place: &Place) -> Command {
    let mut daemon = Command::new(place.engines().join("buildkitd"));
    daemon
        .arg("--root")
        .arg(folder.join("root"))
        .arg("--addr")
        .arg(format!("unix://{}", folder.join("s.sock").display()))
        .args(["--oci-worker-net", "host", "--containerd-worker=false"])
        // buildkitd looks for runc on PATH, whatever else it is told.
        .env("PATH", path_with(&[place.engines()]));
    daemon
}

fn dockerd(folder: &Path, place: &Place) -> Command {
    let programs = place.engines().join(place::DOCKER);
    let mut engine = Command::new("unshare");
    engine
        .args(["--net", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-ec", ENTER, "dockerd", "--host"])
        .arg(format!("unix://{}", folder.join("s.sock").display()))
        .env("FOLDER", folder)
        .env("PRIVATE", folder.join("private"))
        .env("LD_LIBRARY_PATH", programs.join("lib"))
        .env("PATH", path_with(&[programs, place.engines()]));
    engine
}

fn path_with(first: &[PathBuf]) -> OsString {
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = first.iter().cloned().chain(env::split_paths(&rest));
    env::join_paths(folders).unwrap_or(rest)
}
