//! What is replayed.

use std::path::Path;

use anyhow::Result;

use super::Args;
use crate::cli::Global;
use crate::log::{LogError, Reader, Wal};
use crate::volume::{Dir, RunId};

/// A run of the volume, or a log of runtimo that is anywhere.
pub(super) enum Source {
    Run(RunId, Dir),
    Wal(RunId, Wal),
}

impl Source {
    pub(super) fn find(args: &Args, global: &Global) -> Result<Self> {
        if let Some(path) = &args.wal {
            let wal = Wal::open(path)?;
            return Ok(Self::Wal(wal.run_id(), wal));
        }
        let (run, dir) = global.run(&args.run)?;
        Ok(Self::Run(run, dir))
    }

    /// What it is called.
    pub(super) fn run(&self) -> &RunId {
        match self {
            Self::Run(run, _) | Self::Wal(run, _) => run,
        }
    }

    /// The folder that it is in.
    pub(super) fn dir(&self) -> &Dir {
        match self {
            Self::Run(_, dir) => dir,
            Self::Wal(_, wal) => wal.dir(),
        }
    }

    pub(super) fn reader(&self) -> Result<Reader, LogError> {
        match self {
            Self::Run(_, dir) => {
                let reader = Reader::open(dir)?;
                if dir.is_gone() {
                    let path = dir.path().to_owned();
                    return Err(LogError::RunGone { path });
                }
                Ok(reader)
            }
            Self::Wal(_, wal) => wal.reader(),
        }
    }

    /// Whether that file is, or would be, one of those that are read.
    pub(super) fn has(&self, file: &Path) -> bool {
        let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let folder = match real.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return false,
        };
        let same_folder = Dir::open(folder).is_ok_and(|dir| dir.key() == self.dir().key());
        match self {
            Self::Run(..) => same_folder,
            Self::Wal(_, wal) => {
                let name = real.file_name().and_then(|name| name.to_str());
                same_folder && name.is_some_and(|name| wal.has(name))
            }
        }
    }
}
