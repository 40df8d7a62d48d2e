//! The arguments of `runlog run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;

use super::again_args::AgainArgs;
use super::hook_args::HookArgs;
use super::lock_args::LockArgs;
use super::retry_args::RetryArgs;
use super::stream_args::StreamArgs;
use crate::cli::value_parsers::{parse_duration, parse_load, parse_probe, parse_size};
use crate::job::{JobSpec, OutputDelivery};
use crate::log::ForeignPolicy;
use crate::telemetry::Dependency;
use crate::volume::{JobId, RunId};

/// Run a command and log what happens to it
///
/// Stdin, output, signals and the exit code of the command are passed through. Without
/// --run, the command gets a run of its own, which is closed when the command ends. The
/// command finds `RUNLOG_RUN_ID`, `RUNLOG_JOB_ID` and `RUNLOG_JOB_VOLUME` in its environment,
/// so its scripts can call `runlog emit`.
///
/// At the end of a run that took far longer or shorter than usual, stderr says so; `runlog status
/// --help` has the rule.
///
/// SIZE is a number of bytes, or has a unit K, M, G, T, P (1024-based): 512M. DURATION is a number
/// of seconds, or has units ms, s, m, h, d, w: 90, 1h30m.
///
/// Exit codes: the command's own; 1 it succeeded, but not within the time of --fail-if-shorter and
/// --fail-if-longer; 128+N if signal N ended it; 74 it succeeded, but its output could not be
/// delivered; 75 another run holds the lock; 124 the command timed out; 125 not started: a
/// guard was not met, or runlog failed; 126 the command cannot be executed; 127 command not found; 2
/// invalid arguments or settings. With --close and no command: 0 the run is closed; 3 no such volume or run; 4 a job of the run
/// has not ended; 5 damaged log, or a newer version wrote to it; 6 timed out waiting for the lock;
/// 7 not stored, or not durable.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "runlog run [OPTIONS] [--] COMMAND [ARGS]…\n       runlog run --again RUN [--job ID | --failed] [OPTIONS]\n       runlog run --run ID --close"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        value_name = "COMMAND",
        required_unless_present_any = ["close", "again"]
    )]
    pub command: Vec<OsString>,

    /// Name of the run [default: the name of the program; with --run, the ID; with --again, the
    /// recorded name]
    #[arg(short, long, value_parser = NonEmptyStringValueParser::new(), help_heading = "Run")]
    pub name: Option<String>,
    /// Join run ID, or open it; it stays open for more jobs until it is closed
    #[arg(long, value_name = "ID", help_heading = "Run")]
    pub run: Option<RunId>,
    /// Close the run, after the command if one is given
    #[arg(long, requires = "run", help_heading = "Run")]
    pub close: bool,
    /// ID of the job in its run [default: the name of the run; with --run, the name of the
    /// program]; with --again, the job to run again
    #[arg(long, value_name = "ID", help_heading = "Run")]
    pub job: Option<JobId>,
    #[command(flatten)]
    pub again: AgainArgs,
    /// Write the ID of the run to FILE
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub id_file: Option<PathBuf>,
    #[command(flatten)]
    pub lock: LockArgs,
    /// Start in the background, in a new session, and print the ID of the run
    #[arg(long, help_heading = "Run")]
    pub detach: bool,
    /// If no log can be written, say so and run the command without one; not with --lock or
    /// --redact-passed-on
    #[arg(long, help_heading = "Run")]
    pub log_optional: bool,
    /// Also append to a run that another program started; with --close, also close a run whose
    /// log lacks events; with --again, also run a job again that may still be running
    #[arg(long, help_heading = "Run")]
    pub force: bool,

    /// Record an input of the job
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Job")]
    pub input: Vec<String>,
    /// Record a label of the job
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Job")]
    pub label: Vec<String>,
    /// Run the command in DIR
    #[arg(long, value_name = "DIR", help_heading = "Job")]
    pub cwd: Option<PathBuf>,
    /// Set an environment variable for the job, or take it from the environment; only its name is
    /// recorded
    #[arg(short, long, value_name = "KEY[=VALUE]", help_heading = "Job")]
    pub env: Vec<String>,
    /// Also record the values of --env
    #[arg(long, help_heading = "Job")]
    pub record_env: bool,
    /// Start a trace for the command if the environment has no `TRACEPARENT`; an existing one is
    /// always continued
    #[arg(long, help_heading = "Job")]
    pub trace: bool,
    /// Mask matches of a regular expression, or the value of a variable, in events and
    /// captured output
    #[arg(
        long,
        value_name = "PATTERN|ENV:NAME",
        help_heading = "Job",
        allow_hyphen_values = true
    )]
    pub redact: Vec<String>,
    /// Do not mask the values of variables named `*_PASSWORD`, `*_SECRET`, `*_TOKEN`,
    /// `*_PRIVATE_KEY`, `*_ACCESS_KEY`, `*_SECRET_KEY` or `*_CONNECTION_STRING`
    #[arg(long, overrides_with = "default_redact", help_heading = "Job")]
    pub no_default_redact: bool,
    /// Turn on what the settings or --no-default-redact turn off
    #[arg(long, hide = true, overrides_with = "no_default_redact")]
    pub default_redact: bool,
    /// Also mask secrets in what the terminal or the caller gets: errors, and the output, including
    /// that of rollbacks and hooks
    #[arg(long, help_heading = "Job")]
    pub redact_passed_on: bool,

    /// Stop an attempt that takes longer than DURATION (SIGTERM, then SIGKILL); 0 means no limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    pub timeout: Option<Duration>,
    /// Count a command that exits with 0 as failed if it took less than DURATION; runlog then exits
    /// with 1
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    pub fail_if_shorter: Option<Duration>,
    /// Count a command that exits with 0 as failed if it took more than DURATION; 0 means no limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    pub fail_if_longer: Option<Duration>,
    /// Wait DURATION between SIGTERM and SIGKILL [default: 10s]; if given, it also applies to
    /// SIGTERM, SIGINT and SIGHUP that are passed on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    pub kill_after: Option<Duration>,
    /// What happens to the job if runlog is killed [default: end; with --detach: keep]
    #[arg(long, value_name = "WHAT", help_heading = "Supervision")]
    pub if_killed: Option<IfKilled>,
    #[command(flatten)]
    pub retry: RetryArgs,
    /// Run CMD with `sh -c` if the job fails or is interrupted, and record it for `runlog replay
    /// --rollback`
    #[arg(long, value_name = "CMD", help_heading = "Supervision")]
    pub rollback: Option<String>,
    #[command(flatten)]
    pub hooks: HookArgs,
    /// Record the resource usage of the job's processes every DURATION (at least 10ms); 0 means never
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    pub sample: Option<Duration>,
    /// Start only if at least SIZE of disk is free where the log is
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Supervision")]
    pub require_free_disk: Option<u64>,
    /// Start only if at least SIZE of memory is available
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Supervision")]
    pub require_free_mem: Option<u64>,
    /// Start only if the load average of the last minute is at most N
    #[arg(long, value_name = "N", value_parser = parse_load, help_heading = "Supervision")]
    pub max_load: Option<f64>,
    /// Record in every snapshot whether something that the job depends on is available: `tcp:PORT`
    /// a process listens, `unix:PATH` a process listens, `process:NAME` a program runs, `file:PATH`
    /// a path exists, `free:PATH:SIZE` at least SIZE is free
    #[arg(long, value_name = "NAME=SPEC", value_parser = parse_probe, help_heading = "Supervision")]
    pub probe: Vec<Dependency>,
    /// Start only if the probe NAME is true
    #[arg(long, value_name = "NAME", help_heading = "Supervision")]
    pub require: Vec<String>,

    /// Store the output without passing it on, and do not print the ID of the run, or that it took
    /// far longer or shorter than usual
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Print the output, also that of hooks, and the ID of the run only if the command fails
    #[arg(long, conflicts_with_all = ["detach", "no_capture"], help_heading = "Output")]
    pub quiet_on_success: bool,
    /// Do not store the output
    #[arg(long, help_heading = "Output")]
    pub no_capture: bool,
    #[command(flatten)]
    pub streams: StreamArgs,
    /// Store at most SIZE of output (0: nothing); pass the rest on without storing it
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Output")]
    pub capture_limit: Option<u64>,
    /// Start a new segment of the log at SIZE (0: at every write), also for `runlog emit` inside the
    /// job [default: from the volume's settings]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Run")]
    pub rotate_size: Option<u64>,
}

