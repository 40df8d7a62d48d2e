//! Removing runs: what gc does once it knows which.
//!
//! A run goes by way of its summary in `retired.jsonl`, durable, and a rename to
//! `trash/`, durable, both under its locks. A crash before the rename leaves the run as it
//! was; one after it leaves something in `trash/`, which the next gc removes.

use std::cell::OnceCell;
use std::fs::File;
use std::io::ErrorKind;

use super::tombstones::{Tombstone, TombstoneLog};
use crate::log::error::{GcError, StorageError, SyncError};
use crate::log::format::ulid::fresh_ulid;
use crate::log::lock::file_lock;
use crate::log::segment::segment_set;
use crate::volume::{Dir, FileKey, RunId, Usage, Volume, VolumeError, layout};

/// Why a run is left for the next gc.
const WRITER_NAMES_GRACE: &str = "somebody is writing to it";

/// The one gc that is at work on a volume.
#[derive(Debug)]
pub struct GcLock {
    var: Dir,
    runs: Dir,
    /// Opened when it is needed.
    trash: OnceCell<Dir>,
    book: TombstoneLog,
}

/// A run under its locks: nobody appends to it.
#[derive(Debug)]
pub struct LockedForRemoval {
    run: RunId,
    dir: Dir,
    /// `lock` and the active segment: their locks last as long as the files are open.
    locks: Vec<File>,
}

/// What came of an attempt to lock a run.
#[derive(Debug)]
pub enum LockOutcome {
    /// It is ours.
    Held(LockedForRemoval),
    /// Somebody else is at work with it, in the words of `why`.
    Busy(&'static str),
    /// It is not there any more.
    Gone,
}

/// What a crash left in `trash/`.
#[derive(Debug)]
pub struct TrashEntry {
    /// Its name there: the id of the run, a dot, and a ULID.
    pub name: String,
    /// The run.
    pub run: RunId,
    /// What it took on disk, in bytes, as far as that can be told.
    pub bytes: u64,
}

impl GcLock {
    /// Begins a gc, of which there is one at a time.
    ///
    /// # Errors
    /// [`GcError::Running`], or the file of retired runs cannot be made.
    pub fn begin(volume: &Volume) -> Result<Self, GcError> {
        let [_, var, runs] = volume.make_runs()?;
        let book = TombstoneLog::open(&var)?;
        let trash = OnceCell::new();
        Ok(Self {
            var,
            runs,
            trash,
            book,
        })
    }

    /// The trash, made where it is missing.
    fn trash(&self) -> Result<&Dir, GcError> {
        if let Some(trash) = self.trash.get() {
            return Ok(trash);
        }
        let trash = self.var.ensure_dir(layout::TRASH)?.dir;
        // It may have been made by one that died before its own sync.
        self.var.sync().map_err(SyncError::from_volume)?;
        Ok(self.trash.get_or_init(|| trash))
    }

    /// Removes something from the trash.
    ///
    /// # Errors
    /// Some of it cannot be removed; the rest was.
    pub fn remove(&self, name: &str) -> Result<(), GcError> {
        Ok(self.trash()?.remove_tree(name, layout::ACTIVE)?)
    }

    /// Takes the locks of a run, without waiting.
    ///
    /// # Errors
    /// Its files cannot be opened, or the file system has no locks.
    pub fn lock_for_removal(&self, run: &RunId) -> Result<LockOutcome, StorageError> {
        let dir = match self.runs.open_dir(run.as_str()) {
            Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => return Ok(LockOutcome::Gone),
            opened => opened?,
        };
        let mut held = LockedForRemoval {
            run: run.clone(),
            dir,
            locks: Vec::new(),
        };
        // Made where it is missing: a writer that comes now has to lock the same file.
        let lock = held.dir.append(layout::LOCK)?;
        if !held.try_lock(lock, layout::LOCK)? {
            return Ok(LockOutcome::Busy(WRITER_NAMES_GRACE));
        }
        let there = self.runs.stat(run.as_str())?;
        if there.as_ref().map(FileKey::from) != Some(held.dir.key()) {
            return Ok(LockOutcome::Gone);
        }
        if let Some(active) = held.dir.read(layout::ACTIVE)?
            && !held.try_lock(active, layout::ACTIVE)?
        {
            return Ok(LockOutcome::Busy(WRITER_NAMES_GRACE));
        }
        let busy = held.compressed_now()? || held.supervised()?;
        Ok(if busy {
            LockOutcome::Busy("somebody is at work with it")
        } else {
            LockOutcome::Held(held)
        })
    }

