//! The end of a job, for the log and for the caller.

use std::time::Duration;

use jiff::Timestamp;

use super::child::{EndCause, ExitedChild};
use super::job_events::millis;
use crate::job::process::inherited::SIGNALS;
use crate::job::process::passed_signals::PassedSignal;
use crate::job::process::signals::signal_name;
use crate::job::process::wait_status::WaitStatus;
use crate::log::JobState;
use crate::log::format::payload::{
    ErrorKind, ForwardedSignal, JobEnded, JobError, Output, SignalSender,
};

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
    /// By its timeout.
    TimedOut,
    /// It exited with code 0, but outside of the limits for its duration.
    Rejected(JobError),
    /// It never started, or its last attempt did not.
    NotStarted(JobError),
    /// A signal arrived between two attempts, or killed the front of a job that then exited with
    /// 0.
    Canceled(i32),
}

impl JobEnd {
    /// Returns whether the job completed.
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

/// The outcome of a job and its run.
#[derive(Debug)]
pub struct Outcome {
    /// How the last attempt ended.
    pub end: JobEnd,
    /// The jobs that kept the run open although it was to be closed.
    pub unfinished: Vec<String>,
    /// The number of bytes of its output that could not be passed on.
    pub undelivered_bytes: u64,
}

/// Returns the report about an attempt for the log and the caller.
pub(crate) fn describe(
    ended: &ExitedChild,
    attempt: u32,
    timeout: Option<Duration>,
    output: Option<Output>,
) -> (JobEnd, JobEnded) {
    let error = |kind, message| Some(JobError { kind, message });
    let (end, error) = match ended.status {
        _ if ended.cause == EndCause::FrontKilled => {
            let message = "runlog was killed, so the job was stopped".to_owned();
            let end = match ended.status {
                WaitStatus::Exited(0) => JobEnd::Canceled(libc::SIGKILL),
                WaitStatus::Exited(code) => JobEnd::Exited(code),
                WaitStatus::Signaled(signal) => JobEnd::Signaled(signal),
            };
            (end, error(ErrorKind::Canceled, message))
        }
        _ if ended.cause == EndCause::TimedOut => {
            let limit = timeout.unwrap_or_default();
            let message = format!("it ran longer than {}", seconds(limit));
            (JobEnd::TimedOut, error(ErrorKind::Timeout, message))
        }
        WaitStatus::Exited(code) => (JobEnd::Exited(code), status_error(ended.status)),
        WaitStatus::Signaled(signal) => (JobEnd::Signaled(signal), status_error(ended.status)),
    };
    let event = JobEnded {
        attempt,
        exit_code: ended.status.exit_code(),
        signal: ended.status.signal().map(signal_name),
        error,
        duration_ms: Some(millis(ended.duration)),
        cost: ended.cost.clone(),
        output,
        signals: ended.signals.iter().map(forwarded).collect(),
        oom_kills: None,
        retry_in_ms: None,
    };
    (end, event)
}

/// Records the number of OOM kills during an attempt, which may be the reason why it failed.
pub(super) fn record_oom_kills(event: &mut JobEnded, kills: u64) {
    event.oom_kills = Some(kills);
    if kills > 0
        && let Some(error) = &mut event.error
    {
        let plural = if kills == 1 { "" } else { "es" };
        error.message = format!(
            "{}; memory ran out, and the kernel killed {kills} process{plural} in its cgroup",
            error.message
        );
    }
}

/// Returns the error for an unsuccessful exit status; `None` for exit code 0.
pub(super) fn status_error(status: WaitStatus) -> Option<JobError> {
    let (kind, message) = match status {
        WaitStatus::Exited(0) => return None,
        WaitStatus::Exited(code) => (ErrorKind::Exit, format!("it exited with code {code}")),
        WaitStatus::Signaled(signal) => (
            ErrorKind::Signal,
            format!("it was killed by {}", signal_name(signal)),
        ),
    };
    Some(JobError { kind, message })
}

/// Returns the record of a signal that was passed on.
fn forwarded(passed: &PassedSignal) -> ForwardedSignal {
    ForwardedSignal {
        signal: signal_name(passed.signal),
        ts: Some(Timestamp::from_microsecond(passed.at_micros).unwrap_or_default()),
        sender: (!passed.from_kernel).then_some(SignalSender {
            pid: passed.pid,
            uid: passed.uid,
        }),
    }
}

/// Returns the end of a job whose terminal event is already in the log.
pub(crate) fn end_from_log(job: &JobState) -> JobEnd {
    let kind = job.error.as_ref().map(|error| error.kind);
    let stopped = job.stop_request.as_ref();
    if kind == Some(ErrorKind::Canceled)
        && let Some(signal) = stopped.and_then(|stop| signal_number(&stop.signal))
    {
        return JobEnd::Canceled(signal);
    }
    let signal = job.signal.as_deref().and_then(signal_number);
    match (kind, job.exit_code, signal, &job.error) {
        (Some(ErrorKind::Timeout), ..) => JobEnd::TimedOut,
        (Some(ErrorKind::Validation), Some(0), _, Some(error)) => JobEnd::Rejected(error.clone()),
        (Some(ErrorKind::Canceled), Some(0), ..) => JobEnd::Canceled(libc::SIGKILL),
        (_, Some(code), ..) => JobEnd::Exited(code),
        (_, _, Some(signal), _) => JobEnd::Signaled(signal),
        (Some(ErrorKind::Canceled), ..) => JobEnd::Canceled(libc::SIGTERM),
        (.., Some(error)) => JobEnd::NotStarted(error.clone()),
        (.., None) => JobEnd::Exited(0),
    }
}

fn signal_number(name: &str) -> Option<i32> {
    (1..=SIGNALS).find(|signal| signal_name(*signal) == name)
}

fn seconds(d: Duration) -> String {
    format!("{} s", d.as_secs_f64())
}

/// Returns the end of an attempt that failed and was to be retried.
pub(crate) fn failed_from_log(job: &JobState, attempt: u32) -> JobEnded {
    JobEnded {
        attempt,
        exit_code: job.exit_code,
        signal: job.signal.clone(),
        duration_ms: job.duration_ms,
        output: job.output.clone(),
        ..JobEnded::default()
    }
}

/// Returns the end of a job whose attempt after `earlier` a signal canceled. `signals` are those
/// that arrived since the start of the earlier one.
pub(crate) fn canceled(earlier: JobEnded, signal: i32, signals: &[PassedSignal]) -> JobEnded {
    JobEnded {
        error: Some(JobError {
            kind: ErrorKind::Canceled,
            message: format!(
                "{} arrived before attempt {}",
                signal_name(signal),
                earlier.attempt + 1
            ),
        }),
        signals: signals.iter().map(forwarded).collect(),
        retry_in_ms: None,
        ..earlier
    }
}
