//! A run that goes on, told from what came since the last look at it: each line of its log
//! is read once, however often it is looked at.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::run_status::{InspectedRun, RunVerdict, run_verdict};
use crate::log::format::payload::{JobEnded, JobStarted, JobSubmitted};
use crate::log::{
    Damage, EventType, FollowStart, Follower, Item, JobState, RunState, RunStatus, RunSummary,
    StorageError, Update,
};
use crate::volume::{Dir, layout, parse_ts};

/// A run that goes on.
#[derive(Debug)]
pub struct LiveRun {
    follower: Follower,
    state: RunState,
    events: u64,
    foreign: u64,
    damage: Vec<Damage>,
    jobs: HashMap<String, LiveJob>,
}

/// What is known of a job beyond its state. What stands in segments that the newest
/// checkpoint makes needless is not known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveJob {
    /// How long an attempt may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How many attempts it has at most.
    pub attempts: Option<u32>,
    /// When the attempt started that goes on.
    pub attempt_ts: Option<String>,
    /// When the next attempt starts, in milliseconds since 1970.
    pub retry_at_ms: Option<i64>,
    /// What it used when that was looked at last.
    pub sample: Option<JobSample>,
}

/// What the processes of a job use, from `job_sampled`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct JobSample {
    /// CPU; 100 is one full core.
    pub cpu_percent: f64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
}

impl Default for LiveRun {
    fn default() -> Self {
        Self {
            follower: Follower::new(FollowStart::Checkpoint),
            state: RunState::default(),
            events: 0,
            foreign: 0,
            damage: Vec::new(),
            jobs: HashMap::new(),
        }
    }
}

impl LiveRun {
    /// Takes in what is new in the run in `dir`, and tells its state now: the log first,
    /// then the leases, and the log has the last word.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn poll(&mut self, dir: &Dir) -> Result<RunVerdict, StorageError> {
        self.read(dir)?;
        loop {
            let inspected = run_verdict(dir, &self.state);
            // Its end may have been written just before the lease was looked at.
            if inspected.state != RunStatus::Lost || !self.read(dir)? {
                return Ok(inspected);
            }
        }
    }

    /// Takes in what is new; says whether anything was.
    fn read(&mut self, dir: &Dir) -> Result<bool, StorageError> {
        let Some(Update { gap, reader }) = self.follower.poll(dir, &|_| true)? else {
            return Ok(false);
        };
        let mut reader = reader;
        if gap.is_some() {
            // What is left of the log tells all by its checkpoint, or is another log.
            *self = Self::default();
            let Some(news) = self.follower.poll(dir, &|_| true)? else {
                return Ok(true);
            };
            reader = news.reader;
        }
        let mut any = false;
        while let Some(item) = reader.next_item()? {
            any = true;
            self.apply(&item);
        }
        self.follower.mark_read(&reader);
        self.events = reader.next_seq() + self.foreign;
        Ok(any)
    }

    fn apply(&mut self, item: &Item<'_>) {
        item.fold_into(&mut self.state);
        match item {
            Item::Event(env, line) => {
                if let Some(kind) = EventType::parse(env.kind) {
                    self.record(kind, env.ts, line);
                }
            }
            Item::Foreign(..) => self.foreign += 1,
            Item::Damage(damage) => self.damage.push(damage.clone()),
        }
    }

    /// Takes note of what the state does not hold.
    fn record(&mut self, kind: EventType, ts: &str, line: &[u8]) {
        #[derive(Deserialize)]
        struct TypedLine<T> {
            job_id: String,
            #[serde(flatten)]
            told: T,
        }
        #[derive(Deserialize)]
        struct Sampled {
            job: JobSample,
        }
        fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Option<TypedLine<T>> {
            serde_json::from_slice(line).ok()
        }
        match kind {
            EventType::JobSubmitted => {
                if let Some(TypedLine { job_id, told }) = parse::<JobSubmitted>(line) {
                    let job = self.jobs.entry(job_id).or_default();
                    job.timeout_ms = told.timeout_ms;
                    job.attempts = Some(told.retries.saturating_add(1));
                }
            }
            EventType::JobStarted => {
                if let Some(TypedLine { job_id, .. }) = parse::<JobStarted>(line) {
                    let job = self.jobs.entry(job_id).or_default();
                    job.attempt_ts = Some(ts.to_owned());
                    job.retry_at_ms = None;
                    job.sample = None;
                }
            }
            EventType::JobSampled => {
                if let Some(TypedLine { job_id, told }) = parse::<Sampled>(line) {
                    self.jobs.entry(job_id).or_default().sample = Some(told.job);
                }
            }
            EventType::JobCompleted | EventType::JobFailed => {
                let Some(TypedLine { job_id, told }) = parse::<JobEnded>(line) else {
                    return;
                };
                match told.retry_in_ms {
                    Some(ms) => {
                        let job = self.jobs.entry(job_id).or_default();
                        let at = parse_ts(ts).map(Timestamp::as_millisecond);
                        job.retry_at_ms = at.map(|at| at.saturating_add_unsigned(ms));
                        job.attempt_ts = None;
                        job.sample = None;
                    }
                    None => drop(self.jobs.remove(&job_id)),
                }
            }
            _ => {}
        }
    }

    /// Whether it has anything: a folder without is a run in the making.
    pub fn has_events(&self) -> bool {
        self.events > 0 || !self.damage.is_empty()
    }

    /// Its state, as far as it was read.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// What was damaged, as far as it was read.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// What is known of a job beyond its state.
    pub fn job(&self, job: &JobState) -> LiveJob {
        self.jobs.get(&job.job_id).cloned().unwrap_or_default()
    }

    /// The same as [`examine`](crate::job::status::run_status::examine) tells, with what the last look told of the
    /// run in `dir`.
    pub fn report(&self, dir: &Dir, inspected: RunVerdict) -> InspectedRun {
        let active = dir.stat(layout::ACTIVE).ok().flatten();
        let active = active.map_or(0, |stat| stat.st_size as u64);
        InspectedRun {
            summary: RunSummary {
                state: self.state.clone(),
                events: self.events,
                bytes: active + self.state.sealed_bytes,
                damage: self.damage.clone(),
            },
            verdict: inspected,
        }
    }
}
