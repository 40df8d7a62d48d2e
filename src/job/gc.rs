//! Garbage collection of runs: what is known of each, and the removal of those in a plan.

use std::io::ErrorKind;

use glob::Pattern;

use crate::job::process::liveness::child_of;
use crate::job::status::run_status::{InspectedRun, inspect_run};
use crate::log::store::retention::{Eligibility, RemoveReason, RetentionDecision, RunInfo};
use crate::log::{
    DamageList, GcError, GcLock, JobScope, JobState, LockOutcome, LockedForRemoval, RunStatus,
    RunSummary, StorageError, Tombstone, is_started, list,
};
use crate::volume::{Dir, RunId, Volume, VolumeError};

/// The maximum number of runs removed together. They share the syncs of their tombstones and
/// trash entries.
const GC_BATCH: usize = 100;
/// How many files each run in a batch keeps open.
const FDS_PER_RUN: u64 = 4;
/// How many files are reserved for everything else.
const FDS_RESERVED: u64 = 32;

/// A filter for the runs to consider. Empty lists match every run.
#[derive(Debug, Clone, Default)]
pub struct GcFilter {
    /// Only these runs.
    pub runs: Vec<RunId>,
    /// Only runs in one of these states.
    pub states: Vec<RunStatus>,
    /// Only runs whose name matches one of these.
    pub names: Vec<Pattern>,
    /// Also directories without any event or content.
    pub orphans: bool,
}

/// The runs of a volume that a plan may remove.
#[derive(Debug, Default)]
pub struct GcCandidates {
    /// The runs that could be inspected.
    pub runs: Vec<RunInfo>,
    /// The runs that could not be inspected. They do not hold up the others.
    pub broken: Vec<(RunId, StorageError)>,
    /// The damage that was skipped in the logs.
    pub damage: DamageList,
}

/// Inspects the runs of a volume.
///
/// # Errors
/// The directory of the runs cannot be read.
pub fn list_candidates(volume: &Volume, filter: &GcFilter) -> Result<GcCandidates, StorageError> {
    let mut candidates = GcCandidates::default();
    let Some(runs) = volume.runs()? else {
        return Ok(candidates);
    };
    let ids = if filter.runs.is_empty() {
        list(volume)?
    } else {
        filter.runs.clone()
    };
    for run in ids {
        match inspect_candidate(&runs, &run, filter) {
            Ok(None) => {}
            Ok(Some((facts, damage))) => {
                candidates.runs.push(facts);
                candidates.damage.append(damage);
            }
            Err(e) if is_missing(&e) => {}
            Err(e) => candidates.broken.push((run, e)),
        }
    }
    Ok(candidates)
}

/// Returns whether the error means that the run was removed meanwhile.
fn is_missing(e: &StorageError) -> bool {
    match e {
        StorageError::RunRemoved { .. } => true,
        StorageError::Volume(e) => e.io_kind() == Some(ErrorKind::NotFound),
        _ => false,
    }
}

fn inspect_candidate(
    runs: &Dir,
    run: &RunId,
    filter: &GcFilter,
) -> Result<Option<(RunInfo, DamageList)>, StorageError> {
    let dir = runs.open_dir(run.as_str())?;
    let mut facts = RunInfo {
        run_id: run.clone(),
        name: String::new(),
        state: None,
        eligibility: Eligibility::Empty,
        first_id: None,
        opened_ts: None,
        closed_ts: None,
        since: jiff::Timestamp::MAX,
        events: 0,
        bytes: 0,
        named: !filter.runs.is_empty(),
    };
    let mut damage = DamageList::default();
    if is_started(&dir)? {
        let examined = inspect_run(&dir, JobScope::Summarized)?;
        facts.eligibility = eligibility(&dir, &examined);
        let RunSummary { state, events, .. } = examined.summary;
        if !filter.matches(examined.verdict.state, &state.name) {
            return Ok(None);
        }
        damage = examined.summary.damage;
        facts.state = Some(examined.verdict.state);
        facts.name = state.name;
        facts.first_id = state.first_id;
        facts.opened_ts = state.opened_ts;
        facts.closed_ts = state.closed_ts;
        facts.events = events;
    } else if !filter.orphans {
        return Ok(None);
    }
    let usage = dir.usage()?;
    if facts.eligibility == Eligibility::Empty && usage.content > 0 {
        // Never remove what is left of a run whose log was lost.
        facts.eligibility = Eligibility::Unsure;
    }
    let closed = facts
        .closed_ts
        .filter(|_| facts.eligibility == Eligibility::Ended);
    facts.since = closed.unwrap_or(usage.touched);
    facts.bytes = usage.bytes;
    Ok(Some((facts, damage)))
}

