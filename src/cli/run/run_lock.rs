//! `run --lock`: one run at a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;
use serde::Serialize;

use super::args::Args;
use super::lock_args::IfLocked;
use crate::cli::context::{print_stderr, warning_printer};
use crate::cli::value_parsers::deadline;
use crate::job::{
    DEFAULT_KILL_AFTER, HeldLock, JOBS_VARIABLE, JobSpec, PendingStop, StopOptions, StopOutcome,
    enclosing_jobs, has_live_runlog,
};
use crate::log::{
    Draft, Durability, LockHolder, NamedLock, NamedLockAttempt, RunLog, SelectError, open_dir,
};
use crate::render::escape_controls;
use crate::render::human::format::time_with_zone;
use crate::telemetry::{exists, program_name};
use crate::volume::{LockName, RunId, Volume, error_chain};

/// How often to retry a lock while waiting for it.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long a run that took the lock may take until it has an ID.
const START_TIME: Duration = Duration::from_secs(1);
/// How long the processes of a run that was stopped may take to release the lock, even after the
/// time for waiting is over.
const RELEASE_TIME: Duration = Duration::from_secs(1);
/// The name of the note in the run that kept another one from starting.
const NOTE_NAME: &str = "start_skipped";
/// How to stop a run that is replaced: as `runlog stop` does.
const STOP: StopOptions = StopOptions {
    signal: Signal::TERM.as_raw(),
    kill_after: DEFAULT_KILL_AFTER,
    timeout: Duration::from_secs(30),
    reason: None,
};

/// The error if another run holds the lock.
#[derive(Debug, thiserror::Error)]
#[error("lock `{name}` is held by {holder}{}", trouble.as_str())]
pub(crate) struct LockHeld {
    name: LockName,
    holder: String,
    /// The run that holds it, if it is held by a run.
    run: Option<RunId>,
    trouble: LockTrouble,
}

/// Why the lock cannot be taken, besides that it is held.
#[derive(Debug, Clone, Copy)]
enum LockTrouble {
    None,
    HolderWaits,
    NotEnded,
    NotStoppable,
    TimedOut,
}

impl LockTrouble {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::HolderWaits => ", which waits for this command",
            Self::NotEnded => ", and did not end in time",
            Self::NotStoppable => ", which cannot be stopped",
            Self::TimedOut => ", and was not released in time",
        }
    }
}

impl LockHeld {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> String {
        let end = |options| match &self.run {
            Some(run) => format!("end the run with `runlog stop {options}{run}`"),
            None => "end the process".to_owned(),
        };
        match self.trouble {
            LockTrouble::None | LockTrouble::NotStoppable => {
                format!("wait for the lock with --if-locked wait, or {}", end(""))
            }
            LockTrouble::HolderWaits => "use another lock with --lock=NAME, or none".to_owned(),
            LockTrouble::NotEnded => end("--signal KILL "),
            LockTrouble::TimedOut => format!("wait longer with --lock-timeout, or {}", end("")),
        }
    }
}

/// The result of trying to take the lock.
#[derive(Debug)]
pub(super) enum LockDecision {
    /// The job may start, and needs no lock.
    NoLock,
    /// The job may start, and holds this lock.
    Held(NamedLock, HeldLock),
    /// The job does not start because of another run.
    Skipped,
}

/// The data of the note about a skipped start.
#[derive(Serialize)]
struct SkipNote<'a> {
    lock: &'a LockName,
    /// The name of the run that was not started.
    name: &'a str,
    pid: u32,
    uid: u32,
}

