//! Sockets of engines that are not where the docker client looks: found, told, and never used unasked.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

/// Where programs keep their sockets: folders of the user, absent when unknown.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The home folder.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, or what stands in for it.
    pub runtime: Option<PathBuf>,
}

/// An engine that listens somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who keeps a socket there.
    pub program: &'static str,
    /// The socket.
    pub socket: PathBuf,
}

/// Sockets by fixed path.
const FIXED: &[(&str, &str)] = &[
    ("Docker", "/var/run/docker.sock"),
    ("Podman", "/run/podman/podman.sock"),
];
/// Sockets below the runtime folder.
const RUNTIME: &[(&str, &str)] = &[
    ("Rootless Docker", "docker.sock"),
    ("Podman", "podman/podman.sock"),
];
/// Sockets below the home folder.
const HOME: &[(&str, &str)] = &[
    ("Docker Desktop", ".docker/desktop/docker.sock"),
    // Rootless Docker without a runtime folder has it here, too.
    ("Docker Desktop", ".docker/run/docker.sock"),
    ("Colima", ".colima/default/docker.sock"),
    ("Colima", ".colima/docker.sock"),
    ("Colima", ".config/colima/default/docker.sock"),
    ("OrbStack", ".orbstack/run/docker.sock"),
    ("Rancher Desktop", ".rd/docker.sock"),
    ("Lima", ".lima/docker/sock/docker.sock"),
    ("Podman", ".local/share/containers/podman/machine/podman.sock"),
];

impl Places {
    /// Engines that listen now, the one at `except` left out.
    pub async fn listening(&self, except: &Path) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for place in self.known() {
            let is_new = found.iter().all(|other| !is_same(&other.socket, &place.socket));
            if is_new && !is_same(&place.socket, except) && UnixStream::connect(&place.socket).await.is_ok() {
                found.push(place);
            }
        }
        found
    }

    fn known(&self) -> impl Iterator<Item = Found> {
        let below = |folder: &Option<PathBuf>, names: &'static [(&'static str, &'static str)]| {
            let folder = folder.clone();
            names.iter().filter_map(move |(program, name)| {
                Some(Found {
                    program,
                    socket: folder.as_ref()?.join(name),
                })
            })
        };
        let root = Some(PathBuf::from("/"));
        below(&self.runtime, RUNTIME)
            .chain(below(&self.home, HOME))
            .chain(below(&root, FIXED))
    }
}

/// Whether two paths are one file: links lead from one place to another.
fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.socket.display();
        write!(
            f,
            "{} listens at `{socket}`, which `DOCKER_HOST=unix://{socket}` uses",
            self.program
        )
    }
}

/// What to tell about engines elsewhere; empty when there are none.
pub fn told(found: &[Found]) -> String {
    let told: Vec<String> = found.iter().map(Found::to_string).collect();
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn only_those_that_listen_are_told_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            home: Some(dir.path().join("home")),
            runtime: Some(dir.path().join("run")),
        };
        let socket = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let colima = socket("home/.colima/default/docker.sock");
        let _colima = UnixListener::bind(&colima).unwrap();
        std::os::unix::fs::symlink(&colima, socket("home/.colima/docker.sock")).unwrap();
        let podman = socket("run/podman/podman.sock");
        let _podman = UnixListener::bind(&podman).unwrap();
        drop(UnixListener::bind(socket("run/docker.sock")).unwrap());
        std::fs::write(socket("home/.rd/docker.sock"), "").unwrap();

        let own = |found: Vec<Found>| -> Vec<(&str, PathBuf)> {
            let own = found
                .into_iter()
                .filter(|found| found.socket.starts_with(dir.path()));
            own.map(|found| (found.program, found.socket)).collect()
        };
        let nothing = Path::new("/nonexistent");
        assert_eq!(
            own(places.listening(nothing).await),
            [("Podman", podman.clone()), ("Colima", colima.clone())]
        );
        assert_eq!(own(places.listening(&podman).await), [("Colima", colima)]);
        let found = Found {
            program: "Podman",
            socket: "/p.sock".into(),
        };
        assert_eq!(
            told(&[found]),
            "Podman listens at `/p.sock`, which `DOCKER_HOST=unix:///p.sock` uses"
        );
        assert_eq!(told(&[]), "");
    }
}
