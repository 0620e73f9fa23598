//! `cargo xtask demo`: one real build from nothing, and a look at what it left.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clock::Clock;
use crate::drivers::{self, Which};
use crate::failure::{Failure, Result};
use crate::packages::{self, Needed};
use crate::place::Place;
use crate::{engines, guest, images, inputs, process};

const EXAMPLE: &str = "examples/hello";
const SOCKET: &str = "/run/buildkit/buildkitd.sock";
const TEXT: &str = "three words\nhere";
const COUNTED: &str = "1 lines, 3 words, 16 bytes";

/// Builds the example with bkhost and checks what came out.
pub fn run(place: &Place) -> Result {
    let mut clock = Clock::default();
    clock.phase("drivers: sandboxed components", || {
        drivers::build(place, Which::Shipped)
    })?;
    let bkhost = clock.phase("bkhost itself, with the drivers in it", || compile_host(place))?;
    let daemon = clock.phase("a daemon, or its programs", || Daemon::get(place, &bkhost))?;
    let demo = clock.phase("the example's base, secret and folders", || {
        Demo::prepare(place, daemon.makes_images())
    })?;
    let mut build = demo.command(&bkhost, &daemon);
    eprintln!("==> {}", process::shown(&build));
    clock.phase("the build", || process::run(&mut build))?;
    clock.phase("a look at the results", || demo.check())?;
    println!("\nWhat was done, and how long it took:\n\n{}", clock.table());
    println!("{EXAMPLE} was built {}.\n", daemon.words());
    demo.print_results();
    Ok(())
}

fn compile_host(place: &Place) -> Result<PathBuf> {
    let mut build = guest::cargo();
    build
        .args(["build", "--package", "bkhost", "--bin", "bkhost"])
        .current_dir(&place.root);
    process::run(&mut build)?;
    Ok(place.target.join("debug/bkhost"))
}

/// Where the daemon comes from.
enum Daemon {
    /// One that runs already.
    Running(String),
    /// The one inside the Docker Engine of the active docker context.
    Engine {
        /// Name of its builder.
        builder: String,
        /// Whether it can give images as files; that takes the containerd image store.
        makes_images: bool,
    },
    /// One that bkhost boots, found on `PATH` or in its cache folder.
    Booted,
}

impl Daemon {
    fn get(place: &Place, bkhost: &Path) -> Result<Self> {
        if let Some(address) = std::env::var("BUILDKIT_HOST")
            .ok()
            .filter(|address| !address.is_empty())
        {
            return Ok(Self::Running(address));
        }
        if let Some(engine) = Self::engine(place, bkhost) {
            return Ok(engine);
        }
        if std::os::unix::net::UnixStream::connect(SOCKET).is_ok() {
            return Ok(Self::Running(format!("unix://{SOCKET}")));
        }
        let rootless = !process::is_root();
        let mut needed = vec!["buildkitd", "runc"];
        let mut wanted = vec![&engines::BUILDKIT, &engines::RUNC];
        if rootless {
            packages::install(&[Needed {
                package: "uidmap",
                proof: "newuidmap",
            }])?;
            needed.push("rootlesskit");
            wanted.push(&engines::ROOTLESSKIT);
        }
        if needed.iter().any(|program| process::on_path(program).is_none()) {
            engines::install(place, &wanted)?;
            engines::offer(place, &wanted)?;
        }
        Ok(Self::Booted)
    }

    /// The engine that bkhost would use by itself, if it runs. What the user has selected does not count.
    fn engine(place: &Place, bkhost: &Path) -> Option<Self> {
        let ask = |more: &[&str]| {
            let mut inspect = Command::new(bkhost);
            without_selection(&mut inspect, place)
                .args(["--debug", "inspect"])
                .args(more);
            process::output(&mut inspect).ok()
        };
        let told = ask(&[
            "--format",
            "{{.Driver}} {{.Name}}{{range .Nodes}} {{.Status}}{{end}}",
        ])?;
        let builder = told.strip_prefix("docker ")?.strip_suffix(" running")?.to_owned();
        let makes_images = ask(&[&builder])?
            .lines()
            .any(|line| line.trim_start().starts_with("OCI exporter:") && line.ends_with("true"));
        Some(Self::Engine {
            builder,
            makes_images,
        })
    }

    /// Whether it can give the image as a file.
    fn makes_images(&self) -> bool {
        match self {
            Self::Engine { makes_images, .. } => *makes_images,
            Self::Running(_) | Self::Booted => true,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Engine { builder, .. } => {
                format!("by the Docker Engine that is there: the builder `{builder}`")
            }
            Self::Running(address) => format!("by the daemon at {address}"),
            Self::Booted => {
                "by a buildkitd that bkhost's `process` driver keeps; it stops by itself when idle".to_owned()
            }
        }
    }
}