/// Takes the lock that the job needs, as `--if-locked` says. It runs before any other process
/// exists, so that an interrupt only ends the wait.
///
/// # Errors
///
/// Returns [`LockHeld`], or an error if the lock cannot be created or the run that holds it
/// cannot be stopped.
pub(super) fn take_lock(args: &Args, spec: &JobSpec, volume: &Volume) -> Result<LockDecision> {
    let run_name = args.run_name(spec);
    let Some(name) = args.lock.name(&run_name) else {
        return Ok(LockDecision::NoLock);
    };
    // A holder without a run, and when it was first seen. With many starts, each may be another.
    let mut starting = None;
    let mut deadline = deadline(args.lock.lock_timeout);
    let is_quiet = args.quiet || args.quiet_on_success;
    let mut is_reported = is_quiet;
    let mut replaced = Vec::new();
    loop {
        let (recorded, locked_by) = match NamedLock::try_lock(volume, &name)? {
            NamedLockAttempt::Locked(lock) => {
                return Ok(LockDecision::Held(lock, HeldLock { name, replaced }));
            }
            NamedLockAttempt::Held {
                recorded,
                locked_by,
            } => (recorded, locked_by),
        };
        let current = || current_holder(volume, &recorded, locked_by);
        let held = |trouble| {
            let holder = current();
            LockHeld {
                name: name.clone(),
                holder: describe(&holder),
                run: holder.run_id,
                trouble,
            }
        };
        let holder = match args.lock.if_locked {
            // Only its messages depend on the holder.
            Some(IfLocked::Wait) => recorded.clone(),
            _ => current(),
        };
        starting = match (&holder.run_id, starting) {
            (Some(_), _) => None,
            (None, Some((pid, since))) if pid == holder.pid => Some((pid, since)),
            (None, _) => Some((holder.pid, Instant::now())),
        };
        let is_starting = starting.is_some_and(|(_, since)| since.elapsed() < START_TIME);
        match (
            args.lock.if_locked.unwrap_or(IfLocked::Fail),
            &holder.run_id,
        ) {
            (IfLocked::Fail | IfLocked::Wait | IfLocked::Replace, Some(run))
                if is_enclosing(run) =>
            {
                return Err(held(LockTrouble::HolderWaits).into());
            }
            (IfLocked::Wait, _) => {
                if !std::mem::replace(&mut is_reported, true) {
                    print_stderr(format_args!("runlog: {}; waiting", held(LockTrouble::None)));
                }
            }
            (_, None) if is_starting => {}
            (IfLocked::Fail, _) => return Err(held(LockTrouble::None).into()),
            (IfLocked::Skip, run) => {
                if !is_quiet {
                    print_stderr(format_args!(
                        "runlog: not started: {}",
                        held(LockTrouble::None)
                    ));
                }
                // Without a time, no run holds the lock.
                if holder.since.is_some() {
                    note_skip(volume, run.as_ref(), &name, &run_name);
                }
                return Ok(LockDecision::Skipped);
            }
            (IfLocked::Replace, Some(run)) if !replaced.contains(run) => {
                if !std::mem::replace(&mut is_reported, true) {
                    print_stderr(format_args!(
                        "runlog: {}; stopping it",
                        held(LockTrouble::None)
                    ));
                }
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                match stop(volume, run, &name, left)? {
                    Some(StopOutcome::Ended(_)) => {
                        replaced.push(run.clone());
                        deadline = deadline.map(|at| at.max(Instant::now() + RELEASE_TIME));
                    }
                    Some(StopOutcome::StillRunning(_)) => {
                        return Err(held(LockTrouble::NotEnded).into());
                    }
                    Some(StopOutcome::NotSignaled(_)) => {
                        return Err(held(LockTrouble::NotStoppable).into());
                    }
                    // The run has not started yet, or ends on its own.
                    Some(StopOutcome::NotRunning(_)) | None => {}
                }
            }
            // The rollback of that run may still be running.
            (IfLocked::Replace, Some(_)) => {}
            (IfLocked::Replace, None) => return Err(held(LockTrouble::NotStoppable).into()),
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return Err(held(LockTrouble::TimedOut).into());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Returns whether this command is part of a job of the run.
fn is_enclosing(run: &RunId) -> bool {
    let jobs = std::env::var_os(JOBS_VARIABLE).unwrap_or_default();
    enclosing_jobs(&jobs)
        .flatten()
        .any(|job| job.run_id == *run)
}

/// Returns which process holds the lock. The file may still name an earlier run, because other
/// programs lock it without writing to it.
fn current_holder(volume: &Volume, recorded: &LockHolder, locked_by: Option<u32>) -> LockHolder {
    let is_watched = |run| {
        let dir = volume.runs().ok()??;
        let dir = open_dir(&dir, run).ok()??;
        has_live_runlog(&dir).ok()
    };
    let is_current = recorded.pid.is_some_and(exists)
        || recorded.run_id.as_ref().and_then(is_watched) == Some(true);
    if is_current {
        return recorded.clone();
    }
    LockHolder {
        pid: locked_by,
        ..LockHolder::default()
    }
}

fn describe(holder: &LockHolder) -> String {
    let mut text = match (&holder.run_id, holder.pid) {
        (Some(run), Some(pid)) => format!("run {run} (pid {pid})"),
        (Some(run), None) => format!("run {run}"),
        (None, Some(pid)) => match program_name(pid) {
            Some(name) => format!("process {pid} ({})", escape_controls(&name)),
            None => format!("process {pid}"),
        },
        (None, None) => "an unknown process".to_owned(),
    };
    if let Some(since) = holder.since {
        text.push_str(" since ");
        text.push_str(&time_with_zone(since));
    }
    text
}

/// Stops the run that holds the lock, if it is in the volume, and waits at most `limit` for its
/// end.
fn stop(
    volume: &Volume,
    run: &RunId,
    name: &LockName,
    limit: Option<Duration>,
) -> Result<Option<StopOutcome>> {
    let runs = volume.runs()?;
    let Some(dir) = runs.map(|runs| open_dir(&runs, run)).transpose()?.flatten() else {
        return Ok(None);
    };
    let options = StopOptions {
        reason: Some(format!("replaced by another run with lock `{name}`")),
        timeout: limit.map_or(STOP.timeout, |limit| limit.min(STOP.timeout)),
        ..STOP
    };
    let stop = PendingStop::request(volume, run, &dir, &options, &warning_printer())?;
    Ok(Some(stop.wait()?))
}

/// Adds a note about the skipped start to the run that holds the lock. If the note cannot be
/// written, the start is still skipped.
fn note_skip(volume: &Volume, run: Option<&RunId>, lock: &LockName, name: &str) {
    let note = SkipNote {
        lock,
        name,
        pid: std::process::id(),
        uid: rustix::process::getuid().as_raw(),
    };
    let noted = match run {
        None => Err("its id is unknown".to_owned()),
        Some(run) => append_note(volume, run, &note),
    };
    if let Err(why) = noted {
        print_stderr(format_args!(
            "warning: the skipped start is not in the log of the other run: {why}"
        ));
    }
}

fn append_note(volume: &Volume, run: &RunId, note: &SkipNote<'_>) -> Result<(), String> {
    let log = match RunLog::open(volume, run) {
        // The run is about to start.
        Err(SelectError::NoSuchRun { .. }) => return Ok(()),
        opened => opened.map_err(|e| error_chain(&e))?,
    };
    let draft = Draft::note(run, None, NOTE_NAME, note).map_err(|e| error_chain(&e))?;
    let appended = log.append(&[draft], Durability::Power);
    appended.map(drop).map_err(|e| error_chain(&e))
}
