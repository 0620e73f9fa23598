//! Peers that nobody else has written.
//!
//! `bkhost-bench dial SOCKET RUNS` times what a driver adds to a dial: it opens the `remote` driver and dials a daemon, and
//! connects to it natively, in turns. Each line of the output is a name and a time in nanoseconds.
//!
//! `bkhost-bench ask SOCKET TIMES` asks a daemon for its workers and version over so many connections at once, and does
//! nothing else: the floor of a listing of so many builders.
//!
//! `bkhost-bench load SOCKET FILE` loads an archive into a Docker Engine: the floor of a client that first has to get it.
//!
//! `bkhost-bench ask-in SOCKET CONTAINER…` asks the daemons in containers of a Docker Engine, all at once, by an exec each.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use bkhost::buildkit::client::Client;
use bkhost::connect::pipe::Pipe;
use bkhost::docker::Engines;
use bkhost::docker::framing::{Stderr, Unframed};
use bkhost::docker::transport::{Engine, Request};
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
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, socket, rest @ ..] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let times = || rest.first().ok_or(USAGE)?.parse::<usize>().map_err(|_| USAGE);
    // As the host runs its commands.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match what.as_str() {
        "dial" => show(&runtime.block_on(measure(socket, times()?))?),
        "load" => load(socket, rest.first().ok_or(USAGE)?)?,
        "ask" => runtime.block_on(all_answer((0..times()?).map(|_| ask(socket))))?,
        "ask-in" => {
            let engines = Engines::default();
            let engine = engines.engine(&format!("unix://{socket}"))?;
            runtime.block_on(all_answer(
                rest.iter().map(|container| ask_in(&engine, container)),
            ))?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// As little as it can be: the kernel moves the bytes.
fn load(socket: &str, archive: &str) -> Result<()> {
    let mut file = std::fs::File::open(archive)?;
    let length = file.metadata()?.len();
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    write!(
        stream,
        "POST /images/load?quiet=0 HTTP/1.0\r\nHost: engine\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    )?;
    std::io::copy(&mut file, &mut stream)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.contains("Loaded image") {
        true => Ok(()),
        false => Err(format!("the engine said: {answer}").into()),
    }
}

const USAGE: &str = "dial SOCKET RUNS, ask SOCKET TIMES, load SOCKET FILE, or ask-in SOCKET CONTAINER…";

async fn all_answer(questions: impl Iterator<Item = impl Future<Output = Result<usize>>>) -> Result<()> {
    let answers = futures::future::try_join_all(questions).await?;
    if answers.contains(&0) {
        return Err("the daemon has no worker".into());
    }
    Ok(())
}

async fn ask(socket: &str) -> Result<usize> {
    workers(Pipe::new(UnixStream::connect(socket).await?)).await
}

/// The requests that lead to the daemon in a container, and no other.
async fn ask_in(engine: &Engine, container: &str) -> Result<usize> {
    let json = |path: String, body: &[u8]| {
        Request::new("POST", path)
            .with_header("content-type", "application/json")
            .with_body(body.to_vec())
    };
    let made = engine
        .send(&json(format!("/containers/{container}/exec"), EXEC))
        .await?;
    let text = String::from_utf8_lossy(&made.body).into_owned();
    let id = text.split('"').nth(3).ok_or(text.clone())?;
    let start = json(format!("/exec/{id}/start"), br#"{"Detach":false,"Tty":false}"#);
    let stream = engine.hijack(&start).await?;
    let unframed = Unframed::new(stream, Stderr::Read);
    workers(Pipe::new(unframed)).await
}

const EXEC: &[u8] =
    br#"{"AttachStdin":true,"AttachStdout":true,"AttachStderr":true,"Cmd":["buildctl","dial-stdio"]}"#;

async fn workers(pipe: Pipe) -> Result<usize> {
    let deadline = Instant::now() + DIAL_LIMIT;
    let client = Client::connect(pipe, Some(deadline)).await?;
    client.version().await?;
    Ok(client.workers().len())
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
        deadline: (Instant::now() + DIAL_LIMIT).into(),
        cancel: Cancel::new(),
        purpose: "benchmark",
    }
}
