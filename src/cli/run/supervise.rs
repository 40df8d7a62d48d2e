//! The supervisor's side of `runlog run`: creates the run, runs the job, reports.

use std::cell::OnceCell;
use std::io;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};

use super::args::Args;
use super::detach_channel::{Channel, announce, report};
use super::hook_input::hook_input;
use super::not_found_hint::not_found_hint;
use super::trace::TRACEPARENT;
use super::unlogged;
use crate::cli::context::{opening, print_stderr, warning_printer};
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::cli::redaction::{DEFAULT_REDACT, REDACT};
use crate::cli::settings::{ROTATE_SIZE, rotation};
use crate::cli::usual_duration::UsualLookup;
use crate::job::{
    Attached, JOB_VOLUME_VARIABLE, JOBS_VARIABLE, JobEnd, JobOutput, JobSpec, OnUnstored, Outcome,
    Prepared, Progress, RunResult, Setup, SkipLines, UnindexedBytes, prepare, record_rerun,
    run_job,
};
use crate::log::format::payload::ErrorKind;
use crate::log::{
    JobScope, JobState, NamedLock, RunLog, StreamId, TraceContext, allocate_ulid, read_summary,
};
use crate::volume::{Dir, JobId, RunId, Volume, error_chain};

/// What to run, and where.
pub(super) struct Request<'a> {
    pub args: &'a Args,
    pub spec: &'a JobSpec,
    pub volume: &'a Volume,
    pub channel: &'a Channel,
    /// The lock, which is held as long as this process or the front process lives.
    pub lock: Option<&'a NamedLock>,
}

