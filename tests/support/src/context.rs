//! A sealed environment for one test: nothing of the machine's user gets in, nothing stays behind.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::call::Call;
use crate::docker::DockerEngine;
use crate::namespace::Namespace;
use crate::processes;
use crate::provided;
use crate::server;
use crate::space;
use crate::user::OrdinaryUser;

/// Programs that the `process` driver starts.
const LENT: [&str; 4] = ["buildkitd", "buildctl", "runc", "rootlesskit"];

/// Home, store, caches and working folder of one test, and the program under test. What still runs in it at the end is
/// killed; the folder is removed.
pub struct TestContext {
    folder: tempfile::TempDir,
    program: PathBuf,
    variables: BTreeMap<OsString, OsString>,
    prefix: Vec<String>,
    user: Option<OrdinaryUser>,
}

impl TestContext {
    /// An environment in which `program` runs as the user who runs the test.
    ///
    /// # Panics
    ///
    /// When its folders cannot be made.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let folder = space::folder("bkt");
        let context = Self {
            folder,
            program: program.into(),
            variables: BTreeMap::new(),
            prefix: Vec::new(),
            user: None,
        };
        for name in ["home", "run", "tmp", "work"] {
            context.make(name, 0o700);
        }
        context.sealed()
    }

    /// The same as another user, who gets copies of the programs: the originals may lie where nobody else can look.
    ///
    /// # Panics
    ///
    /// When the user cannot be given what is needed.
    pub fn of_user(program: impl Into<PathBuf>, user: &OrdinaryUser) -> Self {
        let mut context = Self::new(program);
        fs::set_permissions(context.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["home", "run", "tmp", "work"] {
            user.own(&context.path().join(name));
        }
        let programs = context.make("bin", 0o755);
        user.lend(&context.program, &programs);
        for name in LENT {
            user.lend(&provided::program(name), &programs);
        }
        context.program = programs.join(context.program.file_name().unwrap());
        let path = server::path();
        let own = std::env::split_paths(&path).skip(1);
        context.set(
            "PATH",
            std::env::join_paths([programs].into_iter().chain(own)).unwrap(),
        );
        context.set("USER", user.name());
        context.set("LOGNAME", user.name());
        context.user = Some(user.clone());
        context
    }

    /// Runs everything in other namespaces from now on.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.prefix = namespace.prefix(&self.work());
        self
    }

    /// Runs everything in the network of an engine from now on.
    pub fn near(mut self, engine: &DockerEngine) -> Self {
        self.prefix = engine.network();
        self
    }

    fn sealed(mut self) -> Self {
        let (home, root) = (self.home(), self.path().to_owned());
        for (name, folder) in [
            ("HOME", home.clone()),
            ("DOCKER_CONFIG", home.join(".docker")),
            ("BUILDX_CONFIG", self.store()),
            ("XDG_CONFIG_HOME", home.join(".config")),
            ("XDG_CACHE_HOME", home.join(".cache")),
            ("XDG_DATA_HOME", home.join(".local/share")),
            ("XDG_STATE_HOME", home.join(".local/state")),
            ("XDG_RUNTIME_DIR", root.join("run")),
            ("TMPDIR", root.join("tmp")),
        ] {
            self.set(name, folder);
        }
        self.set("PATH", server::path());
        self.set("LANG", "C.UTF-8");
        self.set("COLUMNS", "120");
        self
    }

    fn make(&self, name: &str, mode: u32) -> PathBuf {
        let folder = self.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        folder
    }

    /// Sets a variable for all programs from now on.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.variables
            .insert(name.as_ref().to_owned(), value.as_ref().to_owned());
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: impl AsRef<OsStr>) {
        self.variables.remove(name.as_ref());
    }

    /// The folder of everything.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// The builder store.
    pub fn store(&self) -> PathBuf {
        self.home().join(".docker/buildx")
    }

    /// The folder that programs start in.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// Writes a file below the working folder, owned by the user.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        let parent = path.parent().unwrap();
        let missing: Vec<_> = parent.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(parent).unwrap();
        fs::write(&path, content).unwrap();
        if let Some(user) = &self.user {
            missing
                .into_iter()
                .chain([path.as_path()])
                .for_each(|path| user.own(path));
        }
        path
    }

    /// Reads a file below the working folder.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn read(&self, name: &str) -> String {
        let path = self.work().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
    }

    /// Calls the program under test.
    pub fn bkhost<I>(&self, arguments: I) -> Call
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let program = self.program.clone();
        self.call(&program, arguments)
    }

    /// Calls another program in the same environment.
    pub fn call<I>(&self, program: impl AsRef<OsStr>, arguments: I) -> Call
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut words: Vec<OsString> = self.prefix.iter().map(Into::into).collect();
        words.push(program.as_ref().to_owned());
        words.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        Call::new(&words, &self.variables, &self.work(), self.user.as_ref())
    }

    /// Every process that was started from here and still runs, as id and command line.
    pub fn running(&self) -> Vec<(u32, String)> {
        processes::of(self.path())
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        processes::end(self.path());
        space::unmount_below(self.path());
    }
}
