//! A pipe through which the kernel moves bytes without copying them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice, tee};

use super::stream::enlarge_pipe;

/// A pipe that is empty except while bytes are on their way through it.
#[derive(Debug)]
pub(crate) struct SplicePipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl SplicePipe {
    /// Creates the pipe.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn new() -> Result<Self, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self { read, write })
    }

    /// Enlarges the pipe, so that more bytes are moved at a time.
    pub(crate) fn enlarge(&self) {
        // It is a pipe.
        enlarge_pipe(self.read.as_fd()).ok();
    }

    /// Returns how many bytes are in the pipe.
    pub(crate) fn len(&self) -> usize {
        rustix::io::ioctl_fionread(&self.read).map_or(0, |n| n as usize)
    }

    /// Moves at most `n` bytes from `pipe` into this one, without waiting. Returns 0 at its end.
    ///
    /// # Errors
    /// The pipe is empty (`AGAIN`), or the kernel cannot move the bytes.
    pub(crate) fn fill(&self, pipe: &OwnedFd, n: usize) -> Result<usize, Errno> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        splice(pipe, None, &self.write, None, n, flags)
    }

    /// Copies the first `n` bytes in `other` into this pipe. Returns how many it copied.
    ///
    /// # Errors
    /// The kernel cannot copy the bytes.
    pub(crate) fn copy(&self, other: &Self, n: usize) -> Result<usize, Errno> {
        tee(&other.read, &self.write, n, SpliceFlags::NONBLOCK)
    }

    /// Moves up to `n` bytes to `target`, in a file to the offset `at`, and waits for it.
    ///
    /// # Errors
    /// The write fails, or the kernel cannot move the bytes.
    pub(crate) fn move_to(
        &self,
        target: impl AsFd,
        at: Option<&mut u64>,
        n: usize,
    ) -> Result<usize, Errno> {
        splice(&self.read, None, target, at, n, SpliceFlags::MOVE)
    }

    /// Reads the `n` bytes that are in the pipe.
    pub(crate) fn read_out(&self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        let mut got = 0;
        while let Some(room) = bytes.get_mut(got..).filter(|room| !room.is_empty()) {
            match rustix::io::read(&self.read, room) {
                Ok(n @ 1..) => got += n,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        bytes.truncate(got);
        bytes
    }
}
