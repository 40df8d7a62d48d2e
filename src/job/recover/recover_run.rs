//! Recovery of what a crash left: torn ends, rotations that were cut off, and jobs whose
//! end nobody saw. A job is touched only if its lease is free and what it ran is known
//! to be dead.

use std::sync::Arc;

use serde::Serialize;

use super::undo::{RollbackRunner, UndoError, UndoOutcome, needs_rollback};
use crate::job::capture::stream::OnWarning;
use crate::job::process::liveness;
use crate::job::process::liveness::child_of;
use crate::job::status::run_status::{InspectedRun, inspect_run, probe_lease};
use crate::job::supervise::job_events::JobEvents;
use crate::job::supervise::supervisor::{SNAPSHOT_TIMEOUT, close_if_open};
use crate::log::format::payload::{ErrorKind, JobEnded, JobError};
use crate::log::{
    Batch, Close, Durability, EventType, JobState, Lease, LeaseState, LogView, RunLog, RunStatus,
    needs_repair,
};
use crate::telemetry::{Probe, Snapshots};
use crate::volume::{Dir, JobId, RunId, Volume, error_chain, layout};

/// What was done to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryAction {
    /// There was nothing to do.
    None,
    /// Only its end was mended.
    Repaired,
    /// Its jobs got an end, or the run did.
    Recovered,
    /// It was left as it is.
    Skipped,
}

/// A run that was looked at.
#[derive(Debug, Serialize)]
pub struct RecoveryOutcome {
    /// What was done.
    pub action: RecoveryAction,
    /// Its state before.
    pub was: RunStatus,
    /// Its state now.
    pub state: RunStatus,
    /// What that rests on, or why it was left.
    pub because: String,
    /// The jobs that got an end.
    pub jobs: Vec<String>,
    /// The jobs that were to be undone.
    pub undone: Vec<UndoOutcome>,
    /// Jobs whose rollback was begun, and nobody saw its end.
    pub in_doubt: Vec<String>,
}

/// Recovers the run in `dir`; with `with_rollback` it also runs the rollbacks that lost
/// jobs recorded. Done twice, the second time changes nothing.
///
/// # Errors
/// The log cannot be read or written. What was written stands, and recovery can be
/// repeated.
pub fn recover(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
    with_rollback: bool,
    trouble: &OnWarning,
) -> Result<RecoveryOutcome, UndoError> {
    let examined = inspect_run(dir, true)?;
    let mut told = RecoveryOutcome {
        action: RecoveryAction::None,
        was: examined.verdict.state,
        state: examined.verdict.state,
        because: examined.verdict.because.clone(),
        jobs: Vec::new(),
        undone: Vec::new(),
        in_doubt: Vec::new(),
    };
    let leases = match claim(dir, &examined) {
        Ok(leases) => leases,
        Err(why) => {
            told.action = RecoveryAction::Skipped;
            told.because = why;
            return Ok(told);
        }
    };
    if needs_repair(dir)? {
        if examined.summary.state.foreign {
            told.action = RecoveryAction::Skipped;
            "its end is torn, and another program writes to it".clone_into(&mut told.because);
            return Ok(told);
        }
        RunLog::open(volume, run)?.recover_end()?;
        told.action = RecoveryAction::Repaired;
    }
    if let Some(leases) = leases {
        bring_to_end(volume, run, dir, with_rollback, trouble, leases, &mut told)?;
        let now = inspect_run(dir, true)?;
        told.action = RecoveryAction::Recovered;
        told.state = now.verdict.state;
        told.because = now.verdict.because;
    }
    Ok(told)
}

type Leases = Vec<(JobId, Lease)>;

