//! The active segment, opened for appending.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::group_commit::GroupCommit;
use crate::log::error::{StorageError, SyncError};
use crate::volume::{FileKey, IoContext};

/// An open active segment.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    file: Arc<File>,
    key: FileKey,
    syncs: GroupCommit,
}

impl ActiveSegment {
    /// Wraps an open file.
    ///
    /// # Errors
    /// The identity of the file cannot be read.
    pub(crate) fn new(file: Arc<File>, path: &Path) -> Result<Self, StorageError> {
        let stat = rustix::fs::fstat(&file).at("stat", path)?;
        Ok(Self {
            file,
            key: FileKey::from(&stat),
            syncs: GroupCommit::default(),
        })
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Returns the identity of the file.
    pub(crate) fn key(&self) -> FileKey {
        self.key
    }

    /// Returns the syncs of the file.
    pub(crate) fn syncs(&self) -> &GroupCommit {
        &self.syncs
    }

    /// Returns the length of the file in bytes, whatever its current name.
    ///
    /// # Errors
    /// The length cannot be read.
    pub(crate) fn len(&self, path: &Path) -> Result<u64, StorageError> {
        let stat = rustix::fs::fstat(&self.file).at("stat", path)?;
        Ok(stat.st_size as u64)
    }

    /// Makes all earlier writes durable, including those of other writers.
    ///
    /// If this fails, it fails for every writer that waits for a sync of its own write.
    pub(crate) fn sync(
        &self,
        path: &Path,
        how: fn(&File) -> io::Result<()>,
    ) -> Result<(), SyncError> {
        self.syncs.share(self.syncs.record_write(), path, || {
            let path = path.to_owned();
            how(&self.file).map_err(|source| SyncError { path, source })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_sync_fails_all_waiters() {
        let (_, pipe) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(pipe));
        let path = Path::new("x");
        let active = ActiveSegment::new(Arc::new(file), path).unwrap();
        let waiting = active.syncs.record_write();
        active.sync(path, File::sync_data).unwrap_err();
        let later = || panic!("synced again");
        active.syncs.share(waiting, path, later).unwrap_err();
        active.sync(path, |_| Ok(())).unwrap();
    }
}
