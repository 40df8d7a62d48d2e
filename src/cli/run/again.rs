//! `run --again`: runs what a run recorded.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::again_args::Rerun;
use super::args::{Args, IfKilled};
use super::close::close_run;
use super::recorded_words::{recorded_argv, recorded_words};
use super::{NextStep, end_as, execute_job, not_parsed, report_not_started};
use crate::cli::Command;
use crate::cli::command_line::{ParseError, parse_with};
use crate::cli::context::{Global, find_exact_run, print_stderr, warn_damage};
use crate::cli::usage_error::UsageError;
use crate::job::{
    RecordedJob, RerunJobs, RerunOf, RunResult, RunningJob, inspect_run, jobs_to_rerun,
    wait_for_other_threads,
};
use crate::log::{JobScope, allocate_ulid};
use crate::volume::RunId;

/// How long a supervisor waits for the end of its other threads.
const THREADS_TIMEOUT: Duration = Duration::from_secs(5);

/// The jobs to run, in order.
struct Plan {
    jobs: Vec<RecordedJob>,
    run: RunId,
    /// The name of the run that recorded them.
    name: String,
    /// The run for all of them, if there are several.
    shared_run: Option<RunId>,
}

/// Runs the jobs that `--again` names.
pub(super) fn execute(typed: &Args, global: &Global) -> ExitCode {
    match plan(typed, global) {
        Ok(plan) => run_all(typed, global, &plan),
        Err(e) => report_not_started(&e).into(),
    }
}

fn plan(typed: &Args, global: &Global) -> Result<Plan> {
    let again = typed.again.run.as_deref().unwrap_or_default();
    if !typed.command.is_empty() {
        return Err(UsageError {
            message: "--again runs the recorded command, and another one was given".to_owned(),
            hint: "remove the command, or --again",
        }
        .into());
    }
    let volume = global.volume()?;
    let found = find_exact_run(&volume, again)?;
    let inspected = inspect_run(&found.dir, JobScope::All)?;
    warn_damage(&inspected.summary.damage);
    let which = match &typed.job {
        _ if typed.again.failed => RerunJobs::Failed,
        Some(job) => RerunJobs::Named(job),
        None => RerunJobs::Only,
    };
    let running = if typed.force {
        RunningJob::RunBeside
    } else {
        RunningJob::Refuse
    };
    let jobs = jobs_to_rerun(&volume, &found, &inspected, which, running)?;
    let name = inspected.summary.state.name;
    let shared_run = if jobs.len() > 1 {
        let name = typed.name.as_deref().unwrap_or(&name);
        Some(RunId::generate(name, allocate_ulid(&volume)?))
    } else {
        None
    };
    Ok(Plan {
        jobs,
        run: found.run,
        name,
        shared_run,
    })
}

/// Runs the jobs one after the other, until a signal ends one. Returns the result of the first
/// one that failed.
fn run_all(typed: &Args, global: &Global, plan: &Plan) -> ExitCode {
    let mut all = Vec::new();
    for (at, job) in plan.jobs.iter().enumerate() {
        match job_args(typed, plan, job, at) {
            Ok(args) => all.push(args),
            Err(ParseError::Settings(e)) => return report_not_started(&e).into(),
            Err(e) => return not_parsed(e),
        }
    }
    if !typed.is_quiet() {
        print_stderr(format_args!(
            "runlog: running again what run {} recorded",
            plan.run
        ));
    }
    let mut result = RunResult::Exit(0);
    let mut channel = None;
    for args in &all {
        match execute_job(args, global, &mut channel) {
            NextStep::Exit(code) => return code,
            NextStep::ReturnUnfollowed(end) if !survives_front(args) => {
                result = end;
                break;
            }
            NextStep::Return(end) | NextStep::ReturnUnfollowed(end) => {
                if result == RunResult::Exit(0) {
                    result = end;
                }
                if matches!(end, RunResult::Signal(_)) {
                    result = end;
                    break;
                }
            }
        }
    }
    // If the last job was started, it has closed the run.
    if let Some(run) = &plan.shared_run
        && let Err(e) = close_run(run, typed, global)
    {
        print_stderr(format_args!("warning: the run stays open: {e:#}"));
    }
    end_as(result)
}

/// Returns whether the following jobs run even after the front was killed. The supervisor is
/// their front then, which must not have other threads.
fn survives_front(args: &Args) -> bool {
    args.fate_if_killed() == IfKilled::Keep && wait_for_other_threads(THREADS_TIMEOUT)
}

/// Returns the arguments for one job.
fn job_args(typed: &Args, plan: &Plan, job: &RecordedJob, at: usize) -> Result<Args, ParseError> {
    let settings = |e: anyhow::Error| ParseError::Settings(e);
    let words = recorded_words(typed, &plan.name, job).map_err(|e| settings(e.into()))?;
    let command = recorded_argv(typed, job).map_err(|e| settings(e.into()))?;
    let Command::Run(parsed) = parse_with(words)?.command else {
        return Err(settings(anyhow::anyhow!("the command is not `run`")));
    };
    let mut args = *parsed.0;
    args.command = command;
    // With --run, the id may already be in use; in a new run, the job keeps it.
    if args.run.is_none() {
        args.job = Some(job.job_id.clone());
    } else if args.run.as_ref() == Some(&plan.run) {
        args.job = None;
    }
    if plan.shared_run.is_some() {
        args.run.clone_from(&plan.shared_run);
        args.close = at + 1 == plan.jobs.len();
        // The first command would replace this process.
        args.log_optional = false;
    }
    args.again.rerun = Some(Rerun {
        of: RerunOf {
            run_id: plan.run.clone(),
            job_id: job.job_id.clone(),
        },
        is_first: at == 0,
    });
    Ok(args)
}