/// The fate of the job if the process that the caller started is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfKilled {
    /// It is ended (SIGTERM, then SIGKILL), and rolled back
    End,
    /// It continues to its end
    Keep,
}

impl Args {
    /// Returns whether to close a run without a job.
    pub(crate) fn only_closes(&self) -> bool {
        self.command.is_empty() && self.again.run.is_none()
    }

    /// Returns whether the command appends to a run that another program started.
    pub(super) fn foreign_policy(&self) -> ForeignPolicy {
        if self.force {
            ForeignPolicy::Accept
        } else {
            ForeignPolicy::Refuse
        }
    }

    /// Returns what happens to the job if runlog is killed.
    pub(super) fn fate_if_killed(&self) -> IfKilled {
        let default = if self.detach {
            IfKilled::Keep
        } else {
            IfKilled::End
        };
        self.if_killed.unwrap_or(default)
    }

    /// Returns whether and when the job's output is passed on.
    pub(super) fn delivery(&self) -> OutputDelivery {
        if self.quiet || self.detach {
            OutputDelivery::Dropped
        } else if self.quiet_on_success {
            OutputDelivery::AfterFailure
        } else {
            OutputDelivery::AsItArrives
        }
    }

    /// Returns whether output is not passed on as it arrives.
    pub(crate) fn is_quiet(&self) -> bool {
        self.delivery() != OutputDelivery::AsItArrives
    }

    /// Returns the name of the run, masked.
    pub(crate) fn run_name(&self, spec: &JobSpec) -> String {
        let program = self
            .command
            .first()
            .map(Path::new)
            .and_then(Path::file_name);
        match (&self.name, &self.run, program) {
            (Some(name), _, _) => spec.masked(name),
            (None, Some(run), _) => spec.masked(run.as_str()),
            (None, None, program) => {
                let name = program.unwrap_or_default().to_string_lossy();
                spec.redaction.mask_message(&name).into_owned()
            }
        }
    }
}
