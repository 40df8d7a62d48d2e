//! The catalog of a volume's runs, and run selection by name.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use ulid::Ulid;

use crate::log::error::StorageError;
use crate::log::format::envelope;
use crate::log::format::envelope::Envelope;
use crate::log::format::ulid::parse_ulid;
use crate::log::read::fold::Fold;
use crate::log::read::reader::{Item, Reader};
use crate::log::segment::segment_set::has_events;
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, IoContext, RunId, Volume, layout};

/// An error while a run is selected by name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// A file or directory cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No run has this name.
    #[error("no run {run}")]
    NoSuchRun {
        /// The name.
        run: String,
    },
    /// gc removed no run with this id.
    #[error("gc has removed no run {run}")]
    NotRemoved {
        /// The id.
        run: String,
    },
    /// The volume has no runs.
    #[error("no runs in {}", volume.display())]
    NoRuns {
        /// The volume.
        volume: PathBuf,
    },
    /// The name is a prefix of several ids.
    #[error("`{name}` matches several runs: {}", join_candidates(candidates))]
    Ambiguous {
        /// The name that was given.
        name: String,
        /// The ids that start with it.
        candidates: Vec<RunId>,
    },
    /// The name cannot be an id or a prefix of one.
    #[error(transparent)]
    Malformed(#[from] crate::volume::IdError),
}

fn join_candidates(candidates: &[RunId]) -> String {
    let mut names: Vec<&str> = candidates.iter().map(RunId::as_str).take(4).collect();
    if candidates.len() > names.len() {
        names.push("…");
    }
    names.join(", ")
}

/// Lists the ids of all directories that may hold a run, sorted.
///
/// # Errors
/// The directory of the runs cannot be read.
pub fn list(volume: &Volume) -> Result<Vec<RunId>, StorageError> {
    let Some(runs) = volume.runs()? else {
        return Ok(Vec::new());
    };
    let mut ids: Vec<RunId> = runs
        .names()?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    ids.sort();
    Ok(ids)
}

/// Opens the directory of a run that has events; `None` if it has none yet, or is not a
/// directory.
///
/// # Errors
/// The directory cannot be read.
pub fn open_dir(runs: &Dir, run: &RunId) -> Result<Option<Dir>, StorageError> {
    use crate::volume::VolumeError::NotADirectory;
    let dir = match runs.open_dir(run.as_str()) {
        Ok(dir) => dir,
        Err(NotADirectory { .. }) => return Ok(None),
        Err(e) if e.io_kind() == Some(std::io::ErrorKind::NotFound) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    Ok(has_events(&dir)?.then_some(dir))
}

/// Returns the id of the first event that the run ever had.
pub(crate) fn first_id(dir: &Dir) -> Result<Option<Ulid>, StorageError> {
    if let Some(id) = first_id_of_active(dir)? {
        return Ok(Some(id));
    }
    let state = first_state(dir)?;
    Ok(state.first_id.as_deref().and_then(parse_ulid))
}

/// Folds the log until the id of the run's first event is known, and with it the name.
pub(crate) fn first_state(dir: &Dir) -> Result<RunState, StorageError> {
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
    Ok(fold.state)
}

/// Returns the id of event 0 if the active segment starts with it.
///
/// Reads only the frame of the line: looking up the newest of ten thousand runs has to be
/// fast.
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
