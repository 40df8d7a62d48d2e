//! The typical duration of runs with the same name.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::log;
use crate::log::{JobScope, StorageError, Ulid, newest_named};
use crate::volume::{Dir, RunId};

/// How many of the newest runs of a name to consider. Older runs often did other work.
const SAMPLE_RUNS: usize = 20;

/// The durations of completed runs by name, or other numbers such as their peak memory. Failed runs
/// are not representative, because they ended early or hung.
#[derive(Debug, Default)]
pub struct TypicalDurations(HashMap<String, BTreeMap<Ulid, u64>>);

impl TypicalDurations {
    /// Records a completed run. `first_id` orders runs by age.
    pub fn record(&mut self, name: &str, first_id: Ulid, value: u64) {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), BTreeMap::new());
        }
        if let Some(values) = self.0.get_mut(name) {
            values.insert(first_id, value);
            if values.len() > SAMPLE_RUNS {
                values.pop_first();
            }
        }
    }

    /// Returns the median of the newest runs; `None` if there are none.
    pub fn median(&self, name: &str) -> Option<u64> {
        let mut values: Vec<u64> = self.0.get(name)?.values().copied().collect();
        values.sort_unstable();
        median(&values)
    }

    /// Returns the usual duration of the newest runs; `None` if there are too few.
    pub fn usual_duration(&self, name: &str) -> Option<UsualDuration> {
        UsualDuration::from_durations(self.0.get(name)?.values().copied().collect())
    }
}

/// Returns the median of sorted numbers; `None` if there are none.
pub fn median(sorted: &[u64]) -> Option<u64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = half.checked_sub(1).and_then(|at| sorted.get(at));
    Some(lower.map_or(upper, |lower| lower.midpoint(upper)))
}

/// The minimum number of completed runs from which a usual duration is computed.
const MIN_SAMPLE_RUNS: usize = 3;
/// The maximum number of runs to read, if most of them failed.
const MAX_READ_RUNS: usize = 100;
/// The minimum distance of an unusual duration from the median, in spreads.
const UNUSUAL_SPREADS: u64 = 7;
/// The minimum distance of an unusual duration from the median, in milliseconds.
const UNUSUAL_MS: u64 = 500;

/// The usual duration of completed runs of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsualDuration {
    /// The number of runs that it is based on.
    pub runs: u64,
    /// The median of their durations in milliseconds.
    pub duration_p50_ms: u64,
    /// The median of the distances from that median, in milliseconds.
    pub duration_spread_ms: u64,
    /// The median of their peak memory, that of the largest process of any job, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rss_p50_bytes: Option<u64>,
}

/// How a duration compares with the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DurationVerdict {
    /// Far longer.
    Longer,
    /// Far shorter.
    Shorter,
    /// Neither far longer nor far shorter.
    Usual,
}

impl UsualDuration {
    /// Returns the usual values of these durations; `None` if there are too few.
    pub fn from_durations(mut durations: Vec<u64>) -> Option<Self> {
        if durations.len() < MIN_SAMPLE_RUNS {
            return None;
        }
        durations.sort_unstable();
        let middle = median(&durations)?;
        let runs = durations.len() as u64;
        let mut distances: Vec<u64> = durations
            .into_iter()
            .map(|ms| ms.abs_diff(middle))
            .collect();
        distances.sort_unstable();
        Some(Self {
            runs,
            duration_p50_ms: middle,
            duration_spread_ms: median(&distances)?,
            max_rss_p50_bytes: None,
        })
    }

    /// Compares a duration in milliseconds: it is far longer if it is at least twice the median,
    /// and far shorter if it is at most half of it, provided that it is also outside the spread.
    pub fn compare(&self, duration_ms: u64) -> DurationVerdict {
        let middle = self.duration_p50_ms;
        let noise = self.duration_spread_ms.saturating_mul(UNUSUAL_SPREADS);
        let noise = noise.max(UNUSUAL_MS);
        if duration_ms.saturating_sub(middle) >= noise.max(middle) {
            DurationVerdict::Longer
        } else if middle.saturating_sub(duration_ms) >= noise.max(middle.div_ceil(2)) {
            DurationVerdict::Shorter
        } else {
            DurationVerdict::Usual
        }
    }
}

/// Returns the usual duration of the newest completed runs of this name before `run`; `None` if
/// there are too few. Only runs whose id was generated from the name count, because they can be
/// found without reading all runs.
///
/// # Errors
/// The directory of the runs cannot be read.
pub fn usual_duration(
    runs: &Dir,
    run: &RunId,
    name: &str,
) -> Result<Option<UsualDuration>, StorageError> {
    let named = newest_named(runs, name, run, MAX_READ_RUNS)?;
    let completed = named.iter().filter_map(|run| {
        let state = log::read_finished(runs, run, JobScope::Summarized)?.state;
        let is_completed = !state.aborted && state.jobs_failed == 0 && state.name == name;
        let peak = state.jobs.iter().filter_map(|job| job.max_rss_bytes).max();
        Some((state.duration_ms().filter(|_| is_completed)?, peak))
    });
    let (durations, peaks): (Vec<_>, Vec<_>) = completed.take(SAMPLE_RUNS).unzip();
    let mut peaks: Vec<u64> = peaks.into_iter().flatten().collect();
    peaks.sort_unstable();
    Ok(
        UsualDuration::from_durations(durations).map(|usual| UsualDuration {
            max_rss_p50_bytes: median(&peaks),
            ..usual
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusual_duration_is_off_by_factor_and_spread() {
        use DurationVerdict::{Longer, Shorter, Usual};
        let usual = |durations: &[u64]| UsualDuration::from_durations(durations.to_vec());
        assert_eq!(usual(&[1, 2]), None);
        let steady = usual(&[9_000, 10_000, 10_000, 11_000]).unwrap();
        assert_eq!(
            (steady.duration_p50_ms, steady.duration_spread_ms),
            (10_000, 500)
        );
        for (ms, verdict) in [
            (0, Shorter),
            (5_000, Shorter),
            (5_001, Usual),
            (19_999, Usual),
            (20_000, Longer),
        ] {
            assert_eq!(steady.compare(ms), verdict, "{ms}");
        }
        let noisy = usual(&[4_000, 10_000, 16_000]).unwrap();
        assert_eq!((noisy.compare(0), noisy.compare(40_000)), (Usual, Usual));
        let quick = usual(&[5, 5, 5]).unwrap();
        assert_eq!((quick.compare(504), quick.compare(505)), (Usual, Longer));
    }

    #[test]
    fn typical_duration_is_median_of_newest() {
        let mut usual = TypicalDurations::default();
        assert_eq!(usual.median("a"), None);
        usual.record("a", Ulid(1), 10);
        assert_eq!(usual.median("a"), Some(10));
        usual.record("a", Ulid(2), 30);
        assert_eq!(usual.median("a"), Some(20));
        usual.record("a", Ulid(3), 1000);
        assert_eq!(usual.median("a"), Some(30));
        usual.record("a", Ulid(3), 1000);
        assert_eq!(usual.median("a"), Some(30), "one run counts once");
        for n in 10..10 + SAMPLE_RUNS as u128 {
            usual.record("a", Ulid(n), 7);
        }
        assert_eq!(usual.median("a"), Some(7));
        assert_eq!(usual.median("b"), None);
    }
}
