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

use std::sync::{Arc, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use super::encode::EncodedBatch;
use super::run_log::{ActiveSegment, RunLog, WriterState};
use super::tail::Tail;
use crate::log::error::{AppendError, Refusal, StorageError};
use crate::log::format::event_type::Durability;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::lock::file_lock;
use crate::log::lock::file_lock::LockDeadline;
use crate::log::read::reader;
use crate::log::state::run_state::RunState;
use crate::log::write::draft::Draft;

/// What the log is like, under its locks, before a batch is written.
#[derive(Debug)]
#[non_exhaustive]
pub struct LogView<'a> {
    /// No event yet, but for the mending of the log: the batch has to open the run.
    pub is_new: bool,
    /// The run was closed.
    pub is_closed: bool,
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

impl Batch {
    /// No event of its own.
    pub fn only(close: Close) -> Self {
        let drafts = Vec::new();
        Self { drafts, close }
    }
}

/// What was written.
#[derive(Debug)]
#[non_exhaustive]
pub struct Appended {
    /// The lines as they stand in the log, with the mending before them if any.
    pub bytes: Vec<u8>,
    /// Whether the run is closed now.
    pub closed: bool,
    /// The jobs that kept the run open.
    pub unfinished: Vec<String>,
}

/// A batch on its way.
enum BatchRequest<'a> {
    /// What does not depend on the log.
    Given(&'a [Draft]),
    /// What is made for the state of the run.
    Made(&'a mut dyn FnMut(&LogView<'_>) -> Result<Batch, AppendError>),
}

impl RunLog {
    /// Appends events that do not depend on what the log says. They wait for the locks
    /// as long as the one of them does that waits longest.
    ///
    /// # Errors
    /// As [`RunLog::append_with`].
    pub fn append(
        &self,
        drafts: &[Draft],
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        self.append_with_callback(drafts, durability, || ())
    }

    /// The same; calls `written` when the events stand in the log, before the sync.
    ///
    /// # Errors
    /// As [`RunLog::append_with`].
    #[doc(hidden)]
    pub fn append_with_callback(
        &self,
        drafts: &[Draft],
        durability: Durability,
        written: impl FnOnce(),
    ) -> Result<Appended, AppendError> {
        let budgets = drafts.iter().map(|draft| draft.kind().lock_budget());
        let budget = budgets.max().unwrap_or(LOCK_TIMEOUT);
        self.write(durability, budget, BatchRequest::Given(drafts), written)
    }

    /// Appends the events that `make` gives for the state of the run, under its locks.
    /// `budget` is how long the locks are waited for: that of the weightiest event that
    /// `make` may give ([`crate::log::format::event_type::EventType::lock_budget`]).
    ///
    /// # Errors
    /// None of them was written, but for [`AppendError::Partial`] (some stand) and
    /// [`AppendError::NotDurable`] (all stand, and a power loss may take them).
    pub fn append_with(
        &self,
        durability: Durability,
        budget: Duration,
        mut make: impl FnMut(&LogView<'_>) -> Result<Batch, AppendError>,
    ) -> Result<Appended, AppendError> {
        self.write(durability, budget, BatchRequest::Made(&mut make), || ())
    }

    fn write(
        &self,
        durability: Durability,
        budget: Duration,
        mut request: BatchRequest<'_>,
        written: impl FnOnce(),
    ) -> Result<Appended, AppendError> {
        let wait = LockDeadline::new(budget);
        let mut inner = self.lock_writer(wait)?;
        let appended = self.write_locked(&mut inner, wait, &mut request);
        // What was foreseen did not come to stand: look anew.
        let (appended, segment) = appended.inspect_err(|_| inner.invalidate())?;
        let ticket = segment.syncs.latest();
        let full = self.is_full(&inner).then_some(inner.len);
        let in_company = inner.has_news;
        drop(inner);
        written();
        if durability == Durability::Power {
            if in_company {
                self.courtesy.yield_before_sync();
            }
            self.make_durable(&segment, ticket)?;
        }
        if let Some(len) = full {
            self.rotate_when_due(len);
        }
        Ok(appended)
    }

    /// The in-process mutex, which the budget holds for too: another thread may have it
    /// while it waits for the locks.
    pub(crate) fn lock_writer(
        &self,
        wait: LockDeadline,
    ) -> Result<MutexGuard<'_, WriterState>, StorageError> {
        wait.until(&self.paths.lock, || match self.inner.try_lock() {
            Ok(inner) => Ok(Some(inner)),
            Err(TryLockError::Poisoned(inner)) => Ok(Some(inner.into_inner())),
            Err(TryLockError::WouldBlock) => Ok(None),
        })
    }

