//! The arguments of `replay`.

use std::path::PathBuf;

use crate::cli::replay::at_point::AtPoint;
use crate::cli::replay::pace::Speed;
use crate::cli::usage_error::UsageError;
use crate::cli::value_parsers::stream;
use crate::log::{StreamId, command_line};

/// Show a run's timeline; verify, export, compare, recover or undo it
///
/// RUN is an ID, a name (its newest run), a unique prefix of an ID, or `latest`; `~1` is the run
/// before, as in `build~1`. Without options, print the events of all segments with the time since
/// the start of the run. Only --recover and --rollback change anything; for them, a prefix must
/// have at least 6 characters after the name.
///
/// Damage is skipped, reported on stderr, and changes the exit code.
///
/// --recover changes a job only if its supervisor and its command are known to be dead;
/// running it again changes nothing. --rollback stops at the first rollback that fails, and
/// starts with that one next time. Recorded commands run in the directory of their job, with
/// the environment of this command; only from logs that no other user can write, and never
/// if masking changed them. Their output goes to stderr, and is not stored.
///
/// Exit codes: 0 success; 1 negative answer (--diff: the runs differ; --at: the run did not
/// get that far; --recover without --all: the run cannot be recovered; --rollback,
/// --with-rollback: a rollback failed, or was not permitted); 2 invalid arguments; 3 no such
/// volume, run or job; 4 the run is still running (--recover, --rollback); 5 damaged log, a fault
/// found by --verify, or a state that is no longer known; 6 timed out waiting for the lock of
/// the log (--recover, --rollback); 7 I/O error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run to show [default: latest; --recover and --rollback need a RUN]
    #[arg(conflicts_with_all = ["diff", "wal"])]
    run: Option<String>,

    /// Read this log of runtimo, including its rotated files, instead of a run
    #[arg(long, value_name = "FILE", conflicts_with_all = ["diff", "output", "speed", "recover", "rollback"])]
    pub wal: Option<PathBuf>,

    #[command(flatten)]
    pub mode: Mode,

    /// With --state: show the state after the event SEQ, or at TIME
    #[arg(long, value_name = "SEQ|TIME", requires = "of_state", allow_hyphen_values = true, value_parser = AtPoint::parse)]
    pub at: Option<AtPoint>,
    /// Replay events and output at X times the original speed, or without delays (`max`)
    #[arg(
        long,
        value_name = "X|max",
        value_parser = Speed::parse,
        conflicts_with_all = ["state", "verify", "diff", "json", "dialect", "export", "recover", "rollback"]
    )]
    pub speed: Option<Speed>,
    /// With --output: show only the output of this job
    #[arg(long, value_name = "JOB", requires = "of_output")]
    pub job: Option<String>,
    /// With --output: show only output from this stream (stdout, stderr, or both where they shared one pipe)
    #[arg(long, value_name = "STREAM", value_parser = stream(), requires = "of_output")]
    pub stream: Option<StreamId>,
    /// Stop at the first damage, with exit code 5
    #[arg(long, conflicts_with_all = ["verify", "diff", "recover", "rollback"])]
    pub strict: bool,
    #[command(flatten)]
    pub recovery: RecoveryArgs,

    /// Print the stored events byte for byte; with --state, --verify, --diff, --recover and
    /// --rollback, print JSON Lines
    #[arg(long, conflicts_with_all = ["output", "dialect", "export"])]
    pub json: bool,
    /// Do not show long output in a pager (`RUNLOG_PAGER`, `PAGER`, or less)
    #[arg(long)]
    pub no_pager: bool,
    /// Write --as or --export to FILE instead of stdout (`-`); an existing file is replaced once
    /// the export is complete
    #[arg(short, long, value_name = "FILE", requires = "written")]
    pub out: Option<PathBuf>,
}

