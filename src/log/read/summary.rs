//! The summary of a run, read as cheaply as possible.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::damage::DamageList;
use super::fold::{Fold, fold};
use super::missing_active::ActiveCheck;
use super::reader::{Item, Reader};
use crate::log::error::StorageError;
use crate::log::format::classify::{LineClass, classify};
use crate::log::format::envelope;
use crate::log::format::envelope::peek_frame;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::{Summarized, parse_payload};
use crate::log::interop::foreign::apply_foreign;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::segment::segment_set::{open_active, open_segments, since_checkpoint};
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, IoContext as _, RunId, layout};

/// The jobs in a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobScope {
    /// The jobs in the last line of a finished run, which may omit some of very many.
    Summarized,
    /// All jobs.
    All,
}

/// A run according to its log.
#[derive(Debug, Default)]
pub struct RunSummary {
    /// The folded state.
    pub state: RunState,
    /// The total number of events that the run has had.
    pub events: u64,
    /// The length of its log before compression, in bytes.
    pub bytes: u64,
    /// The damage in the part of the log that was read.
    pub damage: DamageList,
    /// Whether damage hides events, so that the state may not be that of the run, see
    /// [`Fold::is_uncertain`].
    pub is_uncertain: bool,
}

impl From<RunSummary> for Fold {
    /// Continues from a summary.
    fn from(summary: RunSummary) -> Self {
        let mut fold = Self::resume(summary.state, summary.events);
        if summary.is_uncertain {
            fold.mark_uncertain();
        }
        fold
    }
}

/// Returns the summary of the run in `dir`.
///
/// For a finished run, the last line contains it, unless that lacks some of the jobs in `scope`.
/// Any other run is folded from its newest checkpoint. Damage before that is not detected.
///
/// # Errors
/// A segment cannot be read.
pub fn read_summary(dir: &Dir, scope: JobScope) -> Result<RunSummary, StorageError> {
    let active = dir.read_sized(layout::ACTIVE)?;
    if let Some(finished) = active.and_then(|(file, len)| from_last_line(&file, len, scope)) {
        return Ok(finished);
    }
    let segments = open_segments(dir)?;
    let check = ActiveCheck::new(dir, &segments)?;
    // When a directory is removed, its log is removed last.
    if dir.is_removed() || segments.is_empty() && !check.is_expected() {
        return Err(StorageError::RunRemoved {
            path: dir.path().to_owned(),
        });
    }
    let active = segments.iter().find(|s| s.first_seq.is_none());
    let active_bytes = active.map_or(0, |s| s.len);
    let mut reader = Reader::from_segments(since_checkpoint(segments)).checking(check);
    let mut fold = Fold::default();
    let mut damage = DamageList::default();
    let mut foreign = 0;
    while let Some(item) = reader.next_item()? {
        fold.apply(&item);
        match item {
            Item::Event(..) | Item::Dropped(_) => {}
            Item::Foreign(..) => foreign += 1,
            Item::Damage(one) => damage.push(one),
        }
    }
    Ok(RunSummary {
        events: reader.next_seq() + foreign,
        bytes: active_bytes + fold.state.sealed_bytes,
        is_uncertain: fold.is_uncertain(),
        state: fold.state,
        damage,
    })
}

/// Returns the summary of a run in the directory `runs` if the run is finished and its last line
/// has the whole summary.
///
/// This is the fast path of [`read_summary`] for many runs: it opens a single file, and leaves
/// all unusual runs to the slow path.
pub fn read_finished(runs: &Dir, run: &RunId, scope: JobScope) -> Option<RunSummary> {
    let active = runs.read_sized_in(run.as_str(), layout::ACTIVE).ok()?;
    active.and_then(|(file, len)| from_last_line(&file, len, scope))
}

/// Returns whether the run in `dir` is closed; then only repairs, rotations, rollbacks, hooks and
/// reruns may follow.
///
/// # Errors
/// A segment cannot be read.
pub fn is_closed(dir: &Dir) -> Result<bool, StorageError> {
    let Some(active) = open_active(dir)? else {
        return Ok(false);
    };
    let file = active.open()?.file;
    if from_last_line(&file, active.len, JobScope::Summarized).is_some() {
        return Ok(true);
    }
    let mut back = RevLineReader::new(&file, active.len);
    let mut last = RunState::default();
    if let Ok(Some(line)) = back.prev_line()
        && line.whole
        && matches!(classify(line.bytes), LineClass::Foreign(_))
    {
        apply_foreign(&mut last, line.bytes);
    }
    // Such a line alone is not enough, because it may be in a run of runlog.
    Ok(last.is_closed() && fold(dir)?.is_closed())
}

/// Returns whether the log of the run in `dir` ends in the middle of a line, which may still be
/// being written.
///
/// # Errors
/// The active segment cannot be read.
pub fn ends_in_line(dir: &Dir) -> Result<bool, StorageError> {
    let Some((active, len)) = dir.read_sized(layout::ACTIVE)? else {
        return Ok(false);
    };
    let mut last = [b'\n'];
    let read = active.read_at(&mut last, len.saturating_sub(1));
    read.at("read", dir.path().join(layout::ACTIVE))?;
    Ok(last != [b'\n'])
}

/// Returns the summary of a finished run from the last line of an active segment of `len`
/// bytes.
fn from_last_line(active: &File, len: u64, scope: JobScope) -> Option<RunSummary> {
    let mut back = RevLineReader::new(active, len);
    // A file that shrinks in the meantime is being repaired, and is read in full.
    let line = back.prev_line().ok()??;
    if !line.whole {
        // It is still being written, so it is not there yet.
        return None;
    }
    let LineClass::Ours(env) = classify(line.bytes) else {
        return None;
    };
    let Summarized { summary: state } = parse_payload::<Summarized<RunState>>(line.bytes)?;
    let has_jobs = scope == JobScope::Summarized || !state.jobs_truncated;
    let is_whole = state.is_closed() && has_jobs && starts_log(active);
    is_whole.then(|| RunSummary {
        bytes: len + state.sealed_bytes,
        events: env.seq + 1,
        state,
        damage: DamageList::default(),
        is_uncertain: false,
    })
}

/// Returns whether a segment starts with the first event of a log or with a checkpoint.
///
/// If it does not, the segment was cut or replaced, and its writer may have written the summary
/// from what remained.
fn starts_log(segment: &File) -> bool {
    let mut start = [0; envelope::FRAME_LEN];
    let read = segment.read_at(&mut start, 0).ok();
    let frame = read.and_then(|n| start.get(..n)).and_then(peek_frame);
    // A line of another program, or a damaged one, proves nothing.
    frame.is_none_or(|frame| frame.seq == 0 || frame.has_type(EventType::LogRotated))
}