impl GcFilter {
    fn matches(&self, state: RunStatus, name: &str) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(name)))
    }
}

/// Determines whether a run may be removed.
fn eligibility(dir: &Dir, examined: &InspectedRun) -> Eligibility {
    let run = &examined.summary.state;
    match examined.verdict.state {
        // Its rollback may be running now, or was interrupted and needs attention.
        RunStatus::Completed | RunStatus::Failed
            if run.jobs.iter().any(JobState::rollback_is_unfinished) =>
        {
            Eligibility::Unsure
        }
        RunStatus::Completed | RunStatus::Failed => Eligibility::Ended,
        RunStatus::Running | RunStatus::Open => Eligibility::Live,
        RunStatus::Unknown => Eligibility::Unsure,
        RunStatus::Lost => {
            let children: Vec<_> = run.unfinished().map(|job| child_of(dir, job)).collect();
            if children.iter().any(|child| child.lives()) {
                Eligibility::Live
            } else if children.iter().all(|child| child.is_dead()) {
                Eligibility::Ended
            } else {
                Eligibility::Unsure
            }
        }
    }
}

/// The outcome for a run in the plan.
#[derive(Debug)]
pub enum GcDecision {
    /// The run was removed.
    Removed,
    /// The run was skipped for this reason.
    Skipped(&'static str),
    /// The run was moved to the trash, but not all of it could be removed from there.
    InTrash(GcError),
    /// The run could not be removed.
    Failed(GcError),
}

/// Removes the runs of a plan and reports the outcome of each as soon as it is known. A run
/// that cannot be removed does not hold up the others.
///
/// # Errors
/// No tombstone can be written. Nothing more was removed.
pub fn remove_planned(
    gc: &mut GcLock,
    plan: &[(&RunInfo, RemoveReason)],
    mut report: impl FnMut(&RunInfo, &RemoveReason, GcDecision),
) -> Result<(), GcError> {
    for chosen in plan.chunks(remove_batch()) {
        match remove_runs(gc, chosen, &mut report) {
            // There is no room for all tombstones at once, but removing the first run may make
            // room for the next.
            Err(e) if is_disk_full(&e) && chosen.len() > 1 => {
                for one in chosen.chunks(1) {
                    remove_runs(gc, one, &mut report)?;
                }
            }
            removed => removed?,
        }
    }
    Ok(())
}

/// Removes runs together. Nothing is reported if their tombstones cannot be written.
fn remove_runs(
    gc: &mut GcLock,
    chosen: &[(&RunInfo, RemoveReason)],
    report: &mut impl FnMut(&RunInfo, &RemoveReason, GcDecision),
) -> Result<(), GcError> {
    let mut ready = Vec::new();
    let mut held = Vec::new();
    let mut lines = Vec::new();
    let mut left = Vec::new();
    for (facts, why) in chosen {
        match prepare(gc, facts, why) {
            Ok(GcLockOutcome::Ready(run, line)) => {
                held.push(run);
                lines.extend(line.map(|line| *line));
                ready.push((*facts, why));
            }
            Ok(GcLockOutcome::Skipped(why_not)) => {
                left.push((*facts, why, GcDecision::Skipped(why_not)));
            }
            Err(GcError::Storage(e)) if is_missing(&e) => {
                left.push((*facts, why, GcDecision::Skipped(ALREADY_REMOVED)));
            }
            Err(e) => left.push((*facts, why, GcDecision::Failed(e))),
        }
    }
    let moved = match gc.record_tombstone(&held, &lines) {
        // The disk is full: the runs themselves make room for their tombstones.
        Err(e) if is_disk_full(&e) && make_room(&held) => gc.record_tombstone(&held, &lines)?,
        moved => moved?,
    };
    for (facts, why, fate) in left {
        report(facts, why, fate);
    }
    // Release the locks before the slow removal.
    drop(held);
    for ((facts, why), moved) in ready.into_iter().zip(moved) {
        let fate = match moved.map(|name| gc.remove_trashed(&name)) {
            Ok(Ok(())) => GcDecision::Removed,
            Ok(Err(e)) => GcDecision::InTrash(e),
            Err(e) => GcDecision::Failed(e),
        };
        report(facts, why, fate);
    }
    Ok(())
}

/// Returns how many runs can be removed together with the files that this process may open.
fn remove_batch() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.map_or(u64::MAX, |n| n.saturating_sub(FDS_RESERVED) / FDS_PER_RUN);
    usize::try_from(room).unwrap_or(GC_BATCH).clamp(1, GC_BATCH)
}

