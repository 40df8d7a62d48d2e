//! Statistics of the runs with one name.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::run_record::RunRecord;
use crate::job::{RunStatus, median};
use crate::log::Stage;

/// How many of the newest runs to list individually.
const NEWEST: usize = 20;

/// The facts about an ended run that the statistics need.
#[derive(Debug, Clone)]
pub struct RunSample {
    name: String,
    state: RunStatus,
    is_retired: bool,
    duration_ms: Option<u64>,
    max_rss_bytes: Option<u64>,
    /// The attempts of the completed jobs: the number of jobs, the total and the maximum.
    attempts: (u64, u64, u64),
}

/// A line of `status --stats --json`.
#[derive(Debug, Serialize)]
pub struct NameStats {
    /// The name of the runs.
    pub name: String,
    /// The number of runs that have ended.
    pub runs: u64,
    /// The number of runs that gc removed.
    pub retired: u64,
    /// The number of runs that failed or are lost.
    pub failed: u64,
    /// The percentage of runs that failed or are lost.
    pub failed_percent: f64,
    /// The median duration of the completed runs.
    pub duration_p50_ms: Option<u64>,
    /// The duration that 95 % of the completed runs did not exceed.
    pub duration_p95_ms: Option<u64>,
    /// The longest duration of the completed runs.
    pub duration_max_ms: Option<u64>,
    /// The highest memory usage of a job.
    pub max_rss_bytes: Option<u64>,
    /// The mean number of attempts of the completed jobs.
    pub attempts_mean: Option<f64>,
    /// The maximum number of attempts of a completed job.
    pub attempts_max: Option<u64>,
    /// The states of the newest runs, oldest first.
    pub last_states: VecDeque<RunStatus>,
    /// The durations of the newest completed runs, oldest first.
    pub last_durations_ms: Vec<u64>,
}

impl RunSample {
    /// Returns the facts about a run; `None` if it has not ended.
    pub fn new(run: &RunRecord) -> Option<Self> {
        let has_ended = matches!(
            run.state,
            RunStatus::Completed | RunStatus::Failed | RunStatus::Lost
        );
        let is_completed = run.state == RunStatus::Completed;
        let jobs = run.jobs.iter();
        let completed = jobs.filter(|job| job.stage == Stage::Completed);
        let attempts = completed.filter_map(|job| job.attempt.map(u64::from));
        has_ended.then(|| Self {
            name: run.name.clone(),
            state: run.state,
            is_retired: run.retired.is_some(),
            duration_ms: run.duration_ms.filter(|_| is_completed),
            max_rss_bytes: run.max_rss_bytes(),
            attempts: attempts.fold((0, 0, 0), |(jobs, sum, most), n| {
                (jobs + 1, sum + n, most.max(n))
            }),
        })
    }
}

/// Returns the statistics of each name, sorted by name. The samples must be ordered by age.
pub fn name_stats(samples: Vec<RunSample>) -> Vec<NameStats> {
    let mut by_name: BTreeMap<String, Vec<RunSample>> = BTreeMap::new();
    for sample in samples {
        by_name.entry(sample.name.clone()).or_default().push(sample);
    }
    by_name
        .into_iter()
        .map(|(name, runs)| NameStats::new(name, &runs))
        .collect()
}

impl NameStats {
    fn new(name: String, runs: &[RunSample]) -> Self {
        let count = |counts: &dyn Fn(&RunSample) -> bool| {
            runs.iter().filter(|run| counts(run)).count() as u64
        };
        let failed = count(&|run| run.state != RunStatus::Completed);
        let durations: Vec<u64> = runs.iter().filter_map(|run| run.duration_ms).collect();
        let mut sorted = durations.clone();
        sorted.sort_unstable();
        // The nearest rank: the smallest duration that 95 % do not exceed.
        let p95 = (sorted.len() * 95).div_ceil(100).checked_sub(1);
        let jobs: u64 = runs.iter().map(|run| run.attempts.0).sum();
        let attempts: u64 = runs.iter().map(|run| run.attempts.1).sum();
        let older = |len: usize| len.saturating_sub(NEWEST);
        Self {
            name,
            runs: runs.len() as u64,
            retired: count(&|run| run.is_retired),
            failed,
            failed_percent: rounded(100.0 * failed as f64 / runs.len().max(1) as f64),
            duration_p50_ms: median(&sorted),
            duration_p95_ms: p95.and_then(|at| sorted.get(at)).copied(),
            duration_max_ms: sorted.last().copied(),
            max_rss_bytes: runs.iter().filter_map(|run| run.max_rss_bytes).max(),
            attempts_mean: (jobs > 0).then(|| rounded(attempts as f64 / jobs as f64)),
            attempts_max: runs
                .iter()
                .map(|run| run.attempts.2)
                .max()
                .filter(|n| *n > 0),
            last_states: runs
                .iter()
                .skip(older(runs.len()))
                .map(|run| run.state)
                .collect(),
            last_durations_ms: durations.into_iter().skip(older(sorted.len())).collect(),
        }
    }
}

/// Returns a number with at most two decimals.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, state: RunStatus, duration_ms: u64) -> RunSample {
        RunSample {
            name: name.to_owned(),
            state,
            is_retired: false,
            duration_ms: (state == RunStatus::Completed).then_some(duration_ms),
            max_rss_bytes: Some(duration_ms),
            attempts: (1, 1, 1),
        }
    }

    #[test]
    fn durations_are_those_of_completed_runs() {
        let mut samples: Vec<_> = (1..=100)
            .map(|ms| sample("a", RunStatus::Completed, ms))
            .collect();
        samples.push(sample("a", RunStatus::Failed, 7_000));
        samples.push(sample("b", RunStatus::Lost, 1));
        let stats = name_stats(samples);
        let [a, b] = stats.as_slice() else {
            panic!("{stats:?}")
        };
        assert_eq!((a.runs, a.failed, a.failed_percent), (101, 1, 0.99));
        let durations = (a.duration_p50_ms, a.duration_p95_ms, a.duration_max_ms);
        assert_eq!(durations, (Some(50), Some(95), Some(100)));
        assert_eq!(a.last_durations_ms, (81..=100).collect::<Vec<_>>());
        assert_eq!(a.last_states.len(), 20);
        assert_eq!(a.last_states.back(), Some(&RunStatus::Failed));
        assert_eq!(a.max_rss_bytes, Some(7_000));
        assert_eq!(
            (b.runs, b.failed_percent, b.duration_p50_ms),
            (1, 100.0, None)
        );
    }

    #[test]
    fn attempts_are_averaged_over_jobs() {
        let mut samples = vec![sample("a", RunStatus::Completed, 1); 3];
        for (run, attempts) in samples.iter_mut().zip([(2, 4, 3), (1, 1, 1), (0, 0, 0)]) {
            run.attempts = attempts;
        }
        let stats = name_stats(samples);
        assert_eq!(stats[0].attempts_mean, Some(1.67));
        assert_eq!(stats[0].attempts_max, Some(3));
    }
}
