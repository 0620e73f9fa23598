//! What a driver adds to a dial, measured inside the host by `bkhost-bench`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::bench::measure::Figures;
use crate::bench::report::{Aim, Row};
use crate::failure::{Failure, Result};
use crate::process;

const CASE: &str = "open and dial";
/// How much longer than the native dial a driver may take, even when it is used for the first time in a process.
const MOST_MORE: Duration = Duration::from_millis(1);
/// A dial is short: many of them cost nothing.
const RUNS_EACH: usize = 20;

/// Measures the built-in `remote` driver and the native dial, in turns in one process.
pub fn rows(program: &Path, socket: &Path, runs: usize) -> Result<Vec<Row>> {
    let mut command = Command::new(program);
    command
        .arg("dial")
        .arg(socket)
        .arg((runs * RUNS_EACH).to_string());
    let output = process::output(&mut command)?;
    let row = |name: &str, program: &str, aim| {
        Ok(Row {
            case: CASE,
            program: program.to_owned(),
            figures: named(&output, name)?,
            own: named(&output, "first")?,
            aim,
        })
    };
    Ok(vec![
        row("first", "bkhost", Aim::default())?,
        row("driver", "bkhost, driver used before", Aim::default())?,
        row(
            "native",
            "native",
            Aim {
                longer: Some(MOST_MORE),
                ..Aim::default()
            },
        )?,
    ])
}

fn named(output: &str, name: &str) -> Result<Figures> {
    let lines = output.lines().filter_map(|line| line.split_once(' '));
    let mut wall: Vec<Duration> = lines
        .filter(|(found, _)| *found == name)
        .filter_map(|(_, nanoseconds)| nanoseconds.parse().ok().map(Duration::from_nanos))
        .collect();
    if wall.is_empty() {
        return Err(Failure::new(format!(
            "`bkhost-bench` measured no `{name}`:\n{output}"
        )));
    }
    wall.sort();
    Ok(Figures {
        wall,
        cpu: Vec::new(),
        memory: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_by_name() {
        let output = "native 2000\nfirst 900000\nnative 1000\nnative 3000\n";
        assert_eq!(named(output, "native").unwrap().wall_ms(), 0.002);
        assert_eq!(named(output, "first").unwrap().wall_ms(), 0.9);
        assert!(named(output, "driver").is_err());
    }
}
