//! What a writer does, under the locks, before it appends: it finds the end of the
//! active segment, mends a torn one, and goes on from a sealed one where a rotation
//! was cut off.

use std::sync::Arc;

use super::append::{Batch, Close};
use super::repair::TailRepair;
use super::run_log::{ActiveSegment, RunLog, WriterState};
use super::tail::{Tail, TailMode};
use super::{repair, rotate};
use crate::log::error::{AppendError, StorageError};
use crate::log::format::event_type::{Durability, EventType};
use crate::log::format::payload::Sealed;
use crate::log::read::reader;
use crate::log::segment::line_reader::read_span;
use crate::log::segment::segment_set;
use crate::log::segment::sequence::Sequence;
use crate::log::write::draft::Draft;
use crate::volume::{Dir, FileKey, IoContext, layout};

/// So many bytes of news are held at once, to be passed over.
const SKIP_LIMIT_BYTES: u64 = 64 << 10;
/// Over so many bytes of news a writer looks at the end only.
const CATCH_UP_LIMIT_BYTES: u64 = 4 << 20;

/// Whether the next writer has something to mend in the run in `dir`: a torn end, or a
/// rotation that was cut off.
///
/// # Errors
/// The folder or the active segment cannot be read.
pub fn needs_repair(dir: &Dir) -> Result<bool, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return segment_set::has_events(dir);
    };
    let path = dir.path().join(layout::ACTIVE);
    let len = file.metadata().at("look at", &path)?.len();
    let Some(last) = len.checked_sub(1) else {
        return segment_set::has_events(dir);
    };
    Ok(read_span(&file, last, len).at("read", &path)? != b"\n")
}

#[doc(hidden)]
impl RunLog {
    /// Does what the next writer would do before it appends. Gives the lines that tell
    /// of it.
    ///
    /// # Errors
    /// As [`RunLog::append_with`].
    pub fn recover_end(&self) -> Result<Vec<u8>, AppendError> {
        let budget = EventType::LogRepaired.lock_budget();
        let settled = self.append_with(Durability::Power, budget, |_| Ok(Batch::only(Close::No)));
        Ok(settled?.bytes)
    }

    /// The active segment, opened anew where it was rotated, made where it is missing.
    pub(crate) fn active(
        &self,
        inner: &mut WriterState,
    ) -> Result<Arc<ActiveSegment>, StorageError> {
        let there = self.dir.stat(layout::ACTIVE)?;
        if let (Some(stat), Some(active)) = (there, &inner.segment)
            && active.key == FileKey::from(&stat)
            // With a second link it is opened anew, and so refused.
            && stat.st_nlink == 1
        {
            return Ok(Arc::clone(active));
        }
        inner.segment = None;
        inner.rotate_at = None;
        inner.invalidate();
        let file = Arc::new(self.dir.append(layout::ACTIVE)?);
        let stat = rustix::fs::fstat(&file).at("look at", &self.paths.active)?;
        let active = Arc::new(ActiveSegment::new(file, FileKey::from(&stat)));
        inner.segment = Some(Arc::clone(&active));
        self.names.record_write();
        Ok(active)
    }

    /// Brings what we know of the segment's end up to date. Changes nothing on disk.
    /// `len`: of the segment, in bytes.
    pub(crate) fn refresh_tail(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
        len: u64,
    ) -> Result<(), StorageError> {
        inner.has_news = inner.tail.is_some() && inner.len != len;
        if inner.tail.is_some() && !inner.has_news {
            return Ok(());
        }
        if len < inner.len {
            inner.reserve.invalidate();
        }
        if !self.catch_up(inner, segment, len)? {
            inner.state = None;
            let path = self.active_path();
            let before = || self.sealed_tail();
            let mut tail = Tail::find(&segment.file, len, &path, TailMode::Open, before)?;
            self.resume_after_sealed(&mut tail, segment)?;
            inner.tail = Some(tail);
        }
        if let Some(tail) = &mut inner.tail
            && tail.sequence.next() < inner.next_seq
        {
            tail.sequence = Sequence::before(inner.next_seq);
        }
        inner.len = len;
        Ok(())
    }

