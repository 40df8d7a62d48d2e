//! Interleaving of a run's events with the output of its jobs, in the order of time.
//!
//! The log orders the events, and the index of each job's output says when its bytes arrived. A
//! job's output is always between its start and its end, whatever the clock did.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::log::format::payload::{JobEnded, parse_payload};
use crate::log::{
    Envelope, EventType, Fold, IndexRecord, Item, OutputIndex, OutputRange, Reader, RunState,
    SteadyTime, StorageError, StreamId,
};
use crate::volume::{Dir, IoContext, JobId, layout};

/// The maximum size of a chunk of output in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The next item of a replay.
#[derive(Debug)]
pub enum PlaybackItem<'a> {
    /// An event, of runlog or of another program, or a damaged part of the log.
    Item(&'a Item<'a>),
    /// Output of a job.
    Output {
        /// The job.
        job: &'a str,
        /// The stream, if known.
        stream: Option<StreamId>,
        /// A part of the output, which may end anywhere, even inside a character.
        bytes: &'a [u8],
    },
    /// The output of a job is shorter than before, for example after a power loss.
    OutputLost {
        /// The job.
        job: &'a str,
        /// The number of remaining bytes.
        left: u64,
        /// The number of bytes that were stored.
        stored: u64,
    },
}

/// Passes all events and output of the run in `dir` to `each`, with their times if known. With
/// `job`, only the output of that job is included. Returns the state of the run.
///
/// # Errors
/// A file cannot be read, or `each` fails.
pub fn play<E: From<StorageError>>(
    dir: &Dir,
    job: Option<&str>,
    mut each: impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
) -> Result<RunState, E> {
    let mut reader = Reader::open(dir)?;
    if dir.is_removed() {
        let path = dir.path().to_owned();
        return Err(StorageError::RunRemoved { path }.into());
    }
    let mut sources = JobSources {
        dir,
        only: job,
        active: Vec::new(),
        ended_at: HashMap::new(),
        time: SteadyTime::default(),
    };
    let mut fold = Fold::default();
    // Whether the events before the next one were dropped.
    let mut lacks_events = true;
    while let Some(item) = reader.next_item()? {
        fold.apply(&item);
        match &item {
            Item::Event(env, line) => {
                sources.apply_event(&item, env, line, &mut each)?;
                if std::mem::take(&mut lacks_events) && env.seq > 0 {
                    sources.add_checkpointed(&fold.state, &mut each)?;
                }
            }
            Item::Foreign(..) | Item::Damage(_) => each(None, PlaybackItem::Item(&item))?,
            Item::Dropped(_) => {
                lacks_events = true;
                each(None, PlaybackItem::Item(&item))?;
            }
        }
    }
    for source in &mut sources.active {
        source.started = true;
    }
    sources.emit_until(None, &mut each)?;
    for mut source in std::mem::take(&mut sources.active) {
        source.drain(&sources.time, None, &mut each)?;
    }
    Ok(fold.state)
}

/// The outputs of the jobs that are active at the current position.
struct JobSources<'a> {
    dir: &'a Dir,
    only: Option<&'a str>,
    active: Vec<JobSource>,
    /// The number of bytes that were emitted for each job that has ended.
    ended_at: HashMap<JobId, u64>,
    time: SteadyTime,
}

/// The output of one job.
struct JobSource {
    job: JobId,
    /// Whether the job's start was emitted.
    started: bool,
    out: File,
    path: PathBuf,
    index: Option<OutputIndex>,
    next: Option<OutputRange>,
    at: u64,
    /// By how much the wall clock was set between the job's start and the next range.
    clock_set: SignedDuration,
}

/// Whether an attempt that ended will be retried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AttemptEnd {
    Final,
    Retried,
}

impl JobSources<'_> {
    fn apply_event<E: From<StorageError>>(
        &mut self,
        item: &Item<'_>,
        env: &Envelope<'_>,
        line: &[u8],
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let ts = self.time.event(line);
        self.emit_until(ts, each)?;
        let (Some(kind), Some(job)) = (env.kind.known(), env.job_id()) else {
            return each(ts, PlaybackItem::Item(item));
        };
        let job = &job;
        let ends = matches!(
            kind,
            EventType::JobCompleted | EventType::JobFailed | EventType::JobRolledBack
        );
        if ends && let Some(ended) = parse_payload::<JobEnded>(line) {
            let stored = ended.output.map(|output| output.captured_bytes);
            let end = match ended.retry_in_ms {
                Some(_) => AttemptEnd::Retried,
                None => AttemptEnd::Final,
            };
            self.end_attempt(job, stored, end, each)?;
        }
        each(ts, PlaybackItem::Item(item))?;
        match kind {
            EventType::JobSubmitted => self.add(job)?,
            EventType::JobRollbackStarted if !self.is_active(job) => {
                self.add(job)?;
                self.mark_started(job);
            }
            EventType::JobStarted => self.mark_started(job),
            _ => {}
        }
        Ok(())
    }

    /// Adds the jobs of a checkpoint: the events before it were removed, but the jobs' output
    /// was not.
    fn add_checkpointed<E: From<StorageError>>(
        &mut self,
        state: &RunState,
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for job in &state.jobs {
            self.add(&job.job_id)?;
            self.mark_started(&job.job_id);
            if job.stage.is_terminal() {
                self.end_attempt(&job.job_id, None, AttemptEnd::Final, each)?;
            }
        }
        Ok(())
    }

    fn is_active(&self, job: &JobId) -> bool {
        self.active.iter().any(|source| source.job == *job)
    }

    fn mark_started(&mut self, job: &JobId) {
        if let Some(source) = self.active.iter_mut().find(|s| s.job == *job) {
            source.started = true;
        }
    }

    fn add(&mut self, job: &JobId) -> Result<(), StorageError> {
        let wanted = self.only.is_none_or(|only| *job == *only);
        if !wanted || self.is_active(job) {
            return Ok(());
        }
        let at = self.ended_at.get(job).copied().unwrap_or(0);
        self.active.extend(JobSource::open(self.dir, job, at)?);
        Ok(())
    }

    /// Emits output that was printed until `ts`, or everything in the indexes.
    fn emit_until<E: From<StorageError>>(
        &mut self,
        ts: Option<Timestamp>,
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let time = &self.time;
        let due = |source: &JobSource| {
            let at = source.next_ts(time).filter(|_| source.started)?;
            ts.is_none_or(|ts| at <= ts).then_some(at)
        };
        while let Some(source) = self
            .active
            .iter_mut()
            .filter_map(|source| Some((due(source)?, source)))
            .min_by_key(|(at, _)| *at)
            .map(|(_, source)| source)
        {
            source.emit_range(time, each)?;
        }
        Ok(())
    }

    /// Emits the remaining output of an attempt that ended with `stored` bytes of output.
    fn end_attempt<E: From<StorageError>>(
        &mut self,
        job: &JobId,
        stored: Option<u64>,
        end: AttemptEnd,
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(at) = self.active.iter().position(|s| s.job == *job) else {
            return Ok(());
        };
        if let Some(source) = self.active.get_mut(at) {
            source.drain(&self.time, stored, each)?;
        }
        if end == AttemptEnd::Final {
            let source = self.active.swap_remove(at);
            self.ended_at.insert(source.job, source.at);
        }
        Ok(())
    }
}

