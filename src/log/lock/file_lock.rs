//! Advisory locks: `flock(2)` through fs2, which no other file uses.

use std::borrow::Borrow;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::log::error::StorageError;
use crate::volume::{Dir, IoContext};

/// How long a waiter spins with `yield` before it starts to sleep.
///
/// Locks are usually held for only a few microseconds, and a sleep lasts 50 µs longer than
/// requested (`PR_SET_TIMERSLACK(2const)`).
const SPIN_TIME: Duration = Duration::from_micros(150);
/// How long the first sleep between two attempts lasts.
const MIN_BACKOFF: Duration = Duration::from_micros(30);
/// How long a sleep between two attempts lasts at most. A waiter notices a free lock within this
/// time.
const MAX_BACKOFF: Duration = Duration::from_micros(500);

/// The action in the error of a lock that cannot be taken at all.
pub(crate) const LOCK_ACTION: &str = "lock";

/// A held advisory lock. Dropping it releases the lock.
#[derive(Debug)]
#[must_use = "dropping the guard releases the lock"]
pub(crate) struct FileLockGuard<F: Borrow<File>>(Option<F>);

impl<F: Borrow<File>> FileLockGuard<F> {
    /// Leaves the lock to the open file, so that it lasts until the file is closed.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl<F: Borrow<File>> Drop for FileLockGuard<F> {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            release(file.borrow());
        }
    }
}

/// The time by which an append must have taken all of its locks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LockDeadline {
    started: Instant,
    timeout: Duration,
}

impl LockDeadline {
    /// Creates a deadline `timeout` from now.
    pub(crate) fn new(timeout: Duration) -> Self {
        let started = Instant::now();
        Self { started, timeout }
    }

    /// Returns when the wait started.
    pub(crate) fn started(self) -> Instant {
        self.started
    }

    /// Calls `attempt` with growing pauses until it succeeds or the deadline passes.
    ///
    /// # Errors
    /// [`StorageError::LockTimeout`], or the error of an attempt.
    pub(crate) fn poll<T>(
        self,
        path: &Path,
        mut attempt: impl FnMut() -> Result<Option<T>, StorageError>,
    ) -> Result<T, StorageError> {
        if let Some(locked) = attempt()? {
            return Ok(locked);
        }
        let started = Instant::now();
        let mut backoff = MIN_BACKOFF;
        while self.started.elapsed() < self.timeout {
            if started.elapsed() < SPIN_TIME {
                thread::yield_now();
            } else {
                thread::sleep(backoff);
                backoff = (backoff * 3 / 2).min(MAX_BACKOFF);
            }
            if let Some(locked) = attempt()? {
                return Ok(locked);
            }
        }
        Err(StorageError::LockTimeout {
            path: path.to_owned(),
            timeout: self.timeout,
        })
    }
}

impl From<Duration> for LockDeadline {
    fn from(timeout: Duration) -> Self {
        Self::new(timeout)
    }
}

/// Releases the lock of an open file, whichever process took it.
pub(crate) fn release(file: &File) {
    // If this fails, closing the file releases the lock.
    drop(fs2::FileExt::unlock(file));
}

/// Acquires the exclusive lock of `file`.
///
/// # Errors
/// [`StorageError::LockTimeout`], or the file system does not support locks.
pub(crate) fn exclusive<F: Borrow<File> + Clone>(
    file: F,
    path: &Path,
    deadline: impl Into<LockDeadline>,
) -> Result<FileLockGuard<F>, StorageError> {
    deadline
        .into()
        .poll(path, || try_exclusive(file.clone(), path))
}

/// Acquires the exclusive lock of `file`; returns `None` if that takes longer than `limit`.
///
/// # Errors
/// The file system does not support locks.
pub(crate) fn exclusive_within<F: Borrow<File> + Clone>(
    file: F,
    path: &Path,
    limit: Duration,
) -> Result<Option<FileLockGuard<F>>, StorageError> {
    match exclusive(file, path, limit) {
        Err(StorageError::LockTimeout { .. }) => Ok(None),
        locked => locked.map(Some),
    }
}

/// Acquires the exclusive lock of `file`; returns `None` if another process holds a lock.
///
/// # Errors
/// The file system does not support locks.
pub(crate) fn try_exclusive<F: Borrow<File>>(
    file: F,
    path: &Path,
) -> Result<Option<FileLockGuard<F>>, StorageError> {
    guard(fs2::FileExt::try_lock_exclusive(file.borrow()), file, path)
}

/// Acquires a shared lock on `file`; returns `None` if another process holds the exclusive lock.
///
/// # Errors
/// The file system does not support locks.
pub(crate) fn try_shared<F: Borrow<File>>(
    file: F,
    path: &Path,
) -> Result<Option<FileLockGuard<F>>, StorageError> {
    guard(fs2::FileExt::try_lock_shared(file.borrow()), file, path)
}

fn guard<F: Borrow<File>>(
    locked: io::Result<()>,
    file: F,
    path: &Path,
) -> Result<Option<FileLockGuard<F>>, StorageError> {
    match locked {
        Ok(()) => Ok(Some(FileLockGuard(Some(file)))),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e).at(LOCK_ACTION, path).map_err(StorageError::from),
    }
}

/// Returns whether any of these files is locked.
///
/// The locks are probed and not held: there may be thousands of files, and no process starts to
/// use one without holding the locks of the run.
///
/// # Errors
/// A file cannot be opened, or the file system does not support locks.
pub(crate) fn is_any_locked<'a>(
    dir: &Dir,
    names: impl Iterator<Item = &'a String>,
) -> Result<bool, StorageError> {
    for name in names {
        if let Some(file) = dir.read(name)?
            && try_shared(&file, &dir.path().join(name))?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
