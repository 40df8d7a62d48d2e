//! Writes lines to stdout, and finds out how much was read there.
//!
//! If the reader of a pipe dies, what it has not read is lost, so a cursor is saved only for
//! what was read. Linux reports how much of a pipe is unread (`FIONREAD`, at either end, also
//! without a reader; pipe(7)), and roughly how much of a socket's queue (`SIOCOUTQ`).

use std::io;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Instant;

use anyhow::Result;
use memchr::memrchr;
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ioctl_fionread, write};
use rustix::pipe::PIPE_BUF;

use super::stop_reason::{StopConditions, StoppedBy};
use crate::cli::pager::{PagedOutput, Paging};
use crate::job::{unread_of_socket, was_closed};

/// Stdout, and the number of bytes written to it.
#[derive(Debug)]
pub(crate) struct StdoutSink {
    kind: SinkKind,
    written: u64,
    pager: Option<PagedOutput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SinkKind {
    Pipe,
    Socket,
    /// None: the caller closed it, and Rust's runtime opened `/dev/null` in its place, where every
    /// line would be lost.
    Closed,
    /// A file, a terminal, or another target where everything written counts as read.
    Other,
}

impl StdoutSink {
    /// Returns stdout; everything written counts as read.
    pub(crate) fn unacknowledged() -> Self {
        Self {
            kind: SinkKind::Other,
            written: 0,
            pager: None,
        }
    }

    /// Returns stdout; a pipe or socket reports how much was read. Nothing can be written if the
    /// caller has closed it.
    pub(crate) fn acknowledged() -> Self {
        let is = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let mut sink = Self {
            kind: match is {
                _ if was_closed(1) => SinkKind::Closed,
                Ok(FileType::Fifo) => SinkKind::Pipe,
                Ok(FileType::Socket) => SinkKind::Socket,
                _ => SinkKind::Other,
            },
            written: 0,
            pager: None,
        };
        if sink.waiting().is_err() {
            // The kernel reports nothing about this kind of file.
            sink.kind = SinkKind::Other;
        }
        sink
    }

    /// Shows lines in a pager if they do not fit on the terminal.
    pub(crate) fn with_pager(mut self, paging: Paging) -> Self {
        self.pager = (paging != Paging::Off).then(|| PagedOutput::new(paging));
        self
    }

    /// Waits until the user leaves the pager, if there is one.
    ///
    /// # Errors
    /// Returns an error if stdout cannot be written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.pager.as_mut().map_or(Ok(()), PagedOutput::finish)
    }

    /// Returns whether lines are read after they are written, and stdout reports how many.
    fn is_read_later(&self) -> bool {
        matches!(self.kind, SinkKind::Pipe | SinkKind::Socket)
    }

    /// Returns how many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Returns how many bytes were read, at least.
    pub(crate) fn read(&self) -> u64 {
        let Ok(waiting) = self.waiting() else {
            return 0;
        };
        // Check this last: a socket discards its queue when its reader exits.
        if self.kind == SinkKind::Socket && StopConditions::is_closed() {
            return 0;
        }
        // Other processes may write to the same pipe.
        self.written.saturating_sub(waiting)
    }

    /// Returns how many written bytes, at most, are still unread.
    fn waiting(&self) -> io::Result<u64> {
        match self.kind {
            SinkKind::Pipe => Ok(ioctl_fionread(io::stdout())?),
            SinkKind::Socket => unread_of_socket(io::stdout().as_fd()),
            SinkKind::Other | SinkKind::Closed => Ok(0),
        }
    }

    /// Writes bytes; returns how many. Fewer than all means that the reader did not read in
    /// time.
    ///
    /// # Errors
    /// Returns an error if stdout cannot be written, and [`StoppedBy`] if `tail` has to stop
    /// while the reader does not read.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        stops: &StopConditions,
        until: Option<Instant>,
    ) -> Result<usize> {
        if let Some(pager) = &mut self.pager {
            pager.write_all(bytes)?;
            self.written += bytes.len() as u64;
            return Ok(bytes.len());
        }
        if !bytes.is_empty() && self.kind == SinkKind::Closed {
            return Err(io::Error::from(Errno::BADF).into());
        }
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let part = match self.kind {
                SinkKind::Other | SinkKind::Closed => rest,
                SinkKind::Pipe | SinkKind::Socket
                    if stops.wait_for_room(until).map_err(StoppedBy)? =>
                {
                    atomic_prefix(rest)
                }
                SinkKind::Pipe | SinkKind::Socket => break,
            };
            match write(io::stdout(), part) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(n) => {
                    self.written += n as u64;
                    done += n;
                }
                Err(Errno::INTR) => {}
                // Another process made stdout non-blocking, and yet another one filled the pipe.
                Err(Errno::AGAIN) if self.is_read_later() => {}
                Err(e) => return Err(io::Error::from(e).into()),
            }
        }
        Ok(done)
    }
}

/// Returns as many whole lines as a pipe accepts atomically (`PIPE_BUF`, pipe(7)), or that much
/// of a longer line.
fn atomic_prefix(bytes: &[u8]) -> &[u8] {
    let most = bytes.get(..PIPE_BUF).unwrap_or(bytes);
    let lines = memrchr(b'\n', most).and_then(|at| most.get(..=at));
    lines.unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_go_at_once() {
        let line = [b"x".repeat(1500), b"\n".to_vec()].concat();
        let lines = line.repeat(5);
        assert_eq!(atomic_prefix(&lines).len(), 2 * line.len());
        assert_eq!(atomic_prefix(&line), line);
        let long = [b"x".repeat(5000), b"\n".to_vec()].concat();
        assert_eq!(atomic_prefix(&long).len(), PIPE_BUF);
        let rest = &long[PIPE_BUF..];
        assert_eq!(atomic_prefix(rest), rest);
        let two = [rest, &line, &lines].concat();
        assert_eq!(atomic_prefix(&two).len(), rest.len() + 2 * line.len());
    }
}
