//! One stream of a job: its pipe or pseudo-terminal, and the target of its bytes.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::job_terminal::JobTerminal;
use super::output_file::OutputFile;
use super::plan_streams::passthrough_target;
use super::stream::{PIPE_BYTES, Passthrough, new_buffer};
use crate::job::process::inherited;
use crate::job::process::poll::is_hung_up;
use crate::job::process::pty;
use crate::job::process::pty::Packet;
use crate::job::process::supervision_page::SupervisionPage;
use crate::job::redact::stream_masker::StreamMasker;
use crate::log::StreamId;
use crate::sync::lock;

/// A number of bytes that exceeds the capacity of a pseudo-terminal.
const MAX_TERMINAL_BYTES: usize = 256 << 10;

/// A stream: its pipe, and the target of its bytes.
#[derive(Debug)]
pub(crate) struct PumpTarget {
    pub id: StreamId,
    pub(super) pass_on: Passthrough,
    /// Runlog's stream, if a reader that closes its end ends the stream.
    pub(super) watched: Option<BorrowedFd<'static>>,
    /// The masking of passed-on output.
    pub(super) masker: Option<Mutex<StreamMasker>>,
    pub(super) page: &'static SupervisionPage,
    /// How many bytes the main thread is processing.
    pub(super) draining: AtomicU64,
    /// Runlog's end of the pipe, until it is closed.
    pub(super) pipe: Mutex<Pipe>,
    /// The pseudo-terminal, if the job prints to one.
    pub terminal: Option<Arc<JobTerminal>>,
}

/// The state of a pipe after the end of the job.
#[derive(Debug)]
pub(crate) enum Drained {
    /// No process can write to it any longer.
    Closed,
    /// A process that the job left behind can still write to it.
    HeldOpen(Arc<OwnedFd>),
}

/// Runlog's end of a pipe or pseudo-terminal.
#[derive(Debug)]
pub(super) struct Pipe {
    pub fd: Option<Arc<OwnedFd>>,
    /// Bytes that the main thread stored and that have to be passed on.
    pub left_over: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(fd: Arc<OwnedFd>) -> Self {
        Self {
            fd: Some(fd),
            left_over: Vec::new(),
        }
    }
}

impl PumpTarget {
    /// Returns a duplicate of runlog's end of the pipe, unless that was closed.
    pub(crate) fn duplicate(&self) -> Option<io::Result<OwnedFd>> {
        lock(&self.pipe).fd.as_ref().map(|fd| fd.try_clone())
    }

    /// Closes runlog's end of the pipe, if it is still open, and then calls `closed`. Only after
    /// that can the pipe be drained, and replaced by the pipe of the next step.
    pub(super) fn close(&self, closed: impl FnOnce()) {
        let mut pipe = lock(&self.pipe);
        if pipe.fd.take().is_some() {
            if let Some(terminal) = &self.terminal {
                terminal.close();
            }
            closed();
        }
    }

    /// Returns whether a process can still write to the pipe.
    pub(crate) fn is_held_open(&self) -> bool {
        let fd = &lock(&self.pipe).fd;
        fd.as_ref().is_some_and(|fd| !is_hung_up(fd.as_fd()))
    }

    /// Returns whether the job's output is passed on to a stream of runlog.
    pub(super) fn is_passed_on(&self) -> bool {
        let silent = self.page.output.silent.load(Ordering::Relaxed);
        self.pass_on != Passthrough::No && silent & (1 << self.id.index()) == 0
    }

