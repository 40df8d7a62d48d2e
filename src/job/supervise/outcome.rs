//! How a job ended, for the log and for the caller.

use std::io;
use std::time::Duration;

use super::child::ExitedChild;
use super::job_events::millis;
use crate::job::process::signals::signal_name;
use crate::job::process::wait_status::WaitStatus;
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, Output};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// By its time-out.
    TimedOut,
    /// It never began.
    NotStarted(JobError),
    /// It was called off between two attempts.
    Canceled(i32),
}

/// What became of a job and its run.
#[derive(Debug)]
pub struct Outcome {
    /// How the last attempt ended.
    pub end: JobEnd,
    /// Jobs that kept the run open although it was to be closed.
    pub unfinished: Vec<String>,
}

/// What the log and the caller are told about an attempt.
pub(crate) fn describe(
    ended: &ExitedChild,
    attempt: u32,
    timeout: Option<Duration>,
    output: Option<Output>,
) -> (JobEnd, JobEnded) {
    let (exit_code, signal) = match ended.status {
        WaitStatus::Exited(code) => (Some(code), None),
        WaitStatus::Signaled(signal) => (None, Some(signal)),
    };
    let error = |kind, message| Some(JobError { kind, message });
    let (end, error) = match ended.status {
        _ if ended.timed_out => {
            let limit = timeout.unwrap_or_default();
            let message = format!("it ran longer than {}", seconds(limit));
            (JobEnd::TimedOut, error(ErrorKind::Timeout, message))
        }
        WaitStatus::Exited(0) => (JobEnd::Exited(0), None),
        WaitStatus::Exited(code) => (
            JobEnd::Exited(code),
            error(ErrorKind::Exit, format!("it exited with code {code}")),
        ),
        WaitStatus::Signaled(signal) => {
            let message = format!("{} ended it", signal_name(signal));
            (JobEnd::Signaled(signal), error(ErrorKind::Signal, message))
        }
    };
    let event = JobEnded {
        attempt,
        exit_code,
        signal: signal.map(signal_name),
        error,
        duration_ms: Some(millis(ended.duration)),
        cost: Some(ended.cost.clone()),
        output,
        retry_in_ms: None,
    };
    (end, event)
}

fn seconds(d: Duration) -> String {
    format!("{} s", d.as_secs_f64())
}

pub(crate) fn canceled(attempt: u32, signal: i32) -> JobEnded {
    JobEnded {
        attempt,
        error: Some(JobError {
            kind: ErrorKind::Canceled,
            message: format!(
                "{} came before attempt {}",
                signal_name(signal),
                attempt + 1
            ),
        }),
        ..JobEnded::default()
    }
}

/// What a failed spawn says about the command, as a shell would.
pub(crate) fn spawn_error(program: &str, e: &io::Error) -> JobError {
    let kind = match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => ErrorKind::NotFound,
        // It is we who lack something.
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => ErrorKind::ResourceLimit,
        _ => ErrorKind::NotExecutable,
    };
    JobError {
        kind,
        message: format!("cannot execute {program}: {e}"),
    }
}
