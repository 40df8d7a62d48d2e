//! Commit delay: yielding to writers that are about to write, so that one sync covers them
//! too.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// The longest useful yield. A dozen other writers take no longer until they wait for their
/// syncs. If a yield takes longer, the CPU went to unrelated work.
const MAX_YIELD: Duration = Duration::from_millis(2);
/// Yields to unrelated work take at most this fraction of the time.
const BACKOFF_FACTOR: u32 = 100;

/// When it is worthwhile to yield.
#[derive(Debug, Default)]
pub(crate) struct CommitDelay {
    /// The end of the pause after a yield that was not.
    not_before: Mutex<Option<Instant>>,
}

impl CommitDelay {
    /// Yields the CPU once, unless that recently took too long.
    pub(crate) fn yield_before_sync(&self) {
        let started = Instant::now();
        if self.is_due(started) {
            thread::yield_now();
            self.record(started, started.elapsed());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        lock(&self.not_before).is_none_or(|at| at <= now)
    }

    fn record(&self, started: Instant, took: Duration) {
        if took > MAX_YIELD {
            *lock(&self.not_before) = started.checked_add(took * BACKOFF_FACTOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_yield_backs_off() {
        let delay = CommitDelay::default();
        delay.record(Instant::now(), MAX_YIELD);
        assert!(delay.is_due(Instant::now()));
        let started = Instant::now();
        delay.record(started, MAX_YIELD * 2);
        assert!(!delay.is_due(started + MAX_YIELD * BACKOFF_FACTOR));
        assert!(delay.is_due(started + MAX_YIELD * 2 * BACKOFF_FACTOR));
    }
}
