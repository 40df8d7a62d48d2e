//! The directory, lock file and paths of a run that is open for appending.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ulid::Ulid;

use super::active_segment::ActiveSegment;
use super::group_commit::GroupCommit;
use crate::log::error::{StorageError, SyncError};
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::log::lock::file_lock::{FileLockGuard, LockDeadline};
use crate::log::segment::preallocate;
use crate::sync::lock;
use crate::volume::{Dir, FileKey, IoContext, RunId, Volume, VolumeError, copy_access, layout};

/// The maximum number of times that the active segment may be replaced while a writer waits for
/// its lock.
const MAX_OPENS: u32 = 100;

/// An open run: everything that does not change from one append to the next.
#[derive(Debug)]
pub(crate) struct RunHandle {
    root: Dir,
    /// `.omne`, `.omne/var`, `.omne/var/runs`.
    chain: [Dir; 3],
    dir: Dir,
    run: RunId,
    lock: Mutex<LockFile>,
    /// The id of the first event if the log is empty.
    first_id: Option<Ulid>,
    /// Syncs of the run's directory. Each opened segment counts as a write.
    names: GroupCommit,
    /// Syncs of the directories above it, from that of all runs up. Their entries existed when
    /// this log was opened.
    ancestors: GroupCommit,
    paths: RunPaths,
}

/// Paths that are built only once, because an append must not spend time on that.
#[derive(Debug)]
struct RunPaths {
    /// The directory of the run, from the root of the volume.
    run: String,
    /// The active segment, from the directory of the runs.
    active_of_run: CString,
    lock: PathBuf,
    active: PathBuf,
}

/// The open lock file of a run.
#[derive(Debug)]
struct LockFile {
    file: Arc<File>,
    key: FileKey,
}

/// The lock of the run itself, which excludes everything except appends to a segment that is
/// already open.
#[derive(Debug)]
pub(crate) struct RunLock {
    _guard: FileLockGuard<Arc<File>>,
}

impl LockFile {
    /// Opens the lock file of the run in `dir`, and creates it if it does not exist.
    fn open(dir: &Dir) -> Result<Self, VolumeError> {
        let file = Arc::new(dir.append(layout::LOCK)?);
        let stat = rustix::fs::fstat(&*file).at("stat", dir.path().join(layout::LOCK))?;
        let key = FileKey::from(&stat);
        Ok(Self { file, key })
    }
}

/// An active segment and its lock.
pub(crate) type LockedSegment = (Arc<ActiveSegment>, FileLockGuard<Arc<File>>);

impl RunHandle {
    /// Opens the lock file of the run in `dir`, and creates it if it does not exist.
    ///
    /// # Errors
    /// The lock file cannot be opened.
    pub(crate) fn open(
        volume: &Volume,
        chain: [Dir; 3],
        dir: Dir,
        run: &RunId,
        first_id: Option<Ulid>,
    ) -> Result<Self, StorageError> {
        let lock = LockFile::open(&dir)?;
        let paths = RunPaths {
            run: layout::run_dir(run),
            // An id contains no NUL. An empty name would not resolve.
            active_of_run: CString::new(layout::active_of(run)).unwrap_or_default(),
            lock: dir.path().join(layout::LOCK),
            active: dir.path().join(layout::ACTIVE),
        };
        let ancestors = GroupCommit::default();
        // The process that created a directory may have died before it synced the name.
        ancestors.record_write();
        Ok(Self {
            paths,
            root: volume.root().try_clone()?,
            chain,
            dir,
            run: run.clone(),
            lock: Mutex::new(lock),
            first_id,
            names: GroupCommit::default(),
            ancestors,
        })
    }

    /// Returns the directory of the run.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Returns the id of the run.
    pub(crate) fn run(&self) -> &RunId {
        &self.run
    }

    /// Returns the id of the first event if the log is empty.
    pub(crate) fn first_id(&self) -> Option<Ulid> {
        self.first_id
    }

    /// Returns the directory of the runs.
    pub(crate) fn runs(&self) -> &Dir {
        let [_, _, runs] = &self.chain;
        runs
    }

