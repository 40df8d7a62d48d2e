//! Stopping a run: its supervisors on this host are asked to end their jobs.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;
use serde::Serialize;

use crate::job::capture::stream::OnWarning;
use crate::job::process::job_processes::{JobProcess, JobProcesses};
use crate::job::process::process_scan::ProcessScan;
use crate::job::process::recorded_process::RecordedProcess;
use crate::job::process::signals::signal_name;
use crate::job::recover::recorded_job::recorded_jobs;
use crate::job::status::run_status::{RunVerdict, inspect_run, probe_lease};
use crate::log::format::payload::ProcessRef;
use crate::log::{
    ChangeWaiter, Draft, Durability, JobScope, JobState, LeaseState, RunLog, RunStatus,
    STOP_REQUESTED, Stage, StorageError, WatchScope, ends_in_line,
};
use crate::telemetry;
use crate::volume::{Dir, JobId, RunId, Volume, error_chain};

/// The signal that cancels retries.
const TERM: i32 = Signal::TERM.as_raw();
/// How long to wait until the front of a job has read it.
const CANCEL_TIME: Duration = Duration::from_secs(1);
/// The time between two checks whether it has.
const CANCEL_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The options for stopping a run.
#[derive(Debug, Clone)]
pub struct StopOptions {
    /// The signal for the fronts, which pass it on to their jobs; SIGKILL goes to the processes of
    /// the jobs instead, after SIGTERM if it would be retried.
    pub signal: i32,
    /// How long after the signal the processes of the jobs get SIGKILL.
    pub kill_after: Duration,
    /// How long to wait for the end of the jobs.
    pub timeout: Duration,
    /// The reason for the log.
    pub reason: Option<String>,
}

/// The outcome of stopping a run.
#[derive(Debug)]
pub enum StopOutcome {
    /// No job was running.
    NotRunning(RunVerdict),
    /// All jobs that were running have ended.
    Ended(RunVerdict),
    /// A job is still running after the timeout.
    StillRunning(RunVerdict),
    /// A job is still running, and none could be signaled.
    NotSignaled(RunVerdict),
}

/// The data of the note about a stop.
#[derive(Serialize)]
struct StopNote<'a> {
    signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    pid: u32,
    uid: u32,
}

/// A stop that was requested but not awaited yet.
#[derive(Debug)]
pub struct PendingStop<'a> {
    run: &'a RunId,
    dir: &'a Dir,
    options: &'a StopOptions,
    deadline: Instant,
    /// When the jobs get SIGKILL; `None` once they have got it.
    kill_at: Option<Instant>,
    /// The state before the request.
    before: RunVerdict,
    /// The jobs that were running, or being rolled back.
    jobs: Vec<JobId>,
    /// Whether at least one of the jobs was asked to end.
    is_asked: bool,
    /// The processes of the jobs when these were asked to end.
    asked: Vec<JobProcess>,
    /// The jobs that would be started again after SIGKILL.
    retried: Vec<JobId>,
    /// When these were asked to end by SIGTERM, which cancels retries.
    canceled: Option<Instant>,
    /// The processes that got it.
    canceling: Vec<u32>,
}

