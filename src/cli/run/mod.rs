//! `runlog run`.

mod again;
mod again_args;
mod args;
mod build_spec;
mod close;
mod detach_channel;
mod hook_args;
mod hook_input;
mod lock_args;
mod not_found_hint;
mod recorded_words;
mod retry_args;
mod run_lock;
mod stream_args;
mod supervise;
mod trace;
mod unlogged;

use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;

pub(crate) use self::args::Args;
use self::args::IfKilled;
use self::detach_channel::{Channel, relay, report};
pub(crate) use self::hook_input::hook_input;
pub(crate) use self::recorded_words::MissingRecord;
pub(crate) use self::run_lock::LockHeld;
use self::run_lock::{LockDecision, take_lock};
use self::supervise::{Request, before_the_start};
use super::command_line::ParseError;
use super::context::{Global, print_stderr};
use super::exit;
use super::exit::Code;
use super::redaction::redacts_by_default;
use crate::job::{Detached, FrontEnd, FrontOptions, ProcessRole, RunResult, detach, end_by, start};

/// What this process does after a job.
enum NextStep {
    /// It continues: the job ended this way, or was not started.
    Return(RunResult),
    /// It exits: it was the supervisor, or another process continues in the background.
    Exit(ExitCode),
    /// It was the supervisor, and nothing follows the job in its front, which was killed.
    ReturnUnfollowed(RunResult),
}

impl From<Code> for NextStep {
    fn from(code: Code) -> Self {
        Self::Return(RunResult::Exit(code as u8))
    }
}

pub(crate) fn execute(args: &Args, global: &Global) -> ExitCode {
    if args.again.run.is_some() {
        return again::execute(args, global);
    }
    if args.only_closes() {
        return exit::exit_code(close::execute(args, global));
    }
    match execute_job(args, global, &mut None) {
        NextStep::Return(result) => end_as(result),
        NextStep::Exit(code) => code,
        NextStep::ReturnUnfollowed(_) => ExitCode::SUCCESS,
    }
}

/// Runs a command. `channel` is set when this process is in the background, for the jobs that
/// follow.
fn execute_job(args: &Args, global: &Global, channel: &mut Option<Channel>) -> NextStep {
    let mut spec = match args.job_spec() {
        Ok(spec) => spec,
        Err(e) => return report_not_started(&e).into(),
    };
    let volume = match global.make_volume() {
        Ok(volume) => Ok(volume),
        Err(e) => match before_the_start(&e) {
            (code, text) if unlogged::is_allowed(args, code) => Err(text),
            _ => return report_not_started(&e).into(),
        },
    };
    if !args.default_redact && !redacts_by_default(volume.as_ref().ok()) {
        spec.redaction.without_variables();
    }
    let lock = match volume.as_ref().map(|volume| take_lock(args, &spec, volume)) {
        Ok(Err(e)) => return report_not_started(&e).into(),
        Ok(Ok(LockDecision::Skipped)) => return Code::Ok.into(),
        // Without a volume, there is no lock to hold.
        Ok(Ok(LockDecision::NoLock)) | Err(_) => None,
        Ok(Ok(LockDecision::Held(lock, held))) => {
            spec.lock = Some(held);
            Some(lock)
        }
    };
    let channel = match channel {
        Some(channel) => Arc::clone(channel),
        None if args.detach => match detach().context("cannot start in the background") {
            Err(e) => return report_not_started(&e).into(),
            Ok(Detached::Caller(said)) => return NextStep::Exit(relay(&said)),
            Ok(Detached::Front(file)) => {
                Arc::clone(channel.insert(Channel::new(Mutex::new(Some(file)))))
            }
        },
        None => Channel::default(),
    };
    let volume = match volume {
        Ok(volume) => volume,
        Err(text) => {
            unlogged::warn(args, &channel, &text);
            return NextStep::Exit(unlogged::execute(&spec, Path::new(".")));
        }
    };
    let request = Request {
        args,
        spec: &spec,
        volume: &volume,
        channel: &channel,
        lock: lock.as_ref(),
    };
    fork_supervisor(&request)
}

/// Forks the supervisor. In both processes, returns what to do next.
fn fork_supervisor(request: &Request<'_>) -> NextStep {
    let spec = request.spec;
    let options = FrontOptions {
        detached: spec.detached,
        keep_if_killed: request.args.fate_if_killed() == IfKilled::Keep,
        // A front process without a supervisor cannot mask anything.
        pass_on: spec.output.pass_on && !spec.output.redact_passed_on,
        capture: spec.reads_output(),
    };
    match start(options).context("cannot start the supervisor") {
        Ok(ProcessRole::Supervisor(attached)) => {
            let (progress, front) = (attached.progress(), attached.front_pid());
            let result = request.supervise(*attached);
            progress.record_result(result);
            if parent_id() == front {
                NextStep::Exit(ExitCode::SUCCESS)
            } else {
                NextStep::ReturnUnfollowed(result)
            }
        }
        Ok(ProcessRole::Front(FrontEnd::Done(RunResult::Unlogged))) => {
            NextStep::Exit(unlogged::execute(spec, request.volume.path()))
        }
        Ok(ProcessRole::Front(FrontEnd::Done(result))) => NextStep::Return(result),
        Ok(ProcessRole::Front(FrontEnd::Abandoned(result))) => {
            print_stderr(
                "warning: the supervisor died too often: the end of the job is not in the log",
            );
            NextStep::Return(result)
        }
        Ok(ProcessRole::Front(FrontEnd::NeverStarted)) => {
            let text = "error: the supervisor died too often, and the job was not started";
            request.give_up(Code::Runlog, text)
        }
        Err(e) => {
            let (code, text) = before_the_start(&e);
            request.give_up(code, &text)
        }
    }
}

impl Request<'_> {
    /// Reports why no supervisor starts the job, and runs it without a log if that is allowed.
    fn give_up(&self, code: Code, text: &str) -> NextStep {
        if unlogged::is_allowed(self.args, code) {
            unlogged::warn(self.args, self.channel, text);
            return NextStep::Exit(unlogged::execute(self.spec, self.volume.path()));
        }
        print_stderr(text);
        report(self.channel, &format!("{} {text}", code as u8));
        code.into()
    }
}

/// Ends this process the way the job ended.
fn end_as(result: RunResult) -> ExitCode {
    match result {
        RunResult::Exit(code) => ExitCode::from(code),
        RunResult::Signal(signal) => {
            // A caller that checks for the signal, such as a shell in a loop, sees it.
            end_by(signal);
            ExitCode::from(128 + signal)
        }
        RunResult::Unlogged => Code::Runlog.into(),
    }
}

/// Reports why the command line does not name a command to start.
pub(crate) fn not_parsed(e: ParseError) -> ExitCode {
    match e {
        ParseError::Usage(failure) => exit::usage(&failure),
        ParseError::Settings(e) => report_not_started(&e).into(),
    }
}

/// Reports why nothing was started.
fn report_not_started(e: &anyhow::Error) -> Code {
    let (code, text) = before_the_start(e);
    print_stderr(text);
    code
}
