//! Collecting runs: what is known of each, and their removal once it is planned.

use std::io::ErrorKind;

use crate::job::process::liveness::child_of;
use crate::job::status::run_status::{InspectedRun, inspect_run};
use crate::log::store::retention::{Eligibility, RemoveReason, RetentionDecision, RunInfo};
use crate::log::{
    Damage, GcError, GcLock, JobState, LockOutcome, LockedForRemoval, RunStatus, RunSummary,
    StorageError, Tombstone, is_started, list,
};
use crate::volume::{Dir, RunId, Volume, VolumeError, parse_ts};

/// Most runs that go together: their lines and their places in the trash share syncs.
const GC_BATCH: usize = 100;
/// Files that each of them keeps open meanwhile, and what else may be open.
const FDS_PER_RUN: u64 = 4;
const FDS_RESERVED: u64 = 32;

/// Which runs are looked at; empty lists ask for nothing.
#[derive(Debug, Clone, Default)]
pub struct GcFilter {
    /// Only these.
    pub runs: Vec<RunId>,
    /// Only those in one of these states.
    pub states: Vec<RunStatus>,
    /// Only those of one of these names.
    pub names: Vec<String>,
    /// Folders without any event, and without any content, too.
    pub orphans: bool,
}

/// The runs of a volume, as a plan needs them.
#[derive(Debug, Default)]
pub struct GcCandidates {
    /// What is known of each.
    pub runs: Vec<RunInfo>,
    /// Those of which nothing can be known. They do not keep the others.
    pub broken: Vec<(RunId, StorageError)>,
    /// What was passed over in the logs.
    pub damage: Vec<Damage>,
}

/// Looks at the runs of a volume.
///
/// # Errors
/// The folder of the runs cannot be read.
pub fn list_candidates(volume: &Volume, wanted: &GcFilter) -> Result<GcCandidates, StorageError> {
    let mut surveyed = GcCandidates::default();
    let Some(runs) = volume.runs()? else {
        return Ok(surveyed);
    };
    let ids = if wanted.runs.is_empty() {
        list(volume)?
    } else {
        wanted.runs.clone()
    };
    for run in ids {
        match inspect_candidate(&runs, &run, wanted) {
            Ok(None) => {}
            Ok(Some((facts, damage))) => {
                surveyed.runs.push(facts);
                surveyed.damage.extend(damage);
            }
            Err(e) if is_missing(&e) => {}
            Err(e) => surveyed.broken.push((run, e)),
        }
    }
    Ok(surveyed)
}

/// Whether a run went away while it was looked at.
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
    wanted: &GcFilter,
) -> Result<Option<(RunInfo, Vec<Damage>)>, StorageError> {
    let dir = runs.open_dir(run.as_str())?;
    let mut facts = RunInfo {
        run_id: run.clone(),
        name: String::new(),
        state: None,
        standing: Eligibility::Empty,
        first_id: None,
        opened_ts: None,
        closed_ts: None,
        since: jiff::Timestamp::MAX,
        events: 0,
        bytes: 0,
        named: !wanted.runs.is_empty(),
    };
    let mut damage = Vec::new();
    if is_started(&dir)? {
        let examined = inspect_run(&dir, false)?;
        facts.standing = eligibility(&dir, &examined);
        let RunSummary { state, events, .. } = examined.summary;
        if !wanted.matches(examined.verdict.state, &state.name) {
            return Ok(None);
        }
        damage = examined.summary.damage;
        facts.state = Some(examined.verdict.state);
        facts.name = state.name;
        facts.first_id = state.first_id;
        facts.opened_ts = state.opened_ts;
        facts.closed_ts = state.closed_ts;
        facts.events = events;
    } else if !wanted.orphans {
        return Ok(None);
    }
    let usage = dir.usage()?;
    if facts.standing == Eligibility::Empty && usage.content > 0 {
        // What is left of a run whose log was lost is not for us to throw away.
        facts.standing = Eligibility::Unsure;
    }
    let closed = facts
        .closed_ts
        .as_deref()
        .filter(|_| facts.standing == Eligibility::Ended);
    facts.since = closed.and_then(parse_ts).unwrap_or(usage.touched);
    facts.bytes = usage.bytes;
    Ok(Some((facts, damage)))
}

impl GcFilter {
    fn matches(&self, state: RunStatus, name: &str) -> bool {
        (self.states.is_empty() || self.states.contains(&state))
            && (self.names.is_empty() || self.names.iter().any(|n| n == name))
    }
}

