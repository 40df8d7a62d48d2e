//! Undoing a failed job with the command that it recorded.

use super::child;
use super::child::Timeout;
use super::job_events::JobEvents;
use super::supervisor::{Supervisor, close_if_open, close_policy};
use crate::job::capture::stream::Passthrough;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, RollbackStarted};
use crate::log::{Batch, Close};

/// What became of a rollback.
pub(crate) struct RolledBack {
    /// Why it did not succeed.
    pub error: Option<String>,
    /// The jobs that kept the run open; `None` where the last of it is not in the log
    /// for certain.
    pub unfinished: Option<Vec<String>>,
}

/// Runs the compensating command: its intent is durable before it begins, its own
/// failure is recorded and not hidden.
pub(crate) fn roll_back(
    context: &mut Supervisor<'_>,
    stages: &JobEvents,
    command: &str,
) -> RolledBack {
    let mut stages = stages.clone();
    stages.before = context.snapshot();
    let intent = RollbackStarted {
        command: context.spec.masked(command),
    };
    let close = close_policy(context.spec.after);
    let intended = context.append_terminal("the start of the rollback", |_| {
        let drafts = vec![stages.rollback_started(&intent)?];
        Ok(Batch {
            drafts,
            close: Close::No,
        })
    });
    if intended.is_none() {
        // Whoever looks later could not tell that it ran, and might run it again.
        let error = "the rollback was not run: its start could not be recorded";
        (context.trouble)(error);
        let unfinished = context.append_terminal("the close of the run", |view| {
            let close = close_if_open(close, view);
            Ok(Batch::only(close))
        });
        return RolledBack {
            error: Some(error.to_owned()),
            unfinished,
        };
    }
    let event = execute(context, command);
    if let Some(error) = &event.error {
        (context.trouble)(&format!("the rollback failed: {}", error.message));
    }
    let after = context.snapshot();
    let unfinished = context.append_terminal("the end of the rollback", |view| {
        let drafts = vec![stages.rolled_back(&event, &after)?];
        Ok(Batch {
            drafts,
            close: close_if_open(close, view),
        })
    });
    RolledBack {
        error: event.error.map(|error| error.message),
        unfinished,
    }
}

fn execute(context: &mut Supervisor<'_>, line: &str) -> JobEnded {
    let mut command = child::shell(line);
    command.current_dir(&context.spec.cwd);
    let failed = |e: std::io::Error| JobEnded {
        error: Some(JobError {
            kind: ErrorKind::NotExecutable,
            message: format!("cannot run the rollback: {e}"),
        }),
        ..JobEnded::default()
    };
    let child = match context.spawn(command, Passthrough::ToStderr) {
        Ok(Ok(child)) => child,
        Ok(Err(e)) | Err(e) => return failed(e),
    };
    let limit = Timeout {
        timeout: None,
        kill_after: context.spec.kill_after,
    };
    match context.wait(&child, limit) {
        Ok(ended) => context.describe(&ended, 0).1,
        Err(e) => failed(e),
    }
}
