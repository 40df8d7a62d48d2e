//! The append protocol: mutex, locks, checks, one write, unlock, sync.
//!
//! 1. The in-process mutex, then `flock` on `lock`, then on the active segment, so
//!    that writers of omne-cli are held off too.
//! 2. Under the locks: what we hold is still what its name stands for; the end of the
//!    segment is known, whole, and mended where it is torn.
//! 3. Numbers and ids are given, blocks are reserved, all lines go out in one write.
//! 4. After the locks: `fdatasync`, where the events ask for it, so that writers share
//!    syncs. Only then are the events acknowledged. A failed sync is never repeated:
//!    the kernel may have dropped the pages and would report success.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use rustix::io::Errno;
use serde::Serialize;
use serde_json::value::RawValue;
use ulid::Ulid;

use super::envelope::{self, Envelope};
use super::event::{Draft, Durability, EventType};
use super::repair::{self, Mended};
use super::run_log::{Active, Inner, RunLog};
use super::state::RunState;
use super::tail::Tail;
use super::{LogError, lock, reader, segments};
use crate::volume::{FileKey, IoContext, layout, now_ts};

/// Over so many bytes of news a writer looks at the end only.
const CATCH_UP_LIMIT: u64 = 4 << 20;

/// What the log is like, under its locks, before a batch is written.
#[derive(Debug)]
pub struct View<'a> {
    /// No event yet: the batch has to open the run.
    pub is_new: bool,
    /// The run was closed.
    pub is_closed: bool,
    /// Only lines of another program so far.
    pub is_foreign: bool,
    /// The state of the run, if it was asked for.
    pub state: &'a RunState,
}

/// Whether a batch ends with `run_closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// No.
    No,
    /// Yes; an error if a job lacks its end.
    Now,
    /// Yes, unless a job lacks its end.
    IfAllEnded,
}

/// Events that go into the log together, in one write.
#[derive(Debug)]
pub struct Batch {
    /// The events, in order.
    pub drafts: Vec<Draft>,
    /// Whether `run_closed` follows them.
    pub close: Close,
}

/// What was written.
#[derive(Debug)]
pub struct Appended {
    /// The lines as they stand in the log, with the mending before them if any.
    pub bytes: Vec<u8>,
    /// Whether the run is closed now.
    pub closed: bool,
    /// The jobs that kept the run open.
    pub unfinished: Vec<String>,
}

#[derive(Serialize)]
struct Closed {
    duration_ms: Option<u64>,
    summary: Box<RawValue>,
}

#[derive(Serialize)]
struct Rotated<'a> {
    sealed: Sealed<'a>,
    state: &'a RunState,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Sealed<'a> {
    file: &'a str,
    first_seq: u64,
    last_seq: Option<u64>,
}

impl RunLog {
    /// Appends events that do not depend on what the log says.
    ///
    /// # Errors
    /// As [`RunLog::append_with`].
    pub fn append(&self, drafts: &[Draft], durability: Durability) -> Result<Appended, LogError> {
        self.write(durability, false, &mut |_| {
            Ok(Batch {
                drafts: drafts.to_vec(),
                close: Close::No,
            })
        })
    }