/// What to do, other than show the timeline.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Mode {
    /// Show the state of the run
    #[arg(long, group = "of_state")]
    pub state: bool,
    /// Check every line, the order of stages, the segments and the captured output
    #[arg(long)]
    pub verify: bool,
    /// Show the output of the jobs in the order of arrival
    #[arg(long, group = "of_output")]
    pub output: bool,
    /// Finish what a crash interrupted: torn log tails, rotations, gc, and jobs whose supervisor
    /// and command are dead; a run with a lost job is closed, even if it was kept open
    #[arg(long, groups = ["acts", "of_recover"], help_heading = "Recovery")]
    pub recover: bool,
    /// Undo the run: run the recorded rollbacks of its jobs, including completed ones, last job
    /// first
    #[arg(long, group = "acts", help_heading = "Recovery")]
    pub rollback: bool,
    /// Compare two runs: stages, exit codes, durations, resource usage and host
    #[arg(long, num_args = 2, value_name = "RUN")]
    pub diff: Option<Vec<String>>,
    /// Convert the run to a log that PROGRAM reads
    #[arg(long = "as", value_name = "PROGRAM", group = "written")]
    pub dialect: Option<InteropFormat>,
    /// Export the run in a format for other tools
    #[arg(long, value_name = "FORMAT", group = "written")]
    pub export: Option<ExportFormat>,
}

/// Options of the modes that change something.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct RecoveryArgs {
    /// With --recover: recover all runs of the volume, and finish an interrupted gc
    #[arg(
        long,
        requires = "of_recover",
        conflicts_with = "run",
        help_heading = "Recovery"
    )]
    pub all: bool,
    /// With --recover: also run the recorded rollbacks of lost jobs
    #[arg(long, requires = "of_recover", help_heading = "Recovery")]
    pub with_rollback: bool,
    /// With --recover: also run the --on-failure and --on-end hooks of lost jobs: the recorded
    /// ones, or else those in the settings
    #[arg(long, requires = "of_recover", help_heading = "Recovery")]
    pub with_hooks: bool,
    /// Show what --recover or --rollback would do, and change nothing; not with --json or --force
    #[arg(long, requires = "acts", conflicts_with_all = ["force", "json"], help_heading = "Recovery")]
    pub dry_run: bool,
    /// Act although damage may hide events of the run; with --rollback, also rerun a rollback that
    /// was started and has no recorded end; with --with-rollback, also run rollbacks while a daemon
    /// of their job is running
    #[arg(long, requires = "acts", help_heading = "Recovery")]
    pub force: bool,
}

/// A program with its own log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InteropFormat {
    /// omne-cli 0.2: `.omne/var/runs/<id>/events.jsonl`
    Omne,
    /// runtimo-core 0.1 and 0.10: its write-ahead log
    Runtimo,
}

/// A format that a run is exported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// Self-contained page with timeline, charts, output and events
    Html,
    /// Trace events for Perfetto and about:tracing
    ChromeTrace,
    /// XML report with a test case per job
    Junit,
    /// Workflow commands; the summary is appended to the file in `GITHUB_STEP_SUMMARY`
    Github,
    /// Summary of the run in Markdown
    Markdown,
    /// OTLP JSON Lines: a trace, with events and output as logs
    Otlp,
    /// asciicast v2: timed output, for asciinema
    Asciicast,
    /// Metrics in the text format; `status --export prometheus` covers all runs
    Prometheus,
    /// One row per event; `status --export csv` has one per job
    Csv,
}

impl Args {
    /// Returns the run to show, by default the newest.
    pub(super) fn run_to_show(&self) -> &str {
        self.run.as_deref().unwrap_or("latest")
    }

    /// Returns the words that name the run or the log to show.
    pub(super) fn source_words(&self) -> String {
        match &self.wal {
            Some(path) => command_line(&["--wal".to_owned(), path.display().to_string()]),
            None => self.run_to_show().to_owned(),
        }
    }

    /// Returns the run to change.
    ///
    /// # Errors
    ///
    /// Returns an error if no run is named: changing the newest one could be a mistake.
    pub(super) fn run_to_change(&self) -> Result<&str, UsageError> {
        self.run.as_deref().ok_or_else(|| UsageError {
            message: "no run given".to_owned(),
            hint: "name the run to change; list the runs with `runlog status`",
        })
    }
}