/// Whether a run is one that can go.
fn eligibility(dir: &Dir, examined: &InspectedRun) -> Eligibility {
    let run = &examined.summary.state;
    match examined.verdict.state {
        // Its rollback may go on this moment, or was cut off and waits for somebody.
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

/// What became of a run that was to go.
#[derive(Debug)]
pub enum GcDecision {
    /// It is gone.
    Removed,
    /// It is left for another time, for this reason.
    Skipped(&'static str),
    /// It is no more on the volume, but not all of it could be removed.
    InTrash(GcError),
    /// It could not be taken.
    Failed(GcError),
}

/// Removes the runs that a plan lets go, and tells what became of each as soon as that is
/// known. One that cannot be removed does not keep the others.
///
/// # Errors
/// Runs cannot be retired at all: nothing more was removed.
pub fn remove_planned(
    gc: &mut GcLock,
    plan: &[(&RunInfo, RemoveReason)],
    mut told: impl FnMut(&RunInfo, &RemoveReason, GcDecision),
) -> Result<(), GcError> {
    for chosen in plan.chunks(remove_batch()) {
        match remove_runs(gc, chosen, &mut told) {
            // Their lines do not fit together, but what the first one takes may be enough for
            // the next.
            Err(e) if is_disk_full(&e) && chosen.len() > 1 => {
                for one in chosen.chunks(1) {
                    remove_runs(gc, one, &mut told)?;
                }
            }
            gone => gone?,
        }
    }
    Ok(())
}

/// Removes runs together. Nothing is told of them if none can be retired.
fn remove_runs(
    gc: &mut GcLock,
    chosen: &[(&RunInfo, RemoveReason)],
    told: &mut impl FnMut(&RunInfo, &RemoveReason, GcDecision),
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
        // A full disk: the runs themselves make room for their lines.
        Err(e) if is_disk_full(&e) && make_room(&held) => gc.record_tombstone(&held, &lines)?,
        moved => moved?,
    };
    for (facts, why, fate) in left {
        told(facts, why, fate);
    }
    // Nobody needs to wait for us while we remove them.
    drop(held);
    for ((facts, why), moved) in ready.into_iter().zip(moved) {
        let fate = match moved.map(|name| gc.remove(&name)) {
            Ok(Ok(())) => GcDecision::Removed,
            Ok(Err(e)) => GcDecision::InTrash(e),
            Err(e) => GcDecision::Failed(e),
        };
        told(facts, why, fate);
    }
    Ok(())
}

/// How many runs can go together, with the files that this process may open.
fn remove_batch() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.map_or(u64::MAX, |n| n.saturating_sub(FDS_RESERVED) / FDS_PER_RUN);
    usize::try_from(room).unwrap_or(GC_BATCH).clamp(1, GC_BATCH)
}

const ALREADY_REMOVED: &str = "it was removed by somebody else";
const CHANGED_MEANWHILE: &str = "it changed since it was looked at";

enum GcLockOutcome {
    /// It goes, with its line, if it has any event.
    Ready(LockedForRemoval, Option<Box<Tombstone>>),
    Skipped(&'static str),
}

/// Locks a run and looks at it again.
fn prepare(gc: &GcLock, facts: &RunInfo, why: &RemoveReason) -> Result<GcLockOutcome, GcError> {
    let held = match gc.lock_for_removal(&facts.run_id)? {
        LockOutcome::Held(held) => held,
        LockOutcome::Busy(why_not) => return Ok(GcLockOutcome::Skipped(why_not)),
        LockOutcome::Gone => return Ok(GcLockOutcome::Skipped(ALREADY_REMOVED)),
    };
    if facts.standing == Eligibility::Empty {
        return Ok(if is_started(held.dir())? {
            GcLockOutcome::Skipped(CHANGED_MEANWHILE)
        } else {
            GcLockOutcome::Ready(held, None)
        });
    }
    let examined = inspect_run(held.dir(), false)?;
    let overview = &examined.summary;
    let unchanged = Some(examined.verdict.state) == facts.state
        && overview.events == facts.events
        && overview.state.first_id == facts.first_id
        && eligibility(held.dir(), &examined) == facts.standing;
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

/// Removes what the jobs of runs printed that are sure to go; says whether that gave room.
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

/// The runs that a plan lets go, with the reason; those that ended first come first.
pub fn runs_to_remove<'a>(
    facts: &'a [RunInfo],
    verdicts: &[RetentionDecision],
) -> Vec<(&'a RunInfo, RemoveReason)> {
    let pairs = facts.iter().zip(verdicts);
    let goes = pairs.filter_map(|(facts, verdict)| match verdict {
        RetentionDecision::Remove(why) => Some((facts, *why)),
        RetentionDecision::Keep(_) => None,
    });
    let mut goes: Vec<_> = goes.collect();
    goes.sort_by(|(a, _), (b, _)| (a.since, &a.first_id).cmp(&(b.since, &b.first_id)));
    goes
}
