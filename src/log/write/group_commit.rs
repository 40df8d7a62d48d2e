//! Syncs, shared by the writers that wait for one.
//!
//! Threads of one process share an open file, and the kernel tells a failed writeback
//! to only one of those that ask. So who wants his bytes to be durable asks here: one
//! sync serves all who wrote before it began, and a failed one fails for all of them,
//! for good. It is never repeated: the kernel may have dropped the pages, and would
//! report success.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::log::error::SyncError;

/// What was written to a file or made in a folder, counted in tickets, and what of it
/// was synced.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    written: AtomicU64,
    done: Mutex<SyncedUpTo>,
}

#[derive(Debug, Default)]
struct SyncedUpTo {
    /// The highest ticket that a sync was made for.
    upto: u64,
    /// The tickets above the first and up to the second: a sync of theirs failed.
    failed: Option<(u64, u64)>,
}

impl GroupCommit {
    /// Something was written, or a name was made. The ticket stands for it and all
    /// before it.
    pub(crate) fn record_write(&self) -> u64 {
        self.written.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The ticket for all that was written so far.
    pub(crate) fn latest(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Makes what `ticket` stands for durable by `sync`, unless another's sync did.
    ///
    /// # Errors
    /// `sync` failed, now or earlier.
    pub(crate) fn share(
        &self,
        ticket: u64,
        path: &Path,
        sync: impl FnOnce() -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn one_sync_serves_all_who_wrote_before_it() {
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
    fn a_failed_sync_fails_for_all_it_stood_for_and_is_not_repeated() {
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
