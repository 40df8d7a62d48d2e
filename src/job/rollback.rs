//! Undoing a failed job with the command that it recorded.

use serde::Serialize;
use serde_json::value::RawValue;

use super::child::{self, Limit};
use super::run::{Context, closing};
use super::stages::Stages;
use crate::log::payload::{ErrorKind, JobEnded, JobError, RollbackStarted};
use crate::log::{Close, View};

/// An event that may follow the close of its run carries the summary then.
#[derive(Serialize)]
struct Late<T> {
    #[serde(flatten)]
    event: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Box<RawValue>>,
}

fn late<T>(event: T, view: &View<'_>) -> serde_json::Result<Late<T>> {
    let summary = view.is_closed.then(|| view.state.summary()).transpose()?;
    Ok(Late { event, summary })
}

/// Runs the compensating command: its intent is durable before it begins, its own
/// failure is recorded and not hidden. Gives the jobs that kept the run open.
pub(super) fn roll_back(context: &mut Context<'_>, stages: &Stages, command: &str) -> Vec<String> {
    let mut stages = stages.clone();
    stages.before = context.snapshot();
    let shown = match &context.spec.redactor {
        Some(redactor) => redactor.mask_str(command).into_owned(),
        None => command.to_owned(),
    };
    let intent = RollbackStarted { command: shown };
    context.write_last("the start of the rollback", Close::No, |view| {
        Ok(vec![stages.rollback_started(late(&intent, view)?)?])
    });
    let event = execute(context, command);
    if let Some(error) = &event.error {
        (context.trouble)(&format!("the rollback failed: {}", error.message));
    }
    let after = context.snapshot();
    context.write_last("the end of the rollback", Close::No, |view| {
        Ok(vec![stages.rolled_back(late(&event, view)?, &after)?])
    });
    match closing(context.spec.after) {
        Close::No => Vec::new(),
        close => context.write_last("the close of the run", close, |view| {
            // Somebody else may have closed it meanwhile.
            debug_assert!(view.state.is_closed() == view.is_closed);
            Ok(Vec::new())
        }),
    }
}

fn execute(context: &mut Context<'_>, line: &str) -> JobEnded {
    let mut command = child::shell(line);
    command.current_dir(&context.spec.cwd);
    let failed = |e: std::io::Error| JobEnded {
        error: Some(JobError {
            kind: ErrorKind::NotExecutable,
            message: format!("cannot run the rollback: {e}"),
        }),
        ..JobEnded::default()
    };
    let child = match context.spawn(command) {
        Ok(Ok(child)) => child,
        Ok(Err(e)) | Err(e) => return failed(e),
    };
    let limit = Limit {
        timeout: None,
        kill_after: context.spec.kill_after,
    };
    let ended = child.wait(&context.signals, limit);
    context.drain();
    match ended {
        Ok(ended) => context.describe(&ended, 0).1,
        Err(e) => failed(e),
    }
}
