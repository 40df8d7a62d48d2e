//! Blocks preallocated past the end of the active segment, so that a run can end
//! truthfully on a full disk: ordinary events stop while there is still room for
//! the last ones.

use std::fs::File;
use std::io;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// What stays free behind an ordinary event, in bytes.
const RESERVED_BYTES: u64 = 64 << 10;
/// Reserved in steps of this, in bytes, so that few events ask the file system.
const PREALLOC_STEP: u64 = 128 << 10;

/// How far a segment is known to have its blocks.
#[derive(Debug, Default)]
pub(crate) struct Preallocation {
    until: u64,
    unsupported: bool,
}

impl Preallocation {
    /// Makes sure that there is room up to `end` and [`KEPT_FREE`] more.
    ///
    /// # Errors
    /// There is none: the disk or the quota is full, or the limit of a file's size is near.
    pub(crate) fn ensure(&mut self, file: &File, len: u64, end: u64) -> io::Result<()> {
        let needed = end + RESERVED_BYTES;
        if self.unsupported || needed <= self.until {
            return Ok(());
        }
        // The file system does not look at the limit that a write will meet.
        let limit = file_size_limit().unwrap_or(u64::MAX);
        if needed > limit {
            return Err(Errno::FBIG.into());
        }
        // Near the end of the disk the exact need may fit where a whole step does not.
        for until in [needed.next_multiple_of(PREALLOC_STEP), needed] {
            match allocate(file, len, until - len) {
                Ok(()) => {
                    self.until = until;
                    return Ok(());
                }
                Err(Errno::NOSPC | Errno::DQUOT) => {}
                // No preallocation here (network and copy-on-write file systems), or
                // other trouble that the write itself will tell better.
                Err(_) => {
                    self.unsupported = true;
                    return Ok(());
                }
            }
        }
        Err(Errno::NOSPC.into())
    }

    /// Forgets what was reserved: the file is another one, or became shorter.
    pub(crate) fn invalidate(&mut self) {
        self.until = 0;
    }

    /// Gives back what is reserved past `len`, the end of a finished segment.
    pub(crate) fn release(&mut self, file: &File, len: u64) {
        self.invalidate();
        // Blocks past the end do no harm where this fails.
        drop(file.set_len(len));
    }
}

/// The limit of a file's size, `getrlimit(2)`; `None` where there is none.
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