    /// Returns the path of the active segment, for messages.
    pub(crate) fn active_path(&self) -> &Path {
        &self.paths.active
    }

    /// Returns the path of the lock file, for messages.
    pub(crate) fn lock_path(&self) -> &Path {
        &self.paths.lock
    }

    /// Takes the lock of the run and checks that the run still exists.
    ///
    /// # Errors
    /// Another process kept the lock, or the run was removed.
    pub(crate) fn lock_run(&self, deadline: LockDeadline) -> Result<RunLock, StorageError> {
        for _ in 0..MAX_OPENS {
            let file = lock(&self.lock).file.clone();
            let guard = file_lock::exclusive(file, &self.paths.lock, deadline)?;
            if self.is_lock_current()? {
                return Ok(RunLock { _guard: guard });
            }
            // Another program removed the file. Appenders exclude each other by the lock of the
            // segment alone, so nothing was lost.
            *lock(&self.lock) = LockFile::open(&self.dir)?;
        }
        Err(StorageError::RunRemoved {
            path: self.paths.lock.clone(),
        })
    }

    /// Takes the lock of the run; `None` if another process holds it, or if the run or its lock
    /// file was removed or replaced.
    ///
    /// # Errors
    /// The file system does not support locks.
    pub(crate) fn try_lock_run(&self) -> Result<Option<RunLock>, StorageError> {
        let file = lock(&self.lock).file.clone();
        let guard = file_lock::try_exclusive(file, &self.paths.lock)?;
        let guard = guard.filter(|_| self.is_lock_current().is_ok_and(|is_current| is_current));
        Ok(guard.map(|guard| RunLock { _guard: guard }))
    }

    /// Checks, from the root of the volume down, that the open directory still has its name.
    /// Otherwise the run was removed, and a new event would be lost. Returns whether the open lock
    /// file has its name too.
    ///
    /// # Errors
    /// The run was removed or replaced.
    pub(crate) fn is_lock_current(&self) -> Result<bool, StorageError> {
        let key_of = |dir: &Dir, name: &str| -> Result<Option<FileKey>, VolumeError> {
            Ok(dir.stat(name)?.as_ref().map(FileKey::from))
        };
        if key_of(&self.root, &self.paths.run)? != Some(self.dir.key()) {
            return Err(StorageError::RunRemoved {
                path: self.dir.path().to_owned(),
            });
        }
        Ok(key_of(&self.dir, layout::LOCK)? == Some(lock(&self.lock).key))
    }

    /// Returns the length in bytes of `segment` if it is still the active segment of the run by
    /// its full name below the directory of the runs; `None` if the slow path must check.
    ///
    /// From the directory of the run itself, the name would still resolve after gc moved the
    /// directory to the trash.
    pub(crate) fn current_len(&self, segment: &ActiveSegment) -> Option<u64> {
        let found = self.runs().peek_meta(&self.paths.active_of_run)?;
        (found.key == segment.key() && found.links == 1).then_some(found.len)
    }

