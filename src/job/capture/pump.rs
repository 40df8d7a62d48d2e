//! One stream of a job, on its way from its pipe to the file and to runlog's own stream.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::copy_path::{CopyPath, ReadOutcome, SPLICE_THRESHOLD_BYTES, read_terminal};
use super::index_writer::RECORD_INTERVAL;
use super::output_file::OutputFile;
use super::pump_target::PumpTarget;
use super::stream::{
    FULL_PIPE_BYTES, OnReaderGone, OnWarning, Passthrough, enlarge_pipe, new_buffer,
};
use super::write_all::write_all;
use crate::job::process::poll::{Readiness, is_hung_up, timespec, wait_readable};
use crate::log::StreamId;
use crate::sync::lock;

/// A pump that empties the pipe of one stream.
pub(crate) struct Pump {
    pub stream: Arc<PumpTarget>,
    pub sink: Arc<Mutex<OutputFile>>,
    /// The pipe, for waiting without the lock.
    pub poll_end: Arc<OwnedFd>,
    pub stop: Arc<OwnedFd>,
    /// Hangs up when the output of the attempt before is passed on.
    pub predecessor: Option<Arc<OwnedFd>>,
    pub on_warning: OnWarning,
    pub on_reader_gone: OnReaderGone,
    pub route: CopyPath,
    /// Whether the pipe was enlarged, if that was possible.
    pub is_enlarged: bool,
    /// The status that a pseudo-terminal reported besides its output.
    pub status: u8,
    /// Whether the index covers everything that was stored, or need not for now.
    pub is_indexed: bool,
    /// Closed when all threads have ended.
    pub _alive: Arc<OwnedFd>,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pump").field(&self.stream.id).finish()
    }
}

/// The next step for a stream.
#[derive(PartialEq, Eq)]
pub(crate) enum PumpState {
    Continue,
    Wait,
    End,
}

impl Pump {
    pub(crate) fn run(mut self) {
        if let Some(predecessor) = self.predecessor.take() {
            while wait_readable(&[predecessor.as_fd()], None) == [Readiness::Idle] {}
        }
        let mut buf = new_buffer();
        let mut next = PumpState::Wait;
        while next != PumpState::End {
            if next == PumpState::Wait {
                let limit = (!self.is_indexed).then_some(RECORD_INTERVAL);
                if self.wait(limit) == Delivery::ReaderGone {
                    return self.close_stream();
                }
            }
            next = self.step(&mut buf);
        }
    }

    /// Stores and passes on the content of the pipe.
    pub(crate) fn step(&mut self, buf: &mut [MaybeUninit<u8>]) -> PumpState {
        let stream = Arc::clone(&self.stream);
        let received = self.recv(buf);
        let n = received.len();
        if n >= FULL_PIPE_BYTES && !self.is_enlarged {
            // Its reader may delay what follows.
            self.is_enlarged = true;
            self.enlarge();
        }
        let status = std::mem::take(&mut self.status);
        let next = match received {
            ReadOutcome::Bytes(bytes) => self.write_through(&bytes),
            ReadOutcome::Moved(n) => self.splice_through(n),
            ReadOutcome::Nothing => {
                stream.handle_status(status);
                stream.record_in_hand(stream.held_bytes());
                return PumpState::Wait;
            }
            ReadOutcome::End => {
                let left_over = std::mem::take(&mut lock(&stream.pipe).left_over);
                self.write_through(&left_over);
                self.write_held();
                stream.record_in_hand(0);
                stream.record_draining(0);
                return PumpState::End;
            }
        };
        stream.handle_status(status);
        stream.record_in_hand(stream.held_bytes());
        if next == Delivery::ReaderGone {
            self.close_stream();
            return PumpState::End;
        }
        if n < SPLICE_THRESHOLD_BYTES {
            return PumpState::Wait;
        }
        if matches!(self.route, CopyPath::Read) {
            self.route = CopyPath::Try;
        }
        PumpState::Continue
    }

    /// Enlarges the pipe, so that the job rarely waits.
    fn enlarge(&self) {
        // A pseudo-terminal keeps its size.
        if enlarge_pipe(self.poll_end.as_fd()).is_ok() {
            lock(&self.sink).enlarge_relay();
        }
    }

    /// Closes runlog's end of the pipe, so that the job ends as without runlog.
    pub(crate) fn close_stream(&self) {
        self.stream.close(|| (self.on_reader_gone)(self.stream.id));
    }

    /// Returns whether the reader has closed its end.
    pub(crate) fn is_reader_gone(&self) -> bool {
        self.stream.watched_target().is_some_and(is_hung_up)
    }

