//! What a writer remembers between two appends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ulid::Ulid;

use super::active_segment::ActiveSegment;
use super::batch::{Close, LostEvents};
use super::draft::Draft;
use super::encode::{EncodedBatch, Encoder};
use super::end_of_log;
use super::handle::RunHandle;
use super::tail::{Tail, TailMode};
use crate::log::error::{AppendError, StorageError};
use crate::log::format::job_counts::JobCounts;
use crate::log::read::fold;
use crate::log::segment::line_reader::read_span;
use crate::log::segment::preallocate::Preallocation;
use crate::log::segment::sequence::Sequence;
use crate::log::state::run_state::RunState;
use crate::volume::Clock;

/// The largest unread suffix that a writer may skip without parsing every line, in bytes.
const SKIP_LIMIT_BYTES: u64 = 64 << 10;
/// Above this size, a writer reads only the tail instead of every new line, in bytes.
pub(crate) const CATCH_UP_LIMIT_BYTES: u64 = 4 << 20;
/// How long a full path check stays valid. Within this time, an append checks only the name
/// of the active segment, so a replaced `lock` file or parent directory may go unnoticed.
const RECHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The active segment and its end, as this writer last saw them.
#[derive(Debug, Default)]
pub(crate) struct WriterState {
    segment: Option<Arc<ActiveSegment>>,
    /// `None` if the end of the segment must be read again.
    tail: Option<Tail>,
    /// The length of the segment as this writer left it, in bytes.
    len: u64,
    /// Whether another writer appended since this one did.
    in_company: bool,
    reserve: Preallocation,
    /// The state of the run at `tail`, kept up to date once it was asked for.
    state: Option<RunState>,
    /// The highest id that this writer assigned, even if its event was not written: ids only
    /// rise.
    last_id: Option<Ulid>,
    /// One more than the highest sequence number that this writer wrote. If the file became
    /// shorter, no number is used twice, and readers see the gap.
    next_seq: u64,
    clock: Clock,
    /// When the whole path to the segment was last checked.
    path_checked: Option<Instant>,
    /// The length at which rotation is considered again, in bytes.
    rotate_at: Option<u64>,
    lost: Option<LostEvents>,
    /// What the log itself is to say of that.
    unrecorded_loss: Option<LostEvents>,
}

impl WriterState {
    /// Returns the active segment as of the last append.
    pub(crate) fn segment(&self) -> Option<&Arc<ActiveSegment>> {
        self.segment.as_ref()
    }

