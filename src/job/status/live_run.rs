//! Incremental inspection of an active run: each line of its log is read only once, however
//! often the run is polled.

use std::collections::HashMap;

use jiff::Timestamp;

use super::run_status::{InspectedRun, MAX_PROBES, RunVerdict, run_verdict};
use crate::log::format::payload::{JobEnded, JobSampled, JobSubmitted, parse_payload};
use crate::log::{
    DamageList, Envelope, EventType, Fold, FollowStart, Follower, Item, JobState, RunState,
    RunStatus, RunSummary, StorageError, Update,
};
use crate::telemetry::JobTree;
use crate::volume::{Dir, JobId, layout};

/// An active run.
#[derive(Debug)]
pub struct LiveRun {
    follower: Follower,
    fold: Fold,
    events: u64,
    foreign: u64,
    damage: DamageList,
    jobs: HashMap<JobId, LiveJob>,
}

/// The facts about a job that are not in its state. Events in segments before the newest
/// checkpoint are not read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveJob {
    /// The timeout of an attempt in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The maximum number of attempts.
    pub attempts: Option<u32>,
    /// When the current attempt started.
    pub attempt_ts: Option<Timestamp>,
    /// When the next attempt starts, in milliseconds since 1970.
    pub retry_at_ms: Option<i64>,
    /// The last recorded resource usage.
    pub sample: Option<JobTree>,
}

impl Default for LiveRun {
    fn default() -> Self {
        Self {
            follower: Follower::new(FollowStart::Checkpoint),
            fold: Fold::default(),
            events: 0,
            foreign: 0,
            damage: DamageList::default(),
            jobs: HashMap::new(),
        }
    }
}

impl LiveRun {
    /// Reads the new events of the run in `dir` and returns its state: first from the log, then
    /// from the leases, and again from the log if the run seems lost.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn poll(&mut self, dir: &Dir) -> Result<RunVerdict, StorageError> {
        self.read(dir)?;
        let mut verdict = run_verdict(dir, &self.fold.state);
        for _ in 1..MAX_PROBES {
            if verdict.state != RunStatus::Lost {
                break;
            }
            // The terminal event may have been written just before the lease was probed.
            self.read(dir)?;
            if verdict.is_lost_in(&self.fold.state) {
                break;
            }
            verdict = run_verdict(dir, &self.fold.state);
        }
        Ok(verdict)
    }

    /// Reads the new events.
    fn read(&mut self, dir: &Dir) -> Result<(), StorageError> {
        let Some(Update { gaps, reader }) = self.follower.poll(dir, &|_| true)? else {
            return Ok(());
        };
        let mut reader = reader;
        if !gaps.is_empty() {
            // Start again with the remaining log: its checkpoint has the whole state, or it is a
            // different log.
            *self = Self::default();
            let Some(update) = self.follower.poll(dir, &|_| true)? else {
                return Ok(());
            };
            reader = update.reader;
        }
        while let Some(item) = reader.next_item()? {
            self.apply(&item);
        }
        self.follower.mark_read(&reader);
        self.events = reader.next_seq() + self.foreign;
        Ok(())
    }

    fn apply(&mut self, item: &Item<'_>) {
        self.fold.apply(item);
        match item {
            Item::Event(env, line) => self.record(env, line),
            Item::Foreign(..) => self.foreign += 1,
            Item::Damage(damage) => self.damage.push(damage.clone()),
            Item::Dropped(_) => {}
        }
    }

    /// Records facts that are not part of the folded state.
    fn record(&mut self, env: &Envelope<'_>, line: &[u8]) {
        let (Some(kind), Some(job_id)) = (env.kind.known(), env.job_id()) else {
            return;
        };
        match kind {
            EventType::JobSubmitted => {
                if let Some(submitted) = parse_payload::<JobSubmitted>(line) {
                    let job = self.jobs.entry(job_id).or_default();
                    job.timeout_ms = submitted.timeout_ms;
                    job.attempts = Some(submitted.retries.saturating_add(1));
                }
            }
            EventType::JobStarted => {
                let job = self.jobs.entry(job_id).or_default();
                job.attempt_ts = env.timestamp();
                job.retry_at_ms = None;
                job.sample = None;
            }
            EventType::JobSampled => {
                if let Some(sampled) = parse_payload::<JobSampled<JobTree>>(line) {
                    self.jobs.entry(job_id).or_default().sample = Some(sampled.job);
                }
            }
            EventType::JobCompleted | EventType::JobFailed => {
                let Some(ended) = parse_payload::<JobEnded>(line) else {
                    return;
                };
                match ended.retry_in_ms {
                    Some(ms) => {
                        let job = self.jobs.entry(job_id).or_default();
                        let at = env.timestamp().map(Timestamp::as_millisecond);
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

    /// Returns the state folded so far.
    pub fn state(&self) -> &RunState {
        &self.fold.state
    }

    /// Returns the damage found so far.
    pub fn damage(&self) -> &DamageList {
        &self.damage
    }

    /// Returns the facts about a job that are not in its state.
    pub fn job(&self, job: &JobState) -> LiveJob {
        self.jobs.get(&job.job_id).cloned().unwrap_or_default()
    }

    /// Returns the state of the run in `dir` as of the last poll, in the form of
    /// [`inspect_run`](super::run_status::inspect_run).
    pub fn report(&self, dir: &Dir, verdict: RunVerdict) -> InspectedRun {
        let active = dir.stat(layout::ACTIVE).ok().flatten();
        let active = active.map_or(0, |stat| stat.st_size as u64);
        InspectedRun {
            summary: RunSummary {
                state: self.fold.state.clone(),
                is_uncertain: self.fold.is_uncertain(),
                events: self.events,
                bytes: active + self.fold.state.sealed_bytes,
                damage: self.damage.clone(),
            },
            verdict,
        }
    }
}