const ALREADY_REMOVED: &str = "it was already removed";
const CHANGED_MEANWHILE: &str = "it changed meanwhile";

enum GcLockOutcome {
    /// The run is locked and can be removed, with its tombstone if it has any event.
    Ready(LockedForRemoval, Option<Box<Tombstone>>),
    Skipped(&'static str),
}

/// Locks a run and inspects it again.
fn prepare(gc: &GcLock, facts: &RunInfo, why: &RemoveReason) -> Result<GcLockOutcome, GcError> {
    let held = match gc.lock_for_removal(&facts.run_id)? {
        LockOutcome::Held(held) => held,
        LockOutcome::Busy(why_not) => return Ok(GcLockOutcome::Skipped(why_not)),
        LockOutcome::Removed => return Ok(GcLockOutcome::Skipped(ALREADY_REMOVED)),
    };
    if facts.eligibility == Eligibility::Empty {
        return Ok(if is_started(held.dir())? {
            GcLockOutcome::Skipped(CHANGED_MEANWHILE)
        } else {
            GcLockOutcome::Ready(held, None)
        });
    }
    let examined = inspect_run(held.dir(), JobScope::Summarized)?;
    let overview = &examined.summary;
    let unchanged = Some(examined.verdict.state) == facts.state
        && overview.events == facts.events
        && overview.state.first_id == facts.first_id
        && eligibility(held.dir(), &examined) == facts.eligibility;
    if !unchanged {
        return Ok(GcLockOutcome::Skipped(CHANGED_MEANWHILE));
    }
    let inspected = examined.verdict;
    let run = facts.run_id.clone();
    let mut line = Tombstone::new(run, overview, inspected.state, inspected.because)?;
    line.why = why.to_string();
    line.freed_bytes = facts.bytes;
    Ok(GcLockOutcome::Ready(held, Some(Box::new(line))))
}

/// Removes the output of the jobs of locked runs. Returns whether that freed space.
fn make_room(held: &[LockedForRemoval]) -> bool {
    held.iter()
        .map(LockedForRemoval::make_room)
        .fold(false, |a, b| a | b)
}

fn is_disk_full(e: &GcError) -> bool {
    match e {
        GcError::Storage(StorageError::NoSpace { .. }) => true,
        GcError::Storage(StorageError::Volume(VolumeError::Io { source, .. })) => matches!(
            source.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ),
        _ => false,
    }
}

/// Returns the runs that a plan removes, with the reason. Those that ended first come first.
pub fn runs_to_remove<'a>(
    facts: &'a [RunInfo],
    verdicts: &[RetentionDecision],
) -> Vec<(&'a RunInfo, RemoveReason)> {
    let pairs = facts.iter().zip(verdicts);
    let removed = pairs.filter_map(|(facts, verdict)| match verdict {
        RetentionDecision::Remove(why) => Some((facts, *why)),
        RetentionDecision::Keep(_) => None,
    });
    let mut removed: Vec<_> = removed.collect();
    removed.sort_by(|(a, _), (b, _)| (a.since, &a.first_id).cmp(&(b.since, &b.first_id)));
    removed
}
