//! Measures where a task's time goes.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Named spans of time, in the order in which they ended.
#[derive(Debug, Default)]
pub struct Clock {
    spans: Vec<(String, Duration, String)>,
}

impl Clock {
    /// Runs one phase and notes how long it took, however it ends.
    pub fn phase<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.note(name, started.elapsed(), "");
        result
    }

    /// Notes a span that was measured elsewhere, with a remark.
    pub fn note(&mut self, name: &str, took: Duration, remark: &str) {
        self.spans.push((name.to_owned(), took, remark.to_owned()));
    }

    /// The spans as a table, with their sum.
    pub fn table(&self) -> String {
        let width = self
            .spans
            .iter()
            .map(|(name, ..)| name.chars().count())
            .max()
            .unwrap_or(0)
            .max(5);
        let mut text = String::new();
        for (name, took, remark) in &self.spans {
            let line = format!("{name:width$}  {:>8.1} s  {remark}", took.as_secs_f64());
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let total: Duration = self.spans.iter().map(|(_, took, _)| *took).sum();
        let _ = writeln!(text, "{:width$}  {:>8.1} s", "total", total.as_secs_f64());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_span_and_the_sum() {
        let mut clock = Clock::default();
        clock.note("set-up", Duration::from_millis(1500), "");
        clock.note("tests of x", Duration::from_millis(500), "3 passed");
        assert_eq!(clock.phase("quick", || 7), 7);
        let table = clock.table();
        assert!(table.contains("set-up           1.5 s\n"), "{table}");
        assert!(table.contains("tests of x       0.5 s  3 passed\n"), "{table}");
        assert!(table.contains("total            2.0 s\n"), "{table}");
    }
}
