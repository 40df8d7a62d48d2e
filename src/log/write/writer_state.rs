//! The state that a writer keeps between two appends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ulid::Ulid;

use super::active_segment::ActiveSegment;
use super::batch::{Close, LostEvents};
use super::draft::Draft;
use super::encode::{EncodedBatch, Encoder};
use super::end_of_log;
use super::foreign_end::ForeignEnd;
use super::handle::RunHandle;
use super::tail::Tail;
use crate::log::error::{AppendError, StorageError};
use crate::log::format::job_counts::JobCounts;
use crate::log::read::fold;
use crate::log::read::fold::Fold;
use crate::log::segment::line_reader::read_span;
use crate::log::segment::preallocate::Preallocation;
use crate::log::segment::sequence::Sequence;
use crate::log::state::run_state::RunState;
use crate::volume::Clock;

/// The maximum length of unread lines that a writer may skip without parsing each, in bytes.
const SKIP_LIMIT_BYTES: u64 = 64 << 10;
/// The maximum length of new lines that a writer reads in full, in bytes. Beyond it, the writer
/// reads only the tail.
pub(crate) const CATCH_UP_LIMIT_BYTES: u64 = 4 << 20;
/// The maximum number of bytes to read under the locks, where each line has to be parsed.
pub(crate) const LOCKED_READ_LIMIT_BYTES: u64 = 1 << 20;
/// How long a full path check stays valid. Within this time, an append checks only the name
/// of the active segment, so a replaced `lock` file or parent directory may go unnoticed.
const RECHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The outcome of reading the lines of other writers.
enum CatchUp {
    /// The end of the log is known.
    Done,
    /// The end has to be found from the last lines, or from all lines.
    NotInOrder,
    /// There is more to read than the limit allows.
    TooLong,
}

/// The active segment and its end, as this writer last read them.
#[derive(Debug, Default)]
pub(crate) struct WriterState {
    pub(super) segment: Option<Arc<ActiveSegment>>,
    /// The end; `None` if it must be read again.
    pub(super) tail: Option<Tail>,
    /// The length of the segment as this writer left it, in bytes.
    pub(super) len: u64,
    /// Whether another writer has appended since this one did.
    has_other_writers: bool,
    reserve: Preallocation,
    /// The state of the run at `tail`, kept up to date after the first request.
    pub(super) state: Option<RunState>,
    /// Whether damage hides events from `state`, see [`Fold::is_uncertain`].
    is_uncertain: bool,
    /// The highest id that this writer assigned, even if its event was not written, because ids
    /// only increase.
    last_id: Option<Ulid>,
    /// One more than the highest sequence number that this writer wrote. If the file became
    /// shorter, no number is used twice, and readers see the gap.
    next_seq: u64,
    clock: Clock,
    /// When the whole path to the segment was last checked.
    path_checked: Option<Instant>,
    /// The length at which to consider rotation again, in bytes.
    rotate_at: Option<u64>,
    foreign_end: ForeignEnd,
    lost: Option<LostEvents>,
    /// The part of it that the log has yet to record.
    unrecorded_loss: Option<LostEvents>,
}

impl WriterState {
    /// Returns the active segment as of the last append.
    pub(crate) fn segment(&self) -> Option<&Arc<ActiveSegment>> {
        self.segment.as_ref()
    }

