//! Earlier readings to compare a new one with.

use std::time::{Duration, Instant};

/// The minimum interval between two compared readings. Clock ticks are 10 ms.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// The last two readings that are far enough apart.
///
/// With two, each of several snapshots in quick succession has an earlier reading that is old
/// enough to compare with.
#[derive(Debug)]
pub(super) struct History<T> {
    older: Option<(Instant, T)>,
    recent: Option<(Instant, T)>,
}

impl<T> History<T> {
    pub(super) fn new() -> Self {
        Self {
            older: None,
            recent: None,
        }
    }

    /// Returns the latest reading that is old enough at `now`, with its age.
    pub(super) fn baseline(&mut self, now: Instant) -> Option<(Duration, &T)> {
        let ripe = |taken: Instant| now.saturating_duration_since(taken) >= MIN_INTERVAL;
        if self.recent.as_ref().is_some_and(|(taken, _)| ripe(*taken)) {
            self.older = self.recent.take();
        }
        let (taken, reading) = self.older.as_ref()?;
        Some((now.saturating_duration_since(*taken), reading))
    }

    /// Stores a reading, unless the previous one is still too recent to be replaced.
    pub(super) fn store(&mut self, now: Instant, reading: T) {
        if self.recent.is_none() {
            self.recent = Some((now, reading));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn baseline_is_at_least_the_minimum_age() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut history = History::new();
        assert!(history.baseline(at(0)).is_none());
        history.store(at(0), 'a');
        assert!(history.baseline(at(49)).is_none());
        history.store(at(49), 'x');
        assert_eq!(
            history.baseline(at(60)),
            Some((Duration::from_millis(60), &'a'))
        );
        history.store(at(60), 'b');
        // A burst after `b` still has `a` to compare with.
        assert_eq!(
            history.baseline(at(70)),
            Some((Duration::from_millis(70), &'a'))
        );
        history.store(at(70), 'x');
        assert_eq!(
            history.baseline(at(110)),
            Some((Duration::from_millis(50), &'b'))
        );
    }
}
