//! Removal of the runs that retention selected.
//!
//! With the locks of a run held, gc appends its tombstone to `retired.jsonl` and syncs it, then
//! renames the run's directory to `trash/` and syncs both directories. A crash before the rename
//! leaves the run as it was. A crash after it leaves a directory in `trash/`, which the next gc
//! removes.
//!
//! If a directory cannot be renamed out of `runs/` (a mount, or a lower layer of an overlay), or
//! the disk has no room for `trash/`, gc removes the run in place, and its events last.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::OnceLock;

use super::tombstones::{Tombstone, TombstoneLog};
use ulid::Ulid;

use crate::log::error::{GcError, StorageError, SyncError};
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::log::segment::segment_set;
use crate::volume::{Dir, FileKey, RunId, Usage, Volume, VolumeError, is_out_of_space, layout};

/// The reason for skipping a run whose lock or log is locked.
const LOCKED_BY_WRITER: &str = "another process is writing to it";

/// The lock that a running gc holds on its volume.
#[derive(Debug)]
pub struct GcLock {
    var: Dir,
    runs: Dir,
    /// The trash, opened on first use.
    trash: OnceLock<Dir>,
    tombstones: TombstoneLog,
}

/// A run whose locks are held, so that no process can append to it.
#[derive(Debug)]
pub struct LockedForRemoval {
    run: RunId,
    dir: Dir,
    /// The open `lock` file and active segment. Closing them releases their locks.
    locks: Vec<File>,
}

/// The outcome of an attempt to lock a run.
#[derive(Debug)]
pub enum LockOutcome {
    /// The locks are held.
    Held(LockedForRemoval),
    /// Another process is using the run, for the given reason.
    Busy(&'static str),
    /// The run no longer exists.
    Removed,
}

/// A directory in `trash/` that an interrupted gc left.
#[derive(Debug)]
pub struct TrashEntry {
    /// The directory name: the id of the run, a dot and a ULID.
    pub name: String,
    /// The id of the run.
    pub run: RunId,
    /// The disk usage in bytes; 0 if it cannot be determined.
    pub bytes: u64,
}

impl GcLock {
    /// Acquires the lock of the volume.
    ///
    /// # Errors
    /// Another gc holds the lock ([`GcError::Running`]), or the tombstone file cannot be
    /// created.
    pub fn acquire(volume: &Volume) -> Result<Self, GcError> {
        let [_, var, runs] = volume.make_runs()?;
        let tombstones = TombstoneLog::open(&var)?;
        let trash = OnceLock::new();
        Ok(Self {
            var,
            runs,
            trash,
            tombstones,
        })
    }

    /// Returns the trash directory, and creates it if it does not exist.
    fn trash(&self) -> Result<&Dir, GcError> {
        if let Some(trash) = self.trash.get() {
            return Ok(trash);
        }
        let trash = self.var.ensure_dir(layout::TRASH)?.dir;
        // The gc that created it may have died before it synced the directory.
        self.var.sync().map_err(SyncError::from_volume)?;
        Ok(self.trash.get_or_init(|| trash))
    }

    /// Returns the trash directory; `None` if it does not exist and the disk has no room for it.
    fn trash_if_room(&self) -> Result<Option<&Dir>, GcError> {
        match self.trash() {
            Err(GcError::Storage(StorageError::Volume(e)))
                if e.io_kind().is_some_and(is_out_of_space) =>
            {
                Ok(None)
            }
            trash => trash.map(Some),
        }
    }

    /// Removes a directory from the trash.
    ///
    /// # Errors
    /// Part of the directory cannot be removed. The rest is removed.
    pub fn remove_trashed(&self, name: &str) -> Result<(), GcError> {
        Ok(self.trash()?.remove_tree(name, layout::ACTIVE)?)
    }

