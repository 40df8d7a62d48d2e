//! What the hooks of `runlog run` receive about the job and its run.

use std::sync::Arc;

use crate::cli::context::print_stderr;
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::job::{HookInput, HookTrigger, JobEnd, MakeHookInput, inspect_run};
use crate::log::{JobScope, RunLog, RunStatus};
use crate::render::{RunRecord, json_line};

/// Returns a function that makes the input from the log after the job has ended.
pub(crate) fn hook_input(log: Arc<RunLog>) -> MakeHookInput {
    Box::new(move |end, undelivered_bytes| {
        let is_undelivered = end.is_success() && undelivered_bytes > 0;
        let mut input = HookInput {
            status: Vec::new(),
            state: RunStatus::Unknown.as_str(),
            exit_code: if is_undelivered {
                Code::Undelivered as u8
            } else {
                exit_code(end)
            },
            trigger: if is_undelivered {
                HookTrigger::Failure
            } else {
                HookTrigger::from_end(end)
            },
        };
        if let Err(e) = add_status(&mut input, &log) {
            print_stderr(format_args!("warning: the hooks get no status: {e:#}"));
        }
        input
    })
}

fn add_status(input: &mut HookInput, log: &RunLog) -> anyhow::Result<()> {
    let inspected = inspect_run(log.dir(), JobScope::All)?;
    input.state = inspected.verdict.state.as_str();
    let path = log.dir().path().to_owned();
    let record = RunRecord::new(log.run_id().clone(), path, inspected);
    Ok(json_line(&mut input.status, &record)?)
}

/// Returns the exit code of a job as a shell shows it.
fn exit_code(end: &JobEnd) -> u8 {
    match end {
        JobEnd::Exited(code) => *code as u8,
        JobEnd::Signaled(signal) | JobEnd::Canceled(signal) => 128 + *signal as u8,
        JobEnd::TimedOut => Code::Timeout as u8,
        JobEnd::Rejected(_) => Code::Negative as u8,
        JobEnd::NotStarted(error) => exit::not_started(error, None).0 as u8,
    }
}
