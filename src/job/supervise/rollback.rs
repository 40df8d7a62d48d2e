//! Rolling back a failed job with the command that it recorded.

use super::append_terminal::close_policy;
use super::child;
use super::child::{Program, Timeout};
use super::job_events::JobEvents;
use super::supervisor::{SpawnError, Supervisor};
use crate::job::capture::stream::Passthrough;
use crate::job::process::supervision_page::{Claim, ROLLBACK_STEP};
use crate::job::spec::job_spec::DurationBounds;
use crate::log::Close;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, RollbackStarted};

/// The outcome of a rollback.
pub(crate) struct RolledBack {
    /// Why it did not succeed.
    pub error: Option<String>,
    /// The jobs that kept the run open; `None` if the last events may not be in the log.
    pub unfinished: Option<Vec<String>>,
}

/// Runs the rollback command. Its intent is durable before the command starts, and its own
/// failure is recorded and not hidden.
pub(crate) fn roll_back(
    supervisor: &mut Supervisor<'_>,
    events: &JobEvents,
    command: &str,
) -> RolledBack {
    let mut events = events.clone();
    events.before = supervisor.snapshot();
    let intent = RollbackStarted {
        command: supervisor.spec.masked_command(command),
    };
    let intent = events.rollback_started(&intent);
    let written = supervisor.append_terminal("the start of the rollback", intent, Close::No);
    if written.is_none() {
        // Otherwise no process could find out later that it ran, and it might run again.
        let error = "the rollback was not run: its start could not be recorded";
        (supervisor.on_warning)(error);
        let close = close_policy(supervisor.spec.after);
        let unfinished = supervisor.append_unwritten("the close of the run", close);
        return RolledBack {
            error: Some(error.to_owned()),
            unfinished,
        };
    }
    run_and_record(supervisor, &events, command)
}

/// Continues a rollback whose intent was written by a supervisor that died. That supervisor may
/// have started the command too, which is then awaited.
pub(crate) fn resume(
    supervisor: &mut Supervisor<'_>,
    events: &JobEvents,
    command: &str,
) -> RolledBack {
    let mut events = events.clone();
    events.before = supervisor.snapshot();
    run_and_record(supervisor, &events, command)
}

/// Runs the rollback command, and records its end.
fn run_and_record(
    supervisor: &mut Supervisor<'_>,
    events: &JobEvents,
    command: &str,
) -> RolledBack {
    let close = close_policy(supervisor.spec.after);
    let (event, claim) = execute(supervisor, command);
    if let Some(error) = &event.error {
        (supervisor.on_warning)(&format!("the rollback failed: {}", error.message));
    }
    let after = supervisor.snapshot();
    let ended = events.rolled_back(&event, &after);
    let unfinished = supervisor.append_terminal("the end of the rollback", ended, close);
    if let Some(claim) = claim {
        supervisor.control.acknowledge(claim);
    }
    RolledBack {
        error: event.error.map(|error| error.message),
        unfinished,
    }
}

fn execute(supervisor: &mut Supervisor<'_>, line: &str) -> (JobEnded, Option<Claim>) {
    let mut command = child::shell(line);
    if let Some(dir) = &supervisor.spec.chdir {
        command.current_dir(dir);
    }
    let program = Program {
        command,
        file: None,
    };
    let failed = |e: std::io::Error| JobEnded {
        error: Some(JobError {
            kind: ErrorKind::NotExecutable,
            message: format!("cannot run the rollback: {e}"),
        }),
        ..JobEnded::default()
    };
    let child = match supervisor.resume(ROLLBACK_STEP, Passthrough::ToStderr) {
        Ok(Some(child)) => Ok(child),
        Ok(None) => supervisor
            .spawn(program, Passthrough::ToStderr, ROLLBACK_STEP)
            .map_err(SpawnError::into_io),
        Err(e) => Err(e),
    };
    let child = match child {
        Ok(child) => child,
        Err(e) => return (failed(e), None),
    };
    let timeout = Timeout {
        limit: None,
        // The rollback exists for the case that runlog is killed.
        ends_with_front: false,
        ..Timeout::new(supervisor.spec)
    };
    let event = match supervisor.wait(child, timeout) {
        Ok(ended) => {
            // The bounds of the spec are those of the job.
            let bounds = DurationBounds::default();
            supervisor.describe(&ended, 0, bounds).1
        }
        Err(e) => failed(e),
    };
    (event, Some(child.claim))
}
