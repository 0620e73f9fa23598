//! Small things to build that need no registry.

use std::path::PathBuf;

use crate::context::TestContext;
use crate::provided::rootfs_archive;

/// First lines of every Dockerfile here: a shell and the usual small programs, from an archive in the context.
pub const BASE: &str = "FROM scratch AS base\nADD rootfs.tar /\n";

/// Makes a context folder `name` whose Dockerfile is [`BASE`] and then `steps`.
///
/// # Panics
///
/// When it cannot be written.
pub fn with_base(context: &TestContext, name: &str, steps: &str) -> PathBuf {
    let archive = std::fs::read(rootfs_archive("busybox")).unwrap();
    context.write(&format!("{name}/rootfs.tar"), archive);
    bare(context, name, &format!("{BASE}{steps}"))
}

/// Makes a context folder `name` with this Dockerfile and nothing else.
///
/// # Panics
///
/// When it cannot be written.
pub fn bare(context: &TestContext, name: &str, dockerfile: &str) -> PathBuf {
    context.write(&format!("{name}/Dockerfile"), dockerfile);
    context.work().join(name)
}
