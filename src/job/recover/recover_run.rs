//! Recovery after a crash: of torn tails, interrupted rotations, and jobs without a terminal
//! event. A job is touched only if its lease is free and all of its processes are known to be
//! dead.

use std::sync::Arc;

use super::in_doubt::InDoubt;
use super::recovery::{Daemon, LostJobRollback, RecoveryAction, RecoveryOptions, RecoveryOutcome};
use super::undo::{RollbackRunner, UndoError, UndoOutcome, needs_rollback};
use crate::job::capture::stream::OnWarning;
use crate::job::process::cpu_clock::cpu_time;
use crate::job::process::job_processes::{JobProcess, JobProcesses};
use crate::job::process::liveness;
use crate::job::process::liveness::child_of;
use crate::job::redact::redaction::Redaction;
use crate::job::status::run_status::{InspectedRun, inspect_run, probe_lease};
use crate::job::supervise::append_terminal::close_if_open;
use crate::job::supervise::job_events::JobEvents;
use crate::job::supervise::supervisor_env::SNAPSHOT_TIMEOUT;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError};
use crate::log::{
    Batch, Close, Durability, EventType, JobScope, JobState, Lease, LeaseState, RunLog, RunStatus,
    needs_repair,
};
use crate::telemetry::{Probe, Snapshots};
use crate::volume::{Dir, JobId, RunId, Volume, error_chain, layout};

/// Returns what [`recover`] would do with the run in `dir`, without changing anything.
///
/// # Errors
/// The log cannot be read, or may lack events.
pub fn plan_recovery(
    run: &RunId,
    dir: &Dir,
    options: RecoveryOptions,
) -> Result<RecoveryOutcome, UndoError> {
    let inspected = inspect_run(dir, JobScope::All)?;
    let mut outcome = RecoveryOutcome::new(&inspected);
    let has_no_end = matches!(inspected.verdict.state, RunStatus::Lost | RunStatus::Open);
    if has_no_end && inspected.summary.is_uncertain {
        options.in_doubt.allow_uncertain(run)?;
    }
    let is_due = find_daemons(dir, &inspected, options)
        .map(|daemons| outcome.daemons = daemons)
        .and_then(|()| is_recovery_due(dir, &inspected));
    match is_due {
        Err(why) => {
            outcome.action = RecoveryAction::Skipped;
            outcome.because = why;
        }
        Ok(true) => {
            outcome.action = RecoveryAction::Recovered;
            let lost = inspected.summary.state.unfinished();
            outcome.jobs = lost.map(|job| job.job_id.clone()).collect();
        }
        Ok(false) if needs_repair(dir)? => outcome.action = RecoveryAction::Repaired,
        Ok(false) => {}
    }
    Ok(outcome)
}

/// Recovers the run in `dir`. Recovering a run twice changes nothing the second time.
///
/// # Errors
/// The log cannot be read or written. Events that were written remain, and recovery can be
/// repeated.
pub fn recover(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
    options: RecoveryOptions,
    on_warning: &OnWarning,
) -> Result<RecoveryOutcome, UndoError> {
    let inspected = inspect_run(dir, JobScope::All)?;
    let mut outcome = RecoveryOutcome::new(&inspected);
    let needs_recovery = matches!(inspected.verdict.state, RunStatus::Lost | RunStatus::Open);
    if needs_recovery && inspected.summary.is_uncertain {
        options.in_doubt.allow_uncertain(run)?;
    }
    let claimed = find_daemons(dir, &inspected, options)
        .map(|daemons| outcome.daemons = daemons)
        .and_then(|()| claim(dir, &inspected));
    let leases = match claimed {
        Ok(leases) => leases,
        Err(why) => {
            outcome.action = RecoveryAction::Skipped;
            outcome.because = why;
            return Ok(outcome);
        }
    };
    if needs_repair(dir)? {
        if inspected.summary.state.foreign {
            outcome.action = RecoveryAction::Skipped;
            "its tail is torn, but another program writes to it".clone_into(&mut outcome.because);
            return Ok(outcome);
        }
        RunLog::open_in(volume, run, dir)?.recover_end()?;
        outcome.action = RecoveryAction::Repaired;
    }
    if let Some(leases) = leases {
        let recoverer = Recoverer {
            volume,
            run,
            dir,
            log: Arc::new(RunLog::open_in(volume, run, dir)?),
            on_warning,
        };
        match options.rollback {
            LostJobRollback::Skip => {
                recoverer.end_jobs(&leases, Close::IfAllEnded, &mut outcome)?;
            }
            LostJobRollback::Run => {
                recoverer.end_and_undo_jobs(leases, &mut outcome)?;
            }
        }
        let now = inspect_run(dir, JobScope::All)?;
        outcome.action = RecoveryAction::Recovered;
        outcome.state = now.verdict.state;
        outcome.because = now.verdict.because;
    }
    Ok(outcome)
}

