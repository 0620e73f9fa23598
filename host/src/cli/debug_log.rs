//! What `--debug` shows: the log of this program and of its drivers, on stderr.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::Uptime;
use tracing_subscriber::layer::SubscriberExt;

use crate::ui::Ui;

/// Shows the log from now on. A second call changes nothing: a process has one.
pub fn start(ui: &Ui) {
    let _ = dispatcher::set_global_default(log_to(ui));
}

/// Everything that this program itself has to say; what libraries say is about their own insides.
fn log_to(ui: &Ui) -> Dispatch {
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::DEBUG);
    let lines = tracing_subscriber::fmt::layer()
        .with_timer(Uptime::default())
        .with_target(false)
        .with_ansi(false)
        .with_writer(Door(ui.clone()));
    Dispatch::new(tracing_subscriber::registry().with(own).with(lines))
}

/// Each event comes in one write.
struct Door(Ui);

impl<'a> MakeWriter<'a> for Door {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Door {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.log(String::from_utf8_lossy(data).trim_end());
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_events_are_shown_and_nobody_elses() {
        let (ui, kept) = Ui::kept();
        dispatcher::with_default(&log_to(&ui), || {
            tracing::debug!(driver = "remote", "trying again");
            tracing::trace!("too much");
            tracing::error!(target: "h2::codec", "of a library");
        });
        let text = kept.text();
        let (time, line) = text.trim_start().split_once("s ").unwrap();
        assert!(time.parse::<f64>().is_ok(), "{text}");
        assert_eq!(line, "DEBUG trying again driver=\"remote\"\n");
    }
}
