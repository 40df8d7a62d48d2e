//! Group commit: writers that wait for a sync share one.
//!
//! Threads of one process share an open file, and the kernel reports a failed writeback to only
//! one of them, so all sync requests go through here. One sync covers every write before it, and
//! if it fails, it fails permanently for all of them: the kernel may have dropped the pages, and
//! a second sync would report success (`fsync(2)`).

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::error::SyncError;
use crate::sync::lock;

/// The writes to a file, or the names created in a directory, counted in tickets, and the part
/// that is synced.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    written: AtomicU64,
    done: Mutex<SyncedUpTo>,
}

#[derive(Debug, Default)]
struct SyncedUpTo {
    /// The highest ticket that a sync covered.
    upto: u64,
    /// The tickets of a failed sync: those above the first number, up to the second.
    failed: Option<(u64, u64)>,
}

impl GroupCommit {
    /// Records a write, or the creation of a name, and returns the ticket for it and
    /// everything before.
    pub(crate) fn record_write(&self) -> u64 {
        self.written.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Returns the ticket for everything written so far.
    pub(crate) fn latest(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Makes everything up to `ticket` durable with `sync`, unless another sync covered it.
    ///
    /// # Errors
    /// The sync failed, now or earlier.
    pub(crate) fn share(
        &self,
        ticket: u64,
        path: &Path,
        sync: impl FnOnce() -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        let mut done = lock(&self.done);
        if done.failed.is_some_and(|(a, b)| a < ticket && ticket <= b) {
            return Err(SyncError {
                path: path.to_owned(),
                source: io::Error::other("an earlier sync of it failed"),
            });
        }
        if ticket <= done.upto {
            return Ok(());
        }
        let before = std::mem::replace(&mut done.upto, self.latest());
        let synced = sync();
        if synced.is_err() {
            let from = done.failed.map_or(before, |(from, _)| from);
            done.failed = Some((from, done.upto));
        }
        synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> Result<(), SyncError> {
        panic!("synced again")
    }

    fn fails() -> Result<(), SyncError> {
        let (path, source) = ("x".into(), io::Error::other("EIO"));
        Err(SyncError { path, source })
    }

    #[test]
    fn one_sync_covers_earlier_writes() {
        let (syncs, path) = (GroupCommit::default(), Path::new("x"));
        let (a, b) = (syncs.record_write(), syncs.record_write());
        syncs.share(a, path, || Ok(())).unwrap();
        syncs.share(b, path, never).unwrap();
        let mut synced = false;
        let c = syncs.record_write();
        syncs
            .share(c, path, || {
                synced = true;
                Ok(())
            })
            .unwrap();
        assert!(synced);
    }

    #[test]
    fn failed_sync_is_sticky() {
        let (syncs, path) = (GroupCommit::default(), Path::new("x"));
        let early = syncs.record_write();
        syncs.share(early, path, || Ok(())).unwrap();
        let (a, b) = (syncs.record_write(), syncs.record_write());
        syncs.share(b, path, fails).unwrap_err();
        syncs.share(a, path, never).unwrap_err();
        syncs.share(early, path, never).unwrap();
        let later = syncs.record_write();
        syncs.share(later, path, || Ok(())).unwrap();
        syncs.share(b, path, never).unwrap_err();
    }
}