    /// Takes runs off the volume: their lines are made durable, then their place in the
    /// trash is. Gives for each run its name in the trash. Drop the runs, then
    /// [`GcLock::remove`] them.
    ///
    /// # Errors
    /// Nothing may be removed: the runs are where they were, or left to a later gc.
    pub fn record_tombstone(
        &mut self,
        runs: &[LockedForRemoval],
        lines: &[Tombstone],
    ) -> Result<Vec<Result<String, GcError>>, GcError> {
        self.trash()?;
        self.book.append(lines)?;
        let trash = self.trash()?;
        let discard = |held: &LockedForRemoval| {
            let name = layout::trash_name(&held.run, &fresh_ulid());
            self.runs.rename_to(held.run.as_str(), trash, &name)?;
            Ok(name)
        };
        let moved: Vec<_> = runs.iter().map(discard).collect();
        if moved.iter().any(Result::is_ok) {
            for dir in [trash, &self.runs] {
                dir.sync().map_err(SyncError::from_volume)?;
            }
        }
        Ok(moved)
    }
}

impl LockedForRemoval {
    /// The run.
    pub fn run_id(&self) -> &RunId {
        &self.run
    }

    /// Its folder.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes what its jobs printed and gives back what is reserved behind its log, to
    /// make room for its summary on a full disk. Says whether there may be room now.
    pub fn make_room(&self) -> bool {
        let given_back = self.restore();
        let printed = self.dir.open_dir(layout::JOBS).is_ok();
        if printed {
            drop(self.dir.remove_tree(layout::JOBS, ""));
        }
        printed || given_back
    }

    fn restore(&self) -> bool {
        let Ok(active) = self.dir.append_existing(layout::ACTIVE) else {
            return false;
        };
        let len = active.metadata().map(|meta| meta.len());
        len.and_then(|len| active.set_len(len)).is_ok()
    }

    fn try_lock(&mut self, file: File, name: &str) -> Result<bool, StorageError> {
        match file_lock::try_exclusive(&file, &self.dir.path().join(name))? {
            Some(guard) => guard.keep(),
            None => return Ok(false),
        }
        self.locks.push(file);
        Ok(true)
    }

    /// Whether a sealed segment is being compressed.
    fn compressed_now(&self) -> Result<bool, StorageError> {
        let names = segment_set::names(&self.dir)?;
        is_any_locked(
            &self.dir,
            names.iter().filter(|name| *name != layout::ACTIVE),
        )
    }

    /// Whether a job's supervisor lives, whatever the log says of it.
    fn supervised(&self) -> Result<bool, StorageError> {
        let jobs = match self.dir.open_dir(layout::JOBS) {
            Err(e) if e.io_kind() == Some(ErrorKind::NotFound) => return Ok(false),
            opened => opened?,
        };
        let names = jobs.names()?;
        is_any_locked(
            &jobs,
            names
                .iter()
                .filter(|name| name.ends_with(layout::OUTPUT_SUFFIX)),
        )
    }
}

/// Whether somebody holds the lock of one of these files. They are looked at, not kept:
/// there may be thousands, and without the locks of the run nobody begins with them.
fn is_any_locked<'a>(
    dir: &Dir,
    names: impl Iterator<Item = &'a String>,
) -> Result<bool, StorageError> {
    for name in names {
        if let Some(file) = dir.read(name)?
            && file_lock::try_shared(&file, &dir.path().join(name))?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a crash left in the trash of a volume.
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
            let bytes = bytes_of(&trash, &name);
            found.push(TrashEntry { name, run, bytes });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn bytes_of(trash: &Dir, name: &str) -> u64 {
    let usage: Result<Usage, VolumeError> = trash.open_dir(name).and_then(|dir| dir.usage());
    usage.map_or(0, |usage| usage.bytes)
}
