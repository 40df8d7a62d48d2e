//! Rotation by the writers themselves: the one whose append fills a segment seals it.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use super::prune::PruneLimit;
use super::rotate::{NotRotated, Rotation, RotationThreshold};
use super::run_log::{RunLog, WriterState};
use crate::log::error::{RotateError, StorageError};
use crate::log::segment::compress;
use crate::log::segment::compress::Compressed;
use crate::volume::VolumeError;

/// How long the locks are waited for; who does not get them tries again at the next
/// append.
const ROTATE_LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How a writer keeps its log in segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// Length of a segment that is sealed, in bytes.
    pub max_size: u64,
    /// How many sealed segments are kept; all where it is not set.
    pub keep: Option<usize>,
    /// Whether sealed segments are compressed.
    pub compress: bool,
}

type Compressing = JoinHandle<Result<Vec<Compressed>, StorageError>>;

/// What a writer does, or could not do, besides appending.
#[derive(Debug, Default)]
pub(crate) struct AutoRotation {
    pub rotation: Option<RotationPolicy>,
    compressing: Mutex<Option<Compressing>>,
    trouble: Mutex<Option<RotateError>>,
}

impl RunLog {
    /// Also seals the active segment whenever an append fills it. That neither fails nor
    /// holds up the append; [`RunLog::finish_upkeep`] tells of trouble.
    #[must_use]
    pub fn rotating(mut self, rotation: Option<RotationPolicy>) -> Self {
        self.upkeep.rotation = rotation;
        self
    }

    /// Waits until what was sealed is compressed.
    ///
    /// # Errors
    /// The first trouble with rotation, compression or the dropping of segments.
    pub fn finish_upkeep(&self) -> Result<(), RotateError> {
        self.join_compressing();
        match locked(&self.upkeep.trouble).take() {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    /// Whether the segment is to be looked at; that of a closed run stays as it is.
    pub(crate) fn is_full(&self, inner: &WriterState) -> bool {
        let is_closed = || inner.tail.as_ref().is_some_and(|t| t.summary.is_some());
        self.upkeep.rotation.is_some_and(|rotation| {
            inner.len >= inner.rotate_at.unwrap_or(rotation.max_size) && !is_closed()
        })
    }

    /// After an append that left the segment with `len` bytes.
    pub(crate) fn rotate_when_due(&self, len: u64) {
        let Some(rotation) = self.upkeep.rotation else {
            return;
        };
        let due = RotationThreshold {
            max_size: Some(rotation.max_size),
            max_age: None,
        };
        let next_look = match self.rotate(due, ROTATE_LOCK_TIMEOUT) {
            Ok(Rotation::Sealed(_)) => {
                self.after_rotation(rotation);
                return;
            }
            Ok(Rotation::Skipped(NotRotated::Foreign)) => u64::MAX,
            Ok(Rotation::Skipped(NotRotated::Fresh | NotRotated::NotDue)) => len.saturating_mul(2),
            Err(RotateError::Storage(
                StorageError::LockTimeout { .. } | StorageError::RunRemoved { .. },
            )) => return,
            Err(e) => {
                self.note_trouble(e);
                len.saturating_add(rotation.max_size)
            }
        };
        if let Ok(mut inner) = self.inner.try_lock() {
            inner.rotate_at = Some(next_look);
        }
    }

    fn after_rotation(&self, rotation: RotationPolicy) {
        if let Some(keep) = rotation.keep
            && let Err(e) = self.drop_sealed(PruneLimit::AllBut(keep))
        {
            self.note_trouble(e.into());
        }
        if rotation.compress {
            self.join_compressing();
            let started = self.dir.try_clone().and_then(|dir| {
                thread::Builder::new()
                    .name("compress".to_owned())
                    .spawn(move || compress::compress_sealed(&dir))
                    .map_err(|source| VolumeError::Io {
                        action: "compress the sealed segments of",
                        path: self.dir.path().to_owned(),
                        source,
                    })
            });
            match started {
                Ok(thread) => *locked(&self.upkeep.compressing) = Some(thread),
                Err(e) => self.note_trouble(e.into()),
            }
        }
    }

    fn join_compressing(&self) {
        let thread = locked(&self.upkeep.compressing).take();
        if let Some(Ok(Err(e))) = thread.map(JoinHandle::join) {
            self.note_trouble(e.into());
        }
    }

    fn note_trouble(&self, e: RotateError) {
        locked(&self.upkeep.trouble).get_or_insert(e);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
