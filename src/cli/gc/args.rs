//! The arguments of `gc`, and the limits that they or the settings give.

use std::time::Duration;

use anyhow::Result;
use glob::Pattern;

use crate::cli::context::Global;
use crate::cli::gc::output::ReportStyle;
use crate::cli::settings::value;
use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::{
    parse_count, parse_duration, parse_name_pattern, parse_size, run_state,
};
use crate::job::RunStatus;
use crate::job::gc::GcFilter;
use crate::log::store::retention::RetentionPolicy;
use crate::render::Execution;
use crate::volume::{Settings, Volume};

/// Remove runs that are old, or too many
///
/// Only runs that have ended are removed, oldest end first; a run that is running, open or locked
/// is never removed. With RUN and without a limit, the named runs are removed. Without either, use
/// the limits of the volume's settings (`[gc]` in .omne/lib/cfg/runlog.toml). A limit of 0 is zero,
/// not "no limit". One line about each removed run is kept: `runlog status --retired` shows it.
///
/// A lost run counts as failed if its process is known to be dead. If it is unknown whether
/// a run has ended (state unknown, a process that is not visible, a rollback that did not
/// finish), the run is removed only if it is named, with --max-age, and was last changed
/// longer ago than that. A run without an event (pending) and without output is removed one
/// hour after its last change.
///
/// RUN is an ID, a name (its newest run), `latest`, or a prefix of an ID that has at least 6
/// characters after the name; `~1` is the run before, as in `build~1`.
///
/// SIZE is a number of bytes, or has a unit K, M, G, T, P (1024-based): 512M. DURATION is a number
/// of seconds, or has units ms, s, m, h, d, w: 90, 1h30m.
///
/// Exit codes: 0 success, even if there is nothing to remove; 2 invalid arguments or
/// settings, or no limit; 3 no such volume or run; 4 a named run has not ended; 5 damaged
/// log; 6 another gc is running, or a named run is locked; 7 I/O error, or a run cannot be
/// read or removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs to consider, or to remove if no limit is given [default: all]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,

    /// Remove runs that ended more than DURATION ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    max_age: Option<Duration>,
    /// Remove all but the newest N runs; an older run that is live or kept by --keep-failed stays
    /// too
    #[arg(long, value_name = "N", value_parser = parse_count::<usize>, help_heading = "Limits")]
    max_runs: Option<usize>,
    /// Remove the oldest runs until the rest use at most SIZE
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    max_size: Option<u64>,
    /// Keep failed and lost runs that ended less than DURATION ago, whatever the limits are
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    keep_failed: Option<Duration>,
    /// Remove pending runs without output one hour after their last change; every other limit does
    /// so too
    #[arg(long, conflicts_with = "runs", help_heading = "Limits")]
    orphans: bool,
    /// In runs that are kept, drop sealed segments whose last event is older than DURATION;
    /// the state of the run is kept
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Limits")]
    events_older_than: Option<Duration>,
    /// Keep the records (`status --retired`) of the newest N removed runs [default: 10000]
    #[arg(long, value_name = "N", value_parser = parse_count::<usize>, help_heading = "Limits")]
    max_retired: Option<usize>,

    /// Consider only runs in these states
    #[arg(long, value_name = "STATE", value_parser = run_state(), value_delimiter = ',')]
    state: Vec<RunStatus>,
    /// Consider only runs whose name matches, such as `backup-*`
    #[arg(long, value_parser = parse_name_pattern, value_delimiter = ',')]
    name: Vec<Pattern>,
    /// Show what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON per run
    #[arg(long)]
    json: bool,
}

/// Limits for whole runs, and for old events of the runs that are kept.
pub(super) struct GcLimits {
    pub policy: RetentionPolicy,
    pub events_older_than: Option<Duration>,
    /// The number of tombstones that are kept.
    pub max_retired: usize,
}

/// The number of tombstones to keep by default.
const MAX_RETIRED: usize = 10_000;

impl Args {
    /// Returns whether to remove runs or only report them.
    pub(super) fn execution(&self) -> Execution {
        if self.dry_run {
            Execution::DryRun
        } else {
            Execution::Apply
        }
    }

    /// Returns how to report removed runs.
    pub(super) fn report_style(&self) -> ReportStyle {
        if self.json {
            ReportStyle::Json
        } else {
            ReportStyle::Human
        }
    }

    /// Returns the limits of the arguments or, without any, those of the settings.
    ///
    /// # Errors
    ///
    /// Returns an error if neither gives a limit, or the settings are invalid.
    pub(super) fn limits(&self, volume: &Volume) -> Result<GcLimits> {
        let mut limits = GcLimits {
            policy: RetentionPolicy {
                max_age: self.max_age,
                max_runs: self.max_runs,
                max_size: self.max_size,
                keep_failed: self.keep_failed,
                orphans: self.orphans,
                named: false,
            },
            events_older_than: self.events_older_than,
            max_retired: MAX_RETIRED,
        };
        let Settings { file, gc: set, .. } = volume.settings()?;
        let set_retired = value(
            &file,
            "gc.max_retired",
            set.max_retired.as_ref(),
            parse_count,
        )?;
        limits.max_retired = self.max_retired.or(set_retired).unwrap_or(MAX_RETIRED);
        let is_given = limits.policy != RetentionPolicy::default()
            || limits.events_older_than.is_some()
            || self.max_retired.is_some();
        if !is_given && !self.runs.is_empty() {
            // A user who names runs and no limit wants to remove these runs.
            limits.policy.named = true;
        } else if !is_given {
            let duration = |key, written| value(&file, key, written, parse_duration);
            limits = GcLimits {
                policy: RetentionPolicy {
                    max_age: duration("gc.max_age", set.max_age.as_ref())?,
                    max_runs: value(&file, "gc.max_runs", set.max_runs.as_ref(), parse_count)?,
                    max_size: value(&file, "gc.max_size", set.max_size.as_ref(), parse_size)?,
                    keep_failed: duration("gc.keep_failed", set.keep_failed.as_ref())?,
                    orphans: set.orphans.unwrap_or(false),
                    named: false,
                },
                events_older_than: duration(
                    "gc.events_older_than",
                    set.events_older_than.as_ref(),
                )?,
                ..limits
            };
        }
        let trims = self.max_retired.or(set_retired).is_some();
        if limits.policy.has_limit() || limits.events_older_than.is_some() || trims {
            return Ok(limits);
        }
        Err(UsageError {
            message: "no limits set; nothing to remove".to_owned(),
            hint: if self.runs.is_empty() {
                "give RUN, --max-age, --max-runs, --max-size, --orphans, --events-older-than or \
                 --max-retired, or set them under [gc] in .omne/lib/cfg/runlog.toml"
            } else {
                "omit --keep-failed to remove the named runs, or give a limit, such as --max-age 0"
            },
        }
        .into())
    }

    /// Returns which runs to consider.
    pub(super) fn filter(&self, global: &Global) -> Result<GcFilter> {
        Ok(GcFilter {
            runs: global.runs_to_change(&self.runs)?,
            states: self.state.clone(),
            names: self.name.clone(),
        })
    }
}
