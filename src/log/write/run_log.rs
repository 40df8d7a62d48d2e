//! One run's log, opened for appending: lock, operate, unlock, sync, rotate if due.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use ulid::Ulid;

use super::active_segment::ActiveSegment;
use super::append;
use super::append::{Attempt, BatchRequest, FoldPolicy, ForeignPolicy};
use super::auto_rotate::AutoRotation;
use super::batch::{Appended, Batch, Close, LogView};
use super::commit_delay::CommitDelay;
use super::draft::Draft;
use super::handle::RunHandle;
use super::locked::LockedRun;
use super::remove_empty::remove_if_empty;
use super::rotation_policy::RotationPolicy;
use super::writer_state::WriterState;
use crate::log::error::{AppendError, StorageError};
use crate::log::format::event_type::{Durability, EventType};
use crate::log::format::job_counts::JobCounts;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::lock::file_lock::LockDeadline;
use crate::log::segment::segment_set;
use crate::log::state::run_state::RunState;
use crate::log::store::catalog::SelectError;
use crate::log::store::ulid_allocator::allocate_ulid;
use crate::volume::{Dir, EnsuredDir, RunId, Volume};

/// How many times the log is read without its locks, because it grew in the meantime, before it
/// is read under them.
const MAX_UNLOCKED_READS: u32 = 3;

/// One run's log, opened for appending. Threads may share it, and any number of processes may
/// have the same run open.
#[derive(Debug)]
pub struct RunLog {
    pub(super) handle: RunHandle,
    pub(super) writer: Mutex<WriterState>,
    foreign: ForeignPolicy,
    pub(super) auto_rotation: AutoRotation,
    commit_delay: CommitDelay,
}

/// A batch to append.
struct AppendRequest<'a> {
    batch: BatchRequest<'a>,
    lock_timeout: Duration,
}

/// The work that remains after the locks are released.
struct Written {
    appended: Appended,
    segment: Arc<ActiveSegment>,
    /// The ticket of the write in [`ActiveSegment::syncs`].
    ticket: u64,
    in_company: bool,
    /// The length of a segment that must be sealed, in bytes.
    full: Option<u64>,
}

impl RunLog {
    /// Opens the log of an existing run.
    ///
    /// # Errors
    /// The run does not exist, or cannot be opened for writing.
    pub fn open(volume: &Volume, run: &RunId) -> Result<Self, SelectError> {
        let missing = || SelectError::NoSuchRun {
            run: run.to_string(),
        };
        let runs = volume.runs().map_err(StorageError::from)?;
        let dir = match runs.ok_or_else(missing)?.open_dir(run.as_str()) {
            Err(e) if e.io_kind() == Some(std::io::ErrorKind::NotFound) => return Err(missing()),
            opened => opened.map_err(StorageError::from)?,
        };
        if !segment_set::is_started(&dir)? {
            return Err(missing());
        }
        let chain = volume.make_runs().map_err(StorageError::from)?;
        // The directory is not created again if another process removes the run now.
        Ok(Self::new(RunHandle::open(volume, chain, dir, run, None)?))
    }

    /// Opens the log of the run in `dir`, but not that of a later run with the same id.
    ///
    /// # Errors
    /// The run was removed, or it cannot be opened for writing.
    pub(crate) fn open_in(volume: &Volume, run: &RunId, dir: &Dir) -> Result<Self, SelectError> {
        let log = Self::open(volume, run)?;
        if log.dir().key() != dir.key() {
            let path = dir.path().to_owned();
            return Err(StorageError::RunRemoved { path }.into());
        }
        Ok(log)
    }

    /// Opens the log of a run and creates its directory if it does not exist.
    ///
    /// `first_id` becomes the id of the first event if the log is empty. Get it from
    /// [`allocate_ulid`], so that the newest run has the highest one.
    ///
    /// # Errors
    /// A directory or the lock file cannot be created.
    pub fn open_or_create(
        volume: &Volume,
        run: &RunId,
        first_id: Option<Ulid>,
    ) -> Result<Self, StorageError> {
        let chain = volume.make_runs()?;
        let [_, _, runs] = &chain;
        let EnsuredDir { dir, created } = runs.ensure_dir(run.as_str())?;
        let parent = runs.try_clone()?;
        let opened = RunHandle::open(volume, chain, dir, run, first_id);
        if opened.is_err() && created {
            parent.remove_empty_dir(run.as_str());
        }
        Ok(Self::new(opened?))
    }

