//! The legal order of a run's events and its jobs' stages.

use crate::log::format::event_type::EventType;
use crate::log::state::job_state::Stage;
use crate::log::state::run_state::RunState;

/// The reason why an event may not follow the earlier ones.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder {
    /// Whether another event must come first. That event may be among the damaged ones.
    pub missing: bool,
    pub message: String,
}

impl OutOfOrder {
    fn missing(message: String) -> Self {
        Self {
            missing: true,
            message,
        }
    }

    fn contradiction(message: String) -> Self {
        Self {
            missing: false,
            message,
        }
    }
}

/// Returns why an event of this type, job and attempt may not follow the events that led to the
/// state `run`; `None` if it may.
pub(crate) fn out_of_order(
    run: &RunState,
    kind: EventType,
    job: Option<&str>,
    attempt: Option<u32>,
) -> Option<OutOfOrder> {
    if let Some(wrong) = check_run(run, kind) {
        return Some(wrong);
    }
    let id = job?;
    check_job(run, kind, id, attempt).map(|wrong| OutOfOrder {
        message: format!("job {id}: {}", wrong.message),
        ..wrong
    })
}

fn check_run(run: &RunState, kind: EventType) -> Option<OutOfOrder> {
    let what = kind.as_str();
    let is_open = run.opened_ts.is_some();
    let is_maintenance = matches!(kind, EventType::LogRotated | EventType::LogRepaired);
    if kind == EventType::RunOpened && is_open && !run.foreign {
        let message = "the run was opened before".to_owned();
        return Some(OutOfOrder::contradiction(message));
    }
    if kind != EventType::RunOpened && !is_maintenance && !is_open {
        let message = format!("the run starts with {what}, not with run_opened");
        return Some(OutOfOrder::missing(message));
    }
    if run.is_closed() && !kind.may_follow_close() && !run.foreign {
        let message = format!("{what} may not follow run_closed");
        return Some(OutOfOrder::contradiction(message));
    }
    if kind == EventType::RunClosed {
        let id = &run.unfinished().next()?.job_id;
        let message = format!("the run is closed, but job {id} has no end");
        return Some(OutOfOrder::missing(message));
    }
    None
}

fn check_job(
    run: &RunState,
    kind: EventType,
    id: &str,
    attempt: Option<u32>,
) -> Option<OutOfOrder> {
    let what = kind.as_str();
    if kind == EventType::Note {
        return None;
    }
    let Some(job) = run.job(id) else {
        let known = kind == EventType::JobSubmitted || run.jobs_truncated;
        let message = format!("{what} without job_submitted");
        return (!known).then(|| OutOfOrder::missing(message));
    };
    // A job that another program records does not follow runlog's order.
    if job.foreign {
        return None;
    }
    let stage = job.stage;
    let running = stage == Stage::Started && job.process.is_some();
    let undoing = job.rollback_is_unfinished();
    let follows = || format!("{what} may not follow {}", stage.as_str());
    match kind {
        EventType::JobSubmitted => {
            let message = "it was submitted before".to_owned();
            Some(OutOfOrder::contradiction(message))
        }
        EventType::JobValidated if stage != Stage::Submitted => {
            Some(OutOfOrder::contradiction(follows()))
        }
        EventType::JobStarted | EventType::JobCompleted | EventType::JobFailed
            if stage.is_terminal() =>
        {
            let message = format!("{what} follows the end of the job");
            Some(OutOfOrder::contradiction(message))
        }
        EventType::JobStarted if stage == Stage::Submitted || running => {
            Some(OutOfOrder::missing(follows()))
        }
        EventType::JobStarted => {
            let next = job.attempt.map_or(1, |n| n + 1);
            let attempt = attempt.filter(|n| *n != next)?;
            let message = format!("attempt {attempt}, but attempt {next} is expected");
            Some(OutOfOrder::missing(message))
        }
        EventType::JobSampled | EventType::JobCompleted if !running => {
            Some(OutOfOrder::missing(follows()))
        }
        EventType::JobRollbackStarted if !stage.is_terminal() => {
            Some(OutOfOrder::missing(follows()))
        }
        EventType::JobRolledBack if !undoing => {
            let message = format!("{what} without job_rollback_started");
            Some(OutOfOrder::missing(message))
        }
        _ => None,
    }
}
