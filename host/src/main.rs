//! The `bkhost` program: parse, run, exit code.

use std::mem::ManuallyDrop;
use std::process::ExitCode;

use bkhost::cli;
use bkhost::cli::env_vars::Environment;
use bkhost::cli::{machine, plugin};
use bkhost::driver::catalog::Catalog;
use bkhost::keeper;
use bkhost::ui::Ui;

fn main() -> ExitCode {
    // First of all: the keeper closes whatever is open.
    if let Some(code) = keeper::main(std::env::args_os().skip(1), machine::active_builds()) {
        return code;
    }
    let words = std::env::args_os().collect();
    let (arguments, environment) = plugin::receive(words, Environment::of_process());
    let ui = Ui::stdio(environment.is_colourless());
    // The process ends with it: taking an engine apart would only take time.
    let drivers = ManuallyDrop::new(Catalog::new(machine::of(&environment)));
    ExitCode::from(cli::run(&arguments, &environment, &ui, &*drivers))
}
