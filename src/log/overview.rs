//! What a run is, as cheaply as it can be told.

use serde::Deserialize;

use super::LogError;
use super::backward::Backward;
use super::dialect::{Class, classify};
use super::reader::{Damage, Item, Reader, fold};
use super::segments::{open_active, open_segments, since_checkpoint};
use super::state::RunState;
use crate::volume::{Dir, IoContext, layout};

/// A run as its log tells it.
#[derive(Debug)]
pub struct Overview {
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
pub fn overview(dir: &Dir, all_jobs: bool) -> Result<Overview, LogError> {
    if let Some(finished) = from_last_line(dir)?
        && !(all_jobs && finished.state.jobs_truncated)
    {
        return Ok(finished);
    }
    let segments = open_segments(dir)?;
    // A folder that is being removed loses its log last.
    if segments.is_empty() || dir.is_gone() {
        return Err(LogError::RunGone {
            path: dir.path().to_owned(),
        });
    }
    let active = segments.iter().find(|s| s.first_seq.is_none());
    let bytes = active.map_or(0, |s| s.len);
    let mut reader = Reader::of(since_checkpoint(segments));
    let mut told = Overview {
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

/// Whether the run in `dir` is closed: nothing but repairs, rotations and rollbacks may
/// come behind its last line.
///
/// # Errors
/// A segment cannot be read.
pub fn is_closed(dir: &Dir) -> Result<bool, LogError> {
    if from_last_line(dir)?.is_some() {
        return Ok(true);
    }
    let Some(active) = open_active(dir)? else {
        return Ok(false);
    };
    let mut back = Backward::new(&active.file, active.len);
    let mut last = RunState::default();
    if let Ok(Some(line)) = back.prev_line()
        && matches!(classify(line.bytes), Class::Foreign(_))
    {
        last.apply_foreign(line.bytes);
    }
    // Such a line does not tell alone: it may stand in a run of ours.
    Ok(last.is_closed() && fold(dir)?.is_closed())
}

fn from_last_line(dir: &Dir) -> Result<Option<Overview>, LogError> {
    #[derive(Deserialize)]
    struct Last {
        summary: Option<RunState>,
    }
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return Ok(None);
    };
    let path = dir.path().join(layout::ACTIVE);
    let len = file.metadata().at("look at", &path)?.len();
    let mut back = Backward::new(&file, len);
    // A file that shrinks meanwhile is being mended: then it is read in full.
    let Ok(Some(line)) = back.prev_line() else {
        return Ok(None);
    };
    let Class::Ours(env) = classify(line.bytes) else {
        return Ok(None);
    };
    let Ok(Last {
        summary: Some(state),
    }) = serde_json::from_slice(line.bytes)
    else {
        return Ok(None);
    };
    Ok(state.is_closed().then(|| Overview {
        bytes: len + state.sealed_bytes,
        events: env.seq + 1,
        state,
        damage: Vec::new(),
    }))
}
