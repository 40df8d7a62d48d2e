//! Rolling back a failed job with the command that it recorded.

use super::child;
use super::child::Timeout;
use super::job_events::JobEvents;
use super::supervisor::{Supervisor, close_if_open, close_policy};
use crate::job::capture::stream::Passthrough;
use crate::job::process::supervision_page::{Claim, ROLLBACK_STEP};
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, RollbackStarted};
use crate::log::{Batch, Close};

/// The outcome of a rollback.
pub(crate) struct RolledBack {
    /// Why it did not succeed.
    pub error: Option<String>,
    /// The jobs that kept the run open; `None` if the last events may not be in the log.
    pub unfinished: Option<Vec<String>>,
}

/// Runs the compensating command. Its intent is durable before the command starts, and its own
/// failure is recorded and not hidden.
pub(crate) fn roll_back(
    context: &mut Supervisor<'_>,
    stages: &JobEvents,
    command: &str,
) -> RolledBack {
    let mut stages = stages.clone();
    stages.before = context.snapshot();
    let intent = RollbackStarted {
        command: context.spec.masked_command(command),
    };
    let written = context.append_terminal("the start of the rollback", |_| {
        let drafts = vec![stages.rollback_started(&intent)?];
        Ok(Batch {
            drafts,
            close: Close::No,
        })
    });
    if written.is_none() {
        // Otherwise no process could find out later that it ran, and it might run again.
        let error = "the rollback was not run: its start could not be recorded";
        (context.on_warning)(error);
        let close = close_policy(context.spec.after);
        let unfinished = context.append_terminal("the close of the run", |view| {
            let close = close_if_open(close, view);
            Ok(Batch::only(close))
        });
        return RolledBack {
            error: Some(error.to_owned()),
            unfinished,
        };
    }
    run_and_record(context, &stages, command)
}

/// Continues a rollback whose intent was written by a supervisor that died. That supervisor may
/// have started the command too, which is then awaited.
pub(crate) fn resume(
    context: &mut Supervisor<'_>,
    stages: &JobEvents,
    command: &str,
) -> RolledBack {
    let mut stages = stages.clone();
    stages.before = context.snapshot();
    run_and_record(context, &stages, command)
}

/// Runs the compensating command, and records its end.
fn run_and_record(context: &mut Supervisor<'_>, stages: &JobEvents, command: &str) -> RolledBack {
    let close = close_policy(context.spec.after);
    let (event, claim) = execute(context, command);
    if let Some(error) = &event.error {
        (context.on_warning)(&format!("the rollback failed: {}", error.message));
    }
    let after = context.snapshot();
    let unfinished = context.append_terminal("the end of the rollback", |view| {
        Ok(Batch {
            drafts: vec![stages.rolled_back(&event, &after)?],
            close: close_if_open(close, view),
        })
    });
    if let Some(claim) = claim {
        context.control.acknowledge(claim);
    }
    RolledBack {
        error: event.error.map(|error| error.message),
        unfinished,
    }
}

fn execute(context: &mut Supervisor<'_>, line: &str) -> (JobEnded, Option<Claim>) {
    let mut command = child::shell(line);
    if let Some(dir) = &context.spec.chdir {
        command.current_dir(dir);
    }
    let failed = |e: std::io::Error| JobEnded {
        error: Some(JobError {
            kind: ErrorKind::NotExecutable,
            message: format!("cannot run the rollback: {e}"),
        }),
        ..JobEnded::default()
    };
    let child = match context.resume(ROLLBACK_STEP, Passthrough::ToStderr) {
        Ok(Some(child)) => Ok(Ok(child)),
        Ok(None) => context.spawn(command, Passthrough::ToStderr, ROLLBACK_STEP),
        Err(e) => Err(e),
    };
    let child = match child {
        Ok(Ok(child)) => child,
        Ok(Err(e)) | Err(e) => return (failed(e), None),
    };
    let timeout = Timeout {
        limit: None,
        // The rollback exists for the case that runlog is killed.
        ends_with_front: false,
        ..Timeout::new(context.spec)
    };
    let event = match context.wait(child, timeout) {
        Ok(ended) => context.describe(&ended, 0).1,
        Err(e) => failed(e),
    };
    (event, Some(child.claim))
}
