//! `runlog run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::builder::NonEmptyStringValueParser;

use super::context::{Global, foreign_policy, opening, print_stderr, print_warning};
use super::detach_channel::{Channel, announce, relay, report};
use super::exit;
use super::exit::Code;
use super::settings::{ROTATE_SIZE, rotation};
use super::usage_error::UsageError;
use super::value_parsers::{pairs, parse_duration, parse_load, parse_size};
use crate::job::redact::masker::Redactor;
use crate::job::{
    AfterJob, Detached, Guards, JobEnd, JobSpec, Outcome, OutputMode, Prepared, Setup, detach,
    prepare, run_job,
};
use crate::log::{Batch, Close, Durability, EventType, RunLog, allocate_ulid};
use crate::volume::{JobId, RunId, Volume, error_chain};

/// Run a command and log what happens to it
///
/// Stdin, output, signals and the exit code of the command are passed through. Without
/// --run, the command gets a run of its own, which is closed when the command ends. The
/// command finds `RUNLOG_RUN_ID`, `RUNLOG_JOB_ID` and `RUNLOG_VOLUME` in its environment,
/// so its scripts can call `runlog emit`.
///
/// Exit codes: the command's own; 128+N if signal N ended it; 124 the command timed out;
/// 125 runlog failed before the start; 126 the command cannot be executed; 127 command not
/// found; 2 invalid arguments.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "runlog run [OPTIONS] [--] COMMAND [ARGS]…\n       runlog run --run ID --close"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Args {
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        value_name = "COMMAND",
        required_unless_present = "close"
    )]
    command: Vec<OsString>,

    /// Name of the run [default: the name of the program]
    #[arg(short, long, value_parser = NonEmptyStringValueParser::new(), help_heading = "Run")]
    name: Option<String>,
    /// Join run ID, or open it; it stays open for more jobs until it is closed
    #[arg(long, value_name = "ID", help_heading = "Run")]
    run: Option<RunId>,
    /// Close the run, after the command if one is given
    #[arg(long, requires = "run", help_heading = "Run")]
    close: bool,
    /// ID of the job in its run [default: the name of the run; with --run, the name of the
    /// program]
    #[arg(long, value_name = "ID", help_heading = "Run")]
    job: Option<JobId>,
    /// Write the ID of the run to FILE
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    id_file: Option<PathBuf>,
    /// Start in the background, in a new session, and print the ID of the run
    #[arg(long, help_heading = "Run")]
    detach: bool,
    /// Also append to a run that another program started
    #[arg(long, help_heading = "Run")]
    force: bool,

    /// Record an input of the job
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Job")]
    input: Vec<String>,
    /// Record a label of the job
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Job")]
    label: Vec<String>,
    /// Run the command in DIR
    #[arg(long, value_name = "DIR", help_heading = "Job")]
    cwd: Option<PathBuf>,
    /// Set an environment variable for the job; only its name is recorded
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Job")]
    env: Vec<String>,
    /// Also record the values of --env
    #[arg(long, help_heading = "Job")]
    record_env: bool,
    /// Mask matches of a regular expression, or the value of a variable, in events and
    /// captured output
    #[arg(
        long,
        value_name = "PATTERN|ENV:NAME",
        help_heading = "Job",
        allow_hyphen_values = true
    )]
    redact: Vec<String>,

    /// Stop an attempt that takes longer than DURATION (SIGTERM, then SIGKILL); 0 means no limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    timeout: Option<Duration>,
    /// Wait DURATION between SIGTERM and SIGKILL
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s", help_heading = "Supervision")]
    kill_after: Duration,
    /// Retry a failed command up to N times
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        help_heading = "Supervision"
    )]
    retries: u32,
    /// Wait DURATION before each retry
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s", help_heading = "Supervision")]
    retry_delay: Duration,
    /// Run CMD with `sh -c` if the job fails or is interrupted, and record it for `runlog replay
    /// --rollback`
    #[arg(long, value_name = "CMD", help_heading = "Supervision")]
    rollback: Option<String>,
    /// Record the resource usage of the job's processes every DURATION
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Supervision")]
    sample: Option<Duration>,
    /// Start only if at least SIZE of disk is free where the log is
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Supervision")]
    require_free_disk: Option<u64>,
    /// Start only if at least SIZE of memory is available
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Supervision")]
    require_free_mem: Option<u64>,
    /// Start only if the load average of the last minute is at most N
    #[arg(long, value_name = "N", value_parser = parse_load, help_heading = "Supervision")]
    max_load: Option<f64>,

    /// Store the output without passing it on, and do not print the ID of the run
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,
    /// Do not store the output
    #[arg(long, help_heading = "Output")]
    no_capture: bool,
    /// Store at most SIZE of output; pass the rest on without storing it
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Output")]
    capture_limit: Option<u64>,
    /// Start a new segment of the log at SIZE, also for `runlog emit` inside the job [default:
    /// from the volume's settings]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Run")]
    rotate_size: Option<u64>,
}

