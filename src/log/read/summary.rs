//! What a run is, as cheaply as it can be told.

use std::fs::File;

use serde::Deserialize;

use super::reader::{Damage, Item, Reader, fold};
use crate::log::error::StorageError;
use crate::log::format::classify::{LineClass, classify};
use crate::log::interop::foreign::apply_foreign;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::segment::segment_set::{open_active, open_segments, since_checkpoint};
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, RunId, layout};

/// A run as its log tells it.
#[derive(Debug)]
pub struct RunSummary {
    /// The folded state.
    pub state: RunState,
    /// How many events the run ever had.
    pub events: u64,
    /// Its log, in bytes before compression.
    pub bytes: u64,
    /// What was damaged, as far as it was read.
    pub damage: Vec<Damage>,
}

/// Tells what the run in `dir` is. A finished run is answered from its last line
/// alone, unless `all_jobs` are asked for and that line lacks some; any other from its
/// newest checkpoint on. Damage before that is not looked for.
///
/// # Errors
/// A segment cannot be read.
pub fn read_summary(dir: &Dir, all_jobs: bool) -> Result<RunSummary, StorageError> {
    let active = dir.read_sized(layout::ACTIVE)?;
    if let Some(finished) = active.and_then(|(file, len)| from_last_line(&file, len, all_jobs)) {
        return Ok(finished);
    }
    let segments = open_segments(dir)?;
    // A folder that is being removed loses its log last.
    if segments.is_empty() || dir.is_removed() {
        return Err(StorageError::RunRemoved {
            path: dir.path().to_owned(),
        });
    }
    let active = segments.iter().find(|s| s.first_seq.is_none());
    let bytes = active.map_or(0, |s| s.len);
    let mut reader = Reader::from_segments(since_checkpoint(segments));
    let mut told = RunSummary {
        state: RunState::default(),
        events: 0,
        bytes,
        damage: Vec::new(),
    };
    let mut foreign = 0;
    while let Some(item) = reader.next_item()? {
        item.fold_into(&mut told.state);
        match item {
            Item::Event(..) => {}
            Item::Foreign(..) => foreign += 1,
            Item::Damage(damage) => told.damage.push(damage),
        }
    }
    told.events = reader.next_seq() + foreign;
    told.bytes += told.state.sealed_bytes;
    Ok(told)
}

/// Tells what the run in the folder `runs` is, if it is finished and its last line tells
/// all: the short way of [`read_summary`], for many runs, which opens nothing but one file.
/// What is wrong with any other is told on the long way.
pub fn read_finished(runs: &Dir, run: &RunId, all_jobs: bool) -> Option<RunSummary> {
    let active = runs.read_sized_in(run.as_str(), layout::ACTIVE).ok()?;
    active.and_then(|(file, len)| from_last_line(&file, len, all_jobs))
}

/// Whether the run in `dir` is closed: nothing but repairs, rotations and rollbacks may
/// come behind its last line.
///
/// # Errors
/// A segment cannot be read.
pub fn is_closed(dir: &Dir) -> Result<bool, StorageError> {
    let Some(active) = open_active(dir)? else {
        return Ok(false);
    };
    let file = active.open()?.file;
    if from_last_line(&file, active.len, false).is_some() {
        return Ok(true);
    }
    let mut back = RevLineReader::new(&file, active.len);
    let mut last = RunState::default();
    if let Ok(Some(line)) = back.prev_line()
        && matches!(classify(line.bytes), LineClass::Foreign(_))
    {
        apply_foreign(&mut last, line.bytes);
    }
    // Such a line does not tell alone: it may stand in a run of ours.
    Ok(last.is_closed() && fold(dir)?.is_closed())
}

/// What the last line of an active segment of `len` bytes tells of a finished run.
fn from_last_line(active: &File, len: u64, all_jobs: bool) -> Option<RunSummary> {
    #[derive(Deserialize)]
    struct LastLine {
        summary: Option<RunState>,
    }
    let mut back = RevLineReader::new(active, len);
    // A file that shrinks meanwhile is being mended: then it is read in full.
    let line = back.prev_line().ok()??;
    let LineClass::Ours(env) = classify(line.bytes) else {
        return None;
    };
    let state = serde_json::from_slice::<LastLine>(line.bytes)
        .ok()?
        .summary?;
    let tells_all = state.is_closed() && !(all_jobs && state.jobs_truncated);
    tells_all.then(|| RunSummary {
        bytes: len + state.sealed_bytes,
        events: env.seq + 1,
        state,
        damage: Vec::new(),
    })
}