/// The leases of the jobs that lack an end; `None` where nothing is to be ended.
///
/// # Errors
/// Why the run must be left as it is.
fn claim(dir: &Dir, examined: &InspectedRun) -> Result<Option<Leases>, String> {
    let state = &examined.summary.state;
    match examined.verdict.state {
        RunStatus::Running | RunStatus::Unknown => {
            return Err(examined.verdict.because.clone());
        }
        RunStatus::Completed | RunStatus::Failed => return Ok(None),
        RunStatus::Open if state.keep_open => return Ok(None),
        RunStatus::Open | RunStatus::Lost => {}
    }
    for job in state.unfinished() {
        if probe_lease(dir, job)? == LeaseState::Missing && liveness::same_boot(job) {
            return Err(format!(
                "the file of the lease of job {} is gone",
                job.job_id
            ));
        }
        let child = child_of(dir, job);
        if !child.is_dead() {
            return Err(format!("job {} may go on: {child}", job.job_id));
        }
    }
    // Also of those that have an end: who wrote it may be about to close the run.
    let told = |e: &dyn std::error::Error| error_chain(e);
    let mut leases = Vec::new();
    if state.jobs.is_empty() {
        return Ok(Some(leases));
    }
    let (jobs, _) = dir.ensure_dir(layout::JOBS).map_err(|e| told(&e))?;
    let mine = |job: &&JobState| !job.foreign && (!state.keep_open || !job.stage.is_terminal());
    for job in state.jobs.iter().filter(mine) {
        let id: JobId = job.job_id.parse().map_err(|e| told(&e))?;
        let lease = Lease::hold(&jobs, &id).map_err(|e| told(&e))?;
        let at_it = || format!("another process is at job {id}");
        leases.push((id.clone(), lease.ok_or_else(at_it)?));
    }
    Ok(Some(leases))
}

fn bring_to_end(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
    with_rollback: bool,
    trouble: &OnWarning,
    mut leases: Leases,
    told: &mut RecoveryOutcome,
) -> Result<(), UndoError> {
    let log = Arc::new(RunLog::open(volume, run)?);
    // Refused before anything is changed, so that it can be repeated without it.
    let undoer = if with_rollback {
        Some(RollbackRunner::new(volume, Arc::clone(&log), dir, trouble)?)
    } else {
        None
    };
    let now = snapshot(volume);
    let close = if with_rollback {
        Close::No
    } else {
        Close::IfAllEnded
    };
    log.append_with(
        Durability::Power,
        EventType::JobFailed.lock_budget(),
        |view| {
            let mut drafts = Vec::new();
            told.jobs.clear();
            for (id, _) in &leases {
                let Some(job) = view.state.job(id.as_str()) else {
                    continue;
                };
                if job.stage.is_terminal() {
                    continue;
                }
                let stages = JobEvents {
                    run: run.clone(),
                    job: id.clone(),
                    before: now.clone(),
                };
                drafts.push(stages.ended(&lost_event(dir, job), &now)?);
                told.jobs.push(id.to_string());
            }
            Ok(Batch {
                drafts,
                close: close_if_open(close, view),
            })
        },
    )?;
    let state = crate::log::fold(dir)?;
    told.in_doubt = state
        .jobs
        .iter()
        .filter(|job| job.rollback_is_unfinished())
        .map(|j| j.job_id.clone())
        .collect();
    let Some(undoer) = undoer else {
        return Ok(());
    };
    for job in state.jobs.iter().filter(|job| needs_rollback(job)).rev() {
        let at = leases.iter().position(|(id, _)| id.as_str() == job.job_id);
        let failed = job.error.is_some() && !job.rollback_is_unfinished();
        if let Some(at) = at.filter(|_| failed) {
            let (_, lease) = leases.swap_remove(at);
            let error = undoer.undo(job, Some(lease), false)?;
            told.undone.push(UndoOutcome {
                job_id: job.job_id.clone(),
                error,
            });
        }
    }
    log.append_with(
        Durability::Power,
        EventType::RunClosed.lock_budget(),
        |view: &LogView<'_>| Ok(Batch::only(close_if_open(Close::IfAllEnded, view))),
    )?;
    Ok(())
}

/// The end of a job that nobody saw.
fn lost_event(dir: &Dir, job: &JobState) -> JobEnded {
    JobEnded {
        attempt: job.attempt.unwrap_or(0),
        error: Some(JobError {
            kind: ErrorKind::Lost,
            message: format!(
                "nobody saw its end: its supervisor died; {}",
                child_of(dir, job)
            ),
        }),
        ..JobEnded::default()
    }
}

/// The host as it is now; nothing where it cannot be told.
fn snapshot(volume: &Volume) -> Snapshots {
    Probe::start(volume.path().to_owned())
        .map(|probe| probe.collect(None, SNAPSHOT_TIMEOUT))
        .unwrap_or_default()
}
