//! How a job ended, for the log and for the caller.

use std::io;
use std::time::Duration;

use super::child::Ended;
use super::job_events::millis;
use crate::job::process::sys::{Status, signal_name};
use crate::log::format::payload::{ErrorKind, JobEnded, JobError, Output};

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
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
    pub end: End,
    /// Jobs that kept the run open although it was to be closed.
    pub unfinished: Vec<String>,
}

/// What the log and the caller are told about an attempt.
pub(crate) fn describe(
    ended: &Ended,
    attempt: u32,
    timeout: Option<Duration>,
    output: Option<Output>,
) -> (End, JobEnded) {
    let (exit_code, signal) = match ended.status {
        Status::Exited(code) => (Some(code), None),
        Status::Signaled(signal) => (None, Some(signal)),
    };
    let error = |kind, message| Some(JobError { kind, message });
    let (end, error) = match ended.status {
        _ if ended.timed_out => {
            let limit = timeout.unwrap_or_default();
            let message = format!("it ran longer than {}", seconds(limit));
            (End::TimedOut, error(ErrorKind::Timeout, message))
        }
        Status::Exited(0) => (End::Exited(0), None),
        Status::Exited(code) => (
            End::Exited(code),
            error(ErrorKind::Exit, format!("it exited with code {code}")),
        ),
        Status::Signaled(signal) => {
            let message = format!("{} ended it", signal_name(signal));
            (End::Signaled(signal), error(ErrorKind::Signal, message))
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
