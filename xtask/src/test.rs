//! `cargo xtask test`: sets everything up, runs every test binary and ends with one line over all of them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::clock::Clock;
use crate::drivers::{self, Which};
use crate::engines::debian::{self, Packaged};
use crate::engines::{self, Engine};
use crate::failure::{Failure, Result};
use crate::packages::{self, Needed};
use crate::place::Place;
use crate::tally::{Binary, Counts, Tally};
use crate::{guest, images, process};

/// What a machine may lack. Tests that need it have `needs_NAME` in their path.
struct Ability {
    name: &'static str,
    engines: &'static [&'static Engine],
    packaged: &'static [&'static Packaged],
    packages: &'static [Needed],
    /// Images that it starts containers from.
    images: bool,
}

const PLAIN: Ability = Ability {
    name: "",
    engines: &[],
    packaged: &[],
    packages: &[],
    images: false,
};

const ABILITIES: [Ability; 7] = [
    Ability {
        name: "rootless",
        engines: &[&engines::ROOTLESSKIT],
        packages: &[Needed {
            package: "uidmap",
            proof: "newuidmap",
        }],
        ..PLAIN
    },
    Ability {
        name: "registry",
        engines: &[&engines::REGISTRY],
        ..PLAIN
    },
    Ability {
        name: "buildx",
        engines: &[&engines::BUILDX],
        ..PLAIN
    },
    Ability {
        name: "netns",
        packages: &[IP],
        ..PLAIN
    },
    Ability {
        name: "docker",
        engines: &[&engines::DOCKER, &engines::DOCKER_CLI, &engines::NERDCTL],
        packaged: &[&debian::DOCKER_INIT, &debian::OLD_DOCKER],
        // An engine makes rules for its bridge.
        packages: &[
            IP,
            Needed {
                package: "iptables",
                proof: "iptables",
            },
        ],
        images: true,
    },
    Ability {
        name: "podman",
        packaged: &[&debian::PODMAN],
        packages: &[IP],
        images: true,
        ..PLAIN
    },
    // Bash is there wherever the tasks run; PowerShell is no package of Debian's.
    Ability {
        name: "shells",
        packages: &[
            Needed {
                package: "zsh",
                proof: "zsh",
            },
            Needed {
                package: "fish",
                proof: "fish",
            },
        ],
        ..PLAIN
    },
];

const IP: Needed = Needed {
    package: "iproute2",
    proof: "ip",
};

/// What the user asked for.
#[derive(Debug, Default)]
pub struct Options {
    /// Abilities that this machine is said to lack.
    pub without: Vec<String>,
    /// Only tests whose path contains one of these.
    pub filters: Vec<String>,
}

/// Runs the task. Gives whether every test passed.
pub fn run(place: &Place, options: &Options) -> Result<bool> {
    let mut clock = Clock::default();
    set_up(place, options, &mut clock)?;
    let suites = [
        host_suite(place),
        compiler_suite(place),
        guests_suite(place, "drivers"),
        guests_suite(place, "tests/fixtures/drivers"),
    ];
    let suites: Vec<Suite> = suites.into_iter().filter(Suite::is_there).collect();
    for suite in &suites {
        clock.phase(&format!("compile the tests of {}", suite.name), || {
            process::run(suite.command().arg("--no-run"))
        })?;
    }
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for suite in &suites {
        counts.add(suite.run(place, options, &mut clock, &mut failures)?);
    }
    print!("\n{}", clock.table());
    failures.iter().for_each(|failure| println!("failed: {failure}"));
    for name in &options.without {
        println!("excluded by --without {name}: tests with `needs_{name}` in their path");
    }
    if !options.without.is_empty() && counts.skipped == 0 {
        println!("warning: no test was excluded; tests that need NAME have `needs_NAME` in their path");
    }
    println!("{counts}");
    Ok(counts.failed == 0)
}

/// Everything that tests need on this machine, each part once.
pub fn set_up(place: &Place, options: &Options, clock: &mut Clock) -> Result {
    check(&options.without)?;
    let wanted = || {
        ABILITIES
            .iter()
            .filter(|ability| !options.without.iter().any(|name| name == ability.name))
    };
    let packages: Vec<Needed> = wanted().flat_map(|ability| ability.packages).copied().collect();
    clock.phase("Debian packages", || packages::install(&packages))?;
    let mut servers = vec![&engines::BUILDKIT, &engines::RUNC];
    servers.extend(wanted().flat_map(|ability| ability.engines).copied());
    for server in servers {
        clock.phase(&format!("server {}", server.name), || {
            engines::install(place, &[server])
        })?;
    }
    let packaged: Vec<_> = wanted().flat_map(|ability| ability.packaged).copied().collect();
    clock.phase("servers of Debian", || debian::install(place, &packaged))?;
    clock.phase("images", || images::for_tests(place))?;
    if wanted().any(|ability| ability.images) {
        clock.phase("images of servers", || images::for_engines(place))?;
    }
    clock.phase("drivers and fixtures", || {
        drivers::build(place, Which::WithFixtures)
    })
}

/// What `--without` takes.
pub fn abilities() -> [&'static str; ABILITIES.len()] {
    ABILITIES.map(|ability| ability.name)
}