/// Has a command of bkhost not see what the user has selected.
fn without_selection<'c>(command: &'c mut Command, place: &Place) -> &'c mut Command {
    command
        .env("BUILDX_CONFIG", place.target.join("demo/store"))
        .env_remove("BUILDX_BUILDER")
}

/// The demo's files.
struct Demo {
    root: PathBuf,
    key: PathBuf,
    folder: PathBuf,
    /// Absent when the daemon makes none.
    image: Option<PathBuf>,
}

impl Demo {
    fn prepare(place: &Place, with_image: bool) -> Result<Self> {
        let own = place.target.join("demo");
        let image = own.join("hello.tar");
        let demo = Self {
            root: place.root.clone(),
            key: own.join("signing-key"),
            folder: own.join("result"),
            image: with_image.then(|| image.clone()),
        };
        inputs::make_folder(&own)?;
        inputs::remove(&demo.folder)?;
        inputs::remove(&image)?;
        if !demo.key.is_file() {
            inputs::write(&demo.key, random_key()?.as_bytes())?;
        }
        demo.place_base(&images::compiler(place)?)?;
        Ok(demo)
    }

    /// Puts the base beside the Dockerfile; one that is the same stays, so that the daemon's cache holds.
    fn place_base(&self, archive: &Path) -> Result {
        let base = self.root.join(EXAMPLE).join("base.tar.gz");
        let content = fs::read(archive).map_err(|cause| Failure::io("read", archive, &cause))?;
        if fs::read(&base).is_ok_and(|old| old == content) {
            return Ok(());
        }
        inputs::write(&base, &content)
    }

    fn command(&self, bkhost: &Path, daemon: &Daemon) -> Command {
        let mut command = Command::new(bkhost);
        command.arg("build").current_dir(&self.root);
        match daemon {
            Daemon::Running(address) => command.env("BUILDKIT_HOST", address),
            Daemon::Engine { builder, .. } => command.args(["--builder", builder]),
            Daemon::Booted => command.args(["--builder", "local"]),
        };
        command
            .arg("--secret")
            .arg(format!("id=signing-key,src={}", self.key.display()));
        // A daemon may remember what another key has signed.
        let name = inputs::Inputs::default().file(&self.key).digest();
        command.args(["--build-arg", &format!("SIGNER={name}")]);
        command
            .arg("--output")
            .arg(format!("type=local,dest={}", self.folder.display()));
        if let Some(image) = &self.image {
            command
                .arg("--output")
                .arg(format!("type=oci,dest={}", image.display()));
        }
        command.arg(EXAMPLE);
        command
    }

    fn check(&self) -> Result {
        let program = self.folder.join("bin/hello");
        let said = process::output(Command::new(&program).arg(TEXT))?;
        expect(
            said == COUNTED,
            &format!("`{}` said `{said}` instead of `{COUNTED}`", program.display()),
        )?;
        let tests = self.read("share/hello/tests.txt")?;
        expect(
            tests.lines().count() > 0 && tests.lines().all(|line| line.starts_with("ok: ")),
            "The test stage's report is not all well",
        )?;
        let signature = self.read("share/hello/hello.signature")?;
        expect(
            signature.trim() == self.signature(&program)?,
            "The signature was not made with the secret",
        )?;
        let Some(image) = &self.image else {
            return Ok(());
        };
        let names = process::output(Command::new("tar").arg("--list").arg("--file").arg(image))?;
        let complete = ["index.json", "oci-layout"]
            .iter()
            .all(|wanted| names.lines().any(|name| name == *wanted));
        expect(complete, &format!("`{}` is no OCI image", image.display()))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(|cause| Failure::io("read", &path, &cause))
    }

    /// What the Dockerfile computes from the secret and the program.
    fn signature(&self, program: &Path) -> Result<String> {
        let script = "cat \"$1\" \"$2\" | sha256sum | cut -d' ' -f1";
        process::output(
            Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(&self.key)
                .arg(program),
        )
    }

    fn print_results(&self) {
        println!("  {}", self.shown(&self.folder));
        println!(
            "      a local folder: `bin/hello \"some text\"` counts its words; `share/hello/` has the test stage's"
        );
        println!("      report and a signature made with the secret");
        match &self.image {
            Some(image) => println!("  {}\n      the same as an OCI image", self.shown(image)),
            None => println!(
                "  No OCI image: this engine gives none, because its images are not in the containerd store."
            ),
        }
        println!("\nRun the task again to see every step CACHED.");
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}

fn expect(holds: bool, otherwise: &str) -> Result {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "The build succeeded, but its result is wrong: {otherwise}"
        )))
    }
}

fn random_key() -> Result<String> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    fs::File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|cause| Failure::io("read", source, &cause))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
