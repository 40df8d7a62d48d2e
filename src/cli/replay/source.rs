//! The source of a replay.

use std::path::Path;

use anyhow::Result;

use crate::cli::context::Global;
use crate::cli::replay::Args;
use crate::log::{Reader, RuntimoWal, StorageError};
use crate::volume::{Dir, RunId, parent_dir, resolve_links};

/// A run of the volume, or a log of runtimo at any path.
pub(crate) enum ReplaySource {
    Run(RunId, Dir),
    Wal(RunId, RuntimoWal),
}

impl ReplaySource {
    pub(crate) fn find(args: &Args, global: &Global) -> Result<Self> {
        if let Some(path) = &args.wal {
            let wal = RuntimoWal::open(path)?;
            return Ok(Self::Wal(wal.run_id(), wal));
        }
        let (run, dir) = global.run(args.run_to_show())?;
        Ok(Self::Run(run, dir))
    }

    /// Returns the ID of the run.
    pub(crate) fn run(&self) -> &RunId {
        match self {
            Self::Run(run, _) | Self::Wal(run, _) => run,
        }
    }

    /// Returns the directory that contains the log.
    pub(crate) fn dir(&self) -> &Dir {
        match self {
            Self::Run(_, dir) => dir,
            Self::Wal(_, wal) => wal.dir(),
        }
    }

    pub(crate) fn reader(&self) -> Result<Reader, StorageError> {
        match self {
            Self::Run(_, dir) => {
                let reader = Reader::open(dir)?;
                if dir.is_removed() {
                    let path = dir.path().to_owned();
                    return Err(StorageError::RunRemoved { path });
                }
                Ok(reader)
            }
            Self::Wal(_, wal) => wal.reader(),
        }
    }

    /// Returns whether a file belongs to the runtimo log that is being read.
    pub(crate) fn contains(&self, file: &Path) -> bool {
        let (Self::Wal(_, wal), Ok(Some(file))) = (self, resolve_links(file)) else {
            return false;
        };
        let same = Dir::open(parent_dir(&file)).is_ok_and(|dir| dir.key() == wal.dir().key());
        let name = file.file_name().and_then(|name| name.to_str());
        same && name.is_some_and(|name| wal.has(name))
    }
}
