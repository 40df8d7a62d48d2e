//! Giving way to writers that are about to write, so that one sync serves them too.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A dozen other writers take no longer than this until they wait for their syncs; what
/// does is some other work, for which the processor is not given away for nothing.
const MAX_YIELD: Duration = Duration::from_millis(2);
/// Giving way to something else takes at most one part of so many of the time.
const BACKOFF_FACTOR: u32 = 100;

/// Whether it is worth while to give way.
#[derive(Debug, Default)]
pub(crate) struct CommitDelay {
    /// It was not, the last time.
    not_before: Mutex<Option<Instant>>,
}

impl CommitDelay {
    /// Yields the processor once, unless that took long a short while ago.
    pub(crate) fn yield_before_sync(&self) {
        let begun = Instant::now();
        if self.is_due(begun) {
            thread::yield_now();
            self.record(begun, begun.elapsed());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.not_before().is_none_or(|at| at <= now)
    }

    fn record(&self, begun: Instant, took: Duration) {
        if took > MAX_YIELD {
            *self.not_before() = begun.checked_add(took * BACKOFF_FACTOR);
        }
    }

    fn not_before(&self) -> MutexGuard<'_, Option<Instant>> {
        let held = self.not_before.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lost_much_by_it_does_not_give_way_for_a_while() {
        let courtesy = CommitDelay::default();
        courtesy.record(Instant::now(), MAX_YIELD);
        assert!(courtesy.is_due(Instant::now()));
        let begun = Instant::now();
        courtesy.record(begun, MAX_YIELD * 2);
        assert!(!courtesy.is_due(begun + MAX_YIELD * BACKOFF_FACTOR));
        assert!(courtesy.is_due(begun + MAX_YIELD * 2 * BACKOFF_FACTOR));
    }
}