impl Request<'_> {
    /// Does all the work of the supervisor, and returns how `runlog run` ends.
    pub(super) fn supervise(&self, attached: Attached) -> RunResult {
        let progress = attached.progress();
        match self.run(attached, progress) {
            Ok(outcome) => self.finish(&outcome),
            Err(e) => {
                let (code, text) = before_the_start(&e);
                if unlogged::is_allowed(self.args, code) {
                    unlogged::warn(self.args, self.channel, &text);
                    return RunResult::Unlogged;
                }
                self.fail(code, &text)
            }
        }
    }

    /// Reports why the job was not started.
    fn fail(&self, code: Code, text: &str) -> RunResult {
        print_stderr(text);
        report(self.channel, &format!("{} {text}", code as u8));
        RunResult::Exit(code as u8)
    }

    fn run(&self, attached: Attached, progress: Progress) -> Result<Outcome> {
        let front = attached.front_pid();
        let prepared = prepare(attached, self.volume, self.spec)?;
        let name = self.args.run_name(self.spec);
        let log = self.open_log(&name, progress)?;
        let run = log.run_id().clone();
        if let Some(lock) = self.lock {
            lock.record_run(&run, front);
        }
        let rotation = rotation(self.volume, self.args.rotate_size);
        let log = Arc::new(
            log.foreign_policy(self.args.foreign_policy())
                .rotating(rotation),
        );
        let has_usual = self.args.run.is_none() && !self.args.is_quiet();
        let usual = OnceCell::new();
        let job = Arc::new(OnceLock::new());
        let printed = Arc::new(OnceLock::new());
        let outcome = self.write_id(&run).and_then(|()| {
            let mut setup = self.setup(prepared, name.clone(), &log, progress)?;
            let (submitted, announce) = (Arc::clone(&job), setup.on_submitted);
            let (run, usual) = (&run, &usual);
            setup.on_submitted = Box::new(move |id| {
                submitted.get_or_init(|| id.clone());
                announce(id);
                // A processor is idle while the job starts.
                if has_usual && let Some(lookup) = UsualLookup::start(self.volume, run, &name) {
                    usual.set(lookup).ok();
                }
            });
            if self.args.quiet_on_success {
                setup.on_unstored = Some(print_unstored(log.dir(), &job, &printed)?);
            }
            Ok(run_job(self.spec, setup)?)
        });
        if self.args.quiet_on_success
            && outcome
                .as_ref()
                .is_ok_and(|outcome| !outcome.end.is_success())
            && let Some(job) = job.get()
        {
            print_stderr(format_args!("run_id={run}"));
            if let Some(why) = ended_job(log.dir(), job).and_then(why_failed) {
                print_stderr(format_args!("job {job} failed: {why}"));
            }
            // If storing stopped, all of the output was printed.
            if printed.get().is_none() {
                print_output(log.dir(), job);
            }
        }
        if let Err(e) = log.finish_upkeep() {
            print_stderr(format_args!(
                "warning: the log was not rotated: {}",
                error_chain(&e)
            ));
        }
        if outcome.is_ok()
            && let Some(usual) = usual.get()
            && let Some(text) = usual.unusual_duration(self.volume, &run)
        {
            print_stderr(format_args!("runlog: {text}"));
        }
        if outcome.is_err()
            && self.args.run.is_none()
            && let Some(log) = Arc::into_inner(log)
        {
            log.discard();
        }
        outcome
    }

    /// Opens the log of the run, which an earlier supervisor may have created before it died.
    fn open_log(&self, name: &str, progress: Progress) -> Result<RunLog> {
        let made = progress.run().and_then(|run| run.parse().ok());
        let first_id = allocate_ulid(self.volume)?;
        let run = made
            .or_else(|| self.args.run.clone())
            .unwrap_or_else(|| RunId::generate(name, first_id));
        // Do this first, so that a later supervisor continues in the same directory.
        progress.record_run(&run);
        Ok(RunLog::open_or_create(self.volume, &run, Some(first_id))?)
    }

    fn write_id(&self, run: &RunId) -> Result<()> {
        match &self.args.id_file {
            None => Ok(()),
            Some(path) => std::fs::write(path, format!("{run}\n"))
                .with_context(|| format!("cannot write the run ID to `{}`", path.display())),
        }
    }

    fn setup(
        &self,
        prepared: Prepared,
        name: String,
        log: &Arc<RunLog>,
        progress: Progress,
    ) -> Result<Setup<'_>> {
        let args = self.args;
        let root = self
            .volume
            .path()
            .canonicalize()
            .context("cannot resolve the path of the volume")?;
        let mut env = vec![(JOB_VOLUME_VARIABLE, root.into_os_string())];
        if !args.redact.is_empty() {
            env.push((REDACT, args.redact.join("\n").into()));
        }
        if args.no_default_redact {
            env.push((DEFAULT_REDACT, "off".into()));
        } else if args.default_redact {
            env.push((DEFAULT_REDACT, "on".into()));
        }
        env.extend(std::env::var_os(JOBS_VARIABLE).map(|jobs| (JOBS_VARIABLE, jobs)));
        if let Some(size) = args.rotate_size {
            env.push((ROTATE_SIZE, size.to_string().into()));
        }
        let mut opening = opening(name);
        opening.keep_open = args.run.is_some();
        opening.host = opening.host.map(|host| self.spec.masked(&host));
        if let Some(trace) = &self.spec.trace {
            let state = trace.run.tracestate.as_deref();
            opening.trace = Some(TraceContext {
                tracestate: state.map(|state| self.spec.masked(state)),
                ..trace.run.clone()
            });
            env.push((TRACEPARENT, trace.job.traceparent().into()));
        }
        opening.rerun_of = self.spec.rerun_of.as_ref().map(|of| of.run_id.clone());
        let is_first = args.again.rerun.as_ref().is_none_or(|rerun| rerun.is_first);
        let quiet = args.is_quiet() || !is_first;
        let channel = Arc::clone(self.channel);
        let submitted = Arc::clone(&channel);
        let run = log.run_id().clone();
        Ok(Setup {
            prepared,
            volume: self.volume,
            log: Arc::clone(log),
            opening,
            path_variable: std::env::var_os("PATH"),
            env,
            on_warning: warning_printer(),
            on_unstored: None,
            on_submitted: Box::new(move |job| {
                progress.announce_once(|| {
                    announce(&submitted, &run);
                    if !quiet {
                        print_stderr(format_args!("run_id={run}"));
                    }
                    self.record_rerun(&run, job);
                });
            }),
            hook_input: hook_input(Arc::clone(log)),
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

    /// Records in the original run that its job is run again.
    fn record_rerun(&self, run: &RunId, job: &JobId) {
        if let Some(of) = &self.spec.rerun_of
            && let Err(e) = record_rerun(self.volume, of, run, job)
        {
            print_stderr(format_args!(
                "warning: cannot record in run {} that its job {} was run again: {}",
                of.run_id,
                of.job_id,
                error_chain(&e)
            ));
        }
    }

    fn finish(&self, outcome: &Outcome) -> RunResult {
        if !outcome.unfinished.is_empty() {
            let jobs = outcome.unfinished.join(", ");
            print_stderr(format_args!(
                "warning: the run stays open, because these jobs have not ended: {jobs}"
            ));
        }
        match &outcome.end {
            JobEnd::Exited(0) if outcome.undelivered_bytes > 0 => {
                print_stderr(format_args!(
                    "error: {} bytes of the job's output could not be passed on\n\
                     hint: the job itself succeeded; run `runlog tail --output` to read what is \
                     stored",
                    outcome.undelivered_bytes
                ));
                RunResult::Exit(Code::Undelivered as u8)
            }
            JobEnd::Exited(code) => RunResult::Exit(*code as u8),
            JobEnd::Signaled(signal) | JobEnd::Canceled(signal) => RunResult::Signal(*signal as u8),
            JobEnd::Rejected(error) => {
                print_stderr(format_args!(
                    "error: {}\nhint: read what it printed with `runlog tail --output`",
                    error.message
                ));
                RunResult::Exit(Code::Negative as u8)
            }
            JobEnd::TimedOut => RunResult::Exit(Code::Timeout as u8),
            JobEnd::NotStarted(error) => {
                let hint = not_found_hint(self.args, self.volume);
                let (code, text) = exit::not_started(error, hint.as_deref());
                self.fail(code, &self.spec.shown(&text))
            }
        }
    }
}

/// Classifies an error from before the start: 125, 2 if the arguments are invalid, or 75 if
/// another run holds the lock.
pub(super) fn before_the_start(e: &anyhow::Error) -> (Code, String) {
    let (code, text) = exit::explain(e);
    let code = match code {
        Code::Usage | Code::RunLocked => code,
        _ => Code::Runlog,
    };
    (code, text)
}

/// Returns the state of a job that has ended, from its run in `dir`.
fn ended_job(dir: &Dir, job: &JobId) -> Option<JobState> {
    let summary = read_summary(dir, JobScope::All).ok()?;
    let mut jobs = summary.state.jobs.into_iter();
    jobs.find(|one| one.job_id == *job && one.stage.is_terminal())
}

/// Returns why a job failed; `None` if the error is printed anyway.
fn why_failed(job: JobState) -> Option<String> {
    let error = job.error?;
    let has_started = matches!(
        error.kind,
        ErrorKind::Exit | ErrorKind::Signal | ErrorKind::Timeout | ErrorKind::Canceled
    );
    has_started.then_some(error.message)
}

/// Prints the output of a job, each stream to the same stream of this process, and then that of
/// its rollback to stderr.
fn print_output(dir: &Dir, job: &JobId) {
    let job_output = ended_job(dir, job).and_then(|ended| ended.output);
    let job_bytes = job_output.map_or(u64::MAX, |output| output.captured_bytes);
    let mut left = usize::try_from(job_bytes).unwrap_or(usize::MAX);
    let mut print = || -> Result<()> {
        let Some(mut output) = JobOutput::open(dir, job)? else {
            return Ok(());
        };
        let mut skip = SkipLines::default();
        // An error on one stream does not prevent printing the output of the other.
        let (mut stdout, mut stderr) = (Ok(()), Ok(()));
        output.copy_streams(None, &mut skip, UnindexedBytes::All, &mut |chunk| {
            let (of_job, of_rollback) = chunk.bytes.split_at(left.min(chunk.bytes.len()));
            left -= of_job.len();
            for (stream, bytes) in [
                (chunk.stream, of_job),
                (Some(StreamId::Stderr), of_rollback),
            ] {
                let printed = match stream {
                    Some(StreamId::Stderr) => &mut stderr,
                    _ => &mut stdout,
                };
                if printed.is_ok() {
                    *printed = print_to_stream(stream, bytes);
                }
            }
            Ok(())
        })?;
        Ok(stdout.and(stderr)?)
    };
    if let Err(e) = print()
        && !exit::is_broken_pipe(&e)
    {
        print_stderr(format_args!("warning: cannot print the output: {e:#}"));
    }
}

fn print_to_stream(stream: Option<StreamId>, bytes: &[u8]) -> io::Result<()> {
    if stream == Some(StreamId::Stderr) {
        return io::stderr().lock().write_all(bytes);
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Prints the stored output of the job, and then the rest as it arrives, which is no longer
/// stored.
fn print_unstored(
    dir: &Dir,
    job: &Arc<OnceLock<JobId>>,
    printed: &Arc<OnceLock<()>>,
) -> Result<OnUnstored> {
    let (dir, job, printed) = (dir.try_clone()?, Arc::clone(job), Arc::clone(printed));
    Ok(OnUnstored(Arc::new(move |stream, bytes| {
        if let Some(job) = job.get() {
            printed.get_or_init(|| print_output(&dir, job));
        }
        // Errors on this process's own streams cannot be reported anywhere.
        drop(print_to_stream(Some(stream), bytes));
    })))
}
