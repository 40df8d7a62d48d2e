//! Commit delay: yielding to writers that are about to write, so that one sync covers them too.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// How long a useful yield takes at most. A dozen other writers need no longer until they wait
/// for their syncs. If a yield takes longer, unrelated work got the CPU.
const MAX_YIELD: Duration = Duration::from_millis(2);
/// The ratio of the pause after a useless yield to the duration of the yield.
const BACKOFF_FACTOR: u32 = 100;

/// The time at which yielding is worthwhile again.
#[derive(Debug, Default)]
pub(crate) struct CommitDelay {
    /// The end of the pause after a yield that took too long.
    not_before: Mutex<Option<Instant>>,
}

impl CommitDelay {
    /// Yields the CPU once, unless a yield recently took too long.
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
