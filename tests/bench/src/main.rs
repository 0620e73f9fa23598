//! Times what a driver adds to a dial: `bkhost-bench SOCKET RUNS` opens the `remote` driver and dials a daemon, and connects
//! to it natively, in turns. Each line of the output is a name and a time in nanoseconds.

use std::error::Error;
use std::time::{Duration, Instant};

use bkhost::driver::catalog::Catalog;
use bkhost::driver::environment::HostEnvironment;
use bkhost::driver::node::{Cancel, DialRequest, Drivers, NodeConfig};
use bkhost::progress::event::Sink;
use tokio::net::UnixStream;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Turns that are not counted: they bring code and data into memory.
const WARM_UP: usize = 3;
const DIAL_LIMIT: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(socket), Some(runs)) = (words.next(), words.next()) else {
        return Err("two arguments are wanted: SOCKET RUNS".into());
    };
    let runs: usize = runs.parse()?;
    // As the host runs its commands.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let lines = runtime.block_on(measure(&socket, runs))?;
    show(&lines);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the output is what the task reads")]
fn show(lines: &[(&str, Duration)]) {
    for (name, took) in lines {
        println!("{name} {}", took.as_nanos());
    }
}

/// Three ways to a connection: natively, by a driver that is used for the first time in a process (the engine is made, the
/// driver's code loaded), and by one that was used before.
async fn measure(socket: &str, runs: usize) -> Result<Vec<(&'static str, Duration)>> {
    let used_before = catalog();
    let mut lines = Vec::new();
    for run in 0..runs + WARM_UP {
        let turn = [
            ("native", native(socket).await?),
            ("first", first_use(socket).await?),
            ("driver", by_driver(&used_before, socket).await?),
        ];
        if run >= WARM_UP {
            lines.extend(turn);
        }
    }
    Ok(lines)
}

fn catalog() -> Catalog {
    Catalog::new(HostEnvironment::default())
}

async fn native(socket: &str) -> Result<Duration> {
    let started = Instant::now();
    let stream = UnixStream::connect(socket).await?;
    let took = started.elapsed();
    drop(stream);
    Ok(took)
}

async fn first_use(socket: &str) -> Result<Duration> {
    let started = Instant::now();
    let fresh = catalog();
    // The end of the engine is not a part of it: a command never waits for that.
    by_driver(&fresh, socket).await?;
    Ok(started.elapsed())
}

async fn by_driver(drivers: &Catalog, socket: &str) -> Result<Duration> {
    let started = Instant::now();
    let config = NodeConfig {
        endpoint: format!("unix://{socket}"),
        ..NodeConfig::default()
    };
    let node = drivers.open("remote", config).await?;
    let instances = node.instances().await?;
    let instance = instances.first().ok_or("the driver lists no instance")?;
    let pipe = node.dial(&instance.id, request()).await?;
    let took = started.elapsed();
    drop(pipe);
    Ok(took)
}

fn request() -> DialRequest {
    DialRequest {
        sink: Sink::discard(),
        deadline: Some(Instant::now() + DIAL_LIMIT),
        cancel: Cancel::new(),
        purpose: "benchmark",
    }
}
