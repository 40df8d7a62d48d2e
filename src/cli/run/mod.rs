//! `runlog run`.

mod args;
mod detach_channel;
mod hook_args;
mod hook_input;
mod lock_args;
mod overlap;
mod retry_args;
mod start_hint;
mod stream_args;
mod supervise;
mod trace;
mod unlogged;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context as _, Result};

pub(crate) use self::args::Args;
use self::args::IfKilled;
use self::detach_channel::{Channel, relay, report};
pub(crate) use self::overlap::LockHeld;
use self::overlap::{LockOutcome, take_lock};
use self::supervise::{Request, before_the_start};
use super::context::{Global, foreign_policy, print_stderr, warn_damage};
use super::exit;
use super::exit::Code;
use super::redaction::redacts_by_default;
use crate::job::{
    Detached, FrontEnd, FrontOptions, InDoubt, Role, RunResult, detach, end_by, inspect_run, start,
};
use crate::log::{Batch, Close, Durability, EventType, JobScope};

pub(crate) fn execute(args: &Args, global: &Global) -> ExitCode {
    if args.command.is_empty() {
        return exit::exit_code(close(args, global));
    }
    let mut spec = match args.check() {
        Ok(spec) => spec,
        Err(e) => return not_started(&e),
    };
    let volume = match global.make_volume() {
        Ok(volume) => Ok(volume),
        Err(e) => match before_the_start(&e) {
            (code, text) if unlogged::is_allowed(args, code) => Err(text),
            _ => return not_started(&e),
        },
    };
    if !redacts_by_default(volume.as_ref().ok()) {
        spec.redaction.without_variables();
    }
    let lock = match volume.as_ref().map(|volume| take_lock(args, &spec, volume)) {
        Ok(Err(e)) => return not_started(&e),
        Ok(Ok(LockOutcome::Skipped)) => return Code::Ok.into(),
        // Without a volume, no lock was asked for.
        Ok(Ok(LockOutcome::NoLock)) | Err(_) => None,
        Ok(Ok(LockOutcome::Held(lock, held))) => {
            spec.lock = Some(held);
            Some(lock)
        }
    };
    let channel = if args.detach {
        match detach().context("cannot start in the background") {
            Err(e) => return not_started(&e),
            Ok(Detached::Caller(said)) => return relay(&said),
            Ok(Detached::Front(channel)) => Channel::new(Mutex::new(Some(channel))),
        }
    } else {
        Channel::default()
    };
    let volume = match volume {
        Ok(volume) => volume,
        Err(text) => {
            unlogged::warn(args, &channel, &text);
            return unlogged::execute(&spec, Path::new("."));
        }
    };
    let request = Request {
        args,
        spec: &spec,
        volume: &volume,
        channel: &channel,
        lock: lock.as_ref(),
    };
    watch_over(&request)
}

/// Forks the supervisor, and returns in both processes how they are to end.
fn watch_over(request: &Request<'_>) -> ExitCode {
    let spec = request.spec;
    let options = FrontOptions {
        detached: spec.detached,
        keep_if_killed: request.args.if_killed == IfKilled::Keep,
        // A front without a supervisor cannot mask anything.
        pass_on: spec.output.pass_on && !spec.output.redact_passed_on,
        capture: spec.reads_output(),
    };
    match start(options).context("cannot start the supervisor") {
        Ok(Role::Supervisor(attached)) => {
            let progress = attached.progress();
            let result = request.supervise(*attached);
            progress.record_result(result);
            ExitCode::SUCCESS
        }
        Ok(Role::Front(FrontEnd::Done(RunResult::Unlogged))) => {
            unlogged::execute(spec, request.volume.path())
        }
        Ok(Role::Front(FrontEnd::Done(result))) => end_as(result),
        Ok(Role::Front(FrontEnd::Abandoned(result))) => {
            print_stderr(
                "runlog: the supervisor died too often: the end of the job is not in the log",
            );
            end_as(result)
        }
        Ok(Role::Front(FrontEnd::NeverStarted)) => {
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
    /// Reports why no supervisor starts the job, which then runs without a log if it may.
    fn give_up(&self, code: Code, text: &str) -> ExitCode {
        if unlogged::is_allowed(self.args, code) {
            unlogged::warn(self.args, self.channel, text);
            return unlogged::execute(self.spec, self.volume.path());
        }
        print_stderr(text);
        report(self.channel, &format!("{} {text}", code as u8));
        code.into()
    }
}

/// Ends this process as the job ended.
fn end_as(result: RunResult) -> ExitCode {
    match result {
        RunResult::Exit(code) => ExitCode::from(code),
        RunResult::Signal(signal) => {
            // A caller that looks for the signal, such as a shell in a loop, finds it.
            end_by(signal);
            ExitCode::from(128 + signal)
        }
        RunResult::Unlogged => Code::Runlog.into(),
    }
}

/// Closes a run: `run --run ID --close` without a command.
fn close(args: &Args, global: &Global) -> Result<Code> {
    let Some(run) = &args.run else {
        return Ok(Code::Usage);
    };
    let log =
        Global::open_exact(&global.volume()?, run)?.foreign_policy(foreign_policy(args.force));
    let inspected = inspect_run(log.dir(), JobScope::Summarized)?;
    warn_damage(&inspected.summary.damage);
    if !args.force {
        InDoubt::Refuse.check(run, inspected.summary.is_uncertain)?;
    }
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

/// Reports why nothing was started.
pub(crate) fn not_started(e: &anyhow::Error) -> ExitCode {
    let (code, text) = before_the_start(e);
    print_stderr(text);
    code.into()
}
