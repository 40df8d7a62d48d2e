//! The catalog of a volume's runs.

use std::path::PathBuf;

use crate::log::error::StorageError;
use crate::log::segment::segment_set::has_events;
use crate::volume::{Dir, RunId, Volume};

/// An error from selecting a run by name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// A file or directory cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No run has this name.
    #[error("no run `{run}`")]
    NoSuchRun {
        /// The name.
        run: String,
    },
    /// No removed run of this name is recorded.
    #[error("no removed run `{run}` is recorded")]
    NotRemoved {
        /// The name.
        run: String,
    },
    /// The volume has no runs.
    #[error("no runs in `{}`", volume.display())]
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
    /// A run has this name, but an exact id is needed.
    #[error("no run has the ID `{name}`; the newest run of that name is `{newest}`")]
    NotAnId {
        /// The name.
        name: RunId,
        /// The newest run.
        newest: RunId,
    },
    /// The text after `~` is not a number.
    #[error("`{text}` is not the name of a run: there must be a number after `~`")]
    BadOffset {
        /// The text.
        text: String,
    },
    /// The name is neither a valid id nor a prefix of one.
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

/// Lists the ids of all directories that may contain a run, sorted.
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

/// Opens the directory of a run; `None` if the run has no events yet, or is not a directory.
///
/// # Errors
/// The directory cannot be read.
pub fn open_dir(runs: &Dir, run: &RunId) -> Result<Option<Dir>, StorageError> {
    let Some(dir) = open_any_dir(runs, run)? else {
        return Ok(None);
    };
    Ok(has_events(&dir)?.then_some(dir))
}

/// Opens the directory of a run that may have no events yet; `None` if it does not exist.
///
/// # Errors
/// The directory cannot be opened.
pub fn open_any_dir(runs: &Dir, run: &RunId) -> Result<Option<Dir>, StorageError> {
    use crate::volume::VolumeError::NotADirectory;
    match runs.open_dir(run.as_str()) {
        Ok(dir) => Ok(Some(dir)),
        Err(NotADirectory { .. }) => Ok(None),
        Err(e) if e.io_kind() == Some(std::io::ErrorKind::NotFound) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
