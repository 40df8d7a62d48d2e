//! Whether runlog may run commands from a log: only if no other user can have written to it.

use std::path::PathBuf;

use rustix::fs::{Stat, fstat};

use crate::log::StorageError;
use crate::volume::{Dir, IoContext, RunId, Volume, layout};

/// The error if another user may have written the recorded commands.
#[derive(Debug, thiserror::Error)]
#[error("refusing to run recorded commands: {} {why}", path.display())]
pub struct UntrustedLog {
    /// The run.
    pub run: RunId,
    /// The file or directory.
    path: PathBuf,
    /// The problem with it.
    why: String,
    /// The `.omne` of the volume.
    pub omne: PathBuf,
}

/// Returns why the log of the run in `dir` is not trusted; `None` if it is.
///
/// # Errors
/// A file or directory cannot be checked.
pub(crate) fn check_ownership(
    volume: &Volume,
    run: &RunId,
    dir: &Dir,
) -> Result<Option<UntrustedLog>, StorageError> {
    let chain = volume.make_runs()?;
    let untrusted = |path, why| UntrustedLog {
        run: run.clone(),
        path,
        why,
        omne: volume.path().join(layout::OMNE),
    };
    for dir in chain.iter().chain([dir]) {
        let stat = fstat(dir).at("stat", dir.path())?;
        if let Some(why) = ownership_problem(&stat) {
            return Ok(Some(untrusted(dir.path().to_owned(), why)));
        }
    }
    for name in dir.names()? {
        let is_log = name == layout::ACTIVE || layout::parse_sealed(&name).is_some();
        if let Some(stat) = dir.stat(&name)?.filter(|_| is_log)
            && let Some(why) = ownership_problem(&stat)
        {
            return Ok(Some(untrusted(dir.path().join(&name), why)));
        }
    }
    Ok(None)
}

fn ownership_problem(stat: &Stat) -> Option<String> {
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me {
        return Some(format!("belongs to another user (uid {})", stat.st_uid));
    }
    (stat.st_mode & 0o022 != 0).then(|| "may be written by others".to_owned())
}
