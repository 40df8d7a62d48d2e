//! The arguments of `status`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::status::watched_runs::ReportChanges;
use crate::cli::value_parsers::{parse_duration, parse_moment};
use crate::job::RunStatus;
use crate::render::RunRecord;

/// Show the runs of the volume, or one run in detail
///
/// RUN is an ID, a prefix of one, or `latest`. For a finished run only the last line of the
/// log is read, for any other its newest segments: `runlog replay --verify` finds older
/// damage.
///
/// With --watch, the view is updated as the runs proceed: what each job does, its progress,
/// estimated from earlier runs with the same name, and its latest output. Quit with q or
/// Ctrl-C; with RUN, it ends with the run. With --json, it prints a line for each run, and
/// another one whenever the run's state or one of its jobs changes.
///
/// Exit codes: 0 success; 2 invalid arguments; 3 no such volume or run; 5 damaged log;
/// 7 I/O error. With --wait, and with --watch RUN: 0 the run completed; 1 it failed, is lost
/// or unknown; 4 timed out.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// Run to show in detail
    pub run: Option<String>,

    /// Show only runs in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state, conflicts_with = "run")]
    state: Vec<RunStatus>,
    /// Show only runs with this name
    #[arg(long, conflicts_with = "run")]
    name: Option<String>,
    /// Show only runs opened since WHEN
    #[arg(long, value_name = "WHEN", value_parser = parse_moment, conflicts_with = "run")]
    since: Option<Timestamp>,
    /// Show only the newest N runs
    #[arg(short, long = "number", value_name = "N", conflicts_with = "run")]
    pub number: Option<usize>,
    /// Show the runs that gc removed, with their last state
    #[arg(long)]
    pub retired: bool,
    /// Wait until the run has ended, and exit with its outcome. An open run ends when it is
    /// closed
    #[arg(long, requires = "run", conflicts_with = "retired", group = "goes_on")]
    pub wait: bool,
    /// Update the view as the runs proceed; needs a terminal or --json
    #[arg(long, conflicts_with_all = ["retired", "export"], group = "goes_on")]
    pub watch: bool,
    /// Stop waiting or watching after DURATION
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "goes_on")]
    pub timeout: Option<Duration>,
    /// Print one line of JSON per run
    #[arg(long)]
    pub json: bool,
    /// Print the runs, or the named run, in a format for other tools
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub export: Option<StatusFormat>,
    /// Write --export to FILE instead of stdout (`-`); an existing file is replaced once the
    /// export is complete
    #[arg(short, long, value_name = "FILE", requires = "export")]
    pub out: Option<PathBuf>,
}

/// A format that runs are exported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StatusFormat {
    /// Metrics for the textfile collector of `node_exporter`
    Prometheus,
    /// One row per job
    Csv,
}

/// Parses the name of a run state.
///
/// # Errors
///
/// Returns a message that lists all states.
pub(crate) fn parse_state(text: &str) -> Result<RunStatus, String> {
    RunStatus::parse(text).ok_or_else(|| {
        let all: Vec<_> = RunStatus::ALL.iter().map(|state| state.as_str()).collect();
        format!("a state is one of {}", all.join(", "))
    })
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

    /// Whether the filters select a run.
    pub(super) fn selects(&self, run: &RunRecord) -> bool {
        self.selects_run(run.state, &run.name, run.opened_ts)
    }

    /// Whether the filters select a run in this state, with this name, opened at this time.
    pub(super) fn selects_run(
        &self,
        state: RunStatus,
        name: &str,
        opened_ts: Option<Timestamp>,
    ) -> bool {
        (self.state.is_empty() || self.state.contains(&state))
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
            && self
                .since
                .is_none_or(|since| opened_ts.is_some_and(|at| at >= since))
    }
}
