//! Progress of a guest, shown like the steps of a build.
//!
//! The host gives an operation one step; it is shown as soon as the guest says something under it. Its parts become
//! statuses, nested ones too.

use std::sync::Arc;

use tokio::sync::Mutex;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::driver::bindings::steps::{Host, HostStep};
use crate::driver::limits::{Rate, SHOWN_TEXT, STEP_LINES_PER_SECOND, STEP_PARTS, clean_line};
use crate::driver::node::Cancel;
use crate::driver::state::View;
use crate::progress::event::Sink;
use crate::progress::step::{Part, Step};

/// The step of one operation, shared by all handles to it.
pub(crate) struct Shown {
    sink: Sink,
    name: String,
    inner: Mutex<Inner>,
}

struct Inner {
    step: Option<Step>,
    ended: bool,
    parts: u32,
    lines: Rate,
}

impl Shown {
    /// A step called `name`, not shown yet.
    pub fn new(sink: Sink, name: String) -> Arc<Self> {
        Arc::new(Self {
            sink,
            name,
            inner: Mutex::new(Inner {
                step: None,
                ended: false,
                parts: 0,
                lines: Rate::new(STEP_LINES_PER_SECOND),
            }),
        })
    }

    /// Ends the step, if it was shown and has not ended: well, or with the text of a failure.
    pub async fn end(&self, failure: Option<String>) {
        let mut inner = self.inner.lock().await;
        self.report_cut(&mut inner).await;
        inner.ended = true;
        let Some(step) = inner.step.take() else {
            return;
        };
        match failure {
            None => step.finish().await,
            Some(text) => step.fail(text).await,
        }
    }

    async fn begin(&self, name: &str) -> Option<Part> {
        let mut inner = self.inner.lock().await;
        if inner.ended || inner.parts >= STEP_PARTS {
            return None;
        }
        inner.parts += 1;
        let step = self.started(&mut inner).await?;
        Some(step.part(clean_line(name, SHOWN_TEXT)).await)
    }

    async fn line(&self, stream: i64, text: &str) {
        let mut inner = self.inner.lock().await;
        if inner.ended {
            return;
        }
        let Some(dropped) = inner.lines.pass() else {
            return;
        };
        let Some(step) = self.started(&mut inner).await else {
            return;
        };
        if dropped > 0 {
            step.log(stream, cut_words(dropped)).await;
        }
        let line = clean_line(text, SHOWN_TEXT) + "\n";
        step.log(stream, line).await;
    }

    async fn report_cut(&self, inner: &mut Inner) {
        let dropped = inner.lines.dropped();
        if dropped > 0
            && let Some(step) = &inner.step
        {
            step.log(1, cut_words(dropped)).await;
        }
    }

    async fn started<'a>(&self, inner: &'a mut Inner) -> Option<&'a Step> {
        if inner.step.is_none() {
            inner.step = Some(Step::start(&self.sink, self.name.clone()).await);
        }
        inner.step.as_ref()
    }
}

fn cut_words(dropped: u64) -> String {
    format!("[{dropped} lines were not shown]\n")
}

/// A guest's handle to the operation's step or to a part of it.
pub struct GuestStep {
    shown: Arc<Shown>,
    /// The part this handle is for; absent for the step itself until it reports bytes.
    part: Option<Part>,
    /// Name of the part; absent for the step itself.
    name: Option<String>,
    failed: bool,
}

impl GuestStep {
    /// A handle to the step itself.
    pub fn root(shown: Arc<Shown>) -> Self {
        Self {
            shown,
            part: None,
            name: None,
            failed: false,
        }
    }

    /// Reports how far the part is; a part of the step's own name stands for the step.
    pub async fn report(&mut self, current: u64, total: Option<u64>) {
        if self.failed {
            return;
        }
        if self.part.is_none() && self.name.is_none() {
            self.part = self.shown.begin(&self.shown.name).await;
        }
        if let Some(part) = &mut self.part {
            let shown = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            part.progress(shown(current), shown(total.unwrap_or(0))).await;
        }
    }
}

struct Cancellation(Cancel);

#[wasmtime_wasi::async_trait]
impl Pollable for Cancellation {
    async fn ready(&mut self) {
        self.0.cancelled().await;
    }
}

type Handle = Resource<GuestStep>;

impl Host for View<'_> {}

