//! `cargo xtask bench`: bkhost beside buildx and buildctl, on one machine, in one run.
//!
//! Everything lies in memory (tmpfs), the programs take turns, and medians count. It is a measurement, not a test: the
//! aims are printed beside what was measured.

mod arena;
mod dial;
mod measure;
mod report;
mod server;

use std::process::Command;

use crate::bench::arena::Arena;
use crate::bench::measure::{Figures, Subject};
use crate::bench::report::{Aim, Row};
use crate::bench::server::Kind;
use crate::drivers::{self, Which};
use crate::failure::{Failure, Result};
use crate::packages::{self, Needed};
use crate::place::Place;
use crate::{engines, guest, inputs, process};

/// Fewer runs say little on a machine that does other things as well.
const LEAST_RUNS: usize = 7;
/// How many runs are made when nothing is said.
pub const USUAL_RUNS: usize = 15;
const BUILDERS: usize = 5;

/// Measures and writes `report.md`, `results.json` and `chart.svg` to `<target>/bench`.
pub fn run(place: &Place, runs: usize) -> Result {
    if runs < LEAST_RUNS {
        return Err(Failure::new(format!("A median of {runs} runs says too little"))
            .hint(format!("Take at least {LEAST_RUNS}")));
    }
    packages::install(&[Needed {
        package: "time",
        proof: "/usr/bin/time",
    }])?;
    engines::install(place, &[&engines::BUILDX])?;
    for kind in [Kind::Buildkit, Kind::Docker] {
        kind.install(place)?;
    }
    drivers::build(place, Which::Shipped)?;
    compile(place)?;
    let programs = place.target.join("release");
    let mut rows = Vec::new();
    {
        let arena = Arena::open(place, programs.clone(), Kind::Buildkit)?;
        rows.extend(measured(&arena, &cases(), runs)?);
        eprintln!("==> open and dial");
        rows.extend(dial::rows(&programs.join("bkhost-bench"), &arena.socket(), runs)?);
    }
    let arena = Arena::open(place, programs, Kind::Docker)?;
    arena.write_large()?;
    rows.extend(measured(&arena, &container_cases(), runs)?);
    write(place, &rows, runs)
}

/// Measures cases with five builders on the arena's server.
fn measured(arena: &Arena, cases: &[Case], runs: usize) -> Result<Vec<Row>> {
    arena.make_builders(BUILDERS)?;
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("==> {}", case.name);
        for words in case.setup {
            arena.run(words)?;
        }
        let subject = |words: &&[&str]| Subject {
            before: case.before.iter().map(|words| arena.resolve(words)).collect(),
            is_long: case.aim.cpu.is_some(),
            ..arena.subject(words)
        };
        let subjects: Vec<Subject> = case.words.iter().map(subject).collect();
        let figures = measure::alternating(&subjects, runs)?;
        rows.extend(case.rows(&figures));
    }
    Ok(rows)
}