    /// Acquires the locks of a run without waiting.
    ///
    /// # Errors
    /// The files cannot be opened, or the file system does not support locks.
    pub fn lock_for_removal(&self, run: &RunId) -> Result<LockOutcome, StorageError> {
        let dir = match self.runs.open_dir(run.as_str()) {
            Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => return Ok(LockOutcome::Removed),
            opened => opened?,
        };
        let mut held = LockedForRemoval {
            run: run.clone(),
            dir,
            locks: Vec::new(),
        };
        // Create a missing file: a writer that starts now has to lock the same file.
        let lock = held.dir.append(layout::LOCK)?;
        if !held.try_lock(lock, layout::LOCK)? {
            return Ok(LockOutcome::Busy(LOCKED_BY_WRITER));
        }
        let there = self.runs.stat(run.as_str())?;
        if there.as_ref().map(FileKey::from) != Some(held.dir.key()) {
            return Ok(LockOutcome::Removed);
        }
        if let Some(active) = held.dir.read(layout::ACTIVE)?
            && !held.try_lock(active, layout::ACTIVE)?
        {
            return Ok(LockOutcome::Busy(LOCKED_BY_WRITER));
        }
        let busy = held.is_being_compressed()? || held.has_live_supervisor()?;
        Ok(if busy {
            LockOutcome::Busy("another process is using it")
        } else {
            LockOutcome::Held(held)
        })
    }

    /// Records the tombstones of locked runs, then removes the runs from the list of runs.
    ///
    /// The caller then passes each run to [`GcLock::remove`].
    ///
    /// # Errors
    /// The tombstones cannot be written, and the runs remain.
    pub fn retire(
        &mut self,
        runs: Vec<LockedForRemoval>,
        tombstones: &[Tombstone],
    ) -> Result<Vec<Result<Retired, GcError>>, GcError> {
        self.trash_if_room()?;
        self.tombstones.append(tombstones)?;
        let retired: Vec<_> = runs
            .into_iter()
            .map(|run| self.move_to_trash(run))
            .collect();
        let is_trashed = |retired: &Result<_, _>| matches!(retired, Ok(Retired::Trashed(_)));
        if retired.iter().any(is_trashed) {
            self.sync_move()?;
        }
        Ok(retired)
    }

    /// Retires a run whose tombstone does not fit on the disk, by freeing the run's own space.
    ///
    /// The output is removed only once the run is in the trash. From then on, this gc or the
    /// next one removes the run regardless, and records its tombstone first.
    ///
    /// # Errors
    /// The tombstone cannot be written. The run remains, or is in the trash.
    pub fn retire_on_full_disk(
        &mut self,
        run: LockedForRemoval,
        tombstones: &[Tombstone],
    ) -> Result<Retired, GcError> {
        run.release_preallocation();
        let recorded = self.tombstones.append(tombstones);
        let name = match self.move_to_trash(run)? {
            in_place @ Retired::InPlace(_) => return recorded.map(|()| in_place),
            Retired::Trashed(name) => name,
        };
        self.sync_move()?;
        if recorded.is_err()
            && let Some(dir) = self.open_trashed(&name)?
        {
            self.record_trashed(&dir, tombstones)?;
        }
        Ok(Retired::Trashed(name))
    }

    fn move_to_trash(&self, run: LockedForRemoval) -> Result<Retired, GcError> {
        let Some(trash) = self.trash_if_room()? else {
            return Ok(Retired::InPlace(run));
        };
        let name = layout::trash_name(&run.run, &fresh_ulid());
        match self.runs.rename_to(run.run.as_str(), trash, &name) {
            // `runs/` is a mount, or the run is in a lower layer of an overlay.
            Err(e) if e.io_kind() == Some(ErrorKind::CrossesDevices) => Ok(Retired::InPlace(run)),
            moved => Ok(moved.map(|()| Retired::Trashed(name))?),
        }
    }

    fn sync_move(&self) -> Result<(), GcError> {
        for dir in [self.trash()?, &self.runs] {
            dir.sync().map_err(SyncError::from_volume)?;
        }
        Ok(())
    }

    /// Removes the files of a retired run.
    ///
    /// A run that is removed in place stays locked until `retired` is dropped, and its events are
    /// removed last, so that it is listed with its state until then. A run in the trash needs no
    /// locks.
    ///
    /// # Errors
    /// Part of it cannot be removed. The rest is removed.
    pub fn remove(&self, retired: &Retired) -> Result<(), GcError> {
        match retired {
            Retired::Trashed(name) => self.remove_trashed(name),
            Retired::InPlace(run) => {
                self.runs.remove_tree(run.run.as_str(), layout::ACTIVE)?;
                self.runs.sync().map_err(SyncError::from_volume)?;
                Ok(())
            }
        }
    }

