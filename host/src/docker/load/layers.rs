//! Layers that an engine is at work on, shown as parts of a step.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::SHOWN_EVERY;
use crate::docker::messages::Message;
use crate::progress::step::{Part, Step};

/// Most layers that are shown; images have at most 127.
const SHOWN: usize = 1024;

/// Layers by their ids.
pub(in crate::docker) struct Layers<'a> {
    step: &'a Step,
    verb: &'static str,
    parts: BTreeMap<String, Shown>,
}

struct Shown {
    part: Option<Part>,
    at: Instant,
}

impl<'a> Layers<'a> {
    /// Parts of `step` called `VERB ID`.
    pub fn new(step: &'a Step, verb: &'static str) -> Self {
        Self {
            step,
            verb,
            parts: BTreeMap::new(),
        }
    }

    /// Shows how far the layer of `message` is, if it is about one: not more often than anybody can read.
    pub async fn show(&mut self, message: &Message) {
        let detail = &message.progress_detail;
        if message.id.is_empty() || detail.total == 0 {
            return;
        }
        let is_new = !self.parts.contains_key(&message.id);
        if is_new {
            if self.parts.len() >= SHOWN {
                return;
            }
            let part = self.step.part(format!("{} {}", self.verb, message.id)).await;
            let shown = Shown {
                part: Some(part),
                at: Instant::now(),
            };
            self.parts.insert(message.id.clone(), shown);
        }
        let is_done = detail.current >= detail.total;
        let Some(shown) = self.parts.get_mut(&message.id) else {
            return;
        };
        if !is_new && !is_done && shown.at.elapsed() < SHOWN_EVERY {
            return;
        }
        shown.at = Instant::now();
        if let Some(part) = &mut shown.part {
            part.progress(signed(detail.current), signed(detail.total)).await;
        }
        if is_done && let Some(part) = shown.part.take() {
            part.finish().await;
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