    /// Waits until there is something to read, or nothing more to wait for.
    fn wait(&self, limit: Option<Duration>) -> Delivery {
        let target = self.stream.watched_target();
        let own = [&self.poll_end, &self.stop].map(|fd| PollFd::new(fd, PollFlags::IN));
        // poll(2) always reports a closed reader.
        let target = target.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
        let mut fds: Vec<_> = own.into_iter().chain(target).collect();
        // A failure (a signal) only causes an unnecessary read.
        poll(&mut fds, limit.map(timespec).as_ref()).ok();
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        match fds.as_slice() {
            // What the job has printed is stored first.
            [pipe, stop, target] if is_ready(target) && !is_ready(pipe) && !is_ready(stop) => {
                Delivery::ReaderGone
            }
            _ => Delivery::Done,
        }
    }

    /// Stores the content of the pipe.
    fn recv<'a>(&mut self, buf: &'a mut [MaybeUninit<u8>]) -> ReadOutcome<'a> {
        let mut sink = lock(&self.sink);
        let pipe = lock(&self.stream.pipe);
        let Some(fd) = &pipe.fd else {
            return ReadOutcome::End;
        };
        let received = match &self.stream.terminal {
            Some(_) => read_terminal(&self.stream, &mut sink, fd, &mut self.status),
            None => self.route.store(&self.stream, &mut sink, fd, buf),
        };
        self.stream.record_in_hand(match self.stream.pass_on {
            // All bytes are stored.
            Passthrough::No => 0,
            _ => received.len() + self.stream.held_bytes(),
        });
        // A reader may delay the stream, and the index must not wait for that.
        if received.len() < SPLICE_THRESHOLD_BYTES || self.stream.pass_on != Passthrough::No {
            self.is_indexed = match received {
                // No more bytes arrive for now, or at all.
                ReadOutcome::Nothing | ReadOutcome::End => {
                    sink.index();
                    true
                }
                _ => sink.index_soon(),
            };
        }
        received
    }

    /// Writes the bytes to runlog's own stream, if they are passed on, with secrets masked if
    /// this was requested.
    fn write_through(&self, bytes: &[u8]) -> Delivery {
        match &self.stream.masker {
            None => self.write_unmasked(bytes),
            Some(masker) => {
                let mut buffer = Vec::new();
                let ready = lock(masker).mask(bytes, &mut buffer);
                self.write_unmasked(ready)
            }
        }
    }

    /// Writes the bytes that the masker held back.
    fn write_held(&self) {
        if let Some(masker) = &self.stream.masker {
            let mut rest = Vec::new();
            lock(masker).finish(&mut rest);
            self.write_unmasked(&rest);
        }
    }

    fn write_unmasked(&self, bytes: &[u8]) -> Delivery {
        if self.stream.pass_on == Passthrough::No || bytes.is_empty() {
            return Delivery::Done;
        }
        if !self.stream.is_passed_on() {
            self.stream.count_undelivered(bytes.len());
            return Delivery::Done;
        }
        if let Some(terminal) = &self.stream.terminal {
            terminal.wait_until_printable();
        }
        let mut written = 0;
        let result = self.stream.target().and_then(|target| {
            write_all(bytes.len(), target, |done| {
                written = done;
                rustix::io::write(target, bytes.get(done..).unwrap_or_default())
            })
        });
        self.deliver(result, bytes.len() - written)
    }

    /// Moves the `n` bytes in the relay to runlog's own stream.
    fn splice_through(&mut self, n: usize) -> Delivery {
        let CopyPath::Move { relay, .. } = &self.route else {
            return Delivery::Done;
        };
        let mut left = n;
        let moved = self.stream.target().and_then(|target| {
            write_all(n, target, |done| {
                left = n - done;
                relay.move_to(target, None, left)
            })
        });
        match moved {
            Ok(()) | Err(Errno::PIPE) => self.deliver(moved, left),
            Err(_) => {
                let rest = relay.read_out(left);
                self.route = CopyPath::ReadAlways;
                self.write_through(&rest)
            }
        }
    }

    /// Handles the result of a write: a closed reader ends the job as without runlog, and any
    /// other error ends only the passing on.
    fn deliver(&self, result: Result<(), Errno>, left: usize) -> Delivery {
        match result {
            Ok(()) => Delivery::Done,
            // A closed reader does not end a rollback.
            Err(Errno::PIPE) if self.stream.pass_on == Passthrough::Apart => Delivery::ReaderGone,
            Err(e) => {
                self.stream.stop_passing_on();
                self.stream.count_undelivered(left);
                let name = match self.stream.id {
                    StreamId::Both => "output",
                    id => id.as_str(),
                };
                (self.on_warning)(&format!(
                    "cannot pass on the job's {name}, which is only stored from now on: {e}"
                ));
                Delivery::Done
            }
        }
    }
}

/// The outcome for bytes to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// The bytes were written, or are counted as undelivered.
    Done,
    /// The reader has closed its end.
    ReaderGone,
}
