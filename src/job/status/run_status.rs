//! The current state of a run, from its log, its leases and its processes.

use crate::job::process::liveness;
use crate::job::process::liveness::{ChildLiveness, child_of};
use crate::job::process::process_scan::ProcessScan;
use crate::log;
use crate::log::format::payload::{ForwardedSignal, SignalSender};
use crate::log::{
    JobScope, JobState, Lease, LeaseState, ProbeState, Rollback, RunState, RunStatus, RunSummary,
    Stage, StorageError,
};
use crate::sync::map_in_parallel;
use crate::volume::{Dir, FileKey, JobId, RunId, error_chain, format_ts};

/// The state of a run, with the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunVerdict {
    /// The state.
    pub state: RunStatus,
    /// The reason, for display.
    pub because: String,
    /// The job whose lease was found free, if the run is lost.
    lost_job: Option<JobId>,
}

/// How many times the leases of a run are probed while each time another job turns out to have
/// ended in the meantime.
pub(crate) const MAX_PROBES: u32 = 4;

impl RunVerdict {
    /// Returns whether a run is lost according to its log, which was read after the lease was
    /// found free.
    ///
    /// The job may have written its terminal event just before it released its lease. Reading
    /// the log once more afterward decides: a job that has not ended there never will. Events of
    /// other jobs change nothing.
    pub(crate) fn is_lost_in(&self, run: &RunState) -> bool {
        let unfinished = |job: &JobState| !job.stage.is_terminal();
        let job = self.lost_job.as_ref();
        !run.is_closed()
            && job
                .and_then(|id| run.job(id.as_str()))
                .is_some_and(unfinished)
    }
}

/// Returns whether a runlog process of one of the run's jobs may be alive, also after the end of
/// the job.
///
/// # Errors
/// The log cannot be read.
pub fn has_live_runlog(dir: &Dir) -> Result<bool, StorageError> {
    let inspected = inspect_run(dir, JobScope::All)?;
    let mut jobs = inspected.summary.state.jobs.iter();
    Ok(inspected.verdict.state == RunStatus::Running
        || jobs.any(|job| liveness::may_be_watched(dir, job)))
}

/// Determines the state of the run in `dir` from its log and the leases of its jobs.
pub fn run_verdict(dir: &Dir, run: &RunState) -> RunVerdict {
    if run.is_closed() {
        return closed_verdict(run);
    }
    if run.first_id.is_none()
        && !run.foreign
        && let Some(verdict) = pending_verdict(dir)
    {
        return verdict;
    }
    let mut verdict = open_verdict(dir, run);
    verdict.because.push_str(&changed_probes(run));
    verdict
}

/// Names a probe that changed while its job ran, and counts the others, as the end of a reason.
fn changed_probes(run: &RunState) -> String {
    let mut changes = run.jobs.iter().flat_map(|job| {
        let change = move |(name, probe): (&String, &ProbeState)| {
            Some(format!(
                "probe {name} {} while job {} ran",
                probe.change()?,
                job.job_id
            ))
        };
        job.probes.iter().filter_map(change)
    });
    match (changes.next(), changes.count()) {
        (None, _) => String::new(),
        (Some(first), 0) => format!("; {first}"),
        (Some(first), n) => format!("; {first}, and {n} more changed"),
    }
}

