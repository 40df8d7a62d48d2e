//! Advisory locks: `flock(2)` by way of fs2, which nothing else uses.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::log::error::LogError;
use crate::volume::IoContext;

/// How long a lock is waited for.
pub(crate) const BUDGET: Duration = Duration::from_secs(5);
/// How long a job's last event waits for the lock: it cannot be tried again later.
pub(crate) const TERMINAL_BUDGET: Duration = Duration::from_mins(1);

/// So long a waiter only yields the processor: a lock is held for microseconds as a rule,
/// and a sleep lasts 50 µs longer than it is asked to (`PR_SET_TIMERSLACK(2const)`).
const YIELDING: Duration = Duration::from_micros(150);
/// First sleep between two tries.
const FIRST_PAUSE: Duration = Duration::from_micros(30);
/// Longest sleep between two tries: a waiter sees a free moment of this length.
const LONGEST_PAUSE: Duration = Duration::from_micros(500);

/// An advisory lock; let go of when dropped.
#[derive(Debug)]
#[must_use = "the lock is let go of when this is dropped"]
pub(crate) struct Guard<'a>(&'a File);

impl Guard<'_> {
    /// Leaves the lock to the open file: it lasts until that is closed.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Closing the file lets go of it too; there is nobody to tell.
        drop(fs2::FileExt::unlock(self.0));
    }
}

/// How long something is waited for: one budget for all that an append has to take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub begun: Instant,
    budget: Duration,
}

impl Wait {
    /// A wait that begins now.
    pub(crate) fn new(budget: Duration) -> Self {
        let begun = Instant::now();
        Self { begun, budget }
    }

    /// Tries, with short rising pauses, until it succeeds or the budget is used up.
    ///
    /// # Errors
    /// [`LogError::LockTimeout`], or what a try ended with.
    pub(crate) fn until<T>(
        self,
        path: &Path,
        mut try_once: impl FnMut() -> Result<Option<T>, LogError>,
    ) -> Result<T, LogError> {
        if let Some(taken) = try_once()? {
            return Ok(taken);
        }
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        while self.begun.elapsed() < self.budget {
            if begun.elapsed() < YIELDING {
                thread::yield_now();
            } else {
                thread::sleep(pause);
                pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            }
            if let Some(taken) = try_once()? {
                return Ok(taken);
            }
        }
        Err(LogError::LockTimeout {
            path: path.to_owned(),
            budget: self.budget,
        })
    }
}

impl From<Duration> for Wait {
    fn from(budget: Duration) -> Self {
        Self::new(budget)
    }
}

/// Takes the exclusive lock of `file`.
///
/// # Errors
/// [`LogError::LockTimeout`], or the file system has no locks.
pub(crate) fn exclusive<'a>(
    file: &'a File,
    path: &Path,
    wait: impl Into<Wait>,
) -> Result<Guard<'a>, LogError> {
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
) -> Result<Option<Guard<'a>>, LogError> {
    match exclusive(file, path, limit) {
        Err(LogError::LockTimeout { .. }) => Ok(None),
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
) -> Result<Option<Guard<'a>>, LogError> {
    taken(fs2::FileExt::try_lock_exclusive(file), file, path)
}

/// Takes a shared lock if nobody has the exclusive one.
///
/// # Errors
/// The file system has no locks.
pub(crate) fn try_shared<'a>(file: &'a File, path: &Path) -> Result<Option<Guard<'a>>, LogError> {
    taken(fs2::FileExt::try_lock_shared(file), file, path)
}

fn taken<'a>(
    tried: io::Result<()>,
    file: &'a File,
    path: &Path,
) -> Result<Option<Guard<'a>>, LogError> {
    match tried {
        Ok(()) => Ok(Some(Guard(file))),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e).at("lock", path).map_err(LogError::from),
    }
}
