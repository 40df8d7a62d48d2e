//! Recovery after a crash: of torn tails, interrupted rotations, and jobs without a terminal
//! event. A job is touched only if its lease is free and all of its processes are known to be
//! dead.

use std::collections::HashSet;
use std::sync::Arc;

use super::in_doubt::InDoubt;
use super::recovery::{Daemon, LostJobRollback, RecoveryAction, RecoveryOptions, RecoveryOutcome};
use super::undo::{RollbackRunner, UndoError, UndoOutcome, needs_rollback};
use crate::job::capture::stream::OnWarning;
use crate::job::process::cpu_clock::cpu_time;
use crate::job::process::job_processes::{JobProcess, JobProcesses};
use crate::job::process::liveness;
use crate::job::process::liveness::child_of;
use crate::job::process::process_scan::ProcessScan;
use crate::job::redact::redaction::Redaction;
use crate::job::status::run_status::{InspectedRun, inspect_run, probe_lease};
use crate::job::supervise::append_terminal::close_if_open;
use crate::job::supervise::job_events::JobEvents;
use crate::job::supervise::supervisor_env::SNAPSHOT_TIMEOUT;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError};
use crate::log::{
    Batch, Close, Durability, EventType, JobScope, JobState, Lease, LeaseState, RunLog, RunState,
    RunStatus, StorageError, needs_repair,
};
use crate::telemetry::{Probe, Snapshots};
use crate::volume::{Dir, JobId, RunId, Volume, layout};

/// The maximum number of leases to hold, and so of files to hold open, at a time.
const MAX_LEASES: usize = 256;

/// Returns what [`recover`] would do with the run in `dir`, without changing anything.
///
/// # Errors
/// The log cannot be read, or may lack events.
pub fn plan_recovery(
    run: &RunId,
    dir: &Dir,
    options: RecoveryOptions,
) -> Result<RecoveryOutcome, UndoError> {
    let (inspected, mut outcome, is_due) =
        inspect_for_recovery(run, dir, options, &ProcessScan::default())?;
    match is_due {
        Some(true) => {
            outcome.action = RecoveryAction::Recovered;
            let lost = inspected.summary.state.unfinished();
            outcome.jobs = lost.map(|job| job.job_id.clone()).collect();
        }
        Some(false) if needs_repair(dir)? => outcome.action = RecoveryAction::Repaired,
        Some(false) | None => {}
    }
    Ok(outcome)
}