/// Determines the state of a run that is not closed.
fn open_verdict(dir: &Dir, run: &RunState) -> RunVerdict {
    let mut lost = None;
    let mut unseen = None;
    for job in run.unfinished() {
        match probe_lease(dir, job) {
            Ok(LeaseState::Held) => {
                let watchers = liveness::watchers(dir, job);
                let because = format!(
                    "the supervisor of job {} holds its lease{watchers}",
                    job.job_id
                );
                return verdict(RunStatus::Running, because);
            }
            Ok(LeaseState::Missing) if liveness::same_boot(job) => {
                unseen.get_or_insert_with(|| {
                    format!(
                        "job {} has not ended, and its lease file was removed",
                        job.job_id
                    )
                });
            }
            Ok(state @ (LeaseState::Free | LeaseState::Missing)) => {
                lost.get_or_insert_with(|| (why_lost(dir, job, state), job.job_id.clone()));
            }
            Err(e) => {
                unseen.get_or_insert_with(|| {
                    format!("the lease of job {} cannot be probed: {e}", job.job_id)
                });
            }
        }
    }
    if let Some((because, job)) = lost {
        return RunVerdict {
            lost_job: Some(job),
            ..verdict(RunStatus::Lost, because)
        };
    }
    if let Some(because) = unseen {
        return verdict(RunStatus::Unknown, because);
    }
    if run.has_foreign_writer() {
        let because =
            "the run is not closed, and another program wrote it, whose writer cannot be checked";
        return verdict(RunStatus::Unknown, because.to_owned());
    }
    verdict(
        RunStatus::Open,
        "the run is not closed, and no job is live".to_owned(),
    )
}

/// Returns the state of the run in `dir` if it has no event yet.
fn pending_verdict(dir: &Dir) -> Option<RunVerdict> {
    if log::is_started(dir).ok()? {
        return None;
    }
    let because = match dir.usage() {
        Ok(usage) => format!(
            "it has no event yet, and was last changed at {}",
            format_ts(usage.touched)
        ),
        Err(_) => "it has no event yet".to_owned(),
    };
    Some(verdict(RunStatus::Pending, because))
}

pub(crate) fn verdict(state: RunStatus, because: String) -> RunVerdict {
    RunVerdict {
        state,
        because,
        lost_job: None,
    }
}

/// Determines the state of a closed run, for which the log alone is enough.
fn closed_verdict(run: &RunState) -> RunVerdict {
    let mut verdict = end_verdict(run);
    let is_undone = |job: &&JobState| {
        job.error.is_none() && job.rollback.as_ref().is_some_and(Rollback::is_done)
    };
    match run.jobs.iter().filter(is_undone).count() {
        0 => {}
        1 => verdict.because.push_str("; 1 completed job was undone"),
        n => {
            verdict.because = format!("{}; {n} completed jobs were undone", verdict.because);
        }
    }
    verdict.because.push_str(&changed_probes(run));
    verdict
}

fn end_verdict(run: &RunState) -> RunVerdict {
    match (run.aborted, run.jobs_failed) {
        (true, _) => verdict(RunStatus::Failed, "the run was aborted".to_owned()),
        (_, 0) => {
            let request = |job: &JobState| {
                let text = stop_request_text(job)?;
                Some(format!("; job {}{text}", job.job_id))
            };
            let request = run.jobs.iter().find_map(request).unwrap_or_default();
            let because = format!("the run is closed and no job failed{request}");
            verdict(RunStatus::Completed, because)
        }
        (_, 1) => verdict(RunStatus::Failed, why_failed(run)),
        (_, n) => verdict(
            RunStatus::Failed,
            format!(
                "the run is closed and {n} of {} jobs failed",
                run.jobs_total
            ),
        ),
    }
}

fn why_failed(run: &RunState) -> String {
    let failed = |job: &&JobState| matches!(job.stage, Stage::Failed | Stage::RolledBack);
    match run.jobs.iter().find(failed) {
        None => format!("the run is closed and 1 of {} jobs failed", run.jobs_total),
        Some(job) => {
            let why = job
                .error
                .as_ref()
                .map_or("its error is unknown", |e| &e.message);
            let request =
                stop_request_text(job).map_or_else(String::new, |text| format!("; it{text}"));
            format!(
                "the run is closed and job {} failed: {why}{request}",
                job.job_id
            )
        }
    }
}

