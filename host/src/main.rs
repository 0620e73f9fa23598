//! The `bkhost` program: parse, run, exit code.

use std::process::ExitCode;

use async_trait::async_trait;
use bkhost::cli;
use bkhost::cli::env_vars::{DEBUG, Environment, NO_COLOR};
use bkhost::driver::node::{
    DriverError, DriverErrorKind, DriverInfo, DriverResult, Drivers, Node, NodeConfig,
};
use bkhost::ui::Ui;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let ui = Ui::stdio(
        environment.get(NO_COLOR).is_some(),
        environment.get(DEBUG).is_some(),
    );
    ExitCode::from(cli::run(&arguments, &environment, &ui, &NoDrivers))
}

/// A host that was built without drivers.
struct NoDrivers;

fn missing(driver: &str) -> DriverError {
    DriverError {
        kind: DriverErrorKind::NotFound,
        driver: driver.to_owned(),
        message: format!("failed to find driver {driver:?}"),
        hint: None,
        details: Vec::new(),
    }
}

#[async_trait]
impl Drivers for NoDrivers {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn info(&self, driver: &str) -> DriverResult<DriverInfo> {
        Err(missing(driver))
    }

    async fn open(&self, driver: &str, _config: NodeConfig) -> DriverResult<Box<dyn Node>> {
        Err(missing(driver))
    }
}