    /// Opens a run in the trash; `None` if the entry is not a directory.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn open_trashed(&self, name: &str) -> Result<Option<Dir>, GcError> {
        match self.trash()?.open_dir(name) {
            Err(VolumeError::NotADirectory { .. }) => Ok(None),
            Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => Ok(None),
            opened => Ok(opened.map(Some)?),
        }
    }

    /// Removes the oldest tombstones until `max` remain, and returns how many it removed.
    ///
    /// # Errors
    /// The tombstones cannot be removed, and all of them remain.
    pub fn trim_tombstones(&mut self, max: usize) -> Result<u64, GcError> {
        self.tombstones.trim(&self.var, max)
    }

    /// Returns whether the removal of a run is already recorded.
    pub fn has_tombstone(&self, run: &RunId, first_id: Option<Ulid>) -> bool {
        self.tombstones.has(run, first_id)
    }

    /// Records the tombstones of a run in the trash, and frees the run's output if the disk is
    /// full. `dir` is the directory of the run.
    ///
    /// # Errors
    /// The tombstone cannot be written.
    pub fn record_trashed(&mut self, dir: &Dir, tombstones: &[Tombstone]) -> Result<(), GcError> {
        if self.tombstones.append(tombstones).is_ok() {
            return Ok(());
        }
        drop(dir.remove_tree(layout::JOBS, ""));
        self.tombstones.append(tombstones)
    }
}

/// The location of a retired run's files.
#[derive(Debug)]
pub enum Retired {
    /// In the trash, under this name.
    Trashed(String),
    /// Still under `runs/` and locked, because they cannot be renamed.
    InPlace(LockedForRemoval),
}

impl LockedForRemoval {
    /// Returns the directory of the run.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Frees the preallocated blocks after the end of the log.
    fn release_preallocation(&self) {
        let Ok(active) = self.dir.append_existing(layout::ACTIVE) else {
            return;
        };
        // If this fails, the disk only stays as full as it was.
        drop(
            active
                .metadata()
                .and_then(|meta| active.set_len(meta.len())),
        );
    }

    fn try_lock(&mut self, file: File, name: &str) -> Result<bool, StorageError> {
        match file_lock::try_exclusive(&file, &self.dir.path().join(name))? {
            Some(guard) => guard.keep(),
            None => return Ok(false),
        }
        self.locks.push(file);
        Ok(true)
    }

    /// Returns whether another process is compressing a sealed segment.
    fn is_being_compressed(&self) -> Result<bool, StorageError> {
        let names = segment_set::names(&self.dir)?;
        file_lock::is_any_locked(
            &self.dir,
            names.iter().filter(|name| *name != layout::ACTIVE),
        )
    }

    /// Returns whether the supervisor of any job is alive, whatever the log says.
    fn has_live_supervisor(&self) -> Result<bool, StorageError> {
        let jobs = match self.dir.open_dir(layout::JOBS) {
            Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => return Ok(false),
            opened => opened?,
        };
        let names = jobs.names()?;
        file_lock::is_any_locked(
            &jobs,
            names
                .iter()
                .filter(|name| name.ends_with(layout::OUTPUT_SUFFIX)),
        )
    }
}

/// Lists the directories that interrupted gcs left in the trash of a volume.
///
/// # Errors
/// The trash cannot be read.
pub fn trash_entries(volume: &Volume) -> Result<Vec<TrashEntry>, StorageError> {
    let trash = match volume.root().open_dir(layout::VAR) {
        Ok(var) => var.open_dir(layout::TRASH),
        Err(e) => Err(e),
    };
    let trash = match trash {
        Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut found = Vec::new();
    for name in trash.names()? {
        if let Some(run) = layout::parse_trash_name(&name) {
            let bytes = disk_usage_of(&trash, &name);
            found.push(TrashEntry { name, run, bytes });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn disk_usage_of(trash: &Dir, name: &str) -> u64 {
    let usage: Result<Usage, VolumeError> = trash.open_dir(name).and_then(|dir| dir.usage());
    usage.map_or(0, |usage| usage.bytes)
}
