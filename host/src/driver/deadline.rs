//! When an operation must be over, known to all who watch it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A moment that clones share, so that it can be put off for all of them; or none.
#[derive(Clone, Debug, Default)]
pub struct Deadline(Option<Arc<Mutex<Instant>>>);

impl Deadline {
    /// The moment as it stands now.
    pub fn instant(&self) -> Option<Instant> {
        let moment = self.0.as_ref()?;
        Some(*moment.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is left; zero once it has passed, absent without one.
    pub fn remaining(&self) -> Option<Duration> {
        let moment = self.instant()?;
        Some(moment.saturating_duration_since(Instant::now()))
    }

    /// Puts it off.
    pub fn extend(&self, by: Duration) {
        if let Some(moment) = &self.0 {
            let mut moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
            *moment += by;
        }
    }

    /// Returns when it has passed by `grace`, however often it is put off meanwhile; never without one.
    pub async fn passed(&self, grace: Duration) {
        let Some(mut moment) = self.instant() else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep_until((moment + grace).into()).await;
            match self.instant() {
                Some(later) if later > moment => moment = later,
                _ => return,
            }
        }
    }
}

impl From<Instant> for Deadline {
    fn from(moment: Instant) -> Self {
        Self(Some(Arc::new(Mutex::new(moment))))
    }
}

impl From<Option<Instant>> for Deadline {
    fn from(moment: Option<Instant>) -> Self {
        moment.map(Self::from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_that_is_put_off_is_waited_for_anew() {
        let now = || tokio::time::Instant::now().into_std();
        let begun = now();
        let deadline = Deadline::from(begun + Duration::from_secs(10));
        let watched = deadline.clone();
        let watcher = tokio::spawn(async move { watched.passed(Duration::from_secs(1)).await });
        tokio::time::sleep(Duration::from_secs(8)).await;
        deadline.extend(Duration::from_secs(20));
        watcher.await.unwrap();
        let took = now() - begun;
        assert!((31..32).contains(&took.as_secs()), "{took:?}");
        let never = Deadline::default();
        never.extend(Duration::from_secs(1));
        let end = tokio::time::timeout(Duration::from_secs(1000), never.passed(Duration::ZERO));
        assert!(end.await.is_err());
    }
}