    /// Appends the events that `make` gives for the state of the run, under its locks.
    ///
    /// # Errors
    /// Nothing was written, but for [`LogError::ShortWrite`] (some events stand) and
    /// [`LogError::NotDurable`] (all stand, and a power loss may take them).
    pub fn append_with(
        &self,
        durability: Durability,
        mut make: impl FnMut(&View<'_>) -> Result<Batch, LogError>,
    ) -> Result<Appended, LogError> {
        self.write(durability, true, &mut make)
    }

    fn write(
        &self,
        durability: Durability,
        with_state: bool,
        make: &mut dyn FnMut(&View<'_>) -> Result<Batch, LogError>,
    ) -> Result<Appended, LogError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.write_locked(&mut inner, with_state, make);
        drop(inner);
        let (appended, segment) = written?;
        if durability == Durability::Power {
            self.make_durable(&segment)?;
        }
        Ok(appended)
    }

    fn write_locked(
        &self,
        inner: &mut Inner,
        with_state: bool,
        make: &mut dyn FnMut(&View<'_>) -> Result<Batch, LogError>,
    ) -> Result<(Appended, Arc<File>), LogError> {
        // What is appended is known only under the locks; the budget is that of a
        // terminal event, unless the batch does not need the state of the run.
        let budget = if with_state {
            lock::TERMINAL_BUDGET
        } else {
            lock::BUDGET
        };
        let deadline = Instant::now() + budget;
        let _lock = lock::exclusive(&self.lock, &self.dir.path().join(layout::LOCK), budget)?;
        self.check_place()?;
        let segment = self.active(inner)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let _segment_lock = lock::exclusive(&segment, &self.active_path(), left)?;

        let mut first = self.settle(inner, &segment)?;
        if with_state && inner.state.is_none() {
            inner.state = Some(reader::fold(&self.dir)?);
        }
        let tail = inner.tail.get_or_insert_default();
        let is_new = inner.len == 0 && first.is_empty();
        let blank = RunState::default();
        let batch = make(&View {
            is_new,
            is_closed: tail.summary.is_some(),
            is_foreign: tail.foreign && tail.sequence.last().is_none(),
            state: inner.state.as_ref().unwrap_or(&blank),
        })?;
        if tail.summary.is_some() {
            let refused = |d: &Draft| !d.kind().may_follow_close();
            if batch.close != Close::No || batch.drafts.iter().any(refused) {
                return Err(LogError::Closed {
                    run: self.run.clone(),
                });
            }
        }
        first.extend(batch.drafts);
        let composed = self.compose(inner, &first, batch.close);
        let written = composed.and_then(|lines| self.put(inner, &segment, lines));
        if written.is_err() {
            // What was foreseen did not come to stand: look anew.
            inner.tail = None;
            inner.state = None;
        }
        Ok((written?, Arc::clone(&segment)))
    }

    fn active_path(&self) -> PathBuf {
        self.dir.path().join(layout::ACTIVE)
    }

    /// The active segment, opened anew where it was rotated, made where it is missing.
    fn active(&self, inner: &mut Inner) -> Result<Arc<File>, LogError> {
        let there = self.dir.stat(layout::ACTIVE)?.as_ref().map(FileKey::from);
        if let (Some(key), Some(active)) = (there, &inner.segment)
            && active.key == key
        {
            return Ok(Arc::clone(&active.file));
        }
        let file = Arc::new(self.dir.append(layout::ACTIVE, true)?);
        let stat = rustix::fs::fstat(&file).at("look at", self.active_path())?;
        inner.segment = Some(Active {
            file: Arc::clone(&file),
            key: FileKey::from(&stat),
        });
        inner.tail = None;
        inner.state = None;
        inner.reserve.forget();
        self.names_changed();
        Ok(file)
    }

    /// Brings what we know of the segment's end up to date and mends a torn end. Gives
    /// the events that have to come first.
    fn settle(&self, inner: &mut Inner, segment: &Arc<File>) -> Result<Vec<Draft>, LogError> {
        let path = self.active_path();
        let mut len = rustix::fs::fstat(segment).at("look at", &path)?.st_size as u64;
        if inner.tail.is_some() && inner.len == len {
            return Ok(Vec::new());
        }
        if len < inner.len {
            inner.reserve.forget();
        }
        let caught_up = inner.tail.as_mut().is_some_and(|tail| {
            let news = len.checked_sub(inner.len);
            let follow = news.is_some_and(|n| n <= CATCH_UP_LIMIT || inner.state.is_some());
            follow
                && tail
                    .advance(segment, len, &path, inner.state.as_mut())
                    .unwrap_or(false)
        });
        if !caught_up {
            inner.state = None;
            inner.tail = Some(Tail::find(segment, len, &path, || self.sealed_tail())?);
        }
        let tail = inner.tail.get_or_insert_default();
        let mut first = Vec::new();
        if len == 0 {
            first.extend(self.checkpoint_after_sealed(tail)?);
        } else if tail.end < len {
            let first_seq = segments::first_seq(segment);
            match repair::mend(&self.dir, segment, first_seq, tail.end, len)? {
                Mended::Completed => {}
                Mended::Repaired(mut repaired) => {
                    repaired.summary.clone_from(&tail.summary);
                    first.push(Draft::new(
                        EventType::LogRepaired,
                        &self.run,
                        None,
                        &repaired,
                    )?);
                }
            }
            len = rustix::fs::fstat(segment).at("look at", &path)?.st_size as u64;
            inner.reserve.forget();
            tail.advance(segment, len, &path, inner.state.as_mut())?;
        }
        inner.len = len;
        Ok(first)
    }

    /// The end of the newest sealed segment, if there is one.
    fn sealed_tail(&self) -> Result<Tail, LogError> {
        match self.newest_sealed()? {
            Some(segment) => segment.tail(),
            None => Ok(Tail::default()),
        }
    }

    fn newest_sealed(&self) -> Result<Option<segments::Segment>, LogError> {
        let mut sealed = segments::open_segments(&self.dir)?;
        sealed.retain(|segment| segment.first_seq.is_some());
        Ok(sealed.pop())
    }

    /// A rotation that was cut off left no active segment, or an empty one: the log
    /// goes on from the newest sealed one.
    fn checkpoint_after_sealed(&self, tail: &mut Tail) -> Result<Option<Draft>, LogError> {
        let Some(newest) = self.newest_sealed()? else {
            return Ok(None);
        };
        *tail = Tail {
            end: 0,
            ..newest.tail()?
        };
        let state = reader::fold(&self.dir)?;
        let rotated = Rotated {
            sealed: Sealed {
                file: &newest.name,
                first_seq: newest.first_seq.unwrap_or(0),
                last_seq: tail.sequence.last(),
            },
            state: &state,
            summary: tail.summary.clone(),
        };
        Draft::new(EventType::LogRotated, &self.run, None, &rotated).map(Some)
    }

    /// Gives numbers, ids and time to the events, and takes them into what we know.
    fn compose(
        &self,
        inner: &mut Inner,
        drafts: &[Draft],
        close: Close,
    ) -> Result<Lines, LogError> {
        let mut lines = Lines::new(now_ts());
        for draft in drafts {
            self.add_line(inner, &mut lines, draft);
        }
        if close == Close::No {
            return Ok(lines);
        }
        let state = inner.state.get_or_insert_default();
        lines.unfinished = state.unfinished().map(|job| job.job_id.clone()).collect();
        if !lines.unfinished.is_empty() {
            return match close {
                Close::Now => Err(LogError::Unfinished {
                    run: self.run.clone(),
                    jobs: lines.unfinished,
                }),
                _ => Ok(lines),
            };
        }
        state.closed_ts = Some(lines.ts.clone());
        let closed = Closed {
            duration_ms: state.duration_ms(),
            summary: state.summary()?,
        };
        let draft = Draft::new(EventType::RunClosed, &self.run, None, &closed)?;
        self.add_line(inner, &mut lines, &draft);
        lines.closed = true;
        Ok(lines)
    }

    fn add_line(&self, inner: &mut Inner, lines: &mut Lines, draft: &Draft) {
        let tail = inner.tail.get_or_insert_default();
        let seq = tail.sequence.next();
        let id = match (tail.last_id, self.first_id) {
            (None, Some(first_id)) => first_id,
            (last_id, _) => next_id(last_id),
        };
        let start = lines.bytes.len();
        envelope::write_line(&mut lines.bytes, seq, id, &lines.ts, draft.body());
        lines.ends.push(lines.bytes.len());
        lines.essential |= draft.kind().is_essential();

        tail.sequence.event(seq);
        tail.last_id = Some(id);
        let closing = draft.kind() == EventType::RunClosed || draft.kind().may_follow_close();
        if inner.state.is_some() || closing {
            let line = lines
                .bytes
                .get(start..lines.bytes.len() - 1)
                .unwrap_or_default();
            if let Ok(env) = Envelope::parse(line) {
                tail.note_summary(&env, line);
                if let Some(state) = &mut inner.state {
                    state.apply(&env, line);
                }
            }
        }
    }

    /// Reserves and writes, in one write. After a short one the lines that are whole
    /// stand, and only the torn one is cut.
    fn put(
        &self,
        inner: &mut Inner,
        segment: &Arc<File>,
        lines: Lines,
    ) -> Result<Appended, LogError> {
        let path = self.active_path();
        let end = inner.len + lines.bytes.len() as u64;
        match inner.reserve.ensure(segment, inner.len, end) {
            Err(source) if !lines.essential => return Err(LogError::NoSpace { path, source }),
            _ => {}
        }
        let (written, error) = match write_once(segment, &lines.bytes) {
            Ok(n) => (n, io::Error::from(io::ErrorKind::WriteZero)),
            Err(e) => (0, e),
        };
        if written < lines.bytes.len() {
            let stand = lines.ends.iter().take_while(|end| **end <= written).count();
            let whole = stand
                .checked_sub(1)
                .and_then(|n| lines.ends.get(n))
                .copied();
            if written > whole.unwrap_or(0) {
                // Where this fails the next writer mends the torn line.
                drop(segment.set_len(inner.len + whole.unwrap_or(0) as u64));
            }
            let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
            let is_full = error.raw_os_error().is_some_and(|e| full.contains(&e));
            return Err(match (stand, is_full) {
                (0, true) => LogError::NoSpace {
                    path,
                    source: error,
                },
                (stand, _) => LogError::ShortWrite {
                    path,
                    stand,
                    of: lines.ends.len(),
                    source: error,
                },
            });
        }
        inner.len = end;
        if let Some(tail) = &mut inner.tail {
            tail.end = end;
        }
        if lines.closed {
            inner.reserve.release(segment, end);
        }
        Ok(Appended {
            bytes: lines.bytes,
            closed: lines.closed,
            unfinished: lines.unfinished,
        })
    }

    fn make_durable(&self, segment: &File) -> Result<(), LogError> {
        let not_durable = |path, source| LogError::NotDurable { path, source };
        segment
            .sync_data()
            .map_err(|source| not_durable(self.active_path(), source))?;
        self.sync_names().map_err(|e| match e {
            crate::volume::VolumeError::Io { path, source, .. } => not_durable(path, source),
            other => other.into(),
        })
    }
}

/// A batch as bytes.
struct Lines {
    ts: String,
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    ends: Vec<usize>,
    essential: bool,
    closed: bool,
    unfinished: Vec<String>,
}

impl Lines {
    fn new(ts: String) -> Self {
        Self {
            ts,
            bytes: Vec::new(),
            ends: Vec::new(),
            essential: false,
            closed: false,
            unfinished: Vec::new(),
        }
    }
}

fn write_once(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match file.write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// An id above `last` that tells the time as far as the clock allows.
fn next_id(last: Option<Ulid>) -> Ulid {
    let now_ms = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    match last {
        Some(last) if now_ms <= last.timestamp_ms() => last
            .increment()
            .unwrap_or_else(|_| Ulid::from_parts(last.timestamp_ms() + 1, 0)),
        _ => Ulid::generate(),
    }
}