/// Finds the daemons of the jobs that lack a terminal event.
///
/// # Errors
/// The reason why the run must not be changed: a rollback would run next to a daemon.
fn find_daemons(
    dir: &Dir,
    inspected: &InspectedRun,
    options: RecoveryOptions,
) -> Result<Vec<Daemon>, String> {
    let mut daemons = Vec::new();
    if inspected.verdict.state != RunStatus::Lost {
        return Ok(daemons);
    }
    for job in inspected.summary.state.unfinished() {
        let found = JobProcesses::find(dir, job).daemons;
        if let Some(JobProcess { pid, name, .. }) = found.first()
            && options.rollback == LostJobRollback::Run
            && options.in_doubt == InDoubt::Refuse
            && job.rollback.is_some()
        {
            return Err(format!(
                "process {pid} ({name}), a daemon that job {} started, is still running; with \
                 --force its rollback runs beside it",
                job.job_id
            ));
        }
        daemons.extend(found.into_iter().map(|process| Daemon {
            job_id: job.job_id.clone(),
            process,
        }));
    }
    Ok(daemons)
}

type Leases = Vec<(JobId, Lease)>;

/// Returns whether jobs or the run have to be ended.
///
/// # Errors
/// The reason why the run must not be changed.
fn is_recovery_due(dir: &Dir, inspected: &InspectedRun) -> Result<bool, String> {
    let state = &inspected.summary.state;
    match inspected.verdict.state {
        RunStatus::Running | RunStatus::Unknown => {
            return Err(inspected.verdict.because.clone());
        }
        RunStatus::Pending | RunStatus::Completed | RunStatus::Failed => return Ok(false),
        RunStatus::Open if state.keep_open => return Ok(false),
        RunStatus::Open | RunStatus::Lost => {}
    }
    for job in state.unfinished() {
        if probe_lease(dir, job)? == LeaseState::Missing && liveness::same_boot(job) {
            return Err(format!("the lease file of job {} was removed", job.job_id));
        }
        let processes = JobProcesses::find(dir, job);
        if !processes.are_dead() {
            return Err(format!(
                "job {} may still be running: {processes}",
                job.job_id
            ));
        }
    }
    Ok(true)
}

/// Takes the leases of the jobs that lack a terminal event. Returns `None` if nothing has to be
/// ended.
///
/// # Errors
/// The reason why the run must not be changed.
fn claim(dir: &Dir, inspected: &InspectedRun) -> Result<Option<Leases>, String> {
    if !is_recovery_due(dir, inspected)? {
        return Ok(None);
    }
    let state = &inspected.summary.state;
    let text = |e: &dyn std::error::Error| error_chain(e);
    let mut leases = Vec::new();
    if state.jobs.is_empty() {
        return Ok(Some(leases));
    }
    let jobs = dir.ensure_dir(layout::JOBS).map_err(|e| text(&e))?.dir;
    // This includes jobs that have ended, because their supervisor may be about to close the
    // run.
    let claimed = |job: &&JobState| !job.foreign && (!state.keep_open || !job.stage.is_terminal());
    for job in state.jobs.iter().filter(claimed) {
        let id = &job.job_id;
        let lease = Lease::hold(&jobs, id).map_err(|e| text(&e))?;
        let held = || format!("another process holds the lease of job {id}");
        leases.push((id.clone(), lease.ok_or_else(held)?));
    }
    Ok(Some(leases))
}