/// Describes the sender of the signal that asked a job to end, and the reason for it, as far as
/// they are known.
fn stop_request_text(job: &JobState) -> Option<String> {
    let text = job.stop_request.as_ref().map(|request| {
        let ForwardedSignal { signal, sender, .. } = request;
        match sender {
            Some(SignalSender { pid, uid }) => {
                format!(" was sent {signal} by process {pid} (uid {uid})")
            }
            None => format!(" was sent {signal} by its terminal"),
        }
    });
    match (text, &job.stop_reason) {
        (text, None) => text,
        (None, Some(reason)) => Some(format!(" was asked to stop, reason: {reason}")),
        (Some(text), Some(reason)) => Some(format!("{text}, reason: {reason}")),
    }
}

pub(crate) fn probe_lease(dir: &Dir, job: &JobState) -> Result<LeaseState, String> {
    Lease::probe(dir, &job.job_id).map_err(|e| error_chain(&e))
}

fn why_lost(dir: &Dir, job: &JobState, lease: LeaseState) -> String {
    let lease = match lease {
        LeaseState::Missing => "its output file was removed",
        _ => "its lease is free",
    };
    let child = child_of(&ProcessScan::default(), dir, job);
    // A scan for the others would take too long for a list of runs.
    let others = match child {
        ChildLiveness::Dead(_) => {
            let run = dir.path().file_name().unwrap_or_default().display();
            format!(" (`runlog replay --recover --dry-run {run}` looks for others)")
        }
        _ => String::new(),
    };
    format!(
        "job {} has not ended and {lease}; {child}{others}",
        job.job_id
    )
}

/// A run whose log and leases were inspected together.
#[derive(Debug)]
pub struct InspectedRun {
    /// The summary of its log.
    pub summary: RunSummary,
    /// The current state.
    pub verdict: RunVerdict,
}

/// Inspects the run in `dir`: its log first, then its leases. A job whose lease is free may have
/// written its terminal event in between, so the log is then read once more.
///
/// # Errors
/// The log cannot be read.
pub fn inspect_run(dir: &Dir, scope: JobScope) -> Result<InspectedRun, StorageError> {
    let mut summary = match log::read_summary(dir, scope) {
        // Only a directory that still exists can get its first event.
        Err(StorageError::RunRemoved { .. }) if !dir.is_removed() => RunSummary::default(),
        read => read?,
    };
    let mut verdict = run_verdict(dir, &summary.state);
    for _ in 1..MAX_PROBES {
        if verdict.state != RunStatus::Lost {
            break;
        }
        summary = log::read_summary(dir, scope)?;
        if verdict.is_lost_in(&summary.state) {
            break;
        }
        verdict = run_verdict(dir, &summary.state);
    }
    Ok(InspectedRun { summary, verdict })
}

/// Inspects runs in the directory `runs`, on several threads if there are many, and maps each
/// with `map`. The result is `None` for a run that does not exist. Only the last line of a
/// finished run is read.
pub fn inspect_runs<T: Send>(
    runs: &Dir,
    ids: &[RunId],
    scope: JobScope,
    map: impl Fn(&RunId, InspectedRun) -> T + Sync,
) -> Vec<Result<Option<T>, StorageError>> {
    map_in_parallel(ids, |run| {
        Ok(inspect_listed_run(runs, run, scope)?.map(|found| map(run, found)))
    })
}

fn inspect_listed_run(
    runs: &Dir,
    run: &RunId,
    scope: JobScope,
) -> Result<Option<InspectedRun>, StorageError> {
    if let Some(summary) = log::read_finished(runs, run, scope) {
        let verdict = closed_verdict(&summary.state);
        return Ok(Some(InspectedRun { summary, verdict }));
    }
    let Some(dir) = log::open_any_dir(runs, run)? else {
        return Ok(None);
    };
    let inspected = inspect_run(&dir, scope)?;
    // When gc removes a run, the events disappear after the name.
    let is_there = || {
        let there = runs.stat(run.as_str()).ok().flatten();
        there.as_ref().map(FileKey::from) == Some(dir.key())
    };
    let is_run = inspected.verdict.state != RunStatus::Pending || is_there();
    Ok(is_run.then_some(inspected))
}
