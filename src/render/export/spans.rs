//! What a job did from when to when: it waited, ran, waited to be tried again, was undone.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::job::RunStatus;
use crate::log::format::payload::{Cost, JobEnded};
use crate::log::{EventType, Item, JobState, RunState};
use crate::render::json::run_record::RunRecord;
use crate::volume::JobId;

/// Part of a job's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// From the submission to the start.
    Waiting,
    /// The attempt of that number, from 1.
    Attempt(u32),
    /// Between a failed attempt and the next one.
    Backoff,
    /// Its compensating command.
    Rollback,
}

impl Phase {
    /// What people call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Waiting => "waiting".to_owned(),
            Self::Attempt(n) => format!("attempt {n}"),
            Self::Backoff => "back-off".to_owned(),
            Self::Rollback => "rollback".to_owned(),
        }
    }
}

/// A phase of a job.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub job: JobId,
    pub phase: Phase,
    pub start: Timestamp,
    /// `None`: no event tells of the end.
    pub end: Option<Timestamp>,
    /// How an attempt or a rollback ended.
    pub ended: Option<JobEnded>,
}

impl Span {
    /// Whether it ended with an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.ended.as_ref().is_some_and(|e| e.error.is_some())
    }
}

/// What was told of a job.
#[derive(Debug, Default)]
struct AttemptState {
    open: Option<Span>,
    /// Its end was told.
    ended: bool,
}

/// Finds the phases while a run is read.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    jobs: HashMap<JobId, AttemptState>,
    /// The latest time that was seen.
    pub last: Option<Timestamp>,
}

impl Spans {
    /// The phases that the item ends.
    pub(crate) fn apply(&mut self, item: &Item<'_>, run: &RunState) -> Vec<Span> {
        let Some(head) = item.head() else {
            return Vec::new();
        };
        let (ts, kind) = (head.ts, head.kind.known());
        self.last = self.last.max(ts);
        let mut done = Vec::new();
        if kind == Some(EventType::LogRotated) {
            for job in &run.jobs {
                if !self.jobs.contains_key(&job.job_id) {
                    self.add_unfinished(job, &mut done);
                }
            }
            return done;
        }
        let job = head.job.and_then(|id| run.job(id.as_str()));
        let (Some(job), Some(ts)) = (job, ts) else {
            return done;
        };
        match (item, kind) {
            (Item::Event(_, line), Some(kind)) => self.event(kind, line, ts, job, &mut done),
            (Item::Foreign(..), _) => self.add_unfinished(job, &mut done),
            _ => {}
        }
        done
    }

    fn event(
        &mut self,
        kind: EventType,
        line: &[u8],
        ts: Timestamp,
        job: &JobState,
        done: &mut Vec<Span>,
    ) {
        let told = self.jobs.entry(job.job_id.clone()).or_default();
        let id = &job.job_id;
        match kind {
            EventType::JobSubmitted => told.open(id, Phase::Waiting, ts, done),
            EventType::JobStarted => {
                told.open(id, Phase::Attempt(job.attempt.unwrap_or(1)), ts, done);
            }
            EventType::JobRollbackStarted => told.open(id, Phase::Rollback, ts, done),
            EventType::JobCompleted | EventType::JobFailed | EventType::JobRolledBack => {
                let ended: JobEnded = serde_json::from_slice(line).unwrap_or_default();
                let goes_on = ended.retry_in_ms.is_some();
                let phase = match kind {
                    EventType::JobRolledBack => Phase::Rollback,
                    // The first end counts.
                    _ if told.ended => return,
                    _ => Phase::Attempt(ended.attempt.max(1)),
                };
                told.ended |= !goes_on && phase != Phase::Rollback;
                told.close(id, phase, ts, ended, done);
                if goes_on {
                    told.open(id, Phase::Backoff, ts, done);
                }
            }
            _ => {}
        }
    }