    /// Opens the active segment; returns `None` if there is none. Returns `held` itself if it is
    /// still the active segment.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub(crate) fn open_active(
        &self,
        held: Option<&Arc<ActiveSegment>>,
    ) -> Result<Option<Arc<ActiveSegment>>, StorageError> {
        if let Some(segment) = held
            && let Some(stat) = self.dir.stat(layout::ACTIVE)?
            && segment.key() == FileKey::from(&stat)
            // A file with a second link is opened again, which rejects it.
            && stat.st_nlink == 1
        {
            return Ok(Some(Arc::clone(segment)));
        }
        let file = match self.dir.append_existing(layout::ACTIVE) {
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => return Ok(None),
            opened => opened?,
        };
        self.adopt(Arc::new(file)).map(Some)
    }

    /// Locks the active segment, and creates it if there is none.
    ///
    /// # Errors
    /// Another process kept the lock, or the file cannot be opened or created.
    pub(crate) fn lock_active(
        &self,
        held: Option<&Arc<ActiveSegment>>,
        _run_lock: &RunLock,
        deadline: LockDeadline,
    ) -> Result<LockedSegment, StorageError> {
        for _ in 0..MAX_OPENS {
            let Some(segment) = self.open_active(held)? else {
                match self.create_active() {
                    // Another program, which does not use the run's lock, created it first.
                    Err(StorageError::Volume(e))
                        if e.io_kind() == Some(io::ErrorKind::AlreadyExists) => {}
                    created => return created,
                }
                continue;
            };
            let file = Arc::clone(segment.file());
            let guard = file_lock::exclusive(file, &self.paths.active, deadline)?;
            let named = self.dir.stat(layout::ACTIVE)?;
            if named.as_ref().map(FileKey::from) == Some(segment.key()) {
                return Ok((segment, guard));
            }
        }
        Err(StorageError::RunRemoved {
            path: self.paths.active.clone(),
        })
    }

    /// Creates the active segment. It is locked before it gets its name, so that no writer can
    /// append first, not even one that uses only the lock of the segment.
    fn create_active(&self) -> Result<LockedSegment, StorageError> {
        let name = layout::temp_segment_name(layout::ACTIVE, &fresh_ulid());
        let path = self.dir.path().join(&name);
        let file = Arc::new(self.dir.create_new(&name)?);
        preallocate::disable_copy_on_write(&file);
        let created =
            file_lock::exclusive(Arc::clone(&file), &path, LockDeadline::new(Duration::ZERO))
                .and_then(|guard| {
                    self.copy_access_of_sealed(&file)?;
                    self.dir.rename_to(&name, &self.dir, layout::ACTIVE)?;
                    Ok(guard)
                });
        if created.is_err() {
            drop(self.dir.remove_file(&name));
        }
        let guard = created?;
        Ok((self.adopt(file)?, guard))
    }

    /// Gives a new active segment the owner and mode of the newest sealed one, which it follows
    /// after an interrupted rotation.
    fn copy_access_of_sealed(&self, file: &File) -> Result<(), StorageError> {
        let names = self.dir.names()?;
        let sealed = names.iter().filter_map(|name| {
            let (first_seq, _) = layout::parse_sealed(name)?;
            Some((first_seq, name))
        });
        if let Some((_, newest)) = sealed.max()
            && let Some(sealed) = self.dir.read(newest)?
        {
            copy_access(&sealed, file)
                .at("copy the owner and mode of", self.dir.path().join(newest))?;
        }
        Ok(())
    }

    /// Wraps an open file that has the name of the active segment.
    ///
    /// # Errors
    /// The identity of the file cannot be read.
    pub(crate) fn adopt(&self, file: Arc<File>) -> Result<Arc<ActiveSegment>, StorageError> {
        let segment = ActiveSegment::new(file, &self.paths.active)?;
        // The process that created it may have died before it synced the name.
        self.names.record_write();
        Ok(Arc::new(segment))
    }

    /// Makes the writes to `segment` up to `ticket` durable, and the names that lead to it.
    ///
    /// # Errors
    /// A sync failed, now or earlier.
    pub(crate) fn make_durable(
        &self,
        segment: &ActiveSegment,
        ticket: u64,
    ) -> Result<(), SyncError> {
        segment.syncs().share(ticket, &self.paths.active, || {
            let synced = segment.file().sync_data();
            synced.map_err(|source| SyncError {
                path: self.paths.active.clone(),
                source,
            })
        })?;
        self.names.share(self.names.latest(), self.dir.path(), || {
            self.dir.sync().map_err(SyncError::from_volume)
        })?;
        self.sync_ancestors()
    }

    /// Makes the names of the directories that lead to the run durable, once.
    ///
    /// # Errors
    /// A sync failed, now or earlier.
    pub(crate) fn sync_ancestors(&self) -> Result<(), SyncError> {
        let ticket = self.ancestors.latest();
        self.ancestors.share(ticket, self.root.path(), || {
            let [omne, var, runs] = &self.chain;
            for dir in [runs, var, omne, &self.root] {
                dir.sync().map_err(SyncError::from_volume)?;
            }
            Ok(())
        })
    }
}
