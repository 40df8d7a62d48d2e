//! One run's log, opened to append to it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ulid::Ulid;

use super::auto_rotate::AutoRotation;
use super::commit_delay::CommitDelay;
use super::group_commit::GroupCommit;
use super::tail::Tail;
use crate::log::error::{StorageError, SyncError};
use crate::log::segment::preallocate::Preallocation;
use crate::log::segment::segment_set;
use crate::log::state::run_state::RunState;
use crate::log::store::catalog::SelectError;
use crate::log::store::ulid_allocator::allocate_ulid;
use crate::volume::{
    Clock, Dir, EnsuredDir, FileKey, IoContext, RunId, Volume, VolumeError, layout,
};

/// So long after all on the way to the segment was looked at, only the folder of the run
/// and the segment are: a `lock` or a folder above that was replaced is seen that late.
const RECHECK_INTERVAL: Duration = Duration::from_millis(10);

/// One run's log, opened to append to it. Threads may share it; any number of
/// processes may have the same run open.
#[derive(Debug)]
pub struct RunLog {
    pub(crate) root: Dir,
    /// `.omne`, `.omne/var`, `.omne/var/runs`.
    chain: [Dir; 3],
    pub(crate) dir: Dir,
    pub(crate) run: RunId,
    pub(crate) lock: File,
    lock_key: FileKey,
    /// The id of the first event of a run that this makes.
    pub(crate) first_id: Option<Ulid>,
    pub(crate) inner: Mutex<WriterState>,
    /// The names that lead to the log; one was made for each segment opened.
    pub(crate) names: GroupCommit,
    pub(crate) foreign_allowed: bool,
    pub(crate) upkeep: AutoRotation,
    pub(crate) courtesy: CommitDelay,
    pub(crate) paths: RunPaths,
}

/// Made once: an append must not spend its time on making names.
#[derive(Debug)]
pub(crate) struct RunPaths {
    /// The run's folder, from the root of the volume.
    run: String,
    /// The active segment, from the folder of the runs.
    active_of_run: CString,
    pub lock: PathBuf,
    pub active: PathBuf,
}

/// What a writer remembers between two appends.
#[derive(Debug, Default)]
pub(crate) struct WriterState {
    pub segment: Option<Arc<ActiveSegment>>,
    /// `None` where the end of the segment has to be looked at anew.
    pub tail: Option<Tail>,
    /// The length of the segment as this writer left it, in bytes.
    pub len: u64,
    /// Whether another writer appended since this one did.
    pub has_news: bool,
    pub reserve: Preallocation,
    /// Kept up to date from the moment somebody asks for it.
    pub state: Option<RunState>,
    /// The highest id that this writer gave, whatever became of it: ids only rise.
    pub last_id: Option<Ulid>,
    /// The number after the highest that this writer wrote: should the file have become
    /// shorter, no number is used twice, and the reader is told of the gap.
    pub next_seq: u64,
    pub clock: Clock,
    /// When what we hold was last seen to be what its name stands for.
    pub checked: Option<Instant>,
    /// Where the segment is looked at again whether it is due to be sealed, in bytes.
    pub rotate_at: Option<u64>,
}

impl WriterState {
    /// The segment, if all on the way to it was looked at a moment ago.
    pub(crate) fn recently_checked_segment(&self, now: Instant) -> Option<Arc<ActiveSegment>> {
        let since = |at| now.saturating_duration_since(at);
        self.checked.filter(|at| since(*at) < RECHECK_INTERVAL)?;
        self.segment.clone()
    }

    /// What we know of the segment may not hold any more.
    pub(crate) fn invalidate(&mut self) {
        self.tail = None;
        self.state = None;
        self.reserve.invalidate();
    }
}

/// The active segment as it was opened last.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub file: Arc<File>,
    pub key: FileKey,
    pub syncs: GroupCommit,
}

impl ActiveSegment {
    pub(crate) fn new(file: Arc<File>, key: FileKey) -> Self {
        let syncs = GroupCommit::default();
        Self { file, key, syncs }
    }

    /// Makes all of it durable, whoever wrote it. Where it fails, it has failed for all
    /// who wait for a sync of what they wrote.
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

impl RunLog {
    /// Opens the log of a run that is there.
    ///
    /// # Errors
    /// There is no such run, or it may not be written.
    pub fn open(volume: &Volume, run: &RunId) -> Result<Self, SelectError> {
        let missing = || SelectError::NoSuchRun {
            run: run.to_string(),
        };
        let runs = volume.runs().map_err(StorageError::from)?;
        let runs = runs.ok_or_else(missing)?;
        let dir = match runs.open_dir(run.as_str()) {
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => return Err(missing()),
            found => found.map_err(StorageError::from)?,
        };
        if !segment_set::is_started(&dir)? {
            return Err(missing());
        }
        // Not made anew, should it be removed right now.
        let chain = volume.make_runs().map_err(StorageError::from)?;
        Ok(Self::from_parts(volume, chain, dir, run, None)?)
    }

    /// Opens the log of a run, making its folder where it is missing. `first_id`
    /// becomes the id of the first event if the log is empty; take it from
    /// [`allocate_ulid`], so that the newest run is the one with the highest.
    ///
    /// # Errors
    /// A folder or the lock file cannot be made.
    pub fn open_or_create(
        volume: &Volume,
        run: &RunId,
        first_id: Option<Ulid>,
    ) -> Result<Self, StorageError> {
        let chain = volume.make_runs()?;
        let [_, _, runs] = &chain;
        let EnsuredDir { dir, created } = runs.ensure_dir(run.as_str())?;
        let parent = runs.try_clone()?;
        let opened = Self::from_parts(volume, chain, dir, run, first_id);
        if opened.is_err() && created {
            parent.remove_empty_dir(run.as_str());
        }
        opened
    }