    /// A job of which only the state is known: events before it are gone, or another
    /// program wrote them.
    fn add_unfinished(&mut self, job: &JobState, done: &mut Vec<Span>) {
        let told = self.jobs.entry(job.job_id.clone()).or_default();
        let (id, attempt) = (&job.job_id, Phase::Attempt(job.attempt.unwrap_or(1)));
        if told.ended {
            return;
        }
        if let Some(ts) = job.submitted_ts.filter(|_| told.open.is_none()) {
            told.open(id, Phase::Waiting, ts, done);
        }
        if let Some(ts) = job.started_ts.filter(|_| !told.is_in(attempt)) {
            told.open(id, attempt, ts, done);
        }
        if let Some(ts) = job.ended_ts.filter(|_| job.stage.is_terminal()) {
            told.ended = true;
            told.close(id, attempt, ts, ended_of(job), done);
        }
    }

    /// What has no end, when all was read. In a run that goes on it lasts until now.
    pub(crate) fn rest(&mut self, run: &RunRecord) -> Vec<Span> {
        if run.state == RunStatus::Running {
            self.last = self.last.max(Some(Timestamp::now()));
        }
        let mut rest: Vec<_> = self
            .jobs
            .drain()
            .filter_map(|(_, told)| told.open)
            .collect();
        rest.sort_by(|a, b| (a.start, &a.job).cmp(&(b.start, &b.job)));
        rest
    }
}

impl AttemptState {
    fn is_in(&self, phase: Phase) -> bool {
        self.open.as_ref().is_some_and(|open| open.phase == phase)
    }

    fn open(&mut self, job: &JobId, phase: Phase, ts: Timestamp, done: &mut Vec<Span>) {
        self.end_open(ts, None, done);
        self.open = Some(Span {
            job: job.clone(),
            phase,
            start: ts,
            end: None,
            ended: None,
        });
    }

    /// Ends what goes on; the clock may have gone back.
    fn end_open(&mut self, ts: Timestamp, ended: Option<JobEnded>, done: &mut Vec<Span>) {
        if let Some(mut span) = self.open.take() {
            span.end = Some(ts.max(span.start));
            span.ended = ended;
            done.push(span);
        }
    }

    fn close(
        &mut self,
        job: &JobId,
        phase: Phase,
        ts: Timestamp,
        ended: JobEnded,
        done: &mut Vec<Span>,
    ) {
        let is_open = |open: &Span| match phase {
            Phase::Attempt(_) => open.phase != Phase::Rollback,
            phase => open.phase == phase,
        };
        if !self.open.as_ref().is_some_and(is_open) {
            // Its beginning is gone.
            let ms = i64::try_from(ended.duration_ms.unwrap_or(0)).unwrap_or(0);
            // A log may say anything.
            let start = ts.checked_sub(jiff::SignedDuration::from_millis(ms));
            let start = start.unwrap_or(ts);
            self.open(job, phase, start, done);
        }
        self.end_open(ts, Some(ended), done);
    }
}

fn ended_of(job: &JobState) -> JobEnded {
    JobEnded {
        attempt: job.attempt.unwrap_or(0),
        exit_code: job.exit_code,
        signal: job.signal.clone(),
        error: job.error.clone(),
        duration_ms: job.duration_ms,
        cost: job.cpu_ms.map(|cpu_ms| Cost {
            cpu_ms,
            max_rss_bytes: job.max_rss_bytes.unwrap_or(0),
            read_bytes: job.read_bytes.unwrap_or(0),
            written_bytes: job.written_bytes.unwrap_or(0),
            ..Cost::default()
        }),
        output: job.output.clone(),
        retry_in_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::parse_ts;

    #[test]
    fn a_duration_that_cannot_be_ends_nothing_but_its_span() {
        let ts = parse_ts("2026-11-21T21:49:00.123456Z").unwrap();
        for (ms, start) in [(1_000, "2026-11-21T21:48:59.123456Z"), (1 << 62, "")] {
            let (mut told, mut done) = (AttemptState::default(), Vec::new());
            let ended = JobEnded {
                duration_ms: Some(ms),
                ..JobEnded::default()
            };
            told.close(
                &"j".parse().unwrap(),
                Phase::Attempt(1),
                ts,
                ended,
                &mut done,
            );
            assert_eq!(done[0].start, parse_ts(start).unwrap_or(ts));
            assert_eq!(done[0].end, Some(ts));
        }
    }
}
