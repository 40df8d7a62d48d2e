//! The destination of lines, and how much of it was read there.
//!
//! If the reader of a pipe dies, what it had not read is lost, so a cursor is kept only for
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
use crate::job::unread_of_socket;

/// Stdout, and how much was written to it.
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
    /// What is written there counts as read: a file, a terminal, …
    Sink,
}

impl StdoutSink {
    /// Returns stdout, where all that is written counts as read.
    pub(crate) fn unacknowledged() -> Self {
        Self {
            kind: SinkKind::Sink,
            written: 0,
            pager: None,
        }
    }

    /// Returns stdout, where a pipe or socket says how much was read.
    pub(crate) fn acknowledged() -> Self {
        let is = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let mut outlet = Self {
            kind: match is {
                Ok(FileType::Fifo) => SinkKind::Pipe,
                Ok(FileType::Socket) => SinkKind::Socket,
                _ => SinkKind::Sink,
            },
            written: 0,
            pager: None,
        };
        if outlet.waiting().is_err() {
            // Nothing is known about this kind.
            outlet.kind = SinkKind::Sink;
        }
        outlet
    }

    /// Shows lines by a pager if there are more than fit on the terminal.
    pub(crate) fn with_pager(mut self, paging: Paging) -> Self {
        self.pager = (paging != Paging::Off).then(|| PagedOutput::new(paging));
        self
    }

    /// Waits until the user leaves the pager, if there is one.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.pager.as_mut().map_or(Ok(()), PagedOutput::finish)
    }

    /// Returns whether lines are read later, and whether that is known.
    pub(crate) fn is_read_later(&self) -> bool {
        self.kind != SinkKind::Sink
    }

    /// How many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// How many of them were read at least.
    pub(crate) fn read(&self) -> u64 {
        let Ok(waiting) = self.waiting() else {
            return 0;
        };
        // Looked at last: what waits in a socket goes when its reader does.
        if self.kind == SinkKind::Socket && StopConditions::is_closed() {
            return 0;
        }
        // Others may write to the same pipe.
        self.written.saturating_sub(waiting)
    }

    /// How many bytes, at most, of what was written wait to be read.
    fn waiting(&self) -> io::Result<u64> {
        match self.kind {
            SinkKind::Pipe => Ok(ioctl_fionread(io::stdout())?),
            SinkKind::Socket => unread_of_socket(io::stdout().as_fd()),
            SinkKind::Sink => Ok(0),
        }
    }

    /// Writes these bytes; says how many: all of them, unless nobody reads until then.
    ///
    /// # Errors
    /// They cannot be written; [`Stopped`] where it is time to end and nobody reads.
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
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let part = match self.kind {
                SinkKind::Sink => rest,
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
                // Another process made it non-blocking, and another one took the room.
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