    /// Creates a run named `<name>-<ulid>`.
    ///
    /// # Errors
    /// No ULID can be allocated, or the directory cannot be created.
    pub fn create(volume: &Volume, name: &str) -> Result<Self, StorageError> {
        let ulid = allocate_ulid(volume)?;
        Self::open_or_create(volume, &RunId::generate(name, ulid), Some(ulid))
    }

    fn new(handle: RunHandle) -> Self {
        Self {
            handle,
            writer: Mutex::default(),
            foreign: ForeignPolicy::default(),
            auto_rotation: AutoRotation::default(),
            commit_delay: CommitDelay::default(),
        }
    }

    /// Sets whether a run that another program wrote accepts events.
    #[must_use]
    pub fn foreign_policy(mut self, policy: ForeignPolicy) -> Self {
        self.foreign = policy;
        self
    }

    /// Seals the active segment whenever an append fills it.
    ///
    /// Rotation neither fails nor delays the append; [`RunLog::finish_upkeep`] returns its
    /// errors.
    #[must_use]
    pub fn rotating(mut self, policy: Option<RotationPolicy>) -> Self {
        self.auto_rotation = AutoRotation::new(policy);
        self
    }

    /// Returns the id of the run.
    pub fn run_id(&self) -> &RunId {
        self.handle.run()
    }

    /// Returns the directory of the run.
    pub fn dir(&self) -> &Dir {
        self.handle.dir()
    }

    /// Removes the directory of a run without events, unless another process is using it. gc
    /// removes what remains.
    pub(crate) fn discard(self) {
        remove_if_empty(&self.handle);
    }

    /// Makes the directories that lead to the runs durable, which the first event needs, while
    /// its writer waits for something else. If it fails, the event is not durable either.
    pub(crate) fn sync_ancestors(&self) {
        self.handle.sync_ancestors().ok();
    }

