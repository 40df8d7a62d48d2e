//! `runlog gc`.

mod args;
mod output;

use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

pub(crate) use self::args::Args;
use self::output::GcOutput;
use super::context::Global;
use super::exit::Code;
use crate::job::gc::{
    GcCandidates, finish_removal, list_candidates, remove_planned, runs_to_remove,
};
use crate::log::store::retention::{Eligibility, RetentionDecision, RunInfo};
use crate::log::store::tombstones::count_excess;
use crate::log::{GcError, GcLock, PruneLimit, RunLog, open_dir, plan_prune, trash_entries};
use crate::render::Execution;
use crate::volume::{Volume, wall_clock};

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let limits = args.limits(&volume)?;
    let filter = args.filter(global)?;
    let mut output = GcOutput::new(args.report_style(), args.execution());
    // Lock before reading the runs, so that a second gc fails at once.
    let mut gc = match output.execution {
        Execution::DryRun => None,
        Execution::Apply => Some(GcLock::acquire(&volume)?),
    };
    for entry in trash_entries(&volume)? {
        let removed = gc.as_mut().map_or(Ok(()), |gc| finish_removal(gc, &entry));
        output.trash_entry(&entry, removed);
    }
    let candidates = list_candidates(&volume, &filter)?;
    output.error(&candidates);
    let now = wall_clock();
    let verdicts = limits.policy.plan(&candidates.runs, now);
    let plan = runs_to_remove(&candidates.runs, &verdicts);
    match &mut gc {
        None => plan
            .iter()
            .for_each(|(facts, why)| output.remove(facts, why)),
        Some(gc) => remove_planned(gc, &plan, |facts, why, decision| {
            output.decision(facts, why, decision);
        })?,
    }
    // Without a limit for whole runs, nobody expects a removal.
    let kept = candidates.runs.iter().zip(&verdicts);
    for (facts, verdict) in kept.filter(|_| limits.policy.has_limit()) {
        if let RetentionDecision::Keep(keep) = verdict {
            output.keep(facts, *keep);
        }
    }
    if let Some(limit) = limits.events_older_than {
        let then = before(now, limit);
        drop_events(&volume, &candidates, &verdicts, then, &mut output)?;
    }
    let trimmed = match &mut gc {
        None => count_excess(&volume, limits.max_retired).map_err(GcError::from),
        Some(gc) => gc.trim_tombstones(limits.max_retired),
    };
    output.trimmed(trimmed);
    output.end()
}

/// Subtracts a duration from `now`, stopping at the earliest time that exists.
fn before(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).ok();
    time.and_then(|time| now.checked_sub(time).ok())
        .unwrap_or(Timestamp::MIN)
}

/// Drops old segments of the runs that are kept.
fn drop_events(
    volume: &Volume,
    candidates: &GcCandidates,
    verdicts: &[RetentionDecision],
    then: Timestamp,
    output: &mut GcOutput,
) -> Result<()> {
    let Some(runs) = volume.runs()? else {
        return Ok(());
    };
    let prune = PruneLimit::OlderThan(then);
    let execution = output.execution;
    let one = |facts: &RunInfo| -> Result<Vec<_>> {
        let Some(dir) = open_dir(&runs, &facts.run_id)? else {
            return Ok(Vec::new());
        };
        let planned = plan_prune(&dir, prune)?;
        if planned.is_empty() || execution.is_dry_run() {
            return Ok(planned);
        }
        Ok(RunLog::open_in(volume, &facts.run_id, &dir)?.prune(prune)?)
    };
    for (facts, verdict) in candidates.runs.iter().zip(verdicts) {
        if matches!(verdict, RetentionDecision::Keep(_)) && facts.eligibility != Eligibility::Empty
        {
            output.dropped(facts, one(facts));
        }
    }
    Ok(())
}
