//! The driver against a scripted host.

mod booting;
mod engine;
mod losses;
mod looking;

use bkhost_driver::testing::{Host, Listener, Progress, Script};

use self::engine::{Engine, IMAGE, NAME, VOLUME};
use super::*;

fn open(host: &Host) -> DockerContainer {
    DockerContainer::open(host.config()).unwrap()
}

fn boot(host: &Host) -> Result<()> {
    open(host).boot(&host.step("boot"))
}

/// Requests that change something, without those into the container.
fn changes(host: &Host) -> Vec<String> {
    let requests = host.engine_requests().into_iter().map(|(request, _)| request);
    requests
        .filter(|request| !request.starts_with("GET ") && !request.contains("exec"))
        .collect()
}

/// Lines that a user saw.
fn messages(host: &Host) -> Vec<String> {
    let progress = host.progress().into_iter();
    let message = |progress| match progress {
        Progress::Message(_, text) => Some(text),
        _ => None,
    };
    progress.filter_map(message).collect()
}