pub(crate) fn execute(args: &Args, global: &Global) -> ExitCode {
    if args.command.is_empty() {
        return exit::exit_code(close(args, global));
    }
    let prepared = args
        .check()
        .and_then(|spec| Ok((spec, global.make_volume()?)));
    let (spec, volume) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => return failed(&e),
    };
    if !args.detach {
        return match supervise(args, &spec, &volume, &Channel::default()) {
            Ok(outcome) => finish(&outcome),
            Err(e) => failed(&e),
        };
    }
    match detach().context("cannot start in the background") {
        Err(e) => failed(&e),
        Ok(Detached::Caller(said)) => relay(&said),
        Ok(Detached::Supervisor(channel)) => {
            let channel = Channel::new(Mutex::new(Some(channel)));
            let (code, text) = match supervise(args, &spec, &volume, &channel) {
                Ok(Outcome {
                    end: JobEnd::NotStarted(error),
                    ..
                }) => exit::not_started(&error),
                Ok(_) => return Code::Ok.into(),
                Err(e) => before_the_start(&e),
            };
            report(&channel, &format!("{} {text}", code as u8));
            code.into()
        }
    }
}

impl Args {
    fn check(&self) -> Result<JobSpec> {
        if self
            .command
            .first()
            .is_some_and(|program| program.is_empty())
        {
            return Err(anyhow!(UsageError {
                message: "the command is empty".to_owned(),
                hint: "give a command: `runlog run -- COMMAND [ARGS]…`",
            }));
        }
        let variable = |name: &str| std::env::var_os(name);
        let redactor = Redactor::new(&self.redact, &variable).map_err(|e| UsageError {
            message: format!("--redact: {e}"),
            hint: "give a regular expression, or ENV:NAME for the value of a variable",
        })?;
        let env = pairs("--env", &self.env)?;
        for (key, _) in &env {
            if key.starts_with("RUNLOG_") {
                return Err(anyhow!(UsageError {
                    message: format!("--env {key}: names that start with RUNLOG_ are reserved"),
                    hint: "use another name",
                }));
            }
        }
        Ok(JobSpec {
            argv: self.command.clone(),
            cwd: self.check_dir()?,
            env,
            record_env: self.record_env,
            inputs: pairs("--input", &self.input)?,
            labels: pairs("--label", &self.label)?,
            job_id: self.job.clone(),
            rollback: self.rollback.clone(),
            timeout: self.timeout.filter(|timeout| !timeout.is_zero()),
            kill_after: self.kill_after,
            retries: self.retries,
            retry_delay: self.retry_delay,
            sample: self.sample.map(|d| d.max(Duration::from_millis(10))),
            guards: Guards {
                free_disk_bytes: self.require_free_disk,
                free_mem_bytes: self.require_free_mem,
                max_load: self.max_load,
            },
            output: OutputMode {
                capture: !self.no_capture,
                limit: self.capture_limit,
                pass_on: !self.quiet && !self.detach,
            },
            redactor,
            after: match (&self.run, self.close) {
                (None, _) => AfterJob::CloseOwn,
                (Some(_), true) => AfterJob::CloseIfLast,
                (Some(_), false) => AfterJob::StayOpen,
            },
            detached: self.detach,
        })
    }

    /// Returns the job's working directory as an absolute path.
    fn check_dir(&self) -> Result<PathBuf> {
        match &self.cwd {
            Some(dir) if dir.is_absolute() => Ok(dir.clone()),
            dir => {
                let here =
                    std::env::current_dir().context("cannot determine the current directory")?;
                Ok(dir
                    .as_ref()
                    .map_or_else(|| here.clone(), |dir| here.join(dir)))
            }
        }
    }

    /// Returns the name of the run, masked.
    fn run_name(&self, spec: &JobSpec) -> String {
        let program = self
            .command
            .first()
            .map(Path::new)
            .and_then(Path::file_name);
        let name = match (&self.name, &self.run, program) {
            (Some(name), _, _) => name.clone(),
            (None, Some(run), _) => run.to_string(),
            (None, None, program) => program.unwrap_or_default().to_string_lossy().into_owned(),
        };
        spec.masked(&name)
    }
}