/// The recovery of one run whose leases are held.
struct Recoverer<'a> {
    volume: &'a Volume,
    run: &'a RunId,
    dir: &'a Dir,
    log: Arc<RunLog>,
    on_warning: &'a OnWarning,
}

impl Recoverer<'_> {
    /// Writes the terminal events of lost jobs.
    fn end_jobs(
        &self,
        leases: &Leases,
        close: Close,
        outcome: &mut RecoveryOutcome,
    ) -> Result<(), UndoError> {
        let now = self.snapshot();
        self.log.append_with_state(
            Durability::Power,
            EventType::JobFailed.lock_budget(),
            |view, state| {
                let mut drafts = Vec::new();
                outcome.jobs.clear();
                for (id, _) in leases {
                    let Some(job) = state.job(id.as_str()) else {
                        continue;
                    };
                    if job.stage.is_terminal() {
                        continue;
                    }
                    let events = JobEvents {
                        run: self.run.clone(),
                        job: id.clone(),
                        before: now.clone(),
                        redaction: Redaction::default(),
                    };
                    drafts.push(events.ended(&lost_event(self.dir, job), &now)?);
                    outcome.jobs.push(id.clone());
                }
                Ok(Batch {
                    drafts,
                    close: close_if_open(close, view),
                })
            },
        )?;
        let state = crate::log::fold(self.dir)?;
        outcome.in_doubt = state
            .jobs
            .iter()
            .filter(|job| job.rollback_is_unfinished())
            .map(|j| j.job_id.to_string())
            .collect();
        Ok(())
    }

    /// Writes the terminal events of lost jobs, runs their rollbacks, and closes the run.
    fn end_and_undo_jobs(
        &self,
        mut leases: Leases,
        outcome: &mut RecoveryOutcome,
    ) -> Result<(), UndoError> {
        // Check the ownership of the log before any change, so that recovery can be repeated
        // without rollbacks.
        let log = Arc::clone(&self.log);
        let runner = RollbackRunner::new(self.volume, log, self.dir, self.on_warning)?;
        self.end_jobs(&leases, Close::No, outcome)?;
        let state = crate::log::fold(self.dir)?;
        for job in state.jobs.iter().filter(|job| needs_rollback(job)).rev() {
            let at = leases.iter().position(|(id, _)| *id == job.job_id);
            let failed = job.error.is_some() && !job.rollback_is_unfinished();
            if let Some(at) = at.filter(|_| failed) {
                let (_, lease) = leases.swap_remove(at);
                let error = runner.undo_job(job, Some(lease), InDoubt::Refuse)?;
                outcome.undone.push(UndoOutcome {
                    job_id: job.job_id.clone(),
                    error,
                });
            }
        }
        self.log.append_with(
            Durability::Power,
            EventType::RunClosed.lock_budget(),
            |view| Ok(Batch::only(close_if_open(Close::IfAllEnded, view))),
        )?;
        Ok(())
    }

    /// Returns a snapshot of the host, or an empty one if it cannot be taken.
    fn snapshot(&self) -> Snapshots {
        Probe::start(self.volume.path().to_owned(), Vec::new(), cpu_time)
            .map(|probe| probe.collect(None, SNAPSHOT_TIMEOUT))
            .unwrap_or_default()
    }
}

/// Returns the terminal event of a job whose supervisor died before it wrote one.
fn lost_event(dir: &Dir, job: &JobState) -> JobEnded {
    JobEnded {
        attempt: job.attempt.unwrap_or(0),
        error: Some(JobError {
            kind: ErrorKind::Lost,
            message: format!(
                "its supervisor died before the job's end was recorded; {}",
                child_of(dir, job)
            ),
        }),
        ..JobEnded::default()
    }
}