impl<'a> PendingStop<'a> {
    /// Sends the signal to the supervisors of all running jobs of the run in `dir`, after
    /// recording the request in the log.
    ///
    /// A process is signaled only if its boot, pid namespace, pid and start time are those in
    /// the log. `on_warning` gets the jobs that cannot be signaled.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn request(
        volume: &Volume,
        run: &'a RunId,
        dir: &'a Dir,
        options: &'a StopOptions,
        on_warning: &OnWarning,
    ) -> Result<Self, StorageError> {
        let mut inspected = inspect_run(dir, JobScope::All)?;
        // Jobs that are rolled back have been asked to end, so they are only waited for.
        let jobs = inspected.summary.state.jobs.iter();
        let due: Vec<&JobState> = jobs.filter(|job| rollback_is_due(job)).collect();
        let is_held = |job: &&JobState| is_held(dir, job);
        let rolled_back = due.iter().copied().filter(is_held);
        let rolled_back: Vec<JobId> = rolled_back.map(|job| job.job_id.clone()).collect();
        if rolled_back.len() < due.len() {
            // The rollback may have ended in the meantime.
            inspected = inspect_run(dir, JobScope::All)?;
        }
        let requested = Instant::now();
        let is_kill = options.signal == Signal::KILL.as_raw();
        let mut stop = Self {
            run,
            dir,
            options,
            deadline: requested + options.timeout,
            kill_at: Some(if is_kill {
                requested
            } else {
                requested + options.kill_after
            }),
            before: inspected.verdict,
            is_asked: !rolled_back.is_empty(),
            jobs: rolled_back,
            asked: Vec::new(),
            retried: Vec::new(),
            canceled: (is_kill || options.signal == TERM).then_some(requested),
            canceling: Vec::new(),
        };
        if stop.before.state != RunStatus::Running {
            return Ok(stop);
        }
        let scan = ProcessScan::default();
        let state = &inspected.summary.state;
        let ids: Vec<_> = state.unfinished().map(|job| job.job_id.clone()).collect();
        let recorded = recorded_jobs(dir, &ids).unwrap_or_default();
        for job in state.unfinished() {
            if probe_lease(dir, job).is_ok_and(|lease| lease == LeaseState::Free) {
                continue;
            }
            stop.jobs.push(job.job_id.clone());
            let submitted = recorded.get(&job.job_id);
            if submitted.is_none_or(|submitted| submitted.retries > 0) {
                stop.retried.push(job.job_id.clone());
            }
            stop.asked.extend(JobProcesses::find(&scan, dir, job).alive);
            if let Err(e) = stop.record(volume, &job.job_id) {
                on_warning(&format!("the request to stop is not in the log: {e}"));
            }
            match stop.signal(job) {
                Ok(()) => stop.is_asked = true,
                Err(why) => on_warning(&format!("job {} was not signaled: {why}", job.job_id)),
            }
        }
        Ok(stop)
    }

    /// Sends the first signal to a job.
    fn signal(&mut self, job: &JobState) -> Result<(), String> {
        let is_kill = self.options.signal == Signal::KILL.as_raw();
        let is_retried = self.retried.contains(&job.job_id);
        // Without its supervisor, the job would have no end in the log.
        if is_kill && !is_retried {
            return kill_processes(self.dir, job, &[]);
        }
        let first = if is_kill { TERM } else { self.options.signal };
        match signal_front(job, first) {
            Ok(front) if is_retried && first == TERM => self.canceling.push(front),
            Err(_) if is_kill => return kill_processes(self.dir, job, &[]),
            signaled => drop(signaled?),
        }
        Ok(())
    }

    /// Records the request in the log, with its origin and reason.
    fn record(&self, volume: &Volume, job: &JobId) -> Result<(), String> {
        let note = StopNote {
            signal: signal_name(self.options.signal),
            reason: self.options.reason.as_deref(),
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
        };
        let log = RunLog::open_in(volume, self.run, self.dir).map_err(|e| error_chain(&e))?;
        let draft =
            Draft::note(self.run, Some(job), STOP_REQUESTED, &note).map_err(|e| error_chain(&e))?;
        let appended = log.append(&[draft], Durability::Process);
        appended.map(drop).map_err(|e| error_chain(&e))
    }

    /// Waits for the terminal events of the jobs and of their rollbacks, in all runs at the same
    /// time. Kills the processes of jobs that do not end in time. Passes each outcome to `each`
    /// once it is known, or the error if the log cannot be read.
    pub fn wait_for_all(
        mut pending: Vec<Self>,
        mut each: impl FnMut(&RunId, Result<StopOutcome, StorageError>),
    ) {
        let waiter = ChangeWaiter::for_runs(pending.iter().map(|stop| stop.dir), WatchScope::Log);
        loop {
            pending.retain_mut(|stop| match stop.poll().transpose() {
                Some(outcome) => {
                    each(stop.run, outcome);
                    false
                }
                None => true,
            });
            let Some(next) = pending.iter().map(Self::next_poll).min() else {
                return;
            };
            waiter.wait_for_change(Some(next));
        }
    }

    /// Waits like [`PendingStop::wait_for_all`], for one run.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn wait(mut self) -> Result<StopOutcome, StorageError> {
        let waiter = ChangeWaiter::new(self.dir, WatchScope::Log);
        loop {
            if let Some(outcome) = self.poll()? {
                return Ok(outcome);
            }
            waiter.wait_for_change(Some(self.next_poll()));
        }
    }

    /// Returns when the next poll is due even without a change.
    fn next_poll(&self) -> Instant {
        let now = Instant::now();
        match self.kill_at {
            // SIGKILL waits for the cancellation of retries.
            Some(at) if at <= now => now + CANCEL_POLL_INTERVAL,
            Some(at) => at.min(self.deadline),
            None => self.deadline,
        }
    }

    /// Sends SIGTERM to the jobs that would be started again after SIGKILL. Returns whether the
    /// processes that pass it on have read it, or do not answer, such as a stopped one.
    fn have_canceled_retries(&mut self, running: &[&JobState], now: Instant) -> bool {
        let Some(since) = self.canceled else {
            let retried = |job: &&&JobState| self.retried.contains(&job.job_id);
            let fronts = running.iter().filter(retried);
            self.canceling = fronts
                .filter_map(|job| signal_front(job, TERM).ok())
                .collect();
            self.canceled = Some(now);
            return self.canceling.is_empty();
        };
        let mut canceling = self.canceling.iter();
        now >= since + CANCEL_TIME || !canceling.any(|pid| telemetry::has_pending(*pid, &[TERM]))
    }

    /// Returns the outcome, if it is known, and kills the processes of the jobs if that is due.
    fn poll(&mut self) -> Result<Option<StopOutcome>, StorageError> {
        if self.before.state != RunStatus::Running && self.jobs.is_empty() {
            return Ok(Some(StopOutcome::NotRunning(self.before.clone())));
        }
        let inspected = inspect_run(self.dir, JobScope::All)?;
        let state = &inspected.summary.state;
        let running: Vec<&JobState> = state
            .unfinished()
            .filter(|job| self.jobs.contains(&job.job_id))
            .collect();
        // The last event of a job and the close of its run are written together.
        let closes = inspected.verdict.state == RunStatus::Open && ends_in_line(self.dir)?;
        let is_busy = |job: &JobState| {
            self.jobs.contains(&job.job_id)
                && (closes || rollback_is_due(job))
                && is_held(self.dir, job)
        };
        if running.is_empty() && !state.jobs.iter().any(is_busy) {
            // A supervisor may have closed the run and exited since the log was read.
            let verdict = match inspected.verdict.state {
                RunStatus::Open => inspect_run(self.dir, JobScope::All)?.verdict,
                _ => inspected.verdict,
            };
            return Ok(Some(StopOutcome::Ended(verdict)));
        }
        if inspected.verdict.state == RunStatus::Lost {
            return Ok(Some(StopOutcome::NotRunning(inspected.verdict)));
        }
        if !self.is_asked {
            return Ok(Some(StopOutcome::NotSignaled(inspected.verdict)));
        }
        let now = Instant::now();
        // The kill is due even if this is late, so it comes before the deadline.
        if self.kill_at.is_some_and(|at| now >= at) {
            if !self.have_canceled_retries(&running, now) {
                return Ok(None);
            }
            self.kill_at = None;
            for job in running {
                // What cannot be killed is still running at the deadline.
                kill_processes(self.dir, job, &self.asked).ok();
            }
        }
        if now >= self.deadline {
            return Ok(Some(StopOutcome::StillRunning(inspected.verdict)));
        }
        Ok(None)
    }
}

