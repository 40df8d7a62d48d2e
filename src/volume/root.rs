//! Finding a volume, and making one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::IoContext;
use super::{Dir, RunId, VolumeError, layout};

/// A folder that has `.omne/`.
#[derive(Debug)]
pub struct Volume {
    root: Dir,
}

impl Volume {
    /// Opens the folder that somebody named as a volume.
    ///
    /// # Errors
    /// It is no folder, or has no `.omne/`.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        let dir = Dir::open(root)?;
        if dir.stat(layout::OMNE)?.is_none() {
            Err(VolumeError::NotAVolume {
                root: root.to_owned(),
            })
        } else {
            dir.open_dir(layout::OMNE)?;
            Ok(Self { root: dir })
        }
    }

    /// Looks for the nearest folder with `.omne`, from `start` upwards.
    ///
    /// # Errors
    /// There is none ([`VolumeError::NotFound`]), or it belongs to another user,
    /// whose settings and logs must not be picked up by accident.
    pub fn discover(start: &Path) -> Result<Self, VolumeError> {
        let start = start.canonicalize().at("resolve", start)?;
        for folder in start.ancestors() {
            let omne = folder.join(layout::OMNE);
            let Ok(meta) = omne.symlink_metadata() else {
                continue;
            };
            let me = rustix::process::geteuid().as_raw();
            if meta.uid() != me {
                return Err(VolumeError::OtherOwner {
                    path: omne,
                    owner: meta.uid(),
                });
            }
            if !meta.is_dir() {
                return Err(VolumeError::NotADirectory { path: omne });
            }
            return Self::open(folder);
        }
        Err(VolumeError::NotFound { start })
    }

    /// Makes `root`, which must be there, a volume; fine if it is one already.
    ///
    /// # Errors
    /// `root` is no folder, or `.omne` cannot be made in it.
    pub fn create(root: &Path) -> Result<Self, VolumeError> {
        let dir = Dir::open(root)?;
        dir.ensure_dir(layout::OMNE)?;
        Ok(Self { root: dir })
    }

    /// The folder that has `.omne/`.
    #[doc(hidden)]
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// The path of the folder that has `.omne/`.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The path of a run's folder, for messages.
    pub fn run_path(&self, run: &RunId) -> PathBuf {
        self.path().join(layout::run_dir(run))
    }

    /// The folder of all runs; `None` while there is no run yet.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    #[doc(hidden)]
    pub fn runs(&self) -> Result<Option<Dir>, VolumeError> {
        match self.root.open_dir(layout::RUNS) {
            Ok(dir) => Ok(Some(dir)),
            Err(e) if e.io_kind() == Some(std::io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The chain of folders down to the runs, made where missing:
    /// `.omne`, `.omne/var`, `.omne/var/runs`.
    ///
    /// # Errors
    /// One of them cannot be made.
    #[doc(hidden)]
    pub fn make_runs(&self) -> Result<[Dir; 3], VolumeError> {
        let (omne, _) = self.root.ensure_dir(layout::OMNE)?;
        let (var, _) = omne.ensure_dir("var")?;
        let (runs, _) = var.ensure_dir("runs")?;
        Ok([omne, var, runs])
    }
}
