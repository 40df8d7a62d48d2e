//! The phases of jobs with their times: waiting, attempts, waiting for a retry, rollback.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::job::RunStatus;
use crate::log::format::payload::{Cost, JobEnded, parse_payload};
use crate::log::{EventType, Item, JobState, RunState, SteadyTime};
use crate::render::json::run_record::RunRecord;
use crate::volume::JobId;

/// A kind of phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// From the submission to the start.
    Waiting,
    /// The attempt with this number, from 1.
    Attempt(u32),
    /// Between a failed attempt and the next one.
    Backoff,
    /// The rollback command.
    Rollback,
}

impl Phase {
    /// Returns the name for people.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Waiting => "waiting".to_owned(),
            Self::Attempt(n) => format!("attempt {n}"),
            Self::Backoff => "back-off".to_owned(),
            Self::Rollback => "rollback".to_owned(),
        }
    }
}

/// A phase of a job with its times.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub job: JobId,
    pub phase: Phase,
    pub start: Timestamp,
    /// The end; `None` if no event marks it.
    pub end: Option<Timestamp>,
    /// How an attempt or a rollback ended.
    pub ended: Option<JobEnded>,
}

impl Span {
    /// Returns the end; without one, the phase lasts until `latest`.
    pub(crate) fn end_or(&self, latest: Option<Timestamp>) -> Timestamp {
        self.end.or(latest).unwrap_or(self.start).max(self.start)
    }

    /// Returns whether it ended with an error.
    pub(crate) fn has_failed(&self) -> bool {
        self.ended.as_ref().is_some_and(|e| e.error.is_some())
    }
}

/// The phases of a job so far.
#[derive(Debug, Default)]
struct JobPhases {
    open: Option<Span>,
    /// When the last phase ended.
    last_end: Option<Timestamp>,
    /// The start of the first phase, and the latest end of a phase.
    extent: Option<(Timestamp, Timestamp)>,
    /// Whether the end of the job was read.
    ended: bool,
}

/// Finds the phases of all jobs while a run is read.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    time: SteadyTime,
    /// The time of the last event.
    pub now: Option<Timestamp>,
    jobs: HashMap<JobId, JobPhases>,
    /// The latest time so far. Upkeep of the log, which may be long after the end, does not count.
    pub last: Option<Timestamp>,
}

impl Spans {
    /// Returns the phases that this item ends.
    pub(crate) fn apply(&mut self, item: &Item<'_>, run: &RunState) -> Vec<Span> {
        let done = self.ended_by(item, run);
        self.cover(&done);
        done
    }

    fn ended_by(&mut self, item: &Item<'_>, run: &RunState) -> Vec<Span> {
        let Some(head) = item.head() else {
            return Vec::new();
        };
        let kind = head.kind.known();
        let ts = match item {
            Item::Event(_, line) => self.time.event(line),
            _ => head.ts,
        };
        self.now = ts;
        if !item.is_upkeep() {
            self.last = self.last.max(ts);
        }
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
        let phases = self.jobs.entry(job.job_id.clone()).or_default();
        let id = &job.job_id;
        match kind {
            EventType::JobSubmitted => phases.open(id, Phase::Waiting, ts, done),
            EventType::JobStarted => {
                phases.open(id, Phase::Attempt(job.attempt.unwrap_or(1)), ts, done);
            }
            EventType::JobRollbackStarted => phases.open(id, Phase::Rollback, ts, done),
            EventType::JobCompleted | EventType::JobFailed | EventType::JobRolledBack => {
                let ended: JobEnded = parse_payload(line).unwrap_or_default();
                let is_retried = ended.retry_in_ms.is_some();
                let phase = match kind {
                    EventType::JobRolledBack => Phase::Rollback,
                    // Only the first end of a job counts.
                    _ if phases.ended => return,
                    _ => Phase::Attempt(ended.attempt.max(1)),
                };
                phases.ended |= !is_retried && phase != Phase::Rollback;
                phases.close(id, phase, ts, ended, done);
                if is_retried {
                    phases.open(id, Phase::Backoff, ts, done);
                }
            }
            _ => {}
        }
    }

    /// Adds a job without known events, because they were dropped or another program wrote them.
    fn add_unfinished(&mut self, job: &JobState, done: &mut Vec<Span>) {
        let phases = self.jobs.entry(job.job_id.clone()).or_default();
        let (id, attempt) = (&job.job_id, Phase::Attempt(job.attempt.unwrap_or(1)));
        if phases.ended {
            return;
        }
        if let Some(ts) = job.submitted_ts.filter(|_| phases.open.is_none()) {
            phases.open(id, Phase::Waiting, ts, done);
        }
        if let Some(ts) = job.started_ts.filter(|_| !phases.is_in(attempt)) {
            phases.open(id, attempt, ts, done);
        }
        if let Some(ts) = job.ended_ts.filter(|_| job.stage.is_terminal()) {
            phases.ended = true;
            phases.close(id, attempt, ts, ended_of(job), done);
        }
    }