    /// Reads what others appended; says whether that was enough.
    fn catch_up(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
        len: u64,
    ) -> Result<bool, StorageError> {
        let (Some(tail), Some(news)) = (&mut inner.tail, len.checked_sub(inner.len)) else {
            return Ok(false);
        };
        if inner.state.is_none() {
            let end = tail.end;
            let passed = (end..=end + SKIP_LIMIT_BYTES).contains(&len)
                && read_span(&segment.file, end, len)
                    .is_ok_and(|lines| tail.skip_plain_lines(&lines));
            if passed || news > CATCH_UP_LIMIT_BYTES {
                return Ok(passed);
            }
        }
        let repairs = tail.repairs;
        let path = self.active_path();
        let in_order = tail.advance(&segment.file, len, &path, inner.state.as_mut())?;
        if tail.repairs != repairs {
            // A cut gives back the blocks that were reserved.
            inner.reserve.invalidate();
        }
        Ok(in_order)
    }

    /// Makes the segment end where a line ends, and begin where it has to. Gives the
    /// lines that were written for that. They are written at once: the batch that
    /// comes next may still be refused, and what was done has to be told anyway.
    pub(crate) fn recover_tail(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
    ) -> Result<Vec<u8>, AppendError> {
        let tail = inner.tail.get_or_insert_default();
        let first = if inner.len == 0 {
            self.checkpoint_after_sealed(inner)?
        } else if tail.end < inner.len {
            self.repair_tail(inner, segment)?
        } else {
            None
        };
        match first {
            None => Ok(Vec::new()),
            Some(draft) => {
                let lines = self.encode_batch(inner, &[draft], Close::No)?;
                self.write_batch(inner, segment, lines).map(|put| put.bytes)
            }
        }
    }

    fn repair_tail(
        &self,
        inner: &mut WriterState,
        segment: &ActiveSegment,
    ) -> Result<Option<Draft>, AppendError> {
        let path = self.active_path();
        let tail = inner.tail.get_or_insert_default();
        let first_seq = segment_set::first_seq(&segment.file);
        let mended =
            repair::repair_torn_tail(&self.dir, &segment.file, first_seq, tail.end, inner.len)?;
        inner.len = self.segment_len(segment)?;
        inner.reserve.invalidate();
        if !tail.advance(&segment.file, inner.len, &path, inner.state.as_mut())? {
            inner.state = None;
        }
        match mended {
            TailRepair::Completed => Ok(None),
            TailRepair::Repaired(repaired) => Ok(Some(Draft::new_unchecked(
                EventType::LogRepaired,
                &self.run,
                None,
                &repaired,
            )?)),
        }
    }

    /// The end of the newest sealed segment, if there is one.
    pub(crate) fn sealed_tail(&self) -> Result<Tail, StorageError> {
        match self.newest_sealed()? {
            Some(segment) => segment.tail(),
            None => Ok(Tail::default()),
        }
    }

    /// A segment that begins before the newest sealed one was put in its place by somebody:
    /// no number is given that the sealed one has.
    fn resume_after_sealed(
        &self,
        tail: &mut Tail,
        segment: &ActiveSegment,
    ) -> Result<(), StorageError> {
        let names = self.dir.names()?;
        let sealed = names.iter().filter_map(|name| layout::parse_sealed(name));
        let Some((newest, _)) = sealed.max() else {
            return Ok(());
        };
        if tail.end > 0 && segment_set::first_seq(&segment.file) > newest {
            return Ok(());
        }
        let before = self.sealed_tail()?;
        if tail.sequence.next() < before.sequence.next() {
            tail.sequence = Sequence::before(before.sequence.next());
        }
        tail.last_id = tail.last_id.max(before.last_id);
        Ok(())
    }

    pub(crate) fn newest_sealed(&self) -> Result<Option<segment_set::Segment>, StorageError> {
        let mut sealed = segment_set::open_segments(&self.dir)?;
        sealed.retain(|segment| segment.first_seq.is_some());
        Ok(sealed.pop())
    }

    /// A rotation that was cut off left no active segment, or an empty one: the log
    /// goes on from the newest sealed one, whose end [`Tail::find`] took over.
    fn checkpoint_after_sealed(
        &self,
        inner: &mut WriterState,
    ) -> Result<Option<Draft>, AppendError> {
        let Some(newest) = self.newest_sealed()? else {
            return Ok(None);
        };
        let sealed = Sealed {
            file: newest.plain_name(),
            first_seq: newest.first_seq.unwrap_or(0),
            last_seq: newest.tail()?.sequence.last(),
            last_ts: newest.last_ts(),
            bytes: newest.uncompressed_len(),
        };
        // The line itself counts what was sealed.
        let mut state = inner.state.insert(reader::fold(&self.dir)?).clone();
        state.sealed_bytes += sealed.bytes;
        Ok(Some(rotate::checkpoint(&self.run, &sealed, &state)?))
    }
}
