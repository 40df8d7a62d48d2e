//! `runlog gc`.

mod output;

use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::context::Global;
use super::exit::{Code, UsageError};
use super::settings::{parse_count, value};
use super::status::parse_state;
use super::value_parsers::{parse_duration, parse_size};
use crate::cli::gc::output::GcOutput;
use crate::job::RunStatus;
use crate::job::gc::{GcCandidates, GcFilter, list_candidates, remove_planned, runs_to_remove};
use crate::log::store::retention::{Eligibility, Policy, RetentionDecision, RunInfo};
use crate::log::{GcLock, PruneLimit, RunLog, open_dir, plan_prune, trash_entries};
use crate::volume::Volume;

/// Remove runs that are old, or too many
///
/// Only runs that have ended go, those that ended first before the others; never one
/// that is running, open or locked. Of each one line stays, which `runlog status
/// --retired` shows. A limit of 0 is zero. Without any limit those of the volume's
/// settings hold (`[gc]` in .omne/lib/cfg/runlog.toml).
///
/// A lost run goes like one that failed if its process is known to be dead. Where it
/// cannot be told whether a run has ended (state unknown, a process out of sight, a
/// rollback without an end), it goes only when it is named with --max-age and was not
/// touched for so long.
///
/// RUN is an id, the beginning of one, or `latest`.
///
/// Exit codes: 0 fine, also where nothing goes; 2 wrong arguments or settings, or no
/// limit; 3 no such volume or run; 4 a run that was named has not ended; 5 damage in a
/// log; 6 another gc is at work, or a run that was named is locked; 7 I/O, or a run that
/// cannot be read or removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these runs [default: all]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,

    /// Runs that ended so long ago go
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    max_age: Option<Duration>,
    /// All but the last N runs go
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_runs: Option<usize>,
    /// Runs go until the others take no more than this on disk
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    max_size: Option<u64>,
    /// Failed and lost runs that ended less long ago stay, whatever the limits say
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    keep_failed: Option<Duration>,
    /// Empty folders of runs that never got an event go, an hour after they were touched last
    #[arg(long, conflicts_with = "runs", help_heading = "Limits")]
    orphans: bool,
    /// In runs that stay, sealed segments go whose last event is so old; their state stays
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    events_older_than: Option<Duration>,

    /// Only runs in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Vec<RunStatus>,
    /// Only runs of this name
    #[arg(long)]
    name: Vec<String>,
    /// Change nothing; say what would go
    #[arg(long)]
    dry_run: bool,
    /// One line of JSON for each run that goes
    #[arg(long)]
    json: bool,
}

/// What may go: whole runs, and events of those that stay.
struct GcLimits {
    policy: Policy,
    events_older_than: Option<Duration>,
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let volume = global.volume()?;
    let limits = args.limits(&volume)?;
    let wanted = args.wanted(global, limits.policy.orphans)?;
    let mut output = GcOutput::new(args.json, args.dry_run);
    // Taken before the look at the runs, so that a second gc hears of it at once.
    let mut gc = if args.dry_run {
        None
    } else {
        Some(GcLock::begin(&volume)?)
    };
    for leftover in trash_entries(&volume)? {
        let removed = gc.as_ref().map_or(Ok(()), |gc| gc.remove(&leftover.name));
        output.trash_entry(&leftover, removed);
    }
    let surveyed = list_candidates(&volume, &wanted)?;
    output.error(&surveyed);
    let now = Timestamp::now();
    let verdicts = limits.policy.plan(&surveyed.runs, now);
    let plan = runs_to_remove(&surveyed.runs, &verdicts);
    match &mut gc {
        None => plan
            .iter()
            .for_each(|(facts, why)| output.remove(facts, why)),
        Some(gc) => remove_planned(gc, &plan, |facts, why, fate| {
            output.decision(facts, why, fate);
        })?,
    }
    for (facts, verdict) in surveyed.runs.iter().zip(&verdicts) {
        if let RetentionDecision::Keep(keep) = verdict {
            output.keep(facts, *keep);
        }
    }
    if let Some(limit) = limits.events_older_than {
        let then = before(now, limit);
        drop_events(&volume, &surveyed, &verdicts, then, &mut output)?;
    }
    output.end()
}

impl Args {
    fn limits(&self, volume: &Volume) -> Result<GcLimits> {
        let mut limits = GcLimits {
            policy: Policy {
                max_age: self.max_age,
                max_runs: self.max_runs,
                max_size: self.max_size,
                keep_failed: self.keep_failed,
                orphans: self.orphans,
            },
            events_older_than: self.events_older_than,
        };
        let is_given = limits.policy != Policy::default() || limits.events_older_than.is_some();
        if !is_given {
            let set = volume.settings()?.gc;
            let duration = |key, written| value(key, written, parse_duration);
            limits = GcLimits {
                policy: Policy {
                    max_age: duration("gc.max_age", set.max_age.as_ref())?,
                    max_runs: value("gc.max_runs", set.max_runs.as_ref(), parse_count)?,
                    max_size: value("gc.max_size", set.max_size.as_ref(), parse_size)?,
                    keep_failed: duration("gc.keep_failed", set.keep_failed.as_ref())?,
                    // As a flag it takes no runs by their names either.
                    orphans: set.orphans.unwrap_or(false) && self.runs.is_empty(),
                },
                events_older_than: duration(
                    "gc.events_older_than",
                    set.events_older_than.as_ref(),
                )?,
            };
        }
        if limits.policy.limits() || limits.events_older_than.is_some() {
            return Ok(limits);
        }
        Err(UsageError {
            message: "there is no limit, so nothing may go".to_owned(),
            hint: "give --max-age, --max-runs, --max-size, --orphans or --events-older-than, or \
                   set them under [gc] in .omne/lib/cfg/runlog.toml",
        }
        .into())
    }

    fn wanted(&self, global: &Global, orphans: bool) -> Result<GcFilter> {
        let mut runs = Vec::new();
        for name in &self.runs {
            let (run, _) = global.run(name)?;
            if !runs.contains(&run) {
                runs.push(run);
            }
        }
        Ok(GcFilter {
            runs,
            states: self.state.clone(),
            names: self.name.clone(),
            orphans,
        })
    }
}

/// So long before `now`; the beginning of time where that was earlier.
fn before(now: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).ok();
    time.and_then(|time| now.checked_sub(time).ok())
        .unwrap_or(Timestamp::MIN)
}

/// Drops old segments of the runs that stay.
fn drop_events(
    volume: &Volume,
    surveyed: &GcCandidates,
    verdicts: &[RetentionDecision],
    then: Timestamp,
    output: &mut GcOutput,
) -> Result<()> {
    let Some(runs) = volume.runs()? else {
        return Ok(());
    };
    let prune = PruneLimit::OlderThan(then);
    let dry_run = output.dry_run;
    let one = |facts: &RunInfo| -> Result<Vec<_>> {
        let Some(dir) = open_dir(&runs, &facts.run_id)? else {
            return Ok(Vec::new());
        };
        let would = plan_prune(&dir, prune, false)?;
        if would.is_empty() || dry_run {
            return Ok(would);
        }
        Ok(RunLog::open(volume, &facts.run_id)?.drop_sealed(prune)?)
    };
    for (facts, verdict) in surveyed.runs.iter().zip(verdicts) {
        if matches!(verdict, RetentionDecision::Keep(_)) && facts.standing != Eligibility::Empty {
            output.dropped(facts, one(facts));
        }
    }
    Ok(())
}
