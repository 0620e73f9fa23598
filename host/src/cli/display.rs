//! Steps of drivers shown line by line on stderr, for commands that boot something without building.

use std::collections::HashMap;

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use crate::progress::event::{Sink, Update, Vertex};
use crate::ui::Ui;

/// A running display.
pub struct Display {
    sink: Option<Sink>,
    task: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts showing what is sent to [`Display::sink`].
    pub fn lines(ui: &Ui) -> Self {
        let (sink, updates) = Sink::channel();
        Self {
            sink: Some(sink),
            task: Some(tokio::spawn(show(ui.clone(), updates))),
        }
    }

    /// A display that shows nothing.
    pub fn none() -> Self {
        Self {
            sink: None,
            task: None,
        }
    }

    /// Where steps are sent.
    pub fn sink(&self) -> Sink {
        self.sink.clone().unwrap_or_else(Sink::discard)
    }

    /// Waits until everything is shown. Sinks that were handed out must be dropped first.
    pub async fn end(mut self) {
        self.sink = None;
        if let Some(task) = self.task.take() {
            // A panic of the display is no reason to fail the command.
            let _ = task.await;
        }
    }
}

async fn show(ui: Ui, mut updates: Receiver<Update>) {
    let mut shown: HashMap<String, bool> = HashMap::new();
    while let Some(update) = updates.recv().await {
        for vertex in update.vertexes {
            show_vertex(&ui, &mut shown, &vertex);
        }
        for log in update.logs {
            let text = String::from_utf8_lossy(&log.data).into_owned();
            text.lines().for_each(|line| ui.say(format!("   {line}")));
        }
        for part in update
            .statuses
            .iter()
            .filter(|part| part.started.is_some() && part.current == 0)
        {
            if part.completed.is_none() {
                ui.say(format!("   {}", part.id));
            }
        }
    }
}

/// Says a step once when it starts and once when it has failed.
fn show_vertex(ui: &Ui, shown: &mut HashMap<String, bool>, vertex: &Vertex) {
    if vertex.started.is_some() && !shown.contains_key(&vertex.digest) {
        shown.insert(vertex.digest.clone(), false);
        ui.say(format!("=> {}", vertex.name));
    }
    if !vertex.error.is_empty() && shown.insert(vertex.digest.clone(), true) != Some(true) {
        ui.say(format!("=> {}: {}", vertex.name, vertex.error));
    }
}
