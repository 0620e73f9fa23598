//! Reading the daemon's log while it grows.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, DuplexStream};

use super::daemon::Daemon;
use super::log;

/// Pause between two looks at the end of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that lie between the file and a slow reader.
const BUFFER: usize = 64 << 10;

/// The daemon's log: its last `tail` lines or all of it and, with `follow`, what is added until the daemon has ended.
pub fn open(daemon: Daemon, follow: bool, tail: Option<usize>) -> impl AsyncRead + Send + Unpin + 'static {
    let (near, far) = tokio::io::duplex(BUFFER);
    // Ends when the reader is dropped: writing fails then.
    tokio::spawn(copy(daemon, follow, tail, far));
    near
}

async fn copy(
    daemon: Daemon,
    follow: bool,
    tail: Option<usize>,
    mut out: DuplexStream,
) -> std::io::Result<()> {
    let folder = daemon.folder().to_owned();
    let mut position = match tail {
        Some(lines) => {
            let (text, end) = log::tail_and_end(&folder, lines);
            out.write_all(text.as_bytes()).await?;
            if !text.is_empty() {
                out.write_all(b"\n").await?;
            }
            end
        }
        None => copy_older(&folder, &mut out).await?,
    };
    let path = log::path(&folder);
    loop {
        // Asked first: what was written before the end is copied after it.
        let running = daemon.running();
        position = copy_from(&path, position, &mut out).await?;
        if !follow || !running {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = daemon.ended() => {}
        }
    }
}

/// What was cut off; returns where to go on in the log itself.
async fn copy_older(folder: &Path, out: &mut DuplexStream) -> std::io::Result<u64> {
    let mut files: Vec<PathBuf> = log::files(folder);
    files.pop();
    for file in files {
        copy_from(&file, 0, out).await?;
    }
    Ok(0)
}

/// Copies what lies behind `position`; returns the new end. A log that is shorter was cut, and begins anew.
async fn copy_from(path: &Path, position: u64, out: &mut DuplexStream) -> std::io::Result<u64> {
    let mut file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(position),
        Err(error) => return Err(error),
    };
    let length = file.metadata().await?.len();
    let start = if length < position { 0 } else { position };
    if length == start && start > 0 {
        // Also tells whether anybody still reads.
        out.flush().await?;
        return Ok(start);
    }
    file.seek(SeekFrom::Start(start)).await?;
    let copied = tokio::io::copy(&mut file.take(length - start), out).await?;
    Ok(start + copied)
}