/// Sends a signal to the front of a job, which passes it on, or without a front to the supervisor.
/// Returns the pid.
///
/// # Errors
/// The reason why the process was not signaled.
fn signal_front(job: &JobState, signal: i32) -> Result<u32, String> {
    let front = job.front.as_ref().map(RecordedProcess::find);
    let process = match (front, &job.supervisor) {
        (Some(Ok(front)), _) => front,
        (_, Some(supervisor)) => RecordedProcess::find(supervisor)?,
        (Some(Err(why)), None) => return Err(why),
        (None, None) => return Err("its supervisor is not in the log".to_owned()),
    };
    process.send(signal).map_err(|e| e.to_string())?;
    Ok(process.pid())
}

/// Returns whether the job failed, and its rollback runs or is about to run, if its supervisor is
/// alive.
fn rollback_is_due(job: &JobState) -> bool {
    let rollback = job.rollback.as_ref();
    job.stage == Stage::Failed && rollback.is_some_and(|it| !it.ended)
}

/// Returns whether the supervisor or the front of the job is alive.
fn is_held(dir: &Dir, job: &JobState) -> bool {
    probe_lease(dir, job).is_ok_and(|lease| lease == LeaseState::Held)
}

/// Sends SIGKILL to every process that is known to belong to a job, except to this one and to
/// the processes that record the job's end, which are in its session if the run is detached.
/// The supervisor of a nested run ends its job and rolls it back after its front was killed.
///
/// A daemon belongs to the job if it was `asked` to end: the signal may have ended its parent.
///
/// # Errors
/// The reason why a process that is alive was not signaled.
fn kill_processes(dir: &Dir, job: &JobState, asked: &[JobProcess]) -> Result<(), String> {
    let Some(first) = &job.process else {
        return Ok(());
    };
    let records_end = |pid| {
        let mut watching = [&job.front, &job.supervisor].into_iter().flatten();
        watching.any(|process| process.pid == pid)
    };
    // A running job starts processes all the time, so an earlier scan would miss some.
    let scan = ProcessScan::default();
    let mut sent = Ok(());
    let processes = JobProcesses::find(&scan, dir, job);
    let daemons = processes.daemons.into_iter();
    let asked = daemons.filter(|process| asked.contains(process));
    for process in processes.alive.into_iter().chain(asked) {
        let identity = ProcessRef {
            pid: process.pid,
            start_ticks: Some(process.start_ticks),
            ..first.clone()
        };
        if process.pid != std::process::id()
            && !records_end(process.pid)
            && !processes.nested.contains(&process.pid)
            && let Ok(process) = RecordedProcess::find(&identity)
            && let Err(e) = process.send(Signal::KILL.as_raw())
            // The process may have ended just now.
            && e != Errno::SRCH
        {
            sent = Err(e.to_string());
        }
    }
    sent
}