fn supervise(args: &Args, spec: &JobSpec, volume: &Volume, channel: &Channel) -> Result<Outcome> {
    let prepared = prepare(spec, volume)?;
    let name = args.run_name(spec);
    let log = match &args.run {
        None => RunLog::create(volume, &name)?,
        Some(run) => RunLog::open_or_create(volume, run, Some(allocate_ulid(volume)?))?,
    };
    let run = log.run_id().clone();
    let rotation = rotation(volume, args.rotate_size);
    let log = Arc::new(
        log.foreign_policy(foreign_policy(args.force))
            .rotating(rotation),
    );
    let outcome = write_id(args, &run).and_then(|()| {
        let setup = setup(args, prepared, name, volume, &log, channel)?;
        Ok(run_job(spec, setup)?)
    });
    if let Err(e) = log.finish_upkeep() {
        print_stderr(format_args!(
            "runlog: the log was not rotated: {}",
            error_chain(&e)
        ));
    }
    if outcome.is_err()
        && args.run.is_none()
        && let Some(log) = Arc::into_inner(log)
    {
        log.discard();
    }
    outcome
}

fn write_id(args: &Args, run: &RunId) -> Result<()> {
    match &args.id_file {
        None => Ok(()),
        Some(path) => std::fs::write(path, format!("{run}\n"))
            .with_context(|| format!("cannot write the run ID to {}", path.display())),
    }
}

fn setup<'a>(
    args: &Args,
    prepared: Prepared,
    name: String,
    volume: &'a Volume,
    log: &Arc<RunLog>,
    channel: &Channel,
) -> Result<Setup<'a>> {
    let root = volume
        .path()
        .canonicalize()
        .context("cannot resolve the path of the volume")?;
    let mut env = vec![("RUNLOG_VOLUME", root.into_os_string())];
    if !args.redact.is_empty() {
        env.push(("RUNLOG_REDACT", args.redact.join("\n").into()));
    }
    if let Some(size) = args.rotate_size {
        env.push((ROTATE_SIZE, size.to_string().into()));
    }
    let announced = (!args.quiet && !args.detach).then(|| log.run_id().clone());
    let channel = Arc::clone(channel);
    let submitted = Arc::clone(&channel);
    let run = log.run_id().clone();
    Ok(Setup {
        prepared,
        volume,
        log: Arc::clone(log),
        opening: opening(name, args.run.is_some()),
        path_variable: std::env::var_os("PATH"),
        env,
        trouble: print_warning(),
        on_submitted: Box::new(move |_| {
            announce(&submitted, &run);
            if let Some(run) = announced {
                print_stderr(format_args!("run_id={run}"));
            }
        }),
        on_started: Box::new(move |started| match started {
            Ok(()) => report(&channel, "ok"),
            Err(e) => report(
                &channel,
                &format!(
                    "{} error: the job is running, but its start is not in the log: {}",
                    Code::Runlog as u8,
                    error_chain(e)
                ),
            ),
        }),
    })
}

/// Closes a run: `run --run ID --close` without a command.
fn close(args: &Args, global: &Global) -> Result<Code> {
    let Some(run) = &args.run else {
        return Ok(Code::Usage);
    };
    let log = RunLog::open(&global.volume()?, run)?.foreign_policy(foreign_policy(args.force));
    let closed = log.append_with(
        Durability::Power,
        EventType::RunClosed.lock_budget(),
        |view| {
            let close = if view.is_closed {
                Close::No
            } else {
                Close::Now
            };
            Ok(Batch::only(close))
        },
    )?;
    if !closed.closed {
        print_stderr(format_args!("run {run} is already closed"));
    }
    Ok(Code::Ok)
}

/// Classifies an error from before the start: 125, or 2 if the arguments are invalid.
fn before_the_start(e: &anyhow::Error) -> (Code, String) {
    let (code, text) = exit::explain(e);
    let code = if code == Code::Usage {
        code
    } else {
        Code::Runlog
    };
    (code, text)
}

fn failed(e: &anyhow::Error) -> ExitCode {
    let (code, text) = before_the_start(e);
    print_stderr(text);
    code.into()
}

fn finish(outcome: &Outcome) -> ExitCode {
    if !outcome.unfinished.is_empty() {
        let jobs = outcome.unfinished.join(", ");
        print_stderr(format_args!(
            "warning: the run stays open, because these jobs have not ended: {jobs}"
        ));
    }
    match &outcome.end {
        JobEnd::Exited(code) => ExitCode::from(*code as u8),
        JobEnd::Signaled(signal) | JobEnd::Canceled(signal) => ExitCode::from(128 + *signal as u8),
        JobEnd::TimedOut => Code::Timeout.into(),
        JobEnd::NotStarted(error) => {
            let (code, text) = exit::not_started(error);
            print_stderr(text);
            code.into()
        }
    }
}