    /// Makes `segment` the active one. Nothing is known about its end unless it already was.
    pub(crate) fn set_segment(&mut self, segment: &Arc<ActiveSegment>) {
        if self
            .segment
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, segment))
        {
            return;
        }
        self.invalidate();
        self.segment = Some(Arc::clone(segment));
        self.len = 0;
        self.rotate_at = None;
    }

    /// Makes the segment that begins with a checkpoint of `len` bytes the active one.
    pub(crate) fn set_checkpointed(&mut self, segment: Arc<ActiveSegment>, len: u64) {
        self.segment = Some(segment);
        self.reserve.invalidate();
        self.rotate_at = None;
        self.record_write(len);
    }

    /// Drops everything known about the end of the segment, after an error.
    pub(crate) fn invalidate(&mut self) {
        self.tail = None;
        self.state = None;
        self.reserve.invalidate();
    }

    /// Drops the segment too.
    pub(crate) fn forget_segment(&mut self) {
        self.invalidate();
        self.segment = None;
        self.len = 0;
    }

    /// Records that the whole path to the segment was checked at `now`.
    pub(crate) fn record_path_check(&mut self, now: Instant) {
        self.path_checked = Some(now);
    }

    /// Returns whether the whole path to the segment must be checked again.
    pub(crate) fn needs_path_check(&self, now: Instant) -> bool {
        let age = |at| now.saturating_duration_since(at);
        self.path_checked
            .is_none_or(|at| age(at) >= RECHECK_INTERVAL)
    }

    /// Returns the end of the log.
    pub(crate) fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Returns the length of the segment as of the last refresh or write, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether another writer appended since this one did.
    pub(crate) fn is_in_company(&self) -> bool {
        self.in_company
    }

    /// Returns whether the run is closed, as far as the last line says.
    pub(crate) fn is_closed(&self) -> bool {
        self.tail
            .as_ref()
            .is_some_and(|tail| tail.summary.is_some())
    }

    /// Returns the events of this writer that disappeared from the log, once.
    pub(crate) fn take_lost(&mut self) -> Option<LostEvents> {
        self.lost.take()
    }

    /// Returns the events of this writer that disappeared, once, for the log itself.
    pub(crate) fn take_unrecorded_loss(&mut self) -> Option<LostEvents> {
        self.unrecorded_loss.take()
    }

    /// Returns the length at which rotation is considered, in bytes.
    pub(crate) fn rotate_at(&self, max_size: u64) -> u64 {
        self.rotate_at.unwrap_or(max_size)
    }

    /// Puts off the next rotation until the segment has `len` bytes.
    pub(crate) fn set_rotate_at(&mut self, len: u64) {
        self.rotate_at = Some(len);
    }

    /// Returns the blocks that are reserved behind the segment.
    pub(crate) fn reserve(&mut self) -> &mut Preallocation {
        &mut self.reserve
    }

    /// Returns the state of the run if it is known.
    pub(crate) fn state(&self) -> Option<&RunState> {
        self.state.as_ref()
    }

    /// Returns the counts of jobs if they are known.
    pub(crate) fn job_counts(&self) -> Option<JobCounts> {
        match &self.state {
            Some(state) => Some(state.job_counts()),
            None => self.tail.as_ref()?.jobs,
        }
    }

    /// Finds the end of the log and the counts of jobs as far as it goes now, without its
    /// locks, unless they are known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn count_unlocked(&mut self, handle: &RunHandle) -> Result<(), StorageError> {
        if self.job_counts().is_some() {
            return Ok(());
        }
        let Some(segment) = handle.open_active(self.segment())? else {
            return Ok(());
        };
        self.set_segment(&segment);
        let path = handle.active_path();
        self.refresh(handle, &segment, segment.len(path)?)?;
        if let Some(tail) = &mut self.tail
            && tail.jobs.is_none()
        {
            tail.jobs = Tail::find_job_counts(segment.file(), tail.end, path)?;
        }
        Ok(())
    }

    /// Returns the state of the run, folding the log under its locks if it is not known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn state_or_fold(&mut self, handle: &RunHandle) -> Result<&RunState, StorageError> {
        match &mut self.state {
            Some(state) => Ok(state),
            // After recovery, the segment is empty only if there is no sealed one either.
            none if self.len == 0 => Ok(none.insert(RunState::default())),
            none => Ok(none.insert(fold::fold(handle.dir())?)),
        }
    }

    /// Sets the state of the run.
    pub(crate) fn set_state(&mut self, state: RunState) {
        self.state = Some(state);
    }

    /// Brings the known end of `segment`, which has `len` bytes, up to date. Changes nothing
    /// on disk.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn refresh(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        len: u64,
    ) -> Result<(), StorageError> {
        self.in_company = self.tail.is_some() && self.len != len;
        if self.tail.is_some() && !self.in_company {
            return Ok(());
        }
        if len < self.len {
            self.reserve.invalidate();
        }
        if !self.catch_up(handle, segment, len)? {
            self.state = None;
            self.tail = Some(end_of_log::find(handle, segment, len)?);
        }
        self.skip_lost_events(handle);
        self.len = len;
        Ok(())
    }

    /// Continues behind the last event that this writer wrote, even if the file became shorter
    /// and lost it.
    fn skip_lost_events(&mut self, handle: &RunHandle) {
        let tail = self.tail.get_or_insert_default();
        let next = tail.sequence.next();
        if next < self.next_seq {
            let lost = LostEvents {
                path: handle.active_path().to_owned(),
                first: next,
                last: self.next_seq - 1,
            };
            self.unrecorded_loss = Some(lost.clone());
            self.lost = Some(lost);
            tail.sequence = Sequence::before(self.next_seq);
        }
    }

    /// Reads what other writers appended; returns whether that was enough.
    fn catch_up(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        len: u64,
    ) -> Result<bool, StorageError> {
        let (Some(tail), Some(unread)) = (&mut self.tail, len.checked_sub(self.len)) else {
            return Ok(false);
        };
        if self.state.is_none() {
            let end = tail.end;
            let is_skipped = (end..=end + SKIP_LIMIT_BYTES).contains(&len)
                && read_span(segment.file(), end, len)
                    .is_ok_and(|lines| tail.skip_plain_lines(&lines));
            if is_skipped || unread > CATCH_UP_LIMIT_BYTES {
                return Ok(is_skipped);
            }
        }
        let repairs = tail.repairs;
        let path = handle.active_path();
        let in_order = tail.advance(segment.file(), len, path, self.state.as_mut())?;
        if tail.repairs != repairs {
            // Truncating the file freed the reserved blocks.
            self.reserve.invalidate();
        }
        Ok(in_order)
    }

    /// Folds the run as far as it goes now, without its locks, unless the state is known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn fold_unlocked(&mut self, handle: &RunHandle) -> Result<(), StorageError> {
        if self.state.is_some() && self.tail.is_some() {
            return Ok(());
        }
        let Some(segment) = handle.open_active(self.segment())? else {
            return Ok(());
        };
        self.set_segment(&segment);
        let (fold, Some((key, end))) = fold::fold_to_end(handle.dir())? else {
            return Ok(());
        };
        if key == segment.key() {
            let before = || end_of_log::sealed_tail(handle);
            let path = handle.active_path();
            let tail = Tail::find(segment.file(), end, path, TailMode::Open, before)?;
            self.tail = Some(tail);
            self.state = Some(fold.state);
            self.len = end;
            self.skip_lost_events(handle);
        }
        Ok(())
    }

    /// Continues behind a repair that left the segment with `len` bytes.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn advance_over_repair(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        len: u64,
    ) -> Result<(), StorageError> {
        self.len = len;
        self.reserve.invalidate();
        let tail = self.tail.get_or_insert_default();
        let path = handle.active_path();
        if !tail.advance(segment.file(), len, path, self.state.as_mut())? {
            self.state = None;
        }
        Ok(())
    }

    /// Encodes a batch; see [`Encoder::encode`].
    ///
    /// # Errors
    /// The batch is refused. The known end of the log must then be invalidated, since some
    /// of the batch was already added to it.
    pub(crate) fn encode(
        &mut self,
        handle: &RunHandle,
        drafts: &[Draft],
        close: Close,
    ) -> Result<EncodedBatch, AppendError> {
        let ts = self.clock.now().to_owned();
        Encoder {
            run: handle.run(),
            path: handle.active_path(),
            first_id: handle.first_id(),
            tail: self.tail.get_or_insert_default(),
            state: &mut self.state,
            last_id: &mut self.last_id,
            millisecond: self.clock.millisecond(),
        }
        .encode(&ts, drafts, close)
    }

    /// Records that the segment now ends at `end` with a whole line.
    pub(crate) fn record_write(&mut self, end: u64) {
        self.len = end;
        let tail = self.tail.get_or_insert_default();
        tail.end = end;
        self.next_seq = tail.sequence.next();
    }
}