fn check(without: &[String]) -> Result {
    let known = abilities();
    match without.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Failure::new(format!("Nothing here is called `{name}`"))
            .hint(format!("`--without` takes one of: {}", known.join(", ")))),
    }
}

/// The tests of one workspace.
struct Suite {
    name: &'static str,
    folder: std::path::PathBuf,
    target: Option<std::path::PathBuf>,
    selection: &'static [&'static str],
}

fn host_suite(place: &Place) -> Suite {
    let selection = &["--workspace", "--exclude", "bkhost-engine"];
    Suite {
        name: "the host",
        folder: place.root.clone(),
        target: None,
        selection,
    }
}

/// The engine is tested with the compiler in it, which the host must not have.
fn compiler_suite(place: &Place) -> Suite {
    let selection = &["--package", "bkhost-engine", "--features", "compile"];
    Suite {
        name: "the engine",
        ..host_suite(place)
    }
    .selecting(selection)
}

/// Drivers' logic runs natively too, against the SDK's scripted host.
fn guests_suite(place: &Place, name: &'static str) -> Suite {
    let (folder, target) = (place.root.join(name), Some(place.guests()));
    Suite {
        name,
        folder,
        target,
        ..host_suite(place)
    }
    .selecting(&["--workspace"])
}

impl Suite {
    fn selecting(self, selection: &'static [&'static str]) -> Self {
        Self { selection, ..self }
    }

    fn is_there(&self) -> bool {
        crate::manifest::has_members(&self.folder)
    }

    fn command(&self) -> Command {
        let mut command = guest::cargo();
        command
            .args(["test", "--no-fail-fast"])
            .args(self.selection)
            .current_dir(&self.folder);
        command.env("CARGO_TERM_COLOR", "never");
        if let Some(target) = &self.target {
            command.env("CARGO_TARGET_DIR", target);
        }
        command
    }

    fn run(
        &self,
        place: &Place,
        options: &Options,
        clock: &mut Clock,
        failures: &mut Vec<String>,
    ) -> Result<Counts> {
        let mut command = self.command();
        command.env("BKHOST_TEST_ENGINES", place.engines());
        command.env("BKHOST_TEST_IMAGES", place.images());
        command.env("BKHOST_TEST_DRIVERS", place.drivers());
        command.arg("--").args(&options.filters);
        for name in &options.without {
            command.args(["--skip", &format!("needs_{name}")]);
        }
        let (binaries, succeeded) = follow(&mut command)?;
        failures.extend(binaries.iter().flat_map(failures_of));
        Ok(self.count(&binaries, succeeded, clock))
    }

    fn count(&self, binaries: &[Binary], succeeded: bool, clock: &mut Clock) -> Counts {
        let mut counts = Counts::default();
        for binary in binaries {
            let remark = if binary.broken {
                "ended without a result".to_owned()
            } else {
                binary.counts.to_string()
            };
            clock.note(&format!("run {}", binary.name), binary.took, &remark);
            counts.add(binary.counts);
        }
        if !succeeded && counts.failed == 0 {
            // A binary may say that all is well and then end badly.
            eprintln!(
                "error: the tests of {} ended badly although none of them failed",
                self.name
            );
            counts.failed = 1;
        }
        counts
    }
}

fn failures_of(binary: &Binary) -> Vec<String> {
    if binary.broken {
        return vec![format!("{}: ended without a result", binary.name)];
    }
    binary
        .failures
        .iter()
        .map(|test| format!("{}: {test}", binary.name))
        .collect()
}

/// Shows a test run's output while it is counted.
fn follow(command: &mut Command) -> Result<(Vec<Binary>, bool)> {
    let broken = |cause: std::io::Error| Failure::new(format!("Cannot follow `cargo test`: {cause}"));
    // Cargo names the binaries on one stream and they report on the other: one pipe keeps them in order.
    let (reader, writer) = std::io::pipe().map_err(broken)?;
    let errors = writer.try_clone().map_err(broken)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .map_err(broken)?;
    // The command keeps the pipe's ends for another start; while they are open here, the pipe has no end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let lines = lines_of(reader);
    let mut tally = Tally::default();
    loop {
        match lines.recv_timeout(AFTERMATH) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                print!("{line}");
                tally.line(line.trim_end());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if child.try_wait().map_err(broken)?.is_some() => {
                eprintln!("warning: a process that a test left behind holds its output open");
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let status = child.wait().map_err(broken)?;
    Ok((tally.finish(), status.success()))
}

/// How long output may come after the end of the tests.
const AFTERMATH: Duration = Duration::from_secs(2);

fn lines_of(reader: std::io::PipeReader) -> Receiver<Vec<u8>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_left_behind_does_not_hold_the_task() {
        let started = std::time::Instant::now();
        let script = "sleep 30 & echo '     Running tests/a.rs (t/a-1)'; exit 3";
        let (binaries, succeeded) = follow(Command::new("sh").args(["-c", script])).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!((binaries.len(), succeeded), (1, false));
    }

    #[test]
    fn an_exclusion_must_be_known() {
        assert!(check(&["rootless".into()]).is_ok());
        let failure = check(&["rotless".into()]).unwrap_err().to_string();
        assert!(
            failure.contains("rootless, registry, buildx, netns, docker"),
            "{failure}"
        );
    }
}
