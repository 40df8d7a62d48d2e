//! Removing the directory of a run without events.

use super::handle::RunHandle;
use crate::log::error::StorageError;
use crate::log::lock::file_lock;
use crate::log::segment::segment_set;
use crate::volume::{Dir, layout};

/// Removes the directory of a run without events, under its locks but without waiting for them.
/// Another process may have started the run already, because its id is known. gc removes
/// whatever remains.
pub(crate) fn remove_if_empty(handle: &RunHandle) {
    // If the directory cannot be removed, it remains as a run that was never started.
    drop(try_remove(handle));
}

fn try_remove(handle: &RunHandle) -> Result<(), StorageError> {
    let dir = handle.dir();
    let Some(_run_lock) = handle.try_lock_run()? else {
        return Ok(());
    };
    let active = dir.read(layout::ACTIVE)?;
    let path = handle.active_path();
    let lock = active
        .as_ref()
        .map(|file| file_lock::try_exclusive(file, path));
    let lock = lock.transpose()?;
    if matches!(lock, Some(None)) {
        return Ok(());
    }
    if segment_set::is_started(dir)? || has_lease(dir)? {
        return Ok(());
    }
    for name in [layout::ACTIVE, layout::LOCK] {
        dir.remove_file(name)?;
    }
    if let Ok(jobs) = dir.open_dir(layout::JOBS) {
        for name in jobs.names()? {
            jobs.remove_file(&name)?;
        }
    }
    dir.remove_empty_dir(layout::JOBS);
    handle.runs().remove_empty_dir(handle.run().as_str());
    Ok(())
}

/// Returns whether a supervisor holds the lease of a job.
fn has_lease(dir: &Dir) -> Result<bool, StorageError> {
    let Ok(jobs) = dir.open_dir(layout::JOBS) else {
        return Ok(false);
    };
    file_lock::is_any_locked(&jobs, jobs.names()?.iter())
}
