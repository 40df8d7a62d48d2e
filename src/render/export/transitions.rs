//! The changes of a run and its jobs that each line of a log causes, whatever program wrote it.

use std::collections::HashMap;

use jiff::Timestamp;
use ulid::Ulid;

use crate::log::{EventType, Item, JobState, RunState, Stage};
use crate::volume::JobId;

/// A change of a run or of a job.
#[derive(Debug)]
pub(crate) struct Transition<'a> {
    pub what: TransitionKind<'a>,
    /// When the change happened.
    pub ts: Timestamp,
    /// The id of the event; only its first transition has it.
    pub id: Option<Ulid>,
}

#[derive(Debug)]
pub(crate) enum TransitionKind<'a> {
    Opened,
    Submitted(&'a JobState),
    Validated(&'a JobState),
    Started(&'a JobState),
    Ended(&'a JobState),
    RolledBack(&'a JobState),
    Closed,
}

/// The past transitions of a job.
#[derive(Debug, Default)]
struct SeenTransitions {
    validated: bool,
    /// The last attempt that started, and when.
    started: Option<(Option<u32>, Option<Timestamp>)>,
    ended: bool,
    rolled_back: bool,
}

/// Finds the transitions while a run is read.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    opened: bool,
    closed: bool,
    jobs: HashMap<JobId, SeenTransitions>,
}

impl Transitions {
    /// Returns the transitions of the item; `run` is the state including it.
    ///
    /// A checkpoint at the start of a log has all transitions before it.
    pub(crate) fn classify<'a>(
        &mut self,
        item: &Item<'_>,
        run: &'a RunState,
    ) -> Vec<Transition<'a>> {
        let Some(head) = item.head() else {
            return Vec::new();
        };
        let mut transitions = Vec::new();
        let mut push = |what, ts| transitions.push(Transition { what, ts, id: None });
        if !self.opened
            && let Some(opened) = run.opened_ts
        {
            self.opened = true;
            push(TransitionKind::Opened, opened);
        }
        let is_checkpoint = head.kind == EventType::LogRotated;
        if is_checkpoint {
            for job in &run.jobs {
                self.job(job, None, &mut push);
            }
        } else if let Some(job) = head.job.and_then(|id| run.job(id.as_str())) {
            self.job(job, head.ts, &mut push);
        }
        if !self.closed
            && let Some(closed) = run.closed_ts
        {
            self.closed = true;
            push(TransitionKind::Closed, closed);
        }
        if let Some(first) = transitions.first_mut().filter(|_| !is_checkpoint) {
            first.id = head.ulid;
        }
        transitions
    }

    /// Finds the transitions of a job; `ts` is the time of the current event, if it caused them.
    fn job<'a>(
        &mut self,
        job: &'a JobState,
        ts: Option<Timestamp>,
        push: &mut impl FnMut(TransitionKind<'a>, Timestamp),
    ) {
        let at = |stored: Option<Timestamp>| {
            let ts = ts.or(stored).or(job.ended_ts);
            ts.unwrap_or(Timestamp::UNIX_EPOCH)
        };
        let is_new = !self.jobs.contains_key(&job.job_id);
        let seen = self.jobs.entry(job.job_id.clone()).or_default();
        if is_new && job.submitted_ts.is_some() {
            push(TransitionKind::Submitted(job), at(job.submitted_ts));
        }
        if job.stage == Stage::Validated && !std::mem::replace(&mut seen.validated, true) {
            push(TransitionKind::Validated(job), at(job.submitted_ts));
        }
        if job.started_ts.is_some() {
            let started = Some((job.attempt, job.started_ts));
            if seen.started != started {
                seen.started = started;
                push(TransitionKind::Started(job), at(job.started_ts));
            }
        }
        if job.stage.is_terminal() && !std::mem::replace(&mut seen.ended, true) {
            push(TransitionKind::Ended(job), at(job.ended_ts));
        }
        let is_back = job.stage == Stage::RolledBack;
        if is_back && !std::mem::replace(&mut seen.rolled_back, true) {
            push(TransitionKind::RolledBack(job), at(job.ended_ts));
        }
    }
}

impl Transition<'_> {
    /// Returns when the change happened, in milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.ts.as_millisecond()).unwrap_or(0)
    }
}

/// Returns whether a job that has ended failed.
pub(crate) fn job_has_failed(job: &JobState) -> bool {
    job.stage != Stage::Completed && job.error.is_some() || job.stage == Stage::Failed
}
