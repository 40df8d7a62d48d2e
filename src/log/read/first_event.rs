//! The first event of a run, whose id distinguishes the run from a later one with the same run
//! id.

use std::os::unix::fs::FileExt;

use ulid::Ulid;

use super::fold::Fold;
use super::reader::{Item, Reader};
use crate::log::error::StorageError;
use crate::log::format::envelope;
use crate::log::format::envelope::Envelope;
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, IoContext, layout};

/// Returns the id of the first event that the run has ever had, or of the first remaining one if
/// the log was cut.
pub(crate) fn first_id(dir: &Dir) -> Result<Option<Ulid>, StorageError> {
    if let Some(id) = first_id_of_active(dir)? {
        return Ok(Some(id));
    }
    Ok(first_state(dir)?.first_id)
}

/// Returns the id of the first event that the run has ever had; `None` if the log no longer
/// contains it.
pub(crate) fn known_first_id(dir: &Dir) -> Result<Option<Ulid>, StorageError> {
    if let Some(id) = first_id_of_active(dir)? {
        return Ok(Some(id));
    }
    let fold = fold_start(dir)?;
    Ok(fold.state.first_id.filter(|_| !fold.is_uncertain()))
}

/// Folds the log until the id of the run's first event, and thus its name, is known.
pub(crate) fn first_state(dir: &Dir) -> Result<RunState, StorageError> {
    fold_start(dir).map(|fold| fold.state)
}

fn fold_start(dir: &Dir) -> Result<Fold, StorageError> {
    let mut reader = Reader::open(dir)?;
    let mut fold = Fold::default();
    while fold.state.first_id.is_none()
        && let Some(item) = reader.next_item()?
    {
        fold.apply(&item);
        if matches!(item, Item::Foreign(..)) {
            // Other programs may write lines without ids.
            break;
        }
    }
    Ok(fold)
}

/// Returns the id of event 0 if the active segment starts with it.
///
/// Parses only the envelope of the line, because finding the newest of ten thousand runs has to
/// be fast.
fn first_id_of_active(dir: &Dir) -> Result<Option<Ulid>, StorageError> {
    let Some(file) = dir.read(layout::ACTIVE)? else {
        return Ok(None);
    };
    let mut start = [0; 2 * envelope::FRAME_LEN];
    let path = || dir.path().join(layout::ACTIVE);
    let n = file.read_at(&mut start, 0).at("read", path())?;
    let env = start.get(..n).and_then(Envelope::parse_checked);
    Ok(env.filter(|env| env.seq == 0).and_then(|env| env.ulid()))
}