    /// Appends events that do not depend on the content of the log.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(
        &self,
        drafts: &[Draft],
        durability: Durability,
    ) -> Result<Appended, AppendError> {
        self.append_with_callback(drafts, || durability)
    }

    /// Appends events, and calls `written` when they are in the log; it returns how durable they
    /// must be before this function returns.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub(crate) fn append_with_callback(
        &self,
        drafts: &[Draft],
        written: impl FnOnce() -> Durability,
    ) -> Result<Appended, AppendError> {
        // The batch waits for the locks as long as its most important event does.
        let timeouts = drafts.iter().map(|draft| draft.kind().lock_budget());
        let request = AppendRequest {
            batch: BatchRequest::Ready(drafts),
            lock_timeout: timeouts.max().unwrap_or(LOCK_TIMEOUT),
        };
        self.write(request, written)
    }

    /// Appends the events that `make` returns under the locks of the run.
    ///
    /// `lock_timeout` is that of the most important event that `make` may return
    /// ([`EventType::lock_budget`]). `make` may be called more than once.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_with(
        &self,
        durability: Durability,
        lock_timeout: Duration,
        mut make: impl FnMut(LogView) -> Result<Batch, AppendError>,
    ) -> Result<Appended, AppendError> {
        let request = AppendRequest {
            batch: BatchRequest::FromView(&mut |view, ()| make(view)),
            lock_timeout,
        };
        self.write(request, || durability)
    }

    /// Appends the events that `make` returns for the number of jobs; see
    /// [`RunLog::append_with`].
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_counted(
        &self,
        durability: Durability,
        lock_timeout: Duration,
        mut make: impl FnMut(LogView, JobCounts) -> Result<Batch, AppendError>,
    ) -> Result<Appended, AppendError> {
        let request = AppendRequest {
            batch: BatchRequest::FromCounts(&mut |view, counts| make(view, *counts)),
            lock_timeout,
        };
        self.write(request, || durability)
    }

    /// Appends the events that `make` returns for the state of the run; see
    /// [`RunLog::append_with`]. The log is folded before its locks are taken.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_with_state(
        &self,
        durability: Durability,
        lock_timeout: Duration,
        mut make: impl FnMut(LogView, &RunState) -> Result<Batch, AppendError>,
    ) -> Result<Appended, AppendError> {
        let request = AppendRequest {
            batch: BatchRequest::FromState(&mut make),
            lock_timeout,
        };
        self.write(request, || durability)
    }

    /// Returns the current counts of jobs, without the locks; `None` if only a fold can
    /// determine them.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub(crate) fn count_jobs(&self) -> Result<Option<JobCounts>, StorageError> {
        let mut writer = self.lock_writer(LockDeadline::new(LOCK_TIMEOUT))?;
        writer.count_unlocked(&self.handle)?;
        Ok(writer.job_counts())
    }

    /// Repairs the end of the log like the next writer would before an append. Returns the lines
    /// that record the repair.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub(crate) fn recover_end(&self) -> Result<Vec<u8>, AppendError> {
        let timeout = EventType::LogRepaired.lock_budget();
        let repaired = self.append_with(Durability::Power, timeout, |_| Ok(Batch::only(Close::No)));
        Ok(repaired?.bytes)
    }

    /// Locks the state of the writer, within the time for the file locks too, because another
    /// thread may hold it while it waits for those.
    pub(super) fn lock_writer(
        &self,
        deadline: LockDeadline,
    ) -> Result<MutexGuard<'_, WriterState>, StorageError> {
        deadline.poll(self.handle.lock_path(), || match self.writer.try_lock() {
            Ok(writer) => Ok(Some(writer)),
            Err(TryLockError::Poisoned(writer)) => Ok(Some(writer.into_inner())),
            Err(TryLockError::WouldBlock) => Ok(None),
        })
    }

    #[cfg(test)]
    pub(crate) fn handle(&self) -> &RunHandle {
        &self.handle
    }

    /// Reads the end of the log without changing it.
    #[cfg(test)]
    pub(crate) fn refresh(&self) {
        let mut writer = crate::sync::lock(&self.writer);
        let deadline = LockDeadline::new(LOCK_TIMEOUT);
        let mut run = LockedRun::lock(&self.handle, &mut writer, deadline).unwrap();
        run.refresh_tail(u64::MAX).unwrap();
    }

    fn write(
        &self,
        mut request: AppendRequest<'_>,
        written: impl FnOnce() -> Durability,
    ) -> Result<Appended, AppendError> {
        let done = self.write_locked(&mut request)?;
        if written() == Durability::Power {
            if done.in_company {
                self.commit_delay.yield_before_sync();
            }
            self.handle.make_durable(&done.segment, done.ticket)?;
        }
        if let Some(len) = done.full {
            self.rotate_when_due(&done.segment, len);
        }
        Ok(done.appended)
    }

    fn write_locked(&self, request: &mut AppendRequest<'_>) -> Result<Written, AppendError> {
        let mut reads = 0;
        let mut needs_tail = false;
        loop {
            let mut deadline = LockDeadline::new(request.lock_timeout);
            let mut writer = self.lock_writer(deadline)?;
            // Slow work comes before the locks, and does not count as waiting for them.
            let is_prepared = match request.batch {
                _ if needs_tail => Some(writer.refresh_unlocked(&self.handle)?),
                BatchRequest::FromState(_) => Some(writer.fold_unlocked(&self.handle)?),
                _ if reads > 0 => Some(writer.fold_unlocked(&self.handle)?),
                BatchRequest::FromCounts(_) => Some(writer.count_unlocked(&self.handle)?),
                BatchRequest::Ready(drafts) if drafts.iter().any(|d| d.step().is_some()) => {
                    Some(writer.count_unlocked(&self.handle)?)
                }
                BatchRequest::Ready(_) | BatchRequest::FromView(_) => None,
            };
            if is_prepared.is_some() {
                deadline = LockDeadline::new(request.lock_timeout);
            }
            let mut run = LockedRun::lock(&self.handle, &mut writer, deadline)?;
            let fold = if reads < MAX_UNLOCKED_READS {
                FoldPolicy::Unlocked
            } else {
                FoldPolicy::Locked
            };
            let attempt = append::append(&mut run, &mut request.batch, self.foreign, fold);
            let segment = Arc::clone(run.segment());
            drop(run);
            match attempt {
                Ok(needs @ (Attempt::NeedsTail | Attempt::NeedsState)) => {
                    reads += 1;
                    needs_tail = matches!(needs, Attempt::NeedsTail);
                }
                Ok(Attempt::Done(appended)) => {
                    return Ok(Written {
                        appended,
                        ticket: segment.syncs().latest(),
                        segment,
                        in_company: writer.is_in_company(),
                        full: self.auto_rotation.is_due(&writer),
                    });
                }
                Err(e) => {
                    // The known end of the log already includes the events.
                    writer.invalidate();
                    return Err(e);
                }
            }
        }
    }
}
