//! Which event may follow which: the legal order of a run's life and its jobs' stages.

use crate::log::format::event_type::EventType;
use crate::log::state::run_state::{JobState, RunState, Stage};

/// Why an event may not stand where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder {
    /// Another event would have to come first: it may be among those that are damaged.
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

/// What is wrong with an event of this kind, of this job and attempt, where the events
/// before it tell `run`.
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
    check_job(kind, run.job(id), run.jobs_truncated, attempt).map(|wrong| OutOfOrder {
        message: format!("job {id}: {}", wrong.message),
        ..wrong
    })
}

fn check_run(run: &RunState, kind: EventType) -> Option<OutOfOrder> {
    let what = kind.as_str();
    let begun = run.opened_ts.is_some();
    let upkeep = matches!(kind, EventType::LogRotated | EventType::LogRepaired);
    if kind == EventType::RunOpened && begun && !run.foreign {
        let message = "the run was opened before".to_owned();
        return Some(OutOfOrder::contradiction(message));
    }
    if kind != EventType::RunOpened && !upkeep && !begun {
        let message = format!("the run begins with {what}, not with run_opened");
        return Some(OutOfOrder::missing(message));
    }
    if run.is_closed() && !kind.may_follow_close() && !run.foreign {
        let message = format!("{what} may not follow run_closed");
        return Some(OutOfOrder::contradiction(message));
    }
    if kind == EventType::RunClosed {
        let id = &run.unfinished().next()?.job_id;
        let message = format!("the run is closed, and job {id} has no end");
        return Some(OutOfOrder::missing(message));
    }
    None
}

fn check_job(
    kind: EventType,
    job: Option<&JobState>,
    truncated: bool,
    attempt: Option<u32>,
) -> Option<OutOfOrder> {
    let what = kind.as_str();
    if kind == EventType::Note {
        return None;
    }
    let Some(job) = job else {
        let known = kind == EventType::JobSubmitted || truncated;
        let message = format!("{what} without job_submitted");
        return (!known).then(|| OutOfOrder::missing(message));
    };
    // Where another program tells of the same job, the order is not ours.
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
            let message = format!("{what}, but it has ended before");
            Some(OutOfOrder::contradiction(message))
        }
        EventType::JobStarted if stage == Stage::Submitted || running => {
            Some(OutOfOrder::missing(follows()))
        }
        EventType::JobStarted => {
            let next = job.attempt.map_or(1, |n| n + 1);
            let attempt = attempt.filter(|n| *n != next)?;
            let message = format!("attempt {attempt} where attempt {next} is due");
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