impl JobSource {
    /// Opens the output of a job after its first `at` bytes. Returns `None` if there is none.
    fn open(dir: &Dir, id: &JobId, at: u64) -> Result<Option<Self>, StorageError> {
        let name = layout::job_out(id);
        let Some(out) = dir.read_in(layout::JOBS, &name)? else {
            return Ok(None);
        };
        let mut source = Self {
            job: id.clone(),
            started: false,
            out,
            path: dir.path().join(layout::JOBS).join(name),
            index: OutputIndex::open(dir, id)?,
            next: None,
            at,
            clock_set: SignedDuration::ZERO,
        };
        source.advance()?;
        Ok(Some(source))
    }

    /// Advances to the next range of the index that was not emitted.
    fn advance(&mut self) -> Result<(), StorageError> {
        self.next = None;
        while let Some(index) = &mut self.index {
            match index.next_record()? {
                Some(IndexRecord::Range(range)) => {
                    self.clock_set += SignedDuration::from_millis(range.clock_set_ms);
                    if range.end > self.at {
                        self.next = Some(range);
                        break;
                    }
                }
                // Without the index, the bytes still exist, but their times are unknown.
                Some(IndexRecord::Malformed) | None => self.index = None,
            }
        }
        Ok(())
    }

    fn next_ts(&self, time: &SteadyTime) -> Option<Timestamp> {
        let range = self.next.as_ref()?;
        Some(self.steady_ts(time, range).unwrap_or(Timestamp::MIN))
    }

    fn steady_ts(&self, time: &SteadyTime, range: &OutputRange) -> Option<Timestamp> {
        let steady = |ts| time.output(&self.job, ts, self.clock_set);
        range.ts.map(steady)
    }

    fn emit_range<E: From<StorageError>>(
        &mut self,
        time: &SteadyTime,
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(range) = self.next.take() else {
            return Ok(());
        };
        let ts = self.steady_ts(time, &range);
        let whole = self.emit(range.end, ts, range.stream, each)?;
        if !whole {
            self.index = None;
        }
        Ok(self.advance()?)
    }

    /// Emits the rest, up to `stored` bytes if that number is known.
    fn drain<E: From<StorageError>>(
        &mut self,
        time: &SteadyTime,
        stored: Option<u64>,
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while self
            .next
            .as_ref()
            .is_some_and(|range| stored.is_none_or(|stored| range.end <= stored))
        {
            self.emit_range(time, each)?;
        }
        let end = stored.unwrap_or(u64::MAX);
        if self.at < end && !self.emit(end, None, None, each)? && stored.is_some() {
            let lost = PlaybackItem::OutputLost {
                job: self.job.as_str(),
                left: self.at,
                stored: end,
            };
            each(None, lost)?;
        }
        Ok(())
    }

    /// Emits the bytes up to `end`. Returns whether all of them exist.
    fn emit<E: From<StorageError>>(
        &mut self,
        end: u64,
        ts: Option<Timestamp>,
        stream: Option<StreamId>,
        each: &mut impl FnMut(Option<Timestamp>, PlaybackItem<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut buf = vec![0; CHUNK_BYTES.min(end.saturating_sub(self.at) as usize)];
        while self.at < end {
            let len = buf.len().min((end - self.at) as usize);
            let part = buf.get_mut(..len).unwrap_or_default();
            let n = self
                .out
                .read_at(part, self.at)
                .at("read", &self.path)
                .map_err(StorageError::from)?;
            if n == 0 {
                return Ok(false);
            }
            self.at += n as u64;
            let output = PlaybackItem::Output {
                job: self.job.as_str(),
                stream,
                bytes: part.get(..n).unwrap_or_default(),
            };
            each(ts, output)?;
        }
        Ok(true)
    }
}
