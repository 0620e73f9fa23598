//! The `bkhost` program: parse, run, exit code.

use std::process::ExitCode;

use bkhost::keeper::{self, ActiveBuilds};

fn main() -> ExitCode {
    // First of all: the keeper closes whatever is open.
    keeper::main(std::env::args_os().skip(1), ActiveBuilds::leases_only()).unwrap_or(ExitCode::SUCCESS)
}
