//! The arguments of `status`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use glob::Pattern;
use jiff::Timestamp;

use crate::cli::status::watched_runs::ReportChanges;
use crate::cli::value_parsers::{
    deadline, parse_count, parse_duration, parse_moment, parse_name_pattern, run_state,
};
use crate::job::RunStatus;
use crate::render::RunRecord;

/// Show the runs of the volume, or one run in detail
///
/// RUN is an ID, a name (its newest run), a unique prefix of an ID, or `latest`; `~1` is the run
/// before, as in `build~1`. For a finished run only the last line of the log is read, for any
/// other its newest segments: `runlog replay --verify` finds older damage.
///
/// With --watch, the view is updated as the runs proceed: what each job does, its progress,
/// estimated from earlier runs with the same name, and its latest output. Quit with q or
/// Ctrl-C; with RUN, it ends with the run. With --json, it prints a line for each run, and
/// another one whenever the run's state or one of its jobs changes.
///
/// With --stats, durations (median, 95th percentile, maximum) and attempts are those of runs and
/// jobs that completed; lost runs count as failed. LAST RUNS and DURATIONS are the newest 20 runs,
/// oldest first.
///
/// With RUN, it also says if a run took far longer or shorter than the last 20 completed runs of
/// its name whose IDs were made from that name: at least twice or at most half of their median,
/// outside 7 median deviations from it, and by at least 0.5 s.
///
/// WHEN is a date, a time (local, unless it has an offset), `now`, `today`, `yesterday`, Unix
/// seconds, or how long ago: 15m. DURATION is a number of seconds, or has units ms, s, m, h, d, w:
/// 90, 1h30m.
///
/// Exit codes: 0 success; 2 invalid arguments; 3 no such volume or run; 5 damaged log;
/// 7 I/O error. With --wait, --exit-status, and --watch RUN: 0 the runs completed; 1 one
/// failed, is lost or unknown; 4 one is still running, or timed out.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// Runs to show in detail
    #[arg(value_name = "RUN", group = "of_runs")]
    pub runs: Vec<String>,

    /// Show only runs in these states
    #[arg(long, value_name = "STATE", value_parser = run_state(), value_delimiter = ',', conflicts_with = "runs")]
    state: Vec<RunStatus>,
    /// Show only runs whose name matches, such as `backup-*`
    #[arg(long, value_parser = parse_name_pattern, value_delimiter = ',', conflicts_with = "runs")]
    name: Vec<Pattern>,
    /// Show only runs opened since WHEN
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true, value_parser = parse_moment, conflicts_with = "runs")]
    since: Option<Timestamp>,
    /// Show only the newest N runs
    #[arg(short, long = "number", value_name = "N", value_parser = parse_count::<usize>, conflicts_with = "runs")]
    pub number: Option<usize>,
    /// Show the runs that gc removed, with their last state
    #[arg(long)]
    pub retired: bool,
    /// Show statistics of the runs that have ended, including those that gc removed, one row for
    /// each name
    #[arg(
        long,
        conflicts_with_all = ["runs", "state", "number", "exit_status", "waits", "export"]
    )]
    pub stats: bool,
    /// Wait until the runs have ended, and exit with their outcome. An open run ends when it is
    /// closed
    #[arg(
        long,
        requires = "of_runs",
        conflicts_with = "retired",
        group = "waits"
    )]
    pub wait: bool,
    /// Exit with the outcome of the runs
    #[arg(long, requires = "of_runs", conflicts_with_all = ["retired", "waits"])]
    pub exit_status: bool,
    /// Update the view as the runs proceed; needs a terminal or --json
    #[arg(long, conflicts_with_all = ["retired", "export"], group = "waits")]
    pub watch: bool,
    /// Stop waiting or watching after DURATION; 0 means no limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "waits")]
    timeout: Option<Duration>,
    /// Print one line of JSON per run or, with --stats, per name
    #[arg(long)]
    pub json: bool,
    /// Do not show long output in a pager (`RUNLOG_PAGER`, `PAGER`, or less)
    #[arg(long)]
    pub no_pager: bool,
    /// Print the runs, or the named run, in a format for other tools
    #[arg(
        long,
        value_name = "FORMAT",
        conflicts_with = "json",
        group = "of_export"
    )]
    pub export: Option<StatusFormat>,
    /// Write --export to FILE instead of stdout (`-`); an existing file is replaced once the
    /// export is complete
    #[arg(short, long, value_name = "FILE", requires = "of_export")]
    pub out: Option<PathBuf>,
    /// With --export html, also write a page for each run to DIR, and link to it
    #[arg(long, value_name = "DIR", requires = "of_export")]
    pub with_runs: Option<PathBuf>,
}

/// A format that runs are exported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StatusFormat {
    /// Metrics for the textfile collector of `node_exporter`
    Prometheus,
    /// One row per job
    Csv,
    /// Self-contained page with filters, outcomes and durations by name
    Html,
}

impl Args {
    /// Returns whether `--watch` prints a record for each change.
    pub(super) fn report_changes(&self) -> ReportChanges {
        if self.json {
            ReportChanges::Yes
        } else {
            ReportChanges::No
        }
    }

    /// Returns when to stop waiting or watching.
    pub(super) fn deadline(&self) -> Option<Instant> {
        deadline(self.timeout)
    }

    /// Returns whether the filters select a run.
    pub(super) fn selects(&self, run: &RunRecord) -> bool {
        self.selects_run(run.state, &run.name, run.opened_ts)
    }

    /// Returns whether the filters select a run with this state, name, and opening time.
    pub(super) fn selects_run(
        &self,
        state: RunStatus,
        name: &str,
        opened_ts: Option<Timestamp>,
    ) -> bool {
        (self.state.is_empty() || self.state.contains(&state))
            && (self.name.is_empty() || self.name.iter().any(|pattern| pattern.matches(name)))
            && self
                .since
                .is_none_or(|since| opened_ts.is_some_and(|at| at >= since))
    }
}