    fn from_parts(
        volume: &Volume,
        chain: [Dir; 3],
        dir: Dir,
        run: &RunId,
        first_id: Option<Ulid>,
    ) -> Result<Self, StorageError> {
        let lock = dir.append(layout::LOCK)?;
        let stat = rustix::fs::fstat(&lock).at("look at", dir.path().join(layout::LOCK))?;
        let paths = RunPaths {
            run: layout::run_dir(run),
            // An id has no NUL; an empty name would stand for nothing.
            active_of_run: CString::new(layout::active_of(run)).unwrap_or_default(),
            lock: dir.path().join(layout::LOCK),
            active: dir.path().join(layout::ACTIVE),
        };
        Ok(Self {
            paths,
            root: volume.root().try_clone()?,
            chain,
            dir,
            run: run.clone(),
            lock,
            lock_key: FileKey::from(&stat),
            first_id,
            inner: Mutex::default(),
            names: GroupCommit::default(),
            foreign_allowed: false,
            upkeep: AutoRotation::default(),
            courtesy: CommitDelay::default(),
        })
    }

    /// Makes a new run, named `<name>-<ulid>`.
    ///
    /// # Errors
    /// No ULID can be allocated, or the folder cannot be made.
    pub fn create(volume: &Volume, name: &str) -> Result<Self, StorageError> {
        let ulid = allocate_ulid(volume)?;
        let run = RunId::generate(name, ulid);
        let opened = Self::open_or_create(volume, &run, Some(ulid));
        if opened.is_err()
            && let Ok(Some(runs)) = volume.runs()
            && let Ok(dir) = runs.open_dir(run.as_str())
        {
            remove_empty_run(&runs, &dir, &run);
        }
        opened
    }

    /// Also appends to a run that another program began, whose own reader then refuses
    /// our events.
    #[must_use]
    pub fn allow_foreign(mut self, allowed: bool) -> Self {
        self.foreign_allowed = allowed;
        self
    }

    /// The run.
    pub fn run_id(&self) -> &RunId {
        &self.run
    }

    /// The run's folder.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Removes the folder of a run that never got an event. Only for a run whose id
    /// nobody else can know yet.
    #[doc(hidden)]
    pub fn discard(self) {
        let [_, _, runs] = &self.chain;
        remove_empty_run(runs, &self.dir, &self.run);
    }

    /// Checks, under the lock, that what we hold is still what its name stands for,
    /// from the root down: else somebody removed the run, and an event written now
    /// would be lost.
    pub(crate) fn check_not_replaced(&self) -> Result<(), StorageError> {
        let gone = || StorageError::RunRemoved {
            path: self.dir.path().to_owned(),
        };
        let key_of = |dir: &Dir, name: &str| -> Result<Option<FileKey>, VolumeError> {
            Ok(dir.stat(name)?.as_ref().map(FileKey::from))
        };
        if key_of(&self.root, &self.paths.run)? != Some(self.dir.key()) {
            return Err(gone());
        }
        if key_of(&self.dir, layout::LOCK)? != Some(self.lock_key) {
            return Err(gone());
        }
        Ok(())
    }

    /// A short cut of that for one who appends event after event, under both locks: while
    /// the folder of the run has its name and the segment too, an event written to it is
    /// not lost. Gives the segment's length in bytes; `None` where all has to be looked at.
    pub(crate) fn len_if_current(&self, segment: &ActiveSegment) -> Option<u64> {
        let [_, _, runs] = &self.chain;
        let found = runs.peek_meta(&self.paths.active_of_run)?;
        (found.key == segment.key && found.links == 1).then_some(found.len)
    }

    /// The length of a segment in bytes, whatever its name.
    pub(crate) fn segment_len(&self, segment: &ActiveSegment) -> Result<u64, StorageError> {
        let stat = rustix::fs::fstat(&segment.file).at("look at", &self.paths.active)?;
        Ok(stat.st_size as u64)
    }

    /// The path of the active segment, for messages.
    pub(crate) fn active_path(&self) -> PathBuf {
        self.paths.active.clone()
    }

    /// Makes the names that lead to the log durable: also those that were there
    /// already, since their maker may have died before its own sync.
    pub(crate) fn sync_names(&self) -> Result<(), VolumeError> {
        self.dir.sync()?;
        for dir in self.chain.iter().rev() {
            dir.sync()?;
        }
        self.root.sync()
    }
}

/// Removes the folder of a run that has no event.
fn remove_empty_run(runs: &Dir, dir: &Dir, run: &RunId) {
    let Ok(false) = segment_set::is_started(dir) else {
        return;
    };
    for name in [layout::ACTIVE, layout::LOCK] {
        drop(dir.remove_file(name));
    }
    if let Ok(jobs) = dir.open_dir(layout::JOBS) {
        for name in jobs.names().unwrap_or_default() {
            drop(jobs.remove_file(&name));
        }
    }
    dir.remove_empty_dir(layout::JOBS);
    runs.remove_empty_dir(run.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_fails_fails_for_who_waits_for_one() {
        let (_, pipe) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(pipe));
        let key = FileKey::from(&rustix::fs::fstat(&file).unwrap());
        let (active, path) = (ActiveSegment::new(Arc::new(file), key), Path::new("x"));
        let waits = active.syncs.record_write();
        active.sync(path, File::sync_data).unwrap_err();
        let later = || panic!("synced again");
        active.syncs.share(waits, path, later).unwrap_err();
        active.sync(path, |_| Ok(())).unwrap();
    }
}
