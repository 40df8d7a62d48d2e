//! Preallocation of blocks past the end of the active segment.
//!
//! On a full disk, ordinary events are rejected while there is still room for the last events,
//! so that the log can record how the run ended.

use std::fs::File;
use std::io;

use rustix::fs::{FallocateFlags, FsWord, IFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::log::format::event_type::SpaceClaim;

/// The number of bytes that an ordinary event leaves free after it, for the run and its first live
/// job.
const RESERVED_BYTES: u64 = 64 << 10;
/// The space to keep for the end and the rollback of each further live job, in bytes.
const RESERVED_BYTES_PER_JOB: u64 = 12 << 10;
/// The part of [`RESERVED_BYTES`] that only last events use.
const RESERVED_BYTES_FOR_LAST: u64 = 16 << 10;
/// The step of a preallocation, in bytes. It is large, so that few events need a system call.
const PREALLOC_STEP: u64 = 128 << 10;

/// The magic number of btrfs (`statfs(2)`).
const BTRFS_SUPER_MAGIC: FsWord = 0x9123_683e;

/// The range of a segment whose blocks are known to be allocated.
#[derive(Debug, Default)]
pub(crate) struct Preallocation {
    until: u64,
    unsupported: bool,
}

impl Preallocation {
    /// Ensures that blocks are allocated up to `end`, and past it as `space` and the number of
    /// live jobs require. The file has `len` bytes.
    ///
    /// # Errors
    /// The events must be rejected: the disk or the quota is full, or the file would exceed its
    /// size limit.
    pub(crate) fn ensure(
        &mut self,
        file: &File,
        len: u64,
        end: u64,
        space: SpaceClaim,
        live_jobs: u64,
    ) -> io::Result<()> {
        let jobs = RESERVED_BYTES_PER_JOB.saturating_mul(live_jobs.saturating_sub(1));
        let wanted = end.saturating_add(RESERVED_BYTES).saturating_add(jobs);
        if self.unsupported || wanted <= self.until {
            return Ok(());
        }
        let needed = match space {
            SpaceClaim::Ordinary => wanted,
            SpaceClaim::Supporting => wanted - RESERVED_BYTES + RESERVED_BYTES_FOR_LAST,
            SpaceClaim::Last => end,
        };
        // fallocate(2) does not check this limit, but write(2) does.
        let limit = file_size_limit().unwrap_or(u64::MAX);
        let mut failed = Errno::FBIG;
        // On an almost full disk, the exact size may fit where a whole step does not.
        for until in [wanted.next_multiple_of(PREALLOC_STEP), wanted, needed] {
            if wanted.min(until) > limit {
                continue;
            }
            match allocate(file, len, until - len) {
                Ok(()) => {
                    self.until = until;
                    return Ok(());
                }
                Err(e @ (Errno::NOSPC | Errno::DQUOT)) => failed = e,
                // Network and copy-on-write file systems have no preallocation. Any other error
                // is reported better by the write itself.
                Err(_) => {
                    self.unsupported = true;
                    return Ok(());
                }
            }
        }
        match space {
            // The write itself shows whether they fit.
            SpaceClaim::Last => Ok(()),
            SpaceClaim::Ordinary | SpaceClaim::Supporting => Err(failed.into()),
        }
    }

    /// Forgets the allocated range because the file was replaced or truncated.
    pub(crate) fn invalidate(&mut self) {
        self.until = 0;
    }

    /// Frees the blocks past `len`, the end of the log of a closed run.
    pub(crate) fn release(&mut self, file: &File, len: u64) {
        self.invalidate();
        release(file, len);
    }
}

/// Frees the blocks past `len`, the end of a finished segment.
pub(crate) fn release(file: &File, len: u64) {
    // If this fails, the blocks past the end do no harm.
    drop(file.set_len(len));
}

/// Turns off copy-on-write for an empty file on btrfs, where a later write would otherwise not
/// use the preallocated blocks (`FS_NOCOW_FL`, `ioctl_iflags(2)`).
pub(crate) fn disable_copy_on_write(file: &File) {
    let is_btrfs = rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == BTRFS_SUPER_MAGIC);
    if is_btrfs && let Ok(flags) = rustix::fs::ioctl_getflags(file) {
        // If this fails, an almost full disk may reject a terminal event.
        rustix::fs::ioctl_setflags(file, flags | IFlags::NOCOW).ok();
    }
}

/// Returns the file size limit (`RLIMIT_FSIZE`, `getrlimit(2)`); `None` if unlimited.
fn file_size_limit() -> Option<u64> {
    getrlimit(Resource::Fsize).current
}

fn allocate(file: &File, from: u64, len: u64) -> Result<(), Errno> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, len) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}
