//! `dial-stdio`: a builder's daemon on standard input and output.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::build::ChosenBuilder;
use super::build::daemons::{self, Goal};
use crate::cli::build::value::ValueError;
use crate::cli::display::{self, Display};
use crate::cli::env_vars::DOCKER_DEFAULT_PLATFORM;
use crate::cli::settings::{Context, resolve_builder};
use crate::connect::pipe::Pipe;
use crate::driver::node::Cancel;
use crate::error::{CommandError, Result};
use crate::platform::{self, Platform};
use crate::progress::Mode;
use crate::progress::event::Sink;
use crate::progress::step::Step;
use crate::ui::own_streams;

/// Arguments of `dial-stdio`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  buildctl --addr 'unix:///tmp/b.sock' …   # with: socat UNIX-LISTEN:/tmp/b.sock EXEC:'bkhost dial-stdio'"
)]
pub struct Args {
    /// Choose the node that builds this platform (default: $DOCKER_DEFAULT_PLATFORM)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// How the steps of connecting are shown on standard error ("auto", "none", "plain", "quiet", "rawjson", "tty")
    #[arg(long, value_name = "MODE", default_value = "none")]
    progress: String,
}

/// What the connection is for, in logs.
const PURPOSE: &str = "dial-stdio";
/// How much is moved at once.
const CHUNK: usize = 64 << 10;

/// Connects and moves bytes until the daemon's side ends.
pub async fn run(context: &Context<'_>, args: &Args) -> Result<()> {
    let platforms = wanted_platforms(context, args)?;
    let mode: Mode = args
        .progress
        .parse()
        .map_err(|error: crate::progress::ModeError| CommandError::user(error.to_string()))?;
    let settings = display::settings(context.environment, context.ui, mode)?;
    let choice = resolve_builder(context, None).await?;
    let label = choice.builder.label();
    let builder = ChosenBuilder::of(context, choice).await?;
    if let (Some(note), Mode::Plain | Mode::Tty) = (&builder.note, settings.mode) {
        context.ui.say(note);
    }
    context.store.touch(&builder.name)?;
    let description = format!("builder: {}", builder.name);
    let display = Display::begin_steps(context.ui, settings, Some(description), &label);
    let connected = connect(context, &builder, &platforms, &display.lane(None)).await;
    display.end().await;
    let (input, output) = own_streams();
    forward(connected?, input, output, &context.cancel).await
}

fn wanted_platforms(context: &Context<'_>, args: &Args) -> Result<Vec<Platform>> {
    let text = args
        .platform
        .as_deref()
        .or(context.environment.get(DOCKER_DEFAULT_PLATFORM));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    platform::parse_list(&[text]).map_err(|error| {
        ValueError::from(error)
            .within(&format!("invalid platform {text:?}"))
            .into()
    })
}

async fn connect(
    context: &Context<'_>,
    builder: &ChosenBuilder,
    platforms: &[Platform],
    sink: &Sink,
) -> Result<Pipe> {
    let step = Step::start(sink, "Proxying to builder").await;
    let part = step.part("Dialing builder").await;
    let dialed = dial(context, builder, platforms, sink).await;
    part.finish().await;
    match &dialed {
        Ok(_) => step.finish().await,
        Err(error) => step.fail(error.line()).await,
    }
    dialed
}

/// Finds a daemon as a build does, and opens a second connection to it: the first has been spoken on.
async fn dial(
    context: &Context<'_>,
    builder: &ChosenBuilder,
    platforms: &[Platform],
    sink: &Sink,
) -> Result<Pipe> {
    let goal = Goal {
        drivers: context.drivers,
        ui: context.ui,
        cancel: &context.cancel,
        sink,
        platforms,
        affinity: context.environment.folder.to_string_lossy().into_owned(),
        purpose: PURPOSE,
    };
    let daemon = daemons::find(&goal, builder).await?.daemon;
    let request = context.request(sink.clone(), None, PURPOSE);
    Ok(daemon.node.dial(&daemon.instance, request).await?)
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
