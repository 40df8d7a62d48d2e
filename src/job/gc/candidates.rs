//! The facts about each run that a removal is planned with.

use std::io::ErrorKind;

use glob::Pattern;

use crate::job::process::job_processes::JobProcesses;
use crate::job::process::process_scan::ProcessScan;
use crate::job::status::run_status::{InspectedRun, inspect_run};
use crate::log::store::retention::{Eligibility, RunInfo};
use crate::log::{
    DamageList, JobScope, JobState, RunStatus, RunSummary, StorageError, is_started, list,
    open_any_dir,
};
use crate::sync::map_in_parallel;
use crate::volume::{Dir, RunId, Volume, layout};

/// A filter for the runs to consider. Empty lists match every run.
#[derive(Debug, Clone, Default)]
pub struct GcFilter {
    /// Only these runs.
    pub runs: Vec<RunId>,
    /// Only runs in one of these states.
    pub states: Vec<RunStatus>,
    /// Only runs whose name matches one of these.
    pub names: Vec<Pattern>,
}

/// The runs of a volume that a plan may remove.
#[derive(Debug, Default)]
pub struct GcCandidates {
    /// The runs that could be inspected.
    pub runs: Vec<RunInfo>,
    /// The runs that could not be inspected. They do not affect the others.
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
    let inspected = map_in_parallel(&ids, |run| inspect_candidate(&runs, run, filter));
    for (run, inspected) in ids.into_iter().zip(inspected) {
        match inspected {
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

/// Returns whether the error means that the run was removed in the meantime.
pub(super) fn is_missing(e: &StorageError) -> bool {
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
    let Some(dir) = open_any_dir(runs, run)? else {
        return Ok(None);
    };
    let mut facts = RunInfo {
        run_id: run.clone(),
        name: String::new(),
        state: RunStatus::Pending,
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
        let inspected = inspect_run(&dir, JobScope::Summarized)?;
        facts.eligibility = eligibility(&dir, &inspected);
        let RunSummary { state, events, .. } = inspected.summary;
        if !filter.matches(inspected.verdict.state, &state.name) {
            return Ok(None);
        }
        damage = inspected.summary.damage;
        facts.state = inspected.verdict.state;
        facts.name = state.name;
        facts.first_id = state.first_id;
        facts.opened_ts = state.opened_ts;
        facts.closed_ts = state.closed_ts;
        facts.events = events;
    } else if !filter.matches(RunStatus::Pending, "") {
        return Ok(None);
    }
    let usage = dir.usage()?;
    let log = dir
        .stat(layout::ACTIVE)?
        .map_or(0, |stat| stat.st_size as u64);
    if facts.eligibility == Eligibility::Empty && usage.content > log {
        // This may be the remains of a run whose log was lost.
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
pub(super) fn eligibility(dir: &Dir, inspected: &InspectedRun) -> Eligibility {
    let run = &inspected.summary.state;
    if inspected.summary.is_uncertain {
        // A job that seems lost may have completed, and one that completed may have failed.
        return match inspected.verdict.state {
            RunStatus::Running => Eligibility::Live,
            _ => Eligibility::Unsure,
        };
    }
    match inspected.verdict.state {
        // Its rollback may be running now, or was interrupted and needs attention.
        RunStatus::Completed | RunStatus::Failed
            if run.jobs.iter().any(JobState::rollback_is_unfinished) =>
        {
            Eligibility::Unsure
        }
        RunStatus::Completed | RunStatus::Failed => Eligibility::Ended,
        RunStatus::Pending | RunStatus::Running | RunStatus::Open => Eligibility::Live,
        RunStatus::Unknown => Eligibility::Unsure,
        RunStatus::Lost => {
            let scan = ProcessScan::default();
            let jobs: Vec<_> = run
                .unfinished()
                .map(|job| JobProcesses::find(&scan, dir, job))
                .collect();
            if jobs.iter().any(JobProcesses::is_any_alive) {
                Eligibility::Live
            } else if jobs.iter().all(JobProcesses::are_dead) {
                Eligibility::Ended
            } else {
                Eligibility::Unsure
            }
        }
    }
}
