//! Automatic rotation: the writer whose append fills a segment seals it.

use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use super::handle::RunHandle;
use super::prune;
use super::prune::PruneLimit;
use super::rotation_policy::{NotRotated, Rotation, RotationPolicy, RotationThreshold};
use super::writer_state::WriterState;
use crate::log::error::{RotateError, StorageError};
use crate::log::segment::compress;
use crate::log::segment::compress::Compressed;
use crate::sync::lock;
use crate::volume::VolumeError;

/// How long an automatic rotation waits for the locks. A writer that does not get them tries
/// again at its next append.
const ROTATE_LOCK_TIMEOUT: Duration = Duration::from_secs(1);

type Compressing = JoinHandle<Result<Vec<Compressed>, StorageError>>;

/// When a writer rotates its log, and the first error of that.
#[derive(Debug, Default)]
pub(crate) struct AutoRotation {
    policy: Option<RotationPolicy>,
    compressing: Mutex<Option<Compressing>>,
    first_error: Mutex<Option<RotateError>>,
}

impl AutoRotation {
    /// Creates a rotation by `policy`; without a policy, it never rotates.
    pub(crate) fn new(policy: Option<RotationPolicy>) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Returns the length of a segment that must be sealed, in bytes. The segment of a closed
    /// run is never sealed.
    pub(crate) fn full_len(&self, writer: &WriterState) -> Option<u64> {
        let policy = self.policy?;
        let is_due = writer.len() >= writer.rotate_at(policy.max_size) && !writer.is_closed();
        is_due.then(|| writer.len())
    }

    /// Returns the threshold for sealing a segment, and how long a rotation waits for the locks.
    pub(crate) fn threshold(&self) -> Option<(RotationThreshold, Duration)> {
        let threshold = RotationThreshold {
            max_size: Some(self.policy?.max_size),
            max_age: None,
        };
        Some((threshold, ROTATE_LOCK_TIMEOUT))
    }

    /// Records the result of a rotation of a segment of `len` bytes. After a rotation, prunes
    /// and compresses sealed segments. Returns the length at which to consider rotation again,
    /// in bytes.
    pub(crate) fn record(
        &self,
        rotated: Result<Rotation, RotateError>,
        len: u64,
        handle: &RunHandle,
    ) -> Option<u64> {
        let policy = self.policy?;
        match rotated {
            Ok(Rotation::Sealed(_)) => {
                self.after_rotation(policy, handle);
                None
            }
            Ok(Rotation::Skipped(NotRotated::Foreign)) => Some(u64::MAX),
            Ok(Rotation::Skipped(NotRotated::Fresh | NotRotated::NotDue)) => {
                Some(len.saturating_mul(2))
            }
            Err(RotateError::Storage(
                StorageError::LockTimeout { .. } | StorageError::RunRemoved { .. },
            )) => None,
            Err(e) => {
                self.record_error(e);
                Some(len.saturating_add(policy.max_size))
            }
        }
    }

    /// Waits for the compression to finish.
    ///
    /// # Errors
    /// The first error of a rotation, a compression or a removal of segments.
    pub(crate) fn finish(&self) -> Result<(), RotateError> {
        self.join_compression();
        lock(&self.first_error).take().map_or(Ok(()), Err)
    }

    fn after_rotation(&self, policy: RotationPolicy, handle: &RunHandle) {
        if let Some(keep) = policy.keep
            && let Err(e) = prune::prune(handle, PruneLimit::AllBut(keep))
        {
            self.record_error(e.into());
        }
        if policy.compress {
            self.join_compression();
            let spawned = handle.dir().try_clone().and_then(|dir| {
                thread::Builder::new()
                    .name("compress".to_owned())
                    .spawn(move || compress::compress_sealed(&dir))
                    .map_err(|source| VolumeError::Io {
                        action: "compress the sealed segments of",
                        path: handle.dir().path().to_owned(),
                        source,
                    })
            });
            match spawned {
                Ok(thread) => *lock(&self.compressing) = Some(thread),
                Err(e) => self.record_error(e.into()),
            }
        }
    }

    fn join_compression(&self) {
        let thread = lock(&self.compressing).take();
        if let Some(Ok(Err(e))) = thread.map(JoinHandle::join) {
            self.record_error(e.into());
        }
    }

    fn record_error(&self, e: RotateError) {
        lock(&self.first_error).get_or_insert(e);
    }
}
