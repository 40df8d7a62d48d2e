//! The typical duration of runs with the same name.

use std::collections::{BTreeMap, HashMap};

/// How many of the newest runs of a name are considered. Older runs often did other work.
const SAMPLE_RUNS: usize = 20;

/// The durations of completed runs by name. Failed runs are not representative: they ended
/// early, or hung.
#[derive(Debug, Default)]
pub struct TypicalDurations(HashMap<String, BTreeMap<String, u64>>);

impl TypicalDurations {
    /// Records a completed run. `first_id` orders runs by age.
    pub fn record(&mut self, name: &str, first_id: &str, duration_ms: u64) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), BTreeMap::new());
        }
        if let Some(durations) = self.0.get_mut(name) {
            durations.insert(first_id.to_owned(), duration_ms);
            if durations.len() > SAMPLE_RUNS {
                durations.pop_first();
            }
        }
    }

    /// Returns the median of the newest runs in milliseconds, or `None` if there are none.
    pub fn typical(&self, name: &str) -> Option<u64> {
        let mut durations: Vec<u64> = self.0.get(name)?.values().copied().collect();
        durations.sort_unstable();
        let half = durations.len() / 2;
        let upper = *durations.get(half)?;
        if durations.len() % 2 == 1 {
            return Some(upper);
        }
        let lower = half.checked_sub(1).and_then(|at| durations.get(at));
        Some(lower.map_or(upper, |lower| lower.midpoint(upper)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typical_duration_is_median_of_newest() {
        let mut usual = TypicalDurations::default();
        assert_eq!(usual.typical("a"), None);
        usual.record("a", "01", 10);
        assert_eq!(usual.typical("a"), Some(10));
        usual.record("a", "02", 30);
        assert_eq!(usual.typical("a"), Some(20));
        usual.record("a", "03", 1000);
        assert_eq!(usual.typical("a"), Some(30));
        usual.record("a", "03", 1000);
        assert_eq!(usual.typical("a"), Some(30), "one run counts once");
        for n in 10..10 + SAMPLE_RUNS {
            usual.record("a", &n.to_string(), 7);
        }
        assert_eq!(usual.typical("a"), Some(7));
        assert_eq!(usual.typical("b"), None);
    }
}
