//! Where the docker command line looks for plugins, and the files there that could be the plugin `buildx`.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::config::DockerConfig;

/// Name of the plugin's file. docker takes every file that begins with `docker-` for a plugin.
pub const FILE: &str = "docker-buildx";
/// The folder of plugins beside the docker client's configuration.
pub const FOLDER: &str = "cli-plugins";
/// What `install` calls a plugin that was there before; no plugin to docker, since the name begins otherwise.
pub const KEPT: &str = "bkhost-kept-docker-buildx";
/// Folders of the system, in the order in which docker looks into them, after the user's own.
const SYSTEM: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];
/// How much of two files is compared at a time.
const PIECE: usize = 1 << 16;

/// The folders of plugins, in docker's order: those of `config.json`, the user's own, the system's.
#[derive(Clone, Debug)]
pub struct PluginFolders {
    own: PathBuf,
    all: Vec<PathBuf>,
}

impl PluginFolders {
    /// The folders that a docker client with this configuration, read from `folder`, looks into.
    pub fn new(config: &DockerConfig, folder: &Path) -> Self {
        let own = folder.join(FOLDER);
        let extra = config.cli_plugins_extra_dirs.iter().map(PathBuf::from);
        let system = SYSTEM.map(PathBuf::from);
        let all = extra.chain([own.clone()]).chain(system).collect();
        Self { own, all }
    }

    /// The user's own folder.
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// The file that docker runs as the plugin `buildx`.
    pub fn in_use(&self) -> Option<PathBuf> {
        let files = self.all.iter().map(|folder| folder.join(FILE));
        files.into_iter().find(|file| file.exists())
    }

    /// Whether a file lies in a folder that docker looks into before the user's own.
    pub fn is_before_own(&self, file: &Path) -> bool {
        let before = self.all.iter().take_while(|folder| **folder != self.own);
        before.into_iter().any(|folder| file.parent() == Some(folder))
    }

    /// Looks for another plugin `buildx` than `ourselves`, in docker's order; the one that `install` has kept comes after
    /// its place. Those in `passed` have handed the command on already.
    pub fn search(&self, ourselves: &Path, passed: &[PathBuf]) -> Search {
        let mut looked = Vec::new();
        for file in self.candidates() {
            let found = look(&file, ourselves, passed);
            let is_next = found == Found::Other;
            looked.push((file, found));
            if is_next {
                break;
            }
        }
        Search { looked }
    }

    fn candidates(&self) -> impl Iterator<Item = PathBuf> {
        self.all.iter().flat_map(|folder| {
            let kept = (*folder == self.own).then(|| folder.join(KEPT));
            std::iter::once(folder.join(FILE)).chain(kept)
        })
    }
}

/// What was found at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Another program, which can be started.
    Other,
    /// Nothing.
    Nothing,
    /// This program, by whatever name.
    Ourselves,
    /// What has handed the command on already.
    Passed,
    /// Something that cannot be started.
    NoProgram,
}

/// The places that were looked at, in order; the search ends at the first program.
#[derive(Clone, Debug)]
pub struct Search {
    /// Files, and what was there.
    pub looked: Vec<(PathBuf, Found)>,
}

impl Search {
    /// The program that was found.
    pub fn next(&self) -> Option<&Path> {
        let (file, found) = self.looked.last()?;
        (*found == Found::Other).then_some(file.as_path())
    }
}

fn look(file: &Path, ourselves: &Path, passed: &[PathBuf]) -> Found {
    let Ok(metadata) = std::fs::metadata(file) else {
        return Found::Nothing;
    };
    if passed.iter().any(|known| known == file) {
        return Found::Passed;
    }
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Found::NoProgram;
    }
    match is_same_program(file, ourselves) {
        true => Found::Ourselves,
        false => Found::Other,
    }
}

/// Whether two paths lead to one file, or to two of the same content.
pub fn is_same_program(one: &Path, other: &Path) -> bool {
    let (Ok(first), Ok(second)) = (std::fs::metadata(one), std::fs::metadata(other)) else {
        return false;
    };
    let place = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    place(&first) == place(&second)
        || first.is_file() && second.len() == first.len() && has_same_content(one, other).unwrap_or(false)
}

fn has_same_content(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    loop {
        let (left, right) = (piece(&mut one)?, piece(&mut other)?);
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

fn piece(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE);
    file.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Place {
        dir: tempfile::TempDir,
        folders: PluginFolders,
    }

    impl Place {
        /// Two extra folders, then the user's; nothing of the machine's.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["extra", "other", "own/cli-plugins"] {
                std::fs::create_dir_all(dir.path().join(name)).unwrap();
            }
            let config = DockerConfig {
                cli_plugins_extra_dirs: ["extra", "other"]
                    .map(|name| dir.path().join(name).display().to_string())
                    .into(),
                ..DockerConfig::default()
            };
            let mut folders = PluginFolders::new(&config, &dir.path().join("own"));
            folders.all.truncate(3);
            Self { dir, folders }
        }

        fn program(&self, name: &str, content: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn found(&self, ourselves: &Path, passed: &[PathBuf]) -> Vec<Found> {
            let search = self.folders.search(ourselves, passed);
            search.looked.into_iter().map(|(_, found)| found).collect()
        }
    }

    #[test]
    fn folders_come_in_the_order_of_docker() {
        let config: DockerConfig = serde_json::from_str(r#"{"cliPluginsExtraDirs":["/x"]}"#).unwrap();
        let folders = PluginFolders::new(&config, Path::new("/home/u/.docker"));
        let all: Vec<String> = folders
            .all
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        assert_eq!(
            all[..3],
            [
                "/x",
                "/home/u/.docker/cli-plugins",
                "/usr/local/lib/docker/cli-plugins"
            ]
        );
        assert_eq!(all.last().unwrap(), "/usr/libexec/docker/cli-plugins");
    }

    #[test]
    fn the_next_is_never_this_program_by_any_name() {
        let place = Place::new();
        let ourselves = place.program("bkhost", "ours");
        symlink(&ourselves, place.dir.path().join("extra").join(FILE)).unwrap();
        place.program("other/docker-buildx", "ours");
        assert_eq!(
            place.found(&ourselves, &[]),
            [Found::Ourselves, Found::Ourselves, Found::Nothing, Found::Nothing]
        );
        let kept = place.program(&format!("own/cli-plugins/{KEPT}"), "theirs");
        let search = place.folders.search(&ourselves, &[]);
        assert_eq!(search.next(), Some(kept.as_path()));
        assert_eq!(place.found(&ourselves, &[kept]).last(), Some(&Found::Passed));
    }

    #[test]
    fn what_cannot_be_started_is_passed_over() {
        let place = Place::new();
        let ourselves = place.program("bkhost", "ours");
        std::fs::write(place.dir.path().join("extra").join(FILE), "no program").unwrap();
        std::fs::create_dir(place.dir.path().join("other").join(FILE)).unwrap();
        symlink("nowhere", place.folders.own().join(FILE)).unwrap();
        assert_eq!(
            place.found(&ourselves, &[]),
            [Found::NoProgram, Found::NoProgram, Found::Nothing, Found::Nothing]
        );
        assert_eq!(place.folders.search(&ourselves, &[]).next(), None);
    }

    #[test]
    fn programs_of_one_length_are_told_apart() {
        let place = Place::new();
        let ourselves = place.program("bkhost", &"a".repeat(PIECE + 1));
        let last = format!("{}b", "a".repeat(PIECE));
        place.program("extra/docker-buildx", &last);
        assert_eq!(place.found(&ourselves, &[]), [Found::Other]);
    }
}
