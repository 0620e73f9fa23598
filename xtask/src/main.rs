//! Everything that is a task: `cargo xtask help` lists them.

mod bench;
mod clock;
mod compiler;
mod demo;
mod drivers;
mod engines;
mod enlarged;
mod failure;
mod guest;
mod images;
mod inputs;
mod manifest;
mod packages;
mod place;
mod process;
mod tally;
mod test;

use std::process::ExitCode;

use crate::clock::Clock;
use crate::drivers::Which;
use crate::failure::{Failure, Result};
use crate::place::Place;

const HELP: &str = "\
cargo xtask <task>

  demo                         build examples/hello with a real daemon: the shortest way to see bkhost work
  test [--without NAME] [-- FILTER…]
                               set everything up, run every test, end with one line over all of them
  setup [--without NAME]       what `test` sets up, without running a test
  bench [--runs N]             measure bkhost beside buildx and buildctl; the report goes to target/bench
  drivers [--fixtures]         build the drivers, and those that tests load, into target/drivers
  engines                      build the pinned servers into the cache folder
  images                       make the root file systems that tests and the demo use

Each task installs what it needs. Servers and images are kept in $XDG_CACHE_HOME/bkhost (~/.cache/bkhost).
`--without` is for machines that lack one of: ";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match perform(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Performs a task. Gives false when it ran to its end and found something wrong.
fn perform(words: &[String]) -> Result<bool> {
    let (task, rest) = words
        .split_first()
        .map_or(("help", words), |(task, rest)| (task.as_str(), rest));
    let place = Place::find()?;
    match task {
        "demo" => nothing_else(rest).and_then(|()| demo::run(&place)).map(|()| true),
        "test" => test::run(&place, &test_options(rest)?),
        "setup" => set_up(&place, &test_options(rest)?).map(|()| true),
        "drivers" => drivers::build(&place, which(rest)?).map(|()| true),
        "bench" => bench::run(&place, runs(rest)?).map(|()| true),
        "engines" => nothing_else(rest)
            .and_then(|()| all_engines(&place))
            .map(|()| true),
        "images" => nothing_else(rest)
            .and_then(|()| images::for_tests(&place))
            .map(|()| true),
        "help" | "--help" | "-h" => {
            println!("{HELP}{}", test::abilities().join(", "));
            Ok(true)
        }
        other => Err(Failure::new(format!("There is no task `{other}`")).hint("Run: cargo xtask help")),
    }
}

/// Every server, with the time that each took.
fn all_engines(place: &Place) -> Result {
    let mut clock = Clock::default();
    for engine in engines::ALL {
        clock.phase(&format!("server {}", engine.name), || {
            engines::install(place, &[engine])
        })?;
    }
    clock.phase("servers of Debian", || {
        engines::debian::install(place, &engines::debian::ALL)
    })?;
    clock.phase("images of servers", || images::for_engines(place))?;
    print!("{}", clock.table());
    Ok(())
}

fn set_up(place: &Place, options: &test::Options) -> Result {
    let mut clock = Clock::default();
    test::set_up(place, options, &mut clock)?;
    print!("{}", clock.table());
    Ok(())
}

fn which(words: &[String]) -> Result<Which> {
    match words {
        [] => Ok(Which::Shipped),
        [word] if word == "--fixtures" => Ok(Which::WithFixtures),
        other => Err(not_understood(other)),
    }
}

fn runs(words: &[String]) -> Result<usize> {
    match words {
        [] => Ok(bench::USUAL_RUNS),
        [option, number] if option == "--runs" => number.parse().map_err(|_| not_understood(words)),
        other => Err(not_understood(other)),
    }
}

fn nothing_else(words: &[String]) -> Result {
    if words.is_empty() {
        Ok(())
    } else {
        Err(not_understood(words))
    }
}

fn not_understood(words: &[String]) -> Failure {
    Failure::new(format!("Not understood: {}", words.join(" "))).hint("Run: cargo xtask help")
}

fn test_options(words: &[String]) -> Result<test::Options> {
    let mut options = test::Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("--without", "") => {
                let name = words
                    .next()
                    .ok_or_else(|| Failure::new("`--without` needs a name"))?;
                options.without.push(name.clone());
            }
            ("--without", name) => options.without.push(name.to_owned()),
            ("--", "") => {
                options.filters = words.cloned().collect();
                break;
            }
            _ => return Err(not_understood(std::slice::from_ref(word))),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn exclusions_and_filters_are_read() {
        let options = test_options(&words("--without rootless --without=netns -- plan:: store::")).unwrap();
        assert_eq!(options.without, ["rootless", "netns"]);
        assert_eq!(options.filters, ["plan::", "store::"]);
        assert!(test_options(&words("--without")).is_err());
        assert!(test_options(&words("plan")).is_err());
    }

    #[test]
    fn an_unknown_task_points_to_the_help() {
        let failure = perform(&words("tset")).unwrap_err().to_string();
        assert!(
            failure.contains("no task `tset`") && failure.contains("cargo xtask help"),
            "{failure}"
        );
    }
}
