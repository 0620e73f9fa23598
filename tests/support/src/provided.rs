//! Finds what `cargo xtask test` has provided: pinned servers, images and compiled drivers.
//!
//! The task names the folders in the environment; without it they are looked for where the task keeps them. What is not
//! there fails the test that wants it: a test that skips itself proves nothing.

use std::env;
use std::path::{Path, PathBuf};

use crate::docker::Release;

/// A pinned program: `buildkitd`, `buildctl`, `runc`, `rootlesskit`, `buildx` or `registry`.
pub fn program(name: &str) -> PathBuf {
    existing(engines().join(name))
}

/// The folder of the pinned programs. buildkitd finds runc only when this folder is on its `PATH`.
pub fn engines() -> PathBuf {
    folder("BKHOST_TEST_ENGINES", || cache().join("engines/bin"))
}

/// The folder of an engine's programs. The current one finds the pinned runc beside it.
pub fn docker_programs(release: Release) -> PathBuf {
    existing(engines().join(match release {
        Release::Current => "docker-engine",
        Release::Old => "docker-engine-20.10",
    }))
}

/// The real docker command.
pub fn docker() -> PathBuf {
    docker_of(Release::Current)
}

/// The docker command of the time of an engine.
pub fn docker_of(release: Release) -> PathBuf {
    existing(docker_programs(release).join("docker"))
}

/// The folder of Podman and its libraries.
pub fn podman() -> PathBuf {
    existing(engines().join("podman"))
}

/// A root file system made for tests (`busybox`, `compiler`, `openssl`) as a folder.
pub fn rootfs(name: &str) -> PathBuf {
    image(name, "rootfs")
}

/// The same as an archive for `ADD rootfs.tar /` after `FROM scratch`: nothing can be pulled in tests.
pub fn rootfs_archive(name: &str) -> PathBuf {
    image(name, "rootfs.tar")
}

/// The same as an OCI image layout with the tag `latest`.
pub fn image_layout(name: &str) -> PathBuf {
    image(name, "oci")
}

/// An image (`busybox`, `buildkit`) as an archive that every engine loads.
pub fn image_archive(name: &str) -> PathBuf {
    image(name, "image.tar")
}

fn image(name: &str, kind: &str) -> PathBuf {
    existing(
        folder("BKHOST_TEST_IMAGES", || cache().join("images"))
            .join(name)
            .join(kind),
    )
}

/// The component of a shipped driver.
pub fn driver(name: &str) -> PathBuf {
    existing(drivers().join(format!("{name}.wasm")))
}

/// The component of a guest that only tests load.
pub fn fixture(name: &str) -> PathBuf {
    existing(drivers().join("fixtures").join(format!("{name}.wasm")))
}

/// The same compiled ahead of time: a test host has no compiler.
pub fn compiled_fixture(name: &str) -> PathBuf {
    existing(drivers().join("fixtures").join(format!("{name}.cwasm")))
}

/// The folder of compiled drivers, with `fixtures` in it.
pub fn drivers() -> PathBuf {
    folder("BKHOST_TEST_DRIVERS", || target().join("drivers"))
}

fn folder(variable: &str, otherwise: impl FnOnce() -> PathBuf) -> PathBuf {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map_or_else(otherwise, PathBuf::from)
}

/// `<target>/debug/deps/test-123` is where cargo puts a test binary.
fn target() -> PathBuf {
    let program = env::current_exe().expect("a test has a binary");
    program
        .ancestors()
        .nth(3)
        .map(Path::to_path_buf)
        .expect("a test binary lies in `<target>/<profile>/deps`")
}

fn cache() -> PathBuf {
    let given = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    given
        .unwrap_or_else(|| env::home_dir().expect("a user has a home folder").join(".cache"))
        .join("bkhost")
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "`{}` is not there: run `cargo xtask test`",
        path.display()
    );
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_says_what_makes_it() {
        let failure =
            std::panic::catch_unwind(|| existing(PathBuf::from("/nonexistent/buildkitd"))).unwrap_err();
        let text = failure
            .downcast_ref::<String>()
            .map(String::as_str)
            .unwrap_or_default();
        assert!(text.contains("run `cargo xtask test`"), "{text}");
    }
}
