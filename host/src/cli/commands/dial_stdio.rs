//! `dial-stdio`: a builder's daemon on standard input and output.

use clap::ValueEnum;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cli::boot;
use crate::cli::display::Display;
use crate::cli::env_vars::DOCKER_DEFAULT_PLATFORM;
use crate::cli::settings::{Context, resolve_builder};
use crate::cli::status::{self, BuilderReport, NodeReport};
use crate::cli::values::Limit;
use crate::connect::pipe::Pipe;
use crate::driver::node::{Cancel, State};
use crate::error::{CommandError, Result};
use crate::platform::{self, Platform};
use crate::progress::event::Sink;
use crate::progress::step::Step;

/// Arguments of `dial-stdio`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  buildctl --addr 'unix:///tmp/b.sock' …   # with: socat UNIX-LISTEN:/tmp/b.sock EXEC:'bkhost dial-stdio'"
)]
pub struct Args {
    /// Choose the node that builds this platform (default: $DOCKER_DEFAULT_PLATFORM)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// How the steps of connecting are shown on standard error
    #[arg(long, value_name = "MODE", default_value = "none")]
    progress: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Auto,
    None,
    Plain,
    Quiet,
    Tty,
}

/// How much is moved at once.
const CHUNK: usize = 64 << 10;

/// Connects and moves bytes until the daemon's side ends.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let wanted = wanted_platform(context, args)?;
    let builder = resolve_builder(context, None).await?.builder;
    status::check_loadable(context, &builder)?;
    context.store.touch(builder.name())?;
    let display = match args.progress {
        Mode::None | Mode::Quiet => Display::none(),
        Mode::Auto | Mode::Plain | Mode::Tty => Display::lines(context.ui),
    };
    let report = status::load(context, builder, Limit(None)).await;
    let connected = connect(context, report, wanted.as_ref(), &display.sink()).await;
    display.end().await;
    forward(
        connected?,
        tokio::io::stdin(),
        tokio::io::stdout(),
        &context.cancel,
    )
    .await
}

fn wanted_platform(context: &Context<'_>, args: &Args) -> Result<Option<Platform>> {
    let text = args
        .platform
        .as_deref()
        .or(context.environment.get(DOCKER_DEFAULT_PLATFORM));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let parsed = platform::parse_list(&[text]);
    let list = parsed.map_err(|error| CommandError::user(format!("invalid platform {text:?}: {error}")))?;
    Ok(list.into_iter().next())
}

async fn connect(
    context: &Context<'_>,
    report: BuilderReport,
    wanted: Option<&Platform>,
    sink: &Sink,
) -> Result<Pipe> {
    let step = Step::start(sink, "Proxying to builder").await;
    let part = step.part("Dialing builder").await;
    let dialed = dial(context, report, wanted, sink).await;
    part.finish().await;
    match &dialed {
        Ok(_) => step.finish().await,
        Err(error) => step.fail(error.line()).await,
    }
    dialed
}

async fn dial(
    context: &Context<'_>,
    mut report: BuilderReport,
    wanted: Option<&Platform>,
    sink: &Sink,
) -> Result<Pipe> {
    let chosen = choose(&report, wanted)?;
    if !chosen.is_running() {
        report.nodes = vec![chosen.clone()];
        boot::boot_missing(context, &report, sink).await?;
    }
    let chosen = choose(&report, wanted)?;
    let config = report.builder.node_config(context, &chosen.node);
    let node = context
        .drivers
        .open(&report.builder.record.driver, config)
        .await?;
    let instances = node.instances().await?;
    let Some(instance) = instances.iter().find(|instance| instance.state == State::Running) else {
        return Err(no_nodes());
    };
    Ok(node
        .dial(&instance.id, context.request(sink.clone(), None, "dial-stdio"))
        .await?)
}

/// The first usable node that lists the platform, else the first usable one.
fn choose<'a>(report: &'a BuilderReport, wanted: Option<&Platform>) -> Result<&'a NodeReport> {
    let usable = || report.nodes.iter().filter(|node| node.error.is_none());
    let lists = |node: &&NodeReport| {
        wanted.is_some_and(|wanted| node.platforms().iter().any(|platform| platform.same(wanted)))
    };
    if let Some(node) = usable().find(lists).or_else(|| usable().next()) {
        return Ok(node);
    }
    match report.nodes.iter().find_map(|node| node.error.clone()) {
        Some(error) => Err(error.into()),
        None => Err(no_nodes()),
    }
}

fn no_nodes() -> CommandError {
    CommandError::user("no nodes available")
}

/// Moves bytes both ways. The end of `input` closes only the daemon's reading side; the end of the daemon's side ends
/// it all.
async fn forward(
    pipe: Pipe,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    cancel: &Cancel,
) -> Result<()> {
    let (mut from, mut to) = tokio::io::split(pipe);
    let upload = async {
        // The daemon may stop reading first; what it then says is still wanted.
        let _ = copy(&mut input, &mut to).await;
        let _ = to.shutdown().await;
        std::future::pending::<()>().await;
    };
    let download = copy(&mut from, &mut output);
    tokio::select! {
        moved = download => match moved {
            Err(error) if !is_closed(&error) => Err(CommandError::user("The connection to the builder was lost").with_source(error)),
            _ => Ok(()),
        },
        () = upload => Ok(()),
        () = cancel.cancelled() => Ok(()),
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return to.flush().await;
        }
        to.write_all(chunk.get(..length).unwrap_or_default()).await?;
        to.flush().await?;
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | NotConnected | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_input_leaves_the_answer_open() {
        let (near, far) = tokio::io::duplex(16);
        let daemon = tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(far);
            let mut asked = String::new();
            read.read_to_string(&mut asked).await.unwrap();
            write
                .write_all(format!("answer to {asked}").as_bytes())
                .await
                .unwrap();
        });
        let mut output = Vec::new();
        forward(Pipe::new(near), &b"question"[..], &mut output, &Cancel::new())
            .await
            .unwrap();
        daemon.await.unwrap();
        assert_eq!(output, b"answer to question");
    }
}
