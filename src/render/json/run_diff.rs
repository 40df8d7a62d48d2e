//! A comparison of two runs.

use serde::Serialize;

use super::run_record::{JobRecord, RunRecord};

/// The difference in probes: other readings, or a change while only one of the jobs ran.
const PROBES: &str = "probes";

/// Two runs, with their jobs side by side.
#[derive(Debug, Clone, Serialize)]
pub struct RunDiff {
    /// Whether both runs have the same jobs with the same stages, exit codes and signals.
    pub same: bool,
    /// What differs between the runs: `state`, `host`, `jobs`, `probes`.
    pub differs: Vec<&'static str>,
    /// The first run, without its jobs.
    pub a: RunRecord,
    /// The second run, without its jobs.
    pub b: RunRecord,
    /// The jobs of both runs, in the order of the first.
    pub jobs: Vec<JobDiff>,
}

/// A job of one run, and the corresponding job of the other run.
#[derive(Debug, Clone, Serialize)]
pub struct JobDiff {
    /// The id of the job in the first run, or else in the second.
    pub job_id: String,
    /// What differs: `missing`, or any of `stage`, `exit_code`, `signal`, `probes`.
    pub differs: Vec<&'static str>,
    /// The job of the first run.
    pub a: Option<JobRecord>,
    /// The job of the second run.
    pub b: Option<JobRecord>,
}

impl RunDiff {
    /// Compares two runs.
    ///
    /// Jobs with the same id are paired first, then jobs that are named after their runs, then
    /// the only job of each run.
    pub fn new(mut a: RunRecord, mut b: RunRecord) -> Self {
        let mut of_b: Vec<Option<JobRecord>> =
            std::mem::take(&mut b.jobs).into_iter().map(Some).collect();
        let jobs_a = std::mem::take(&mut a.jobs);
        let only = jobs_a.len() == 1 && of_b.len() == 1;
        let mut jobs = Vec::new();
        // Pair jobs with the same id first, so that no other job is paired with them.
        let pairs: Vec<_> = jobs_a
            .into_iter()
            .map(|job| {
                let other = remove_first(&mut of_b, |other| other.job_id == job.job_id);
                (job, other)
            })
            .collect();
        for (job, other) in pairs {
            let other = other.or_else(|| {
                let named = job.job_id == *a.name;
                remove_first(&mut of_b, |other| only || named && other.job_id == *b.name)
            });
            jobs.push(JobDiff::new(Some(job), other));
        }
        let rest = of_b.into_iter().flatten();
        jobs.extend(rest.map(|job| JobDiff::new(None, Some(job))));
        let mut differs = Vec::new();
        if a.state != b.state {
            differs.push("state");
        }
        if a.host != b.host {
            differs.push("host");
        }
        let any_job = |of: fn(&&str) -> bool| jobs.iter().any(|job| job.differs.iter().any(of));
        if any_job(|what| *what != PROBES) {
            differs.push("jobs");
        }
        if any_job(|what| *what == PROBES) {
            differs.push(PROBES);
        }
        Self {
            // Neither the host nor a dependency of a job is an outcome.
            same: differs.iter().all(|what| matches!(*what, "host" | PROBES)),
            differs,
            a,
            b,
            jobs,
        }
    }
}

fn remove_first(
    jobs: &mut [Option<JobRecord>],
    fits: impl Fn(&JobRecord) -> bool,
) -> Option<JobRecord> {
    jobs.iter_mut()
        .find(|job| job.as_ref().is_some_and(&fits))?
        .take()
}

impl JobDiff {
    fn new(a: Option<JobRecord>, b: Option<JobRecord>) -> Self {
        let mut differs = Vec::new();
        match (&a, &b) {
            (Some(a), Some(b)) => {
                if a.stage != b.stage {
                    differs.push("stage");
                }
                if a.exit_code != b.exit_code {
                    differs.push("exit_code");
                }
                if a.signal != b.signal {
                    differs.push("signal");
                }
                if a.probes != b.probes {
                    differs.push(PROBES);
                }
            }
            _ => differs.push("missing"),
        }
        let id = |job: &Option<JobRecord>| job.as_ref().map(|job| job.job_id.to_string());
        Self {
            job_id: id(&a).or_else(|| id(&b)).unwrap_or_default(),
            differs,
            a,
            b,
        }
    }
}
