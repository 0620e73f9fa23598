//! Reads the output of `cargo test` and counts over all test binaries.

use std::time::{Duration, Instant};

/// What one test binary said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Path of its source, or the crate of its documentation tests.
    pub name: String,
    /// How its tests ended.
    pub counts: Counts,
    /// From its start to the next one's.
    pub took: Duration,
    /// Whether it ended without a result: it crashed.
    pub broken: bool,
    /// Names of the tests that failed.
    pub failures: Vec<String>,
}

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that succeeded.
    pub passed: u64,
    /// Tests that failed, and binaries that broke.
    pub failed: u64,
    /// Tests that were ignored or excluded.
    pub skipped: u64,
}

impl Counts {
    /// Adds another's numbers.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Follows the output line by line.
#[derive(Debug, Default)]
pub struct Tally {
    done: Vec<Binary>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    name: String,
    started: Instant,
    counts: Option<Counts>,
    failures: Vec<String>,
}

impl Tally {
    /// Takes in one line of output.
    pub fn line(&mut self, line: &str) {
        if let Some(name) = started(line) {
            self.close();
            self.running = Some(Running {
                name,
                started: Instant::now(),
                counts: None,
                failures: Vec::new(),
            });
        } else if let Some(running) = &mut self.running {
            running.failures.extend(failure(line));
            if let Some(counts) = result(line) {
                // Documentation tests of one crate may have two results.
                running.counts.get_or_insert_default().add(counts);
            }
        }
    }

    /// Ends the count and gives every binary.
    pub fn finish(mut self) -> Vec<Binary> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        let broken = running.counts.is_none();
        let counts = running.counts.unwrap_or(Counts {
            failed: 1,
            ..Counts::default()
        });
        self.done.push(Binary {
            name: running.name,
            counts,
            took: running.started.elapsed(),
            broken,
            failures: running.failures,
        });
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/xtask-123)` or `Doc-tests bkhost`, as cargo prints it.
fn started(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{} (documentation)", name.trim()));
    }
    let (what, program) = line.strip_prefix("Running ")?.split_once(" (")?;
    let file = program.strip_suffix(')')?.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some(format!("{name}: {}", what.trim_start_matches("unittests ")))
}

/// `test module::name ... FAILED`
fn failure(line: &str) -> Option<String> {
    let (name, _) = line.strip_prefix("test ")?.split_once(" ... FAILED")?;
    Some(name.to_owned())
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.12s`
fn result(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        let part = numbers.split(';').find(|part| part.trim().ends_with(word))?;
        part.trim().split(' ').next()?.parse::<u64>().ok()
    };
    Some(Counts {
        passed: number(" passed")?,
        failed: number(" failed")?,
        skipped: number(" ignored")? + number(" filtered out").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> Vec<Binary> {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.line(line));
        tally.finish()
    }

    #[test]
    fn results_are_counted_by_binary() {
        let found = tally(
            "   Compiling x v0.1.0\n     Running unittests src/lib.rs (target/debug/deps/x-0f0f)\n\nrunning 2 tests\n\
             test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.12s\n\
             \u{20}    Running tests/y.rs (/t/debug/deps/y-0f0f)\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.12s\n",
        );
        let names: Vec<&str> = found.iter().map(|binary| binary.name.as_str()).collect();
        assert_eq!(names, ["x: src/lib.rs", "y: tests/y.rs"]);
        assert_eq!(
            found[0].counts,
            Counts {
                passed: 5,
                failed: 0,
                skipped: 3
            }
        );
        assert_eq!(
            found[1].counts,
            Counts {
                passed: 1,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn failed_tests_are_named() {
        let found = tally("     Running tests/a.rs (t/a-1)\ntest x::y ... FAILED\ntest z ... ok\n");
        assert_eq!(found[0].failures, ["x::y"]);
    }

    #[test]
    fn a_binary_without_a_result_has_failed() {
        let found =
            tally("     Running tests/a.rs (t/a-1)\nrunning 1 test\n     Running tests/b.rs (t/b-1)\n");
        assert!(
            found
                .iter()
                .all(|binary| binary.broken && binary.counts.failed == 1)
        );
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn two_results_of_one_crates_documentation_are_added() {
        let line =
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        let found = tally(&format!("   Doc-tests x\n{line}{line}"));
        assert_eq!(found[0].counts.passed, 2);
        assert_eq!(found[0].name, "x (documentation)");
    }

    #[test]
    fn text_that_only_looks_alike_is_no_result() {
        assert_eq!(result("test result: maybe"), None);
        assert_eq!(started("Running out of time"), None);
    }
}
