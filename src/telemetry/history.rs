//! What an earlier reading is compared with.

use std::time::{Duration, Instant};

/// Readings closer together than this are not compared: clock ticks are 10 ms.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// The last two readings that are far enough apart.
///
/// Two are kept so that snapshots in quick succession are all compared with one that is
/// old enough, rather than with none.
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

    /// The latest reading that is old enough at `now`, and how long ago it was.
    pub(super) fn baseline(&mut self, now: Instant) -> Option<(Duration, &T)> {
        let ripe = |taken: Instant| now.saturating_duration_since(taken) >= MIN_INTERVAL;
        if self.recent.as_ref().is_some_and(|(taken, _)| ripe(*taken)) {
            self.older = self.recent.take();
        }
        let (taken, reading) = self.older.as_ref()?;
        Some((now.saturating_duration_since(*taken), reading))
    }

    /// Keeps a reading, unless the last one is still too fresh to give up.
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
    fn only_ripe_readings_are_compared_with() {
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
        // A burst after `b` still has `a` to be compared with.
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