    /// Makes `segment` the active one. Its end is unknown unless it already was the active one.
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
        self.foreign_end = ForeignEnd::default();
    }

    /// Makes the segment that starts with a checkpoint of `len` bytes the active one. `reserve` is
    /// what is allocated after it.
    pub(crate) fn set_checkpointed(
        &mut self,
        segment: Arc<ActiveSegment>,
        len: u64,
        reserve: Preallocation,
    ) {
        self.segment = Some(segment);
        self.reserve = reserve;
        self.rotate_at = None;
        self.record_write(len);
    }

    /// Forgets everything about the end of the segment, after an error.
    pub(crate) fn invalidate(&mut self) {
        self.tail = None;
        self.state = None;
        self.reserve.invalidate();
    }

    /// Forgets the segment too.
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

    /// Returns whether another writer has appended since this one did.
    pub(crate) fn has_other_writers(&self) -> bool {
        self.has_other_writers
    }

    /// Returns whether the run is closed, according to the last line.
    pub(crate) fn is_closed(&self) -> bool {
        self.tail
            .as_ref()
            .is_some_and(|tail| tail.summary.is_some())
    }

    /// Returns the events of this writer that disappeared from the log; only once.
    pub(crate) fn take_lost(&mut self) -> Option<LostEvents> {
        self.lost.take()
    }

    /// Returns the events of this writer that disappeared and that the log must record; only
    /// once.
    pub(crate) fn take_unrecorded_loss(&mut self) -> Option<LostEvents> {
        self.unrecorded_loss.take()
    }

    /// Returns the length at which rotation is considered, in bytes.
    pub(crate) fn rotate_at(&self, max_size: u64) -> u64 {
        self.rotate_at.unwrap_or(max_size)
    }

    /// Postpones the next rotation until the segment has `len` bytes.
    pub(crate) fn set_rotate_at(&mut self, len: u64) {
        self.rotate_at = Some(len);
    }

    /// Returns the blocks that are reserved after the end of the segment.
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

    /// Returns the number of jobs without an end, as far as the known end of the log shows it.
    pub(crate) fn live_jobs(&self) -> u64 {
        let jobs = self.tail.as_ref().and_then(|tail| tail.jobs);
        jobs.map_or(0, |jobs| jobs.submitted.saturating_sub(jobs.ended))
    }

    /// Returns whether the run is closed, by runlog or by another program; `None` if more than
    /// `limit` bytes of `segment` would have to be read.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn is_closed_by_any(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        limit: u64,
    ) -> Result<Option<bool>, StorageError> {
        match &self.tail {
            Some(tail) if tail.foreign && tail.summary.is_none() => {
                self.foreign_end.search(handle, segment, tail.end, limit)
            }
            _ => Ok(Some(self.is_closed())),
        }
    }

    /// Returns the state of the run, folding the log under its locks if it is not known.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn state_or_fold(&mut self, handle: &RunHandle) -> Result<&RunState, StorageError> {
        match &mut self.state {
            Some(state) => Ok(state),
            // After recovery, the segment is empty only if there is no sealed one either.
            none if self.len == 0 => {
                self.is_uncertain = false;
                Ok(none.insert(RunState::default()))
            }
            none => {
                let (fold, _) = fold::fold_to_end(handle.dir())?;
                self.is_uncertain = fold.is_uncertain();
                Ok(none.insert(fold.state))
            }
        }
    }

    /// Returns whether damage hides events from the known state of the run.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.is_uncertain
    }

    /// Records that events are missing from the known state of the run.
    pub(crate) fn record_hidden_events(&mut self) {
        self.is_uncertain = true;
    }

    /// Sets the state of the run.
    pub(crate) fn set_state(&mut self, fold: Fold) {
        self.is_uncertain = fold.is_uncertain();
        self.state = Some(fold.state);
    }

    /// Brings the known end of `segment`, which has `len` bytes, up to date. Changes nothing on
    /// disk. Returns `false` if more than `limit` bytes would have to be read.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn refresh(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        len: u64,
        limit: u64,
    ) -> Result<bool, StorageError> {
        self.has_other_writers = self.tail.is_some() && self.len != len;
        if self.tail.is_some() && !self.has_other_writers {
            return Ok(true);
        }
        if len < self.len {
            self.reserve.invalidate();
        }
        match self.catch_up(handle, segment, len, limit)? {
            CatchUp::Done => {}
            CatchUp::TooLong => return Ok(false),
            CatchUp::NotInOrder => {
                self.state = None;
                self.tail = end_of_log::find(handle, segment, len, limit)?;
                if self.tail.is_none() {
                    return Ok(false);
                }
            }
        }
        self.skip_lost_events(handle);
        self.len = len;
        Ok(true)
    }

    /// Continues after the last event that this writer wrote, even if the file became shorter
    /// and lost it.
    pub(super) fn skip_lost_events(&mut self, handle: &RunHandle) {
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

    /// Reads what other writers appended.
    fn catch_up(
        &mut self,
        handle: &RunHandle,
        segment: &ActiveSegment,
        len: u64,
        limit: u64,
    ) -> Result<CatchUp, StorageError> {
        let (Some(tail), Some(unread)) = (&mut self.tail, len.checked_sub(self.len)) else {
            return Ok(CatchUp::NotInOrder);
        };
        if self.state.is_none() {
            let end = tail.end;
            let is_skipped = (end..=end + SKIP_LIMIT_BYTES).contains(&len)
                && read_span(segment.file(), end, len)
                    .is_ok_and(|lines| tail.skip_plain_lines(&lines));
            if is_skipped {
                return Ok(CatchUp::Done);
            }
            // After lines of another program, the last line of runlog may be far away.
            if unread > CATCH_UP_LIMIT_BYTES && !tail.foreign {
                return Ok(CatchUp::NotInOrder);
            }
        }
        if unread > limit {
            return Ok(CatchUp::TooLong);
        }
        let (repairs, damaged) = (tail.repairs, tail.damaged);
        let path = handle.active_path();
        let in_order = tail.advance(segment.file(), len, path, self.state.as_mut())?;
        if tail.damaged != damaged {
            // Only a fold shows whether that hides events.
            self.state = None;
        }
        if tail.repairs != repairs {
            // Truncating the file freed the reserved blocks.
            self.reserve.invalidate();
        }
        Ok(if in_order {
            CatchUp::Done
        } else {
            CatchUp::NotInOrder
        })
    }

    /// Continues after a repair that left the segment with `len` bytes.
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
        let damaged = tail.damaged;
        let in_order = tail.advance(segment.file(), len, path, self.state.as_mut())?;
        if !in_order || tail.damaged != damaged {
            self.state = None;
        }
        Ok(())
    }

    /// Encodes a batch; see [`Encoder::encode`].
    ///
    /// # Errors
    /// The batch is rejected. The known end of the log must then be invalidated, because some of
    /// the batch was already added to it.
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
            is_uncertain: self.is_uncertain,
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
