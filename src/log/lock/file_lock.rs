//! Advisory locks: `flock(2)` by way of fs2, which nothing else uses.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::log::error::StorageError;
use crate::volume::IoContext;

/// So long a waiter only yields the processor: a lock is held for microseconds as a rule,
/// and a sleep lasts 50 µs longer than it is asked to (`PR_SET_TIMERSLACK(2const)`).
const SPIN_TIME: Duration = Duration::from_micros(150);
/// First sleep between two tries.
const MIN_BACKOFF: Duration = Duration::from_micros(30);
/// Longest sleep between two tries: a waiter sees a free moment of this length.
const MAX_BACKOFF: Duration = Duration::from_micros(500);

/// An advisory lock; let go of when dropped.
#[derive(Debug)]
#[must_use = "the lock is let go of when this is dropped"]
pub(crate) struct FileLockGuard<'a>(&'a File);

impl FileLockGuard<'_> {
    /// Leaves the lock to the open file: it lasts until that is closed.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for FileLockGuard<'_> {
    fn drop(&mut self) {
        // Closing the file lets go of it too; there is nobody to tell.
        drop(fs2::FileExt::unlock(self.0));
    }
}

/// How long something is waited for: one budget for all that an append has to take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LockDeadline {
    pub begun: Instant,
    budget: Duration,
}

impl LockDeadline {
    /// A wait that begins now.
    pub(crate) fn new(budget: Duration) -> Self {
        let begun = Instant::now();
        Self { begun, budget }
    }

    /// Tries, with short rising pauses, until it succeeds or the budget is used up.
    ///
    /// # Errors
    /// [`StorageError::LockTimeout`], or what a try ended with.
    pub(crate) fn until<T>(
        self,
        path: &Path,
        mut try_once: impl FnMut() -> Result<Option<T>, StorageError>,
    ) -> Result<T, StorageError> {
        if let Some(taken) = try_once()? {
            return Ok(taken);
        }
        let begun = Instant::now();
        let mut pause = MIN_BACKOFF;
        while self.begun.elapsed() < self.budget {
            if begun.elapsed() < SPIN_TIME {
                thread::yield_now();
            } else {
                thread::sleep(pause);
                pause = (pause * 3 / 2).min(MAX_BACKOFF);
            }
            if let Some(taken) = try_once()? {
                return Ok(taken);
            }
        }
        Err(StorageError::LockTimeout {
            path: path.to_owned(),
            timeout: self.budget,
        })
    }
}

impl From<Duration> for LockDeadline {
    fn from(budget: Duration) -> Self {
        Self::new(budget)
    }
}

/// Takes the exclusive lock of `file`.
///
/// # Errors
/// [`StorageError::LockTimeout`], or the file system has no locks.
pub(crate) fn exclusive<'a>(
    file: &'a File,
    path: &Path,
    wait: impl Into<LockDeadline>,
) -> Result<FileLockGuard<'a>, StorageError> {
    wait.into().until(path, || try_exclusive(file, path))
}

/// The same; `None` where it is not to be had in that time.
///
/// # Errors
/// The file system has no locks.
pub(crate) fn exclusive_within<'a>(
    file: &'a File,
    path: &Path,
    limit: Duration,
) -> Result<Option<FileLockGuard<'a>>, StorageError> {
    match exclusive(file, path, limit) {
        Err(StorageError::LockTimeout { .. }) => Ok(None),
        taken => taken.map(Some),
    }
}

/// Takes the exclusive lock if nobody has one.
///
/// # Errors
/// The file system has no locks.
pub(crate) fn try_exclusive<'a>(
    file: &'a File,
    path: &Path,
) -> Result<Option<FileLockGuard<'a>>, StorageError> {
    taken(fs2::FileExt::try_lock_exclusive(file), file, path)
}

/// Takes a shared lock if nobody has the exclusive one.
///
/// # Errors
/// The file system has no locks.
pub(crate) fn try_shared<'a>(
    file: &'a File,
    path: &Path,
) -> Result<Option<FileLockGuard<'a>>, StorageError> {
    taken(fs2::FileExt::try_lock_shared(file), file, path)
}

fn taken<'a>(
    tried: io::Result<()>,
    file: &'a File,
    path: &Path,
) -> Result<Option<FileLockGuard<'a>>, StorageError> {
    match tried {
        Ok(()) => Ok(Some(FileLockGuard(file))),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e).at("lock", path).map_err(StorageError::from),
    }
}