    fn write_locked(
        &self,
        inner: &mut WriterState,
        wait: LockDeadline,
        request: &mut BatchRequest<'_>,
    ) -> Result<(Appended, Arc<ActiveSegment>), AppendError> {
        let _lock = file_lock::exclusive(&self.lock, &self.paths.lock, wait)?;
        // Not waited for: it may be a sealed one by now, which is being compressed.
        if let Some(segment) = inner.recently_checked_segment(wait.begun)
            && let Some(_lock) = file_lock::try_exclusive(&segment.file, &self.paths.active)?
            && let Some(len) = self.len_if_current(&segment)
        {
            let appended = self.write_to(inner, &segment, len, request)?;
            return Ok((appended, Arc::clone(&segment)));
        }
        self.check_not_replaced()?;
        let segment = self.active(inner)?;
        let _segment_lock = file_lock::exclusive(&segment.file, &self.paths.active, wait)?;
        inner.checked = Some(Instant::now());
        let len = self.segment_len(&segment)?;
        let appended = self.write_to(inner, &segment, len, request)?;
        Ok((appended, Arc::clone(&segment)))
    }

    /// `len`: of the segment, in bytes.
    fn write_to(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
        len: u64,
        request: &mut BatchRequest<'_>,
    ) -> Result<Appended, AppendError> {
        self.refresh_tail(inner, segment, len)?;
        if !self.foreign_allowed && inner.tail.as_ref().is_some_and(Tail::only_foreign) {
            return Err(Refusal::Foreign {
                run: self.run.clone(),
            }
            .into());
        }
        let mut mended = self.recover_tail(inner, segment)?;
        let tail = inner.tail.get_or_insert_default();
        let (ended, foreign) = (tail.summary.is_some(), tail.foreign);
        // The end that another program wrote is known from the state only.
        let is_closed = ended || foreign && self.state_or_fold(inner)?.is_closed();
        let lines = match request {
            BatchRequest::Given(drafts) => self.admit(inner, is_closed, drafts, Close::No)?,
            BatchRequest::Made(make) => {
                let state = self.state_or_fold(inner)?;
                let batch = make(&LogView {
                    is_new: state.opened_ts.is_none(),
                    is_closed,
                    state,
                })?;
                self.admit(inner, is_closed, &batch.drafts, batch.close)?
            }
        };
        let mut appended = self.write_batch(inner, segment, lines)?;
        if !mended.is_empty() {
            mended.append(&mut appended.bytes);
            appended.bytes = mended;
        }
        Ok(appended)
    }

    /// Makes lines of what the run takes.
    fn admit(
        &self,
        inner: &mut WriterState,
        is_closed: bool,
        drafts: &[Draft],
        close: Close,
    ) -> Result<EncodedBatch, AppendError> {
        if is_closed {
            let refused = |d: &Draft| !d.kind().may_follow_close();
            if close != Close::No || drafts.iter().any(refused) {
                return Err(Refusal::Closed {
                    run: self.run.clone(),
                }
                .into());
            }
            // The end of a rollback changes the summary.
            self.state_or_fold(inner)?;
        }
        self.encode_batch(inner, drafts, close)
    }

    pub(crate) fn state_or_fold<'a>(
        &self,
        inner: &'a mut WriterState,
    ) -> Result<&'a RunState, StorageError> {
        match &mut inner.state {
            Some(state) => Ok(state),
            // A settled segment is empty only where there is no sealed one either.
            none if inner.len == 0 => Ok(none.insert(RunState::default())),
            none => Ok(none.insert(reader::fold(&self.dir)?)),
        }
    }
}
