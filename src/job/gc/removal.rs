//! The removal of the runs in a plan.

use super::candidates::{eligibility, is_missing};
use crate::job::status::run_status::inspect_run;
use crate::log::store::retention::{RemoveReason, RetentionDecision, RunInfo};
use crate::log::{
    GcError, GcLock, JobScope, LockOutcome, LockedForRemoval, Retired, RunStatus, StorageError,
    Tombstone, TrashEntry, is_started,
};
use crate::sync::{PARALLEL_THRESHOLD, map_in_parallel};
use crate::volume::is_out_of_space;

/// The maximum number of runs to remove together, which is enough for several threads.
const GC_BATCH: usize = PARALLEL_THRESHOLD;
/// The number of files that each run in a batch keeps open.
const FDS_PER_RUN: u64 = 4;
/// The number of files to reserve for everything else.
const FDS_RESERVED: u64 = 32;

/// The outcome for a run in the plan.
#[derive(Debug)]
pub enum GcDecision {
    /// The run was removed.
    Removed,
    /// The run was skipped for this reason.
    Skipped(&'static str),
    /// The run was retired, but not all of its files could be removed.
    Incomplete(GcError),
    /// The run could not be removed.
    Failed(GcError),
}

/// Removes the runs of a plan, and reports the outcome of each as soon as it is known. A run
/// that cannot be removed does not affect the others.
///
/// # Errors
/// No tombstone can be written. No more runs were removed.
pub fn remove_planned(
    gc: &mut GcLock,
    plan: &[(&RunInfo, RemoveReason)],
    mut report: impl FnMut(&RunInfo, &RemoveReason, GcDecision),
) -> Result<(), GcError> {
    for chosen in plan.chunks(remove_batch()) {
        let batch = RemovalBatch::lock(gc, chosen);
        match gc.retire(batch.held, &batch.tombstones) {
            Ok(retired) => {
                for (facts, why, decision) in batch.left {
                    report(facts, why, decision);
                }
                let decisions = remove_retired(gc, retired);
                for ((facts, why), decision) in batch.ready.into_iter().zip(decisions) {
                    report(facts, why, decision);
                }
            }
            // Removing the runs one at a time makes room for their tombstones.
            Err(e) if is_disk_full(&e) => {
                for (facts, why) in chosen {
                    remove_on_full_disk(gc, facts, why, &mut report)?;
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// A batch of runs that are removed together, and share the syncs of their tombstones and trash
/// entries.
struct RemovalBatch<'a> {
    ready: Vec<(&'a RunInfo, &'a RemoveReason)>,
    held: Vec<LockedForRemoval>,
    tombstones: Vec<Tombstone>,
    /// The runs that are not removed.
    left: Vec<(&'a RunInfo, &'a RemoveReason, GcDecision)>,
}

impl<'a> RemovalBatch<'a> {
    fn lock(gc: &GcLock, chosen: &'a [(&'a RunInfo, RemoveReason)]) -> Self {
        let mut batch = Self {
            ready: Vec::new(),
            held: Vec::new(),
            tombstones: Vec::new(),
            left: Vec::new(),
        };
        let prepared = map_in_parallel(chosen, |(facts, why)| prepare(gc, facts, why));
        for ((facts, why), prepared) in chosen.iter().zip(prepared) {
            match prepared {
                Ok((run, tombstone)) => {
                    batch.held.push(run);
                    batch.tombstones.extend(tombstone.map(|line| *line));
                    batch.ready.push((facts, why));
                }
                Err(decision) => batch.left.push((facts, why, decision)),
            }
        }
        batch
    }
}

/// Removes one run whose tombstone may not fit on the disk before its output is removed.
fn remove_on_full_disk(
    gc: &mut GcLock,
    facts: &RunInfo,
    why: &RemoveReason,
    report: &mut impl FnMut(&RunInfo, &RemoveReason, GcDecision),
) -> Result<(), GcError> {
    let (run, tombstone) = match prepare(gc, facts, why) {
        Ok(prepared) => prepared,
        Err(decision) => {
            report(facts, why, decision);
            return Ok(());
        }
    };
    let tombstones = tombstone.as_deref().map_or(&[][..], std::slice::from_ref);
    // Without room for this tombstone, there is none for the others.
    let retired = gc.retire_on_full_disk(run, tombstones)?;
    for decision in remove_retired(gc, vec![Ok(retired)]) {
        report(facts, why, decision);
    }
    Ok(())
}

/// Removes the files of retired runs. Returns the outcome for each.
fn remove_retired(gc: &GcLock, retired: Vec<Result<Retired, GcError>>) -> Vec<GcDecision> {
    let removed = map_in_parallel(&retired, |retired| {
        retired.as_ref().ok().map(|it| gc.remove(it))
    });
    let outcomes = retired.into_iter().zip(removed);
    outcomes
        .map(|(retired, removed)| match (retired, removed) {
            (Err(e), _) => GcDecision::Failed(e),
            (Ok(_), Some(Err(e))) => GcDecision::Incomplete(e),
            (Ok(_), _) => GcDecision::Removed,
        })
        .collect()
}

/// Finishes a removal after an earlier gc was interrupted. Records the tombstone of the run
/// first if that gc did not.
///
/// # Errors
/// The log cannot be read for the tombstone, the tombstone cannot be written, or part of the run
/// cannot be removed.
pub fn finish_removal(gc: &mut GcLock, entry: &TrashEntry) -> Result<(), GcError> {
    if let Some(dir) = gc.open_trashed(&entry.name)?
        && is_started(&dir)?
        && let inspected = inspect_run(&dir, JobScope::Summarized)?
        && !gc.has_tombstone(&entry.run, inspected.summary.state.first_id)
    {
        let verdict = inspected.verdict;
        let mut tombstone = Tombstone::new(
            entry.run.clone(),
            &inspected.summary,
            verdict.state,
            verdict.because,
        )?;
        "an earlier gc was interrupted".clone_into(&mut tombstone.why);
        tombstone.freed_bytes = entry.bytes;
        gc.record_trashed(&dir, &[tombstone])?;
    }
    gc.remove_trashed(&entry.name)
}

/// Returns how many runs can be removed together within the limit of open files.
fn remove_batch() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.map_or(u64::MAX, |n| n.saturating_sub(FDS_RESERVED) / FDS_PER_RUN);
    usize::try_from(room).unwrap_or(GC_BATCH).clamp(1, GC_BATCH)
}

const ALREADY_REMOVED: &str = "it was already removed";
const CHANGED_MEANWHILE: &str = "it changed meanwhile";

/// Locks a run and inspects it again. Returns it with its tombstone, if it has any event, or the
/// reason why it is not removed.
fn prepare(
    gc: &GcLock,
    facts: &RunInfo,
    why: &RemoveReason,
) -> Result<(LockedForRemoval, Option<Box<Tombstone>>), GcDecision> {
    let run = match gc.lock_for_removal(&facts.run_id) {
        Ok(LockOutcome::Held(run)) => run,
        Ok(LockOutcome::Busy(why_not)) => return Err(GcDecision::Skipped(why_not)),
        Ok(LockOutcome::Removed) => return Err(GcDecision::Skipped(ALREADY_REMOVED)),
        Err(e) => return Err(not_prepared(e.into())),
    };
    let tombstone = tombstone_of(&run, facts, why).map_err(not_prepared)?;
    match tombstone {
        Some(tombstone) => Ok((run, tombstone)),
        None => Err(GcDecision::Skipped(CHANGED_MEANWHILE)),
    }
}

fn not_prepared(e: GcError) -> GcDecision {
    match e {
        GcError::Storage(e) if is_missing(&e) => GcDecision::Skipped(ALREADY_REMOVED),
        e => GcDecision::Failed(e),
    }
}

/// Returns the tombstone of a locked run, if it has any event; `None` if the run has changed
/// since the plan was made.
#[expect(
    clippy::option_option,
    reason = "whether it may be removed, and whether it has a tombstone"
)]
fn tombstone_of(
    locked: &LockedForRemoval,
    facts: &RunInfo,
    why: &RemoveReason,
) -> Result<Option<Option<Box<Tombstone>>>, GcError> {
    if facts.state == RunStatus::Pending {
        return Ok((!is_started(locked.dir())?).then_some(None));
    }
    let inspected = inspect_run(locked.dir(), JobScope::Summarized)?;
    let summary = &inspected.summary;
    let is_unchanged = inspected.verdict.state == facts.state
        && summary.events == facts.events
        && summary.state.first_id == facts.first_id
        && eligibility(locked.dir(), &inspected) == facts.eligibility;
    if !is_unchanged {
        return Ok(None);
    }
    let verdict = inspected.verdict;
    let run = facts.run_id.clone();
    let mut tombstone = Tombstone::new(run, summary, verdict.state, verdict.because)?;
    tombstone.why = why.to_string();
    tombstone.freed_bytes = facts.bytes;
    Ok(Some(Some(Box::new(tombstone))))
}

fn is_disk_full(e: &GcError) -> bool {
    match e {
        GcError::Storage(StorageError::NoSpace { .. }) => true,
        GcError::Storage(StorageError::Volume(e)) => e.io_kind().is_some_and(is_out_of_space),
        _ => false,
    }
}

/// Returns the runs that a plan removes, with the reasons, in the order in which they ended.
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
