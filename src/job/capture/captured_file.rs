//! The file `jobs/<job_id>.out`, to which captured bytes are appended.

use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::io::Errno;

use super::splice_pipe::SplicePipe;
use crate::log::Lease;

/// The file of a job's output, and the number of bytes in it.
#[derive(Debug)]
pub(super) struct CapturedFile {
    /// The lease, which is on the file itself.
    lease: Lease,
    len: u64,
}

impl CapturedFile {
    /// Continues after the bytes that are in the file.
    pub(super) fn new(lease: Lease) -> Self {
        let len = lease.file().metadata().map_or(0, |meta| meta.len());
        Self { lease, len }
    }

    /// Returns the number of captured bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Releases the lease of a job that is not in the log.
    pub(super) fn release_lease(self) {
        self.lease.release();
    }

    /// Appends the bytes.
    ///
    /// # Errors
    /// The file cannot be written. The length says how many bytes were written.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.lease.file().write_at(bytes, self.len) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.len += n as u64;
                    bytes = bytes.get(n..).unwrap_or_default();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Appends up to `n` bytes from a pipe, without a copy through this process. Returns how many.
    ///
    /// # Errors
    /// The write fails, or the kernel cannot move the bytes.
    pub(super) fn append_from(&mut self, pipe: &SplicePipe, n: usize) -> Result<usize, Errno> {
        let mut end = self.len;
        let moved = pipe.move_to(self.lease.file(), Some(&mut end), n)?;
        self.len = self.len.max(end);
        Ok(moved)
    }

    /// Returns what another process did to the file, if the output cannot be continued in it:
    /// bytes written after the end of a truncated file leave a hole.
    pub(super) fn tampered(&self) -> Option<&'static str> {
        let meta = self.lease.file().metadata().ok()?;
        if meta.len() < self.len {
            Some("another process has shortened the file")
        } else if meta.nlink() == 0 {
            Some("another process has removed the file")
        } else {
            None
        }
    }
}
