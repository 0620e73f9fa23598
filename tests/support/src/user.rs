//! An ordinary user of this machine: root ignores modes, so what root may do proves nothing about permission.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The user's name. Made once, and left there for the next run.
const NAME: &str = "bkhost-test";

/// A user who is not root, with ranges of subordinate ids, as `useradd` makes them.
#[derive(Clone, Debug)]
pub struct OrdinaryUser {
    uid: u32,
    gid: u32,
}

impl OrdinaryUser {
    /// Finds or makes the user.
    ///
    /// # Panics
    ///
    /// When there is none and this process may not make one, and when the user turns out to be root.
    pub fn new() -> Self {
        // Two test binaries must not make the same user at once.
        let lock = File::create("/tmp/.bkhost-test-user").unwrap();
        lock.lock().unwrap();
        if !Command::new("id").arg(NAME).output().unwrap().status.success() {
            make();
        }
        let user = Self {
            uid: id("-u"),
            gid: id("-g"),
        };
        let seen = user.command("id").arg("-u").output().unwrap();
        let seen = String::from_utf8_lossy(&seen.stdout).trim().to_owned();
        assert!(
            seen != "0" && seen == user.uid.to_string(),
            "a test about permission runs as user {seen}, not as `{NAME}`"
        );
        user
    }

    /// Name of the user.
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// Id of the user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A command that runs as the user, with no other group than the user's own.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        self.apply(&mut command);
        command
    }

    /// Makes `command` run as the user.
    pub fn apply(&self, command: &mut Command) {
        // For root the standard library also drops the supplementary groups.
        command.uid(self.uid).gid(self.gid);
    }

    /// Runs `work` as the user, on a thread of its own: to the kernel, ids belong to threads.
    ///
    /// # Panics
    ///
    /// When this process may not become the user, and when `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let thread = || {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            assert!(!rustix::process::geteuid().is_root());
            work()
        };
        std::thread::scope(|scope| scope.spawn(thread).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Gives a file or folder to the user.
    ///
    /// # Panics
    ///
    /// When that is not allowed.
    pub fn own(&self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|error| panic!("cannot give `{}` to `{NAME}`: {error}", path.display()));
    }

    /// Puts a program where the user can read it.
    ///
    /// # Panics
    ///
    /// When it can neither be linked nor copied.
    pub fn lend(&self, program: &Path, folder: &Path) {
        let file = folder.join(program.file_name().unwrap());
        let program = program.canonicalize().unwrap();
        if std::fs::hard_link(&program, &file).is_err() {
            std::fs::copy(&program, &file).unwrap();
        }
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }
}

impl Default for OrdinaryUser {
    fn default() -> Self {
        Self::new()
    }
}

fn make() {
    let made = Command::new("useradd")
        .args(["--system", "--add-subids-for-system", "--user-group"])
        .args([
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/bin/sh",
        ])
        .arg(NAME)
        .output();
    let made = match made {
        Ok(made) if !made.status.success() => plain(),
        other => other,
    };
    let failure = match made {
        Ok(made) if made.status.success() => return,
        Ok(made) => String::from_utf8_lossy(&made.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!("this test needs a user who is not root, and `useradd {NAME}` failed: {failure}");
}

/// Old versions of `useradd` have no subordinate ids for users of the system.
fn plain() -> std::io::Result<std::process::Output> {
    Command::new("useradd")
        .args([
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/bin/sh",
        ])
        .arg(NAME)
        .output()
}

fn id(kind: &str) -> u32 {
    let output = Command::new("id").args([kind, NAME]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