    /// Returns runlog's stream if the stream ends when the reader closes its end.
    pub(super) fn watched_target(&self) -> Option<BorrowedFd<'static>> {
        self.watched.filter(|_| self.is_passed_on())
    }

    /// Stops passing on this stream. Counts the bytes that would have been passed on.
    pub(super) fn stop_passing_on(&self) {
        let bit = 1 << self.id.index();
        self.page.output.silent.fetch_or(bit, Ordering::Relaxed);
    }

    pub(super) fn count_undelivered(&self, bytes: usize) {
        let undelivered = &self.page.output.undelivered;
        undelivered.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn handle_status(&self, status: u8) {
        if let Some(terminal) = self.terminal.as_ref().filter(|_| status != 0) {
            terminal.wait_until_settable(status);
            terminal.handle_status(status);
        }
    }

    /// Records how many bytes would be lost or duplicated if the process died now.
    pub(super) fn record_in_hand(&self, bytes: usize) {
        let in_hand = self.page.output.in_hand(self.id);
        in_hand.moving.store(bytes as u64, Ordering::Relaxed);
    }

    /// Records how many bytes the main thread is processing in addition, besides those of the
    /// attempts before that are still to be passed on.
    pub(super) fn record_draining(&self, bytes: usize) {
        let bytes = bytes as u64;
        let before = self.draining.swap(bytes, Ordering::Relaxed);
        let change = bytes.wrapping_sub(before);
        let in_hand = self.page.output.in_hand(self.id);
        in_hand.draining.fetch_add(change, Ordering::Relaxed);
    }

    /// Returns how many bytes the masker of passed-on output holds back.
    pub(super) fn held_bytes(&self) -> usize {
        let masker = self.masker.as_ref();
        masker.map_or(0, |masker| lock(masker).held_bytes())
    }

    /// Stores the rest of the pipe, up to its capacity, and closes it.
    pub(crate) fn drain(&self, sink: &mut OutputFile) -> Drained {
        if let Some(terminal) = &self.terminal {
            return self.drain_terminal(terminal, sink);
        }
        let mut pipe = lock(&self.pipe);
        let mut left = pipe.fd.as_ref().map_or(0, |fd| {
            rustix::pipe::fcntl_getpipe_size(fd).unwrap_or(PIPE_BYTES)
        });
        let mut buf = new_buffer();
        let longest = buf.len();
        while let Some(fd) = pipe.fd.as_ref().filter(|_| left > 0) {
            if self.pass_on == Passthrough::No && sink.can_move() {
                match sink.splice(self.id, fd) {
                    Some(0) => break,
                    Some(n) => {
                        left = left.saturating_sub(n);
                        continue;
                    }
                    None if sink.can_move() => break,
                    // The kernel cannot move the bytes, so read them.
                    None => {}
                }
            }
            self.record_draining(pipe.left_over.len() + longest);
            let part = buf.get_mut(..left.min(longest)).unwrap_or_default();
            let got = match rustix::io::read(fd, part) {
                Ok((got @ [_, ..], _)) => got,
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => break,
            };
            left -= got.len();
            sink.store(self.id, got);
            if self.pass_on != Passthrough::No {
                pipe.left_over.extend_from_slice(got);
            }
        }
        let fd = self.end_drain(&mut pipe, sink);
        let held_open = fd.filter(|fd| !is_hung_up(fd.as_fd()));
        held_open.map_or(Drained::Closed, Drained::HeldOpen)
    }

    /// Ends the stream after the rest of its pipe was stored. Returns the pipe.
    fn end_drain(&self, pipe: &mut Pipe, sink: &mut OutputFile) -> Option<Arc<OwnedFd>> {
        self.record_draining(pipe.left_over.len());
        sink.finish(self.id);
        pipe.fd.take()
    }

    /// Stores the rest of a pseudo-terminal, and closes it.
    fn drain_terminal(&self, terminal: &JobTerminal, sink: &mut OutputFile) -> Drained {
        let mut pipe = lock(&self.pipe);
        terminal.close_slave();
        let mut held_open = false;
        let mut printed = Vec::new();
        while let Some(fd) = &pipe.fd {
            self.record_draining(pipe.left_over.len() + printed.len() + pty::PACKET_BYTES);
            match pty::read_packet(fd, &mut printed) {
                Packet::Data | Packet::Status(_) if printed.len() < MAX_TERMINAL_BYTES => {}
                Packet::Data | Packet::Status(_) | Packet::Empty => {
                    held_open = true;
                    break;
                }
                Packet::Closed => break,
            }
        }
        sink.store(self.id, &printed);
        if self.pass_on != Passthrough::No {
            pipe.left_over.append(&mut printed);
        }
        let fd = self.end_drain(&mut pipe, sink).filter(|_| held_open);
        // Its descriptors may outlive this attempt, because a slow reader delays its thread.
        terminal.close();
        fd.map_or(Drained::Closed, Drained::HeldOpen)
    }

    /// Returns whether bytes remain to be passed on: those that the main thread has stored, or
    /// that the masker may hold back.
    pub(crate) fn has_left_over(&self) -> bool {
        self.masker.is_some() || !lock(&self.pipe).left_over.is_empty()
    }

    /// Returns runlog's stream that this one is passed on to.
    ///
    /// # Errors
    /// The stream was closed when runlog was started. A file that is open there now is not the
    /// caller's.
    pub(super) fn target(&self) -> Result<BorrowedFd<'static>, Errno> {
        let (fd, target) = passthrough_target(self.id, self.pass_on);
        if inherited::was_closed(fd) {
            return Err(Errno::BADF);
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::super::output_file::OutputTarget;
    use super::*;
    use crate::log::Lease;
    use crate::volume::{Dir, JobId};

    /// Drains a pipe that is full of bytes. Returns the target and the end of its stream.
    fn drained(is_moved: bool) -> (PumpTarget, Drained) {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        let job: JobId = "x".parse().unwrap();
        let page = SupervisionPage::map().unwrap();
        let target = OutputTarget {
            lease: Lease::hold(&dir, &job).unwrap().unwrap(),
            index: Some(dir.append("x.out.idx").unwrap()),
            indexed: 0,
            limit: (!is_moved).then_some(u64::MAX),
            on_unstored: None,
            relay: None,
        };
        let mut file = OutputFile::new(target, None, page);
        let (read, write) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&read, true).unwrap();
        let capacity = rustix::pipe::fcntl_getpipe_size(&read).unwrap();
        rustix::io::write(&write, &vec![b'x'; capacity]).unwrap();
        drop(write);
        let target = PumpTarget {
            id: StreamId::Stdout,
            pass_on: Passthrough::No,
            watched: None,
            masker: None,
            page,
            draining: AtomicU64::new(0),
            pipe: Mutex::new(Pipe::new(Arc::new(read))),
            terminal: None,
        };
        let end = target.drain(&mut file);
        assert_eq!(file.output().captured_bytes, capacity as u64);
        (target, end)
    }

    #[test]
    fn full_pipe_without_writer_is_not_held_open() {
        for is_moved in [false, true] {
            let (_, end) = drained(is_moved);
            assert!(matches!(end, Drained::Closed), "moved: {is_moved}");
        }
    }

    #[test]
    fn reader_of_drained_stream_is_not_missed() {
        let (target, _) = drained(false);
        target.close(|| panic!("the front would close the pipe of the next step"));
    }
}