impl HostStep for View<'_> {
    async fn begin(&mut self, handle: Handle, name: String) -> wasmtime::Result<Handle> {
        let _reporting = self.call.activity.report();
        let shown = Arc::clone(&self.table.get(&handle)?.shown);
        let name = clean_line(&name, SHOWN_TEXT);
        self.call.kept.add(name.len())?;
        let part = shown.begin(&name).await;
        Ok(self.table.push(GuestStep {
            shown,
            part,
            name: Some(name),
            failed: false,
        })?)
    }

    async fn progress(&mut self, handle: Handle, current: u64, total: Option<u64>) -> wasmtime::Result<()> {
        let _reporting = self.call.activity.report();
        self.table.get_mut(&handle)?.report(current, total).await;
        Ok(())
    }

    async fn message(&mut self, handle: Handle, text: String) -> wasmtime::Result<()> {
        let _reporting = self.call.activity.report();
        let step = self.table.get(&handle)?;
        if !step.failed {
            step.shown.line(1, &text).await;
        }
        Ok(())
    }

    async fn fail(&mut self, handle: Handle, message: String) -> wasmtime::Result<()> {
        let _reporting = self.call.activity.report();
        let step = self.table.get_mut(&handle)?;
        if std::mem::replace(&mut step.failed, true) {
            return Ok(());
        }
        let message = clean_line(&message, SHOWN_TEXT);
        if let Some(part) = step.part.take() {
            part.finish().await;
        }
        match &step.name {
            Some(name) => step.shown.line(2, &format!("{name}: {message}")).await,
            None => step.shown.end(Some(message)).await,
        }
        Ok(())
    }

    async fn remaining(&mut self, handle: Handle) -> wasmtime::Result<Option<u64>> {
        self.table.get(&handle)?;
        let left = self.call.remaining();
        Ok(left.map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)))
    }

    async fn cancelled(&mut self, handle: Handle) -> wasmtime::Result<bool> {
        self.table.get(&handle)?;
        Ok(self.call.cancel.is_cancelled())
    }

    async fn cancellation(&mut self, handle: Handle) -> wasmtime::Result<Resource<DynPollable>> {
        self.table.get(&handle)?;
        let cancellation = self.table.push(Cancellation(self.call.cancel.clone()))?;
        subscribe(self.table, cancellation)
    }

    async fn drop(&mut self, handle: Handle) -> wasmtime::Result<()> {
        let step = self.table.delete(handle)?;
        if let Some(part) = step.part {
            let _reporting = self.call.activity.report();
            part.finish().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::event::Update;

    async fn collect(mut updates: tokio::sync::mpsc::Receiver<Update>) -> Update {
        let mut all = Update::default();
        while let Some(update) = updates.recv().await {
            all.vertexes.extend(update.vertexes);
            all.statuses.extend(update.statuses);
            all.logs.extend(update.logs);
        }
        all
    }

    #[tokio::test]
    async fn a_silent_step_is_not_shown() {
        let (sink, updates) = Sink::channel();
        let shown = Shown::new(sink, "booting".to_owned());
        shown.end(None).await;
        drop(shown);
        assert_eq!(collect(updates).await, Update::default());
    }

    #[tokio::test]
    async fn a_flood_is_cut_and_the_cut_is_shown() {
        let (sink, updates) = Sink::channel();
        let shown = Shown::new(sink, "booting".to_owned());
        let watcher = tokio::spawn(collect(updates));
        for _ in 0..STEP_LINES_PER_SECOND + 5 {
            shown.line(1, "more\x1b[2J").await;
        }
        shown.end(Some("failed".to_owned())).await;
        drop(shown);
        let all = watcher.await.unwrap();
        assert!(all.logs.len() <= STEP_LINES_PER_SECOND as usize + 2);
        assert_eq!(all.logs.first().unwrap().data, "more [2J\n");
        let last = all.logs.last().unwrap();
        assert!(String::from_utf8_lossy(&last.data).ends_with("lines were not shown]\n"));
        assert_eq!(all.vertexes.last().unwrap().error, "failed");
    }

    #[tokio::test]
    async fn parts_are_bounded() {
        let shown = Shown::new(Sink::discard(), "booting".to_owned());
        for _ in 0..STEP_PARTS {
            assert!(shown.begin("layer").await.is_some());
        }
        assert!(shown.begin("layer").await.is_none());
    }
}