/// Inspects the run in `dir`. Returns its outcome without any change, and whether jobs or the run
/// have to be ended; `None` if the run must not be changed, for the reason in the outcome.
///
/// # Errors
/// The log cannot be read, or may lack events.
fn inspect_for_recovery(
    run: &RunId,
    dir: &Dir,
    options: RecoveryOptions,
    scan: &ProcessScan,
) -> Result<(InspectedRun, RecoveryOutcome, Option<bool>), UndoError> {
    let inspected = inspect_run(dir, JobScope::All)?;
    let mut outcome = RecoveryOutcome::new(&inspected);
    let has_no_end = matches!(inspected.verdict.state, RunStatus::Lost | RunStatus::Open);
    if has_no_end && inspected.summary.is_uncertain {
        options.in_doubt.allow_uncertain(run)?;
    }
    let is_due = find_daemons(scan, dir, &inspected, options)
        .map(|daemons| outcome.daemons = daemons)
        .and_then(|()| is_recovery_due(scan, dir, &inspected));
    let is_due = is_due.map_err(|why| outcome.skip(why)).ok();
    Ok((inspected, outcome, is_due))
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
    let scan = ProcessScan::default();
    let (inspected, mut outcome, is_due) = inspect_for_recovery(run, dir, options, &scan)?;
    let Some(is_due) = is_due else {
        return Ok(outcome);
    };
    if needs_repair(dir)? {
        if inspected.summary.state.foreign {
            outcome.skip("its tail is torn, but another program writes to it".to_owned());
            return Ok(outcome);
        }
        RunLog::open_in(volume, run, dir)?.recover_tail()?;
        outcome.action = RecoveryAction::Repaired;
    }
    if is_due {
        let recoverer = Recoverer {
            volume,
            run,
            dir,
            log: Arc::new(RunLog::open_in(volume, run, dir)?),
            scan: &scan,
            on_warning,
        };
        let state = &inspected.summary.state;
        let ended = match options.rollback {
            LostJobRollback::Skip => recoverer
                .end_jobs(state, Close::IfAllEnded, &mut outcome)
                .map(drop),
            LostJobRollback::Run => recoverer.end_and_undo_jobs(state, &mut outcome),
        };
        match ended {
            Ok(()) => {}
            Err(NotEnded::Held(why)) => {
                outcome.skip(why);
                return Ok(outcome);
            }
            Err(NotEnded::Failed(e)) => return Err(e),
        }
        outcome.action = RecoveryAction::Recovered;
    }
    if outcome.action != RecoveryAction::None {
        let now = inspect_run(dir, JobScope::All)?;
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
    scan: &ProcessScan,
    dir: &Dir,
    inspected: &InspectedRun,
    options: RecoveryOptions,
) -> Result<Vec<Daemon>, String> {
    let mut daemons = Vec::new();
    if inspected.verdict.state != RunStatus::Lost {
        return Ok(daemons);
    }
    for job in inspected.summary.state.unfinished() {
        let found = JobProcesses::find(scan, dir, job).daemons;
        if let Some(JobProcess { pid, name, .. }) = found.first()
            && options.rollback == LostJobRollback::Run
            && options.in_doubt == InDoubt::Refuse
            && job.rollback.is_some()
        {
            return Err(format!(
                "process {pid} ({name}), a daemon that job {} started, is still running, and the \
                 rollback would run beside it; --force permits that",
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

/// Returns whether jobs or the run have to be ended.
///
/// # Errors
/// The reason why the run must not be changed.
fn is_recovery_due(
    scan: &ProcessScan,
    dir: &Dir,
    inspected: &InspectedRun,
) -> Result<bool, String> {
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
        let processes = JobProcesses::find(scan, dir, job);
        if !processes.are_dead() {
            return Err(format!(
                "job {} may still be running: {processes}",
                job.job_id
            ));
        }
    }
    // The supervisor of a job that has ended may be about to close the run.
    let ended = claimed_jobs(state).filter(|job| job.stage.is_terminal());
    check_leases_free(dir, ended)?;
    Ok(true)
}

/// Checks that no process holds the lease of any of these jobs.
///
/// # Errors
/// The reason why the run must not be changed.
fn check_leases_free<'a>(
    dir: &Dir,
    mut jobs: impl Iterator<Item = &'a JobState>,
) -> Result<(), String> {
    jobs.try_for_each(|job| match probe_lease(dir, job)? {
        LeaseState::Held => Err(held_lease(&job.job_id)),
        LeaseState::Free | LeaseState::Missing => Ok(()),
    })
}

/// Returns the jobs that recovery may change.
fn claimed_jobs(state: &RunState) -> impl Iterator<Item = &JobState> {
    let is_claimed = |job: &&JobState| !state.keep_open || !job.stage.is_terminal();
    let jobs = state.jobs.iter().filter(|job| !job.foreign);
    jobs.filter(is_claimed)
}

fn held_lease(job: &JobId) -> String {
    format!("another process holds the lease of job {job}")
}

/// Why jobs were not ended.
enum NotEnded {
    /// Another process holds the lease of a job.
    Held(String),
    Failed(UndoError),
}

impl<E> From<E> for NotEnded
where
    UndoError: From<E>,
{
    fn from(e: E) -> Self {
        Self::Failed(e.into())
    }
}

/// The recovery of one run.
struct Recoverer<'a> {
    volume: &'a Volume,
    run: &'a RunId,
    dir: &'a Dir,
    log: Arc<RunLog>,
    scan: &'a ProcessScan,
    on_warning: &'a OnWarning,
}

impl Recoverer<'_> {
    /// Writes the terminal events of lost jobs. Returns the jobs of the run after that.
    fn end_jobs(
        &self,
        state: &RunState,
        close: Close,
        outcome: &mut RecoveryOutcome,
    ) -> Result<Vec<JobState>, NotEnded> {
        let lost: Vec<&JobId> = state.unfinished().map(|job| &job.job_id).collect();
        let now = self.snapshot();
        let mut rest = &*lost;
        loop {
            let ids;
            (ids, rest) = rest.split_at_checked(MAX_LEASES).unwrap_or((rest, &[]));
            let _leases = self.hold_leases(ids)?;
            if rest.is_empty() {
                self.append_ends(ids, close, &now, outcome)?;
                break;
            }
            self.append_ends(ids, Close::No, &now, outcome)?;
        }
        let ended = crate::log::fold(self.dir)?.jobs;
        let unfinished = ended.iter().filter(|job| job.rollback_is_unfinished());
        outcome.unfinished_rollbacks = unfinished.map(|job| job.job_id.clone()).collect();
        Ok(ended)
    }

    /// Takes the leases of these jobs.
    fn hold_leases(&self, ids: &[&JobId]) -> Result<Vec<Lease>, NotEnded> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let jobs = self.dir.ensure_dir(layout::JOBS);
        let jobs = jobs.map_err(StorageError::from)?.dir;
        let hold = |id: &&JobId| {
            let lease = Lease::hold(&jobs, id)?;
            lease.ok_or_else(|| NotEnded::Held(held_lease(id)))
        };
        ids.iter().map(hold).collect()
    }

    /// Writes the terminal events of the jobs that have none, whose leases are held.
    fn append_ends(
        &self,
        ids: &[&JobId],
        close: Close,
        now: &Snapshots,
        outcome: &mut RecoveryOutcome,
    ) -> Result<(), UndoError> {
        let before = outcome.jobs.len();
        self.log.append_with_state(
            Durability::Power,
            EventType::JobFailed.lock_budget(),
            |view, state| {
                let mut drafts = Vec::new();
                outcome.jobs.truncate(before);
                let lost = ids.iter().filter_map(|id| state.job(id.as_str()));
                for job in lost.filter(|job| !job.stage.is_terminal()) {
                    let events = JobEvents {
                        run: self.run.clone(),
                        job: job.job_id.clone(),
                        before: now.clone(),
                        redaction: Redaction::default(),
                    };
                    let lost = lost_event(self.scan, self.dir, job);
                    drafts.push(events.ended(&lost, now)?);
                    outcome.jobs.push(job.job_id.clone());
                }
                Ok(Batch {
                    drafts,
                    close: close_if_open(close, view),
                })
            },
        )?;
        Ok(())
    }

    /// Writes the terminal events of lost jobs, runs their rollbacks, and closes the run.
    fn end_and_undo_jobs(
        &self,
        state: &RunState,
        outcome: &mut RecoveryOutcome,
    ) -> Result<(), NotEnded> {
        // Check the ownership of the log before any change, so that recovery can be repeated
        // without rollbacks.
        let log = Arc::clone(&self.log);
        let runner = RollbackRunner::new(self.volume, log, self.dir, self.on_warning)?;
        let ended = self.end_jobs(state, Close::No, outcome)?;
        let claimed: HashSet<&JobId> = claimed_jobs(state).map(|job| &job.job_id).collect();
        let is_due = |job: &&JobState| {
            claimed.contains(&job.job_id)
                && needs_rollback(job)
                && job.error.is_some()
                && !job.rollback_is_unfinished()
        };
        for job in ended.iter().filter(is_due).rev() {
            outcome.undone.push(UndoOutcome {
                job_id: job.job_id.clone(),
                error: runner.undo_job(job, InDoubt::Refuse)?,
            });
        }
        // Another process may be rolling back a job, and closes the run after that.
        let claimed = ended.iter().filter(|job| claimed.contains(&job.job_id));
        match check_leases_free(self.dir, claimed) {
            Err(why) if outcome.jobs.is_empty() && outcome.undone.is_empty() => {
                return Err(NotEnded::Held(why));
            }
            Err(_) => return Ok(()),
            Ok(()) => {}
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
fn lost_event(scan: &ProcessScan, dir: &Dir, job: &JobState) -> JobEnded {
    JobEnded {
        attempt: job.attempt.unwrap_or(0),
        error: Some(JobError {
            kind: ErrorKind::Lost,
            message: format!(
                "its supervisor died before the job's end was recorded; {}",
                child_of(scan, dir, job)
            ),
        }),
        ..JobEnded::default()
    }
}
