//! Recovery before an append: a torn end is repaired, and an interrupted rotation is completed
//! with its checkpoint.

use super::active_segment::ActiveSegment;
use super::checkpoint::{checkpoint, loss_record};
use super::draft::Draft;
use super::end_of_log::newest_sealed;
use super::handle::RunHandle;
use super::repair;
use super::repair::TailRepair;
use super::tail::Tail;
use super::writer_state::WriterState;
use crate::log::error::{AppendError, StorageError};
use crate::log::format::payload::{LogRepaired, RepairAction, Sealed};
use crate::log::read::fold;
use crate::log::segment::line_reader::read_span;
use crate::log::segment::{segment_file, segment_set};
use crate::volume::{Dir, IoContext, layout};

/// Returns whether the next writer has to repair the run in `dir`: a torn end, or an interrupted
/// rotation.
///
/// # Errors
/// The directory or the active segment cannot be read.
pub fn needs_repair(dir: &Dir) -> Result<bool, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return segment_set::has_events(dir);
    };
    let path = dir.path().join(layout::ACTIVE);
    let len = file.metadata().at("stat", &path)?.len();
    let Some(last) = len.checked_sub(1) else {
        return segment_set::has_events(dir);
    };
    Ok(read_span(&file, last, len).at("read", &path)? != b"\n")
}

/// Makes the segment end with a whole line. Returns the events that record the repair, if any.
///
/// # Errors
/// The segment cannot be repaired.
pub(crate) fn recover_tail(
    handle: &RunHandle,
    writer: &mut WriterState,
    segment: &ActiveSegment,
) -> Result<Vec<Draft>, AppendError> {
    let end = writer.tail().map_or(0, |tail| tail.end);
    if writer.len() == 0 {
        checkpoint_after_sealed(handle, writer)
    } else if end < writer.len() {
        let repaired = repair_tail(handle, writer, segment, end)?;
        let mut drafts = if writer.len() == 0 {
            // The segment had no whole line: it lost its checkpoint too.
            checkpoint_after_sealed(handle, writer)?
        } else {
            Vec::new()
        };
        drafts.extend(repaired);
        Ok(drafts)
    } else {
        Ok(Vec::new())
    }
}

/// Returns the event that records the loss of events that this writer had appended, if any.
///
/// # Errors
/// The event cannot be created.
pub(crate) fn record_loss(
    handle: &RunHandle,
    writer: &mut WriterState,
) -> Result<Option<Draft>, AppendError> {
    let Some(lost) = writer.take_unrecorded_loss() else {
        return Ok(None);
    };
    writer.record_hidden_events();
    let payload = LogRepaired {
        file: layout::ACTIVE.into(),
        offset: writer.len(),
        bytes: 0,
        action: RepairAction::Continued,
        quarantine: None,
        lost_first_seq: Some(lost.first),
        lost_last_seq: Some(lost.last),
    };
    Ok(Some(Draft::reserved(handle.run(), &payload)?))
}

fn repair_tail(
    handle: &RunHandle,
    writer: &mut WriterState,
    segment: &ActiveSegment,
    end: u64,
) -> Result<Option<Draft>, AppendError> {
    let first_seq = segment_file::first_seq(segment.file());
    let fragment = end..writer.len();
    let repair = repair::repair_torn_tail(handle.dir(), segment.file(), first_seq, fragment)?;
    let len = segment.len(handle.active_path())?;
    writer.advance_over_repair(handle, segment, len)?;
    Ok(match repair {
        TailRepair::Completed => None,
        TailRepair::Repaired(payload) => Some(Draft::reserved(handle.run(), &payload)?),
    })
}

/// Returns the checkpoint of a log whose active segment is missing or empty after a sealed one,
/// because a rotation was interrupted. The writer already continues from the end of the sealed
/// one.
///
/// A segment is compressed only after its rotation is complete. If the sealed one is compressed,
/// the active segment was removed, which is recorded.
fn checkpoint_after_sealed(
    handle: &RunHandle,
    writer: &mut WriterState,
) -> Result<Vec<Draft>, AppendError> {
    let Some(newest) = newest_sealed(handle)? else {
        return Ok(Vec::new());
    };
    let sealed = Sealed {
        file: newest.plain_name(),
        first_seq: newest.first_seq.unwrap_or(0),
        last_seq: Tail::of_segment(&newest)?.sequence.last(),
        last_ts: newest.last_ts(),
        bytes: newest.uncompressed_len(),
        crc32c: newest.checksum(),
    };
    let (fold, _) = fold::fold_to_end(handle.dir())?;
    let mut state = fold.state.clone();
    // The writer applies the checkpoint to its state, which counts the sealed bytes.
    writer.set_state(fold);
    state.sealed_bytes += sealed.bytes;
    let mut drafts = vec![checkpoint(handle.run(), &sealed, &state)?];
    if newest.compressed {
        drafts.push(loss_record(
            handle.run(),
            layout::ACTIVE,
            RepairAction::Missing,
        )?);
        writer.record_hidden_events();
    } else if writer.is_uncertain() {
        drafts.push(loss_record(
            handle.run(),
            &sealed.file,
            RepairAction::Hidden,
        )?);
    }
    Ok(drafts)
}
