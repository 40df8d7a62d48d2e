//! One run's log, opened for appending: lock, operate, unlock, sync, rotate if due.

use std::sync::Mutex;
use std::time::Duration;

use ulid::Ulid;

use super::append::{BatchRequest, ForeignPolicy};
use super::append_request::AppendRequest;
use super::auto_rotate::AutoRotation;
use super::batch::{Appended, Batch, Close, LogView};
use super::commit_delay::CommitDelay;
use super::draft::Draft;
use super::handle::RunHandle;
#[cfg(test)]
use super::locked::LockedRun;
use super::locked::lock_writer;
use super::prune;
use super::prune::{PruneLimit, PrunedSegment};
use super::remove_empty::remove_if_empty;
use super::rotation_policy::{Rotation, RotationPolicy, RotationThreshold};
use super::upkeep;
use super::writer_state::WriterState;
use crate::log::error::{AppendError, RotateError, StorageError};
use crate::log::format::event_type::{Durability, EventType};
use crate::log::format::job_counts::JobCounts;
use crate::log::format::limits::LOCK_TIMEOUT;
use crate::log::lock::file_lock::LockDeadline;
use crate::log::segment::segment_set;
use crate::log::state::run_state::RunState;
use crate::log::store::catalog::SelectError;
use crate::log::store::ulid_allocator::allocate_ulid;
use crate::volume::{Dir, EnsuredDir, RunId, Volume};

/// One run's log, opened for appending. Threads may share it, and any number of processes may
/// have the same run open.
#[derive(Debug)]
pub struct RunLog {
    handle: RunHandle,
    writer: Mutex<WriterState>,
    foreign: ForeignPolicy,
    auto_rotation: AutoRotation,
    commit_delay: CommitDelay,
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
        let deadline = LockDeadline::new(LOCK_TIMEOUT);
        let mut writer = lock_writer(&self.handle, &self.writer, deadline)?;
        writer.count_unlocked(&self.handle)?;
        Ok(writer.job_counts())
    }

    /// Repairs the end of the log like the next writer would before an append. Returns the lines
    /// that record the repair.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub(crate) fn recover_tail(&self) -> Result<Vec<u8>, AppendError> {
        let timeout = EventType::LogRepaired.lock_budget();
        let repaired = self.append_with(Durability::Power, timeout, |_| Ok(Batch::only(Close::No)));
        Ok(repaired?.bytes)
    }

    /// Seals the active segment if it has reached a threshold.
    ///
    /// # Errors
    /// See [`RotateError`]. Events that were appended before always remain.
    pub fn rotate(
        &self,
        threshold: RotationThreshold,
        lock_timeout: Duration,
    ) -> Result<Rotation, RotateError> {
        upkeep::lock_and_rotate(&self.handle, &self.writer, threshold, lock_timeout)
    }

    /// Removes the sealed segments that `limit` selects, oldest first.
    ///
    /// # Errors
    /// A segment cannot be removed. The remaining log has no hole.
    pub fn prune(&self, limit: PruneLimit) -> Result<Vec<PrunedSegment>, StorageError> {
        prune::prune(&self.handle, limit)
    }

    /// Waits until the sealed segments are compressed.
    ///
    /// # Errors
    /// The first error of a rotation, a compression or a removal of segments.
    pub fn finish_upkeep(&self) -> Result<(), RotateError> {
        self.auto_rotation.finish()
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
        let done = request.write(
            &self.handle,
            &self.writer,
            self.foreign,
            &self.auto_rotation,
        )?;
        if written() == Durability::Power {
            if done.has_other_writers {
                self.commit_delay.yield_before_sync();
            }
            self.handle.make_durable(&done.segment, done.ticket)?;
        }
        if let Some(len) = done.full_len {
            let (handle, writer) = (&self.handle, &self.writer);
            upkeep::rotate_when_due(handle, writer, &self.auto_rotation, &done.segment, len);
        }
        Ok(done.appended)
    }
}
