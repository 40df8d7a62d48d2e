//! Finding and creating volumes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::IoContext;
use super::{Dir, RunId, VolumeError, layout};

/// A directory that has an `.omne/`.
#[derive(Debug)]
pub struct Volume {
    root: Dir,
}

impl Volume {
    /// Opens the directory that the user named as the volume.
    ///
    /// # Errors
    /// It is not a directory, or has no `.omne/`.
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

    /// Finds the nearest directory with an `.omne`, from `start` upwards.
    ///
    /// # Errors
    /// There is none ([`VolumeError::NotFound`]), or it belongs to another user, whose
    /// settings and logs must not be picked up by accident.
    pub fn discover(start: &Path) -> Result<Self, VolumeError> {
        let start = start.canonicalize().at("resolve", start)?;
        for ancestor in start.ancestors() {
            let omne = ancestor.join(layout::OMNE);
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
            return Self::open(ancestor);
        }
        Err(VolumeError::NotFound { start })
    }

    /// Makes the existing directory `root` a volume, unless it already is one.
    ///
    /// # Errors
    /// `root` is not a directory, or `.omne` cannot be created in it.
    pub fn create(root: &Path) -> Result<Self, VolumeError> {
        let dir = Dir::open(root)?;
        dir.ensure_dir(layout::OMNE)?;
        Ok(Self { root: dir })
    }

    /// Returns the directory that has the `.omne/`.
    #[doc(hidden)]
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// Returns the path of the directory that has the `.omne/`.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns the path of a run's directory, for messages.
    pub fn run_path(&self, run: &RunId) -> PathBuf {
        self.path().join(layout::run_dir(run))
    }

    /// Opens the directory of all runs. Returns `None` before the first run.
    ///
    /// # Errors
    /// The directory exists and cannot be opened.
    #[doc(hidden)]
    pub fn runs(&self) -> Result<Option<Dir>, VolumeError> {
        match self.root.open_dir(layout::RUNS) {
            Ok(dir) => Ok(Some(dir)),
            Err(e) if e.io_kind() == Some(std::io::ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens the chain of directories down to the runs, `.omne`, `.omne/var` and
    /// `.omne/var/runs`, and creates those that do not exist.
    ///
    /// # Errors
    /// One of them cannot be created or opened.
    #[doc(hidden)]
    pub fn make_runs(&self) -> Result<[Dir; 3], VolumeError> {
        let omne = self.root.ensure_dir(layout::OMNE)?.dir;
        let var = omne.ensure_dir("var")?.dir;
        let runs = var.ensure_dir("runs")?.dir;
        Ok([omne, var, runs])
    }
}