    /// Returns the phases without an end, after everything was read. In a running run, they last
    /// until now.
    pub(crate) fn rest(&mut self, run: &RunRecord) -> Vec<Span> {
        if run.state == RunStatus::Running {
            self.last = self.last.max(Some(self.time.now()));
        }
        let open = |phases: &mut JobPhases| phases.open.take();
        let mut rest: Vec<_> = self.jobs.values_mut().filter_map(open).collect();
        rest.sort_by(|a, b| (a.start, &a.job).cmp(&(b.start, &b.job)));
        self.cover(&rest);
        rest
    }

    /// Extends the jobs so that they contain these phases.
    fn cover(&mut self, spans: &[Span]) {
        for span in spans {
            if let Some(phases) = self.jobs.get_mut(&span.job) {
                let (from, to) = (span.start, span.end_or(self.last));
                let (start, end) = phases.extent.unwrap_or((from, to));
                phases.extent = Some((start.min(from), end.max(to)));
            }
        }
    }

    /// Returns the start and the end of a job, which contains all its phases.
    pub(crate) fn job(&self, job: &JobId) -> Option<(Timestamp, Timestamp)> {
        self.jobs.get(job)?.extent
    }

    /// Returns the end of a run that started at `start`, which contains all jobs. A run without
    /// an end lasts until its last event.
    pub(crate) fn end_of_run(&self, run: &RunRecord, start: Timestamp) -> Timestamp {
        let end = run_end(run, start).or(self.last).unwrap_or(start);
        let ends = self.jobs.values().filter_map(|phases| phases.extent);
        ends.fold(end.max(start), |end, (_, of_job)| end.max(of_job))
    }
}

impl JobPhases {
    fn is_in(&self, phase: Phase) -> bool {
        self.open.as_ref().is_some_and(|open| open.phase == phase)
    }

    fn open(&mut self, job: &JobId, phase: Phase, ts: Timestamp, done: &mut Vec<Span>) {
        self.end_open(ts, None, done);
        self.open = Some(Span {
            job: job.clone(),
            phase,
            // The previous phase is as long as its duration says, and phases must not overlap.
            start: self.last_end.map_or(ts, |end| end.max(ts)),
            end: None,
            ended: None,
        });
    }

    /// Ends the open phase.
    ///
    /// The wall clock may have been set during the phase. If the end has a duration, which comes
    /// from a monotonic clock, the phase is as long as that.
    fn end_open(&mut self, ts: Timestamp, ended: Option<JobEnded>, done: &mut Vec<Span>) {
        if let Some(mut span) = self.open.take() {
            let measured = ended.as_ref().and_then(|ended| ended.duration_ms);
            let measured = measured.filter(|_| span.phase != Phase::Waiting);
            let measured = measured.and_then(|ms| i64::try_from(ms).ok());
            let end = measured.and_then(|ms| {
                let duration = jiff::SignedDuration::from_millis(ms);
                span.start.checked_add(duration).ok()
            });
            span.end = Some(end.unwrap_or(ts).max(span.start));
            self.last_end = span.end;
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
            // The start of the phase is missing.
            let ms = i64::try_from(ended.duration_ms.unwrap_or(0)).unwrap_or(0);
            // A log may contain any number, so the subtraction may overflow.
            let start = ts.checked_sub(jiff::SignedDuration::from_millis(ms));
            let start = start.unwrap_or(ts);
            self.open(job, phase, start, done);
        }
        self.end_open(ts, Some(ended), done);
    }
}

/// Returns when a closed run ended, from its duration because the wall clock may have been set
/// in the meantime.
pub(crate) fn run_end(run: &RunRecord, start: Timestamp) -> Option<Timestamp> {
    let closed = run.closed_ts?;
    let ms = run.duration_ms.and_then(|ms| i64::try_from(ms).ok());
    let end = ms.and_then(|ms| {
        start
            .checked_add(jiff::SignedDuration::from_millis(ms))
            .ok()
    });
    Some(end.unwrap_or(closed))
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
        signals: Vec::new(),
        oom_kills: None,
        retry_in_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::parse_ts;

    #[test]
    fn span_is_as_long_as_measured_when_clock_is_set() {
        let start = parse_ts("2026-11-21T21:49:00.000000Z").unwrap();
        for end in ["2026-11-21T19:49:01.300000Z", "2026-11-21T23:49:01.300000Z"] {
            let (mut phases, mut done) = (JobPhases::default(), Vec::new());
            let ended = JobEnded {
                duration_ms: Some(1_300),
                ..JobEnded::default()
            };
            let (job, attempt) = ("j".parse().unwrap(), Phase::Attempt(1));
            phases.open(&job, attempt, start, &mut done);
            phases.close(&job, attempt, parse_ts(end).unwrap(), ended, &mut done);
            assert_eq!(done[0].end, parse_ts("2026-11-21T21:49:01.300000Z"));
        }
    }

    #[test]
    fn impossible_duration_affects_only_its_span() {
        let ts = parse_ts("2026-11-21T21:49:00.123456Z").unwrap();
        for (ms, start) in [(1_000, "2026-11-21T21:48:59.123456Z"), (1 << 62, "")] {
            let (mut phases, mut done) = (JobPhases::default(), Vec::new());
            let ended = JobEnded {
                duration_ms: Some(ms),
                ..JobEnded::default()
            };
            phases.close(
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
