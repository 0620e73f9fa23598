use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::event::Sink;
use super::sample::{log, logs, vertex, vertexes};
use super::*;

/// Keeps what is written; broken after a number of writes.
#[derive(Clone, Default)]
struct Screen {
    text: Arc<Mutex<Vec<u8>>>,
    broken: bool,
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    fn ui(&self) -> Ui {
        Ui::new(Box::new(io::sink()), Box::new(self.clone()), true, true, false)
    }
}

impl Write for Screen {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.text.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn settings(mode: Mode) -> Settings {
    let settings = Settings::new(mode, &Environment::default(), true).unwrap();
    settings.with_size(|| None)
}

fn failing() -> Vec<Update> {
    let failed = event::Vertex {
        error: "exit code: 1".into(),
        ..vertex("a", "RUN false", Some(0), Some(100))
    };
    let warning = Warning {
        vertex: "a".into(),
        short: "Casing".into(),
        ..Warning::default()
    };
    vec![
        vertexes(vec![vertex("a", "RUN false", Some(0), None)]),
        logs(vec![log("a", "oh no\n", 50)]),
        Update {
            warnings: vec![warning],
            ..Update::default()
        },
        vertexes(vec![failed]),
    ]
}

async fn show(mode: Mode, screen: &Screen, updates: Vec<Update>) -> Summary {
    let (sink, receiver) = Sink::channel();
    let ui = screen.ui();
    let settings = settings(mode);
    let send = async move {
        for update in updates {
            sink.send(update).await;
        }
    };
    let description = Some("building".to_owned());
    let (summary, ()) = tokio::join!(drive(&settings, &ui, description, "remote:b1", receiver), send);
    summary
}

#[tokio::test]
async fn plain_shows_everything_and_the_summary_knows_it() {
    let screen = Screen::default();
    let summary = show(Mode::Plain, &screen, failing()).await;
    assert_eq!(
        screen.text(),
        "#0 building\n\n#1 RUN false\n#1 WARN: Casing\n#1 0.050 oh no\n#1 ERROR: exit code: 1\n\
         ------\n > RUN false:\n0.050 oh no\n------\n"
    );
    assert_eq!(summary.failures.len(), 1);
    assert_eq!(summary.warnings.len(), 1);
    assert!(summary.warnings_text(false, true).is_some());
}

#[tokio::test]
async fn rawjson_writes_a_line_per_update() {
    let screen = Screen::default();
    let summary = show(Mode::RawJson, &screen, failing()).await;
    assert_eq!(screen.text().lines().count(), 4);
    for line in screen.text().lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap()
                .is_object()
        );
    }
    assert_eq!(summary.warnings_text(false, true), None);
}

#[tokio::test]
async fn quiet_writes_nothing_and_still_knows_the_end() {
    for mode in [Mode::Quiet, Mode::None] {
        let screen = Screen::default();
        let summary = show(mode, &screen, failing()).await;
        assert_eq!(screen.text(), "");
        assert_eq!(summary.failures[0].log, ["0.050 oh no"]);
        assert_eq!(summary.warnings_text(false, true), None);
    }
}

#[tokio::test]
async fn the_cursor_is_hidden_while_the_terminal_display_runs() {
    let screen = Screen::default();
    show(Mode::Tty, &screen, failing()).await;
    let text = screen.text();
    assert!(text.starts_with("\u{1b}[?25l[+] Building "), "{text:?}");
    assert!(text.ends_with("------\n\u{1b}[?25h"), "{text:?}");
}

#[tokio::test]
async fn a_dropped_display_shows_the_cursor_and_what_was_held_back() {
    let screen = Screen::default();
    let ui = screen.ui();
    let (sink, receiver) = Sink::channel();
    let settings = settings(Mode::Tty);
    {
        let mut display = std::pin::pin!(drive(&settings, &ui, None, "", receiver));
        assert!(futures::poll!(display.as_mut()).is_pending());
        ui.warn("held");
        assert_eq!(screen.text(), "\u{1b}[?25l");
    }
    assert_eq!(screen.text(), "\u{1b}[?25l\u{1b}[?25hWARNING: held\n");
    drop(sink);
}

#[tokio::test]
async fn a_broken_pipe_ends_the_display_but_not_the_stream() {
    for mode in [Mode::Plain, Mode::RawJson, Mode::Tty] {
        let screen = Screen {
            broken: true,
            ..Screen::default()
        };
        let summary = show(mode, &screen, failing()).await;
        assert_eq!(summary.failures.len(), 1, "{mode:?}");
    }
}

#[tokio::test]
async fn bad_colours_are_complained_about_after_the_display() {
    let screen = Screen::default();
    let ui = screen.ui();
    let mut settings = settings(Mode::Tty);
    settings.bad_colours = vec!["run=pink".into()];
    let (sink, receiver) = Sink::channel();
    drop(sink);
    drive(&settings, &ui, None, "", receiver).await;
    assert!(
        screen
            .text()
            .contains("WARNING: Could not read `run=pink` in `BUILDKIT_COLORS`\n")
    );
}

#[tokio::test]
async fn much_output_is_drawn_without_waiting() {
    let screen = Screen::default();
    let ui = screen.ui();
    let settings = settings(Mode::Plain);
    let mut display = Display::begin(&settings, &ui, None, "");
    assert_eq!(display.pause(), settings.refresh_silence);
    display.take(vertexes(vec![vertex("a", "a", Some(0), None)]));
    assert_eq!(display.pause(), settings.refresh_event);
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..=1024 {
        display.take(logs(vec![log("a", &line, 10)]));
    }
    assert!(display.pause().is_zero());
    display.refresh();
    assert_eq!(display.pause(), settings.refresh_silence);
    assert_eq!(screen.text().lines().count(), 1026);
}

#[tokio::test]
async fn output_that_nobody_takes_does_not_pile_up() {
    let screen = Screen {
        broken: true,
        ..Screen::default()
    };
    let ui = screen.ui();
    let settings = settings(Mode::Plain);
    let mut display = Display::begin(&settings, &ui, None, "");
    display.take(vertexes(vec![vertex("a", "a", Some(0), None)]));
    display.refresh();
    assert!(display.lost);
    let line = format!("{}\n", "x".repeat(1023));
    for _ in 0..5000 {
        display.take(logs(vec![log("a", &line, 10)]));
    }
    assert!(display.trace.vertexes()[0].log.waiting() < 2 * MAX_UNDRAWN_BYTES);
}

#[tokio::test]
async fn a_running_build_is_refreshed_while_nothing_comes() {
    let screen = Screen::default();
    let ui = screen.ui();
    let settings = Settings {
        refresh_event: std::time::Duration::from_millis(1),
        refresh_silence: std::time::Duration::from_millis(1),
        ..settings(Mode::Plain)
    };
    let (sink, receiver) = Sink::channel();
    let watch = async {
        sink.send(vertexes(vec![vertex("a", "step a", Some(0), None)]))
            .await;
        while screen.text().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(sink);
    };
    tokio::join!(drive(&settings, &ui, None, "", receiver), watch);
    assert_eq!(screen.text(), "#1 step a\n");
}

#[tokio::test]
async fn a_display_can_have_a_task_of_its_own() {
    let screen = Screen::default();
    let (ui, settings) = (screen.ui(), settings(Mode::Plain));
    let (sink, receiver) = Sink::channel();
    let display = tokio::spawn(async move { drive(&settings, &ui, None, "", receiver).await });
    for update in failing() {
        sink.send(update).await;
    }
    drop(sink);
    assert_eq!(display.await.unwrap().failures.len(), 1);
}