/// The same work, done by several programs; bkhost is the first.
struct Case {
    name: &'static str,
    words: &'static [&'static [&'static str]],
    /// Which program the aim is about.
    against: usize,
    aim: Aim,
    /// Done once.
    setup: &'static [&'static [&'static str]],
    /// Done before each run.
    before: &'static [&'static [&'static str]],
}

/// A case that needs nothing else.
const PLAIN: Case = Case {
    name: "",
    words: &[],
    against: 1,
    aim: share_of(1.0, None),
    setup: &[],
    before: &[],
};

const fn share_of(wall: f64, memory: Option<f64>) -> Aim {
    Aim {
        wall: Some(wall),
        cpu: None,
        memory,
        longer: None,
    }
}

/// `{…}` is filled in by the arena.
fn cases() -> [Case; 3] {
    const NO_OP: &[&[&str]] = &[
        &[
            "bkhost",
            "build",
            "--builder",
            "b1",
            "--progress",
            "plain",
            "{context}",
        ],
        &[
            "buildctl",
            "--addr",
            "{address}",
            "build",
            "--progress",
            "plain",
            "--frontend",
            "dockerfile.v0",
            "--local",
            "context={context}",
            "--local",
            "dockerfile={context}",
        ],
        &[
            "buildx",
            "build",
            "--builder",
            "b1",
            "--progress",
            "plain",
            "{context}",
        ],
    ];
    [
        Case {
            name: "version",
            words: &[&["bkhost", "version"], &["buildx", "version"]],
            aim: share_of(0.15, Some(0.35)),
            ..PLAIN
        },
        Case {
            name: "ls, five builders",
            words: &[
                &["bkhost", "ls"],
                &["buildx", "ls"],
                // The floor: the same questions, and nothing else.
                &["bkhost-bench", "ask", "{socket}", "5"],
            ],
            aim: share_of(0.3, Some(0.35)),
            ..PLAIN
        },
        Case {
            name: "build, nothing to do",
            words: NO_OP,
            ..PLAIN
        },
    ]
}

/// Builders that are containers of a Docker Engine.
fn container_cases() -> [Case; 4] {
    [
        Case {
            name: "ls, five container builders",
            words: &[
                &["bkhost", "ls"],
                &["buildx", "ls"],
                // The floor: an exec in each, and the same questions.
                &[
                    "bkhost-bench",
                    "ask-in",
                    "{socket}",
                    "buildx_buildkit_b10",
                    "buildx_buildkit_b20",
                    "buildx_buildkit_b30",
                    "buildx_buildkit_b40",
                    "buildx_buildkit_b50",
                ],
            ],
            aim: share_of(0.5, None),
            ..PLAIN
        },
        Case {
            name: "inspect a container builder",
            words: &[
                &["bkhost", "inspect", "b1"],
                &["buildx", "inspect", "b1"],
                &["bkhost-bench", "ask-in", "{socket}", "buildx_buildkit_b10"],
            ],
            aim: share_of(0.5, None),
            ..PLAIN
        },
        Case {
            name: "build in a container, nothing to do",
            words: &[
                &[
                    "bkhost",
                    "build",
                    "--builder",
                    "b1",
                    "--progress",
                    "plain",
                    "{context}",
                ],
                &[
                    "buildx",
                    "build",
                    "--builder",
                    "b1",
                    "--progress",
                    "plain",
                    "{context}",
                ],
            ],
            aim: share_of(0.6, None),
            ..PLAIN
        },
        LOAD,
    ]
}

/// A large image on its way from a builder into an engine that does not have it.
const LOAD: Case = Case {
    name: "load an image of 500 MB",
    words: &[
        &[
            "bkhost",
            "build",
            "--builder",
            "b1",
            "--progress",
            "plain",
            "--load",
            "--tag",
            "large",
            "{large}",
        ],
        &[
            "buildx",
            "build",
            "--builder",
            "b1",
            "--progress",
            "plain",
            "--load",
            "--tag",
            "large",
            "{large}",
        ],
        // The floor: the same archive, from a file, and nothing else.
        &["bkhost-bench", "load", "{socket}", "{archive}"],
    ],
    aim: Aim {
        wall: Some(1.0),
        cpu: Some(0.5),
        memory: None,
        longer: None,
    },
    setup: &[&[
        "bkhost",
        "build",
        "--builder",
        "b1",
        "--output",
        "type=oci,dest={archive}",
        "--tag",
        "large",
        "{large}",
    ]],
    before: &[&["docker", "image", "rm", "--force", "large"]],
    ..PLAIN
};

impl Case {
    fn rows(&self, figures: &[Figures]) -> Vec<Row> {
        let Some(own) = figures.first() else {
            return Vec::new();
        };
        let programs = self.words.iter().filter_map(|words| words.first());
        let with_figures = programs.zip(figures).enumerate();
        let row = |(index, (program, figures)): (usize, (&&str, &Figures))| Row {
            case: self.name,
            program: (*program).to_owned(),
            figures: figures.clone(),
            own: own.clone(),
            aim: if index == self.against {
                self.aim
            } else {
                Aim::default()
            },
        };
        with_figures.map(row).collect()
    }
}

fn compile(place: &Place) -> Result {
    eprintln!("==> Compiling bkhost for release");
    let mut build = guest::cargo();
    build
        .args(["build", "--release", "--bins"])
        .args(["--package", "bkhost", "--package", "bkhost-bench"])
        .current_dir(&place.root);
    process::run(&mut build)
}

fn write(place: &Place, rows: &[Row], runs: usize) -> Result {
    let folder = place.target.join("bench");
    let machine = process::output(Command::new("uname").args(["-sr"])).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let heading =
        format!("Medians of {runs} runs that took turns, in memory (tmpfs), {cores} cores, {machine}.");
    let markdown = report::markdown(&heading, rows);
    inputs::write(&folder.join("report.md"), markdown.as_bytes())?;
    inputs::write(
        &folder.join("results.json"),
        report::json(&heading, rows).as_bytes(),
    )?;
    inputs::write(&folder.join("chart.svg"), report::svg(rows).as_bytes())?;
    println!("{markdown}\nAlso as JSON and as a chart in {}", folder.display());
    Ok(())
}
