//! One stream of a job, on its way from its pipe to the file and to runlog's own stream.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::index_writer::RECORD_INTERVAL;
use super::output_file::OutputFile;
use super::pump_target::PumpTarget;
use super::splice_pipe::SplicePipe;
use super::stream::{CHUNK_BYTES, OnReaderGone, OnWarning, PIPE_BYTES, Passthrough, new_buffer};
use super::write_all::write_all;
use crate::job::process::poll::{Readiness, timespec, wait_readable};
use crate::job::process::pty;
use crate::job::process::pty::Packet;
use crate::sync::lock;

/// The number of bytes in one read from which more can be expected, so that letting the kernel
/// move them is worthwhile.
const SPLICE_THRESHOLD_BYTES: usize = 64 << 10;

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

/// The path of bytes that are passed on.
#[derive(Debug, Default)]
pub(crate) enum CopyPath {
    /// Read and write them. There have not been many so far.
    #[default]
    Read,
    /// There are many: let the kernel move them, if it can.
    Try,
    /// The kernel moves them through `relay`, as many at once as fit into runlog's own stream,
    /// whose reader reads them while the next ones are stored.
    Move { relay: SplicePipe, at_once: usize },
    /// The kernel cannot move them.
    ReadAlways,
}

/// The result of reading the pipe once. All bytes are stored.
enum ReadOutcome<'a> {
    Bytes(Cow<'a, [u8]>),
    /// The kernel moved the bytes. Those to pass on are in the relay.
    Moved(usize),
    Nothing,
    End,
}

impl ReadOutcome<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Moved(n) => *n,
            Self::Nothing | Self::End => 0,
        }
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
                wait(self.poll_end.as_fd(), self.stop.as_fd(), limit);
            }
            next = self.step(&mut buf);
        }
    }

    /// Stores and passes on the content of the pipe.
    pub(crate) fn step(&mut self, buf: &mut [MaybeUninit<u8>]) -> PumpState {
        let stream = Arc::clone(&self.stream);
        let received = self.recv(buf);
        let n = received.len();
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
            // The job's end is closed too, and the job ends as without runlog.
            lock(&stream.pipe).fd = None;
            if let Some(terminal) = &stream.terminal {
                terminal.close();
            }
            (self.on_reader_gone)(stream.id);
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
                let name = self.stream.id.as_str();
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

impl CopyPath {
    /// Stores the content of the pipe.
    fn store<'a>(
        &mut self,
        stream: &PumpTarget,
        sink: &mut OutputFile,
        pipe: &OwnedFd,
        buf: &'a mut [MaybeUninit<u8>],
    ) -> ReadOutcome<'a> {
        if stream.pass_on == Passthrough::No {
            match sink.splice(stream.id, pipe) {
                Some(0) => return ReadOutcome::End,
                Some(n) => return ReadOutcome::Moved(n),
                None if sink.can_move() => return ReadOutcome::Nothing,
                None => {}
            }
        } else if matches!(self, Self::Try | Self::Move { .. })
            && stream.is_passed_on()
            && sink.can_move()
        {
            match self.relay(stream, sink, pipe) {
                Ok(received) => return received,
                // Read bytes that the kernel cannot move.
                Err(_) => *self = Self::ReadAlways,
            }
        }
        stream.record_in_hand(buf.len() + stream.held_bytes());
        match rustix::io::read(pipe, buf) {
            Ok(([], _)) => ReadOutcome::End,
            Ok((got, _)) => {
                sink.store(stream.id, got);
                ReadOutcome::Bytes(Cow::Borrowed(got))
            }
            Err(Errno::AGAIN | Errno::INTR) => ReadOutcome::Nothing,
            Err(_) => ReadOutcome::End,
        }
    }

    /// Moves the content of the pipe into the relay, and stores it.
    fn relay(
        &mut self,
        stream: &PumpTarget,
        sink: &mut OutputFile,
        pipe: &OwnedFd,
    ) -> Result<ReadOutcome<'static>, Errno> {
        if let Self::Try = self {
            let at_once = enlarge_pipe(stream.target()?)?.min(CHUNK_BYTES);
            let relay = SplicePipe::new()?;
            *self = Self::Move { relay, at_once };
        }
        let Self::Move { relay, at_once } = self else {
            return Err(Errno::INVAL);
        };
        stream.record_in_hand(*at_once);
        let n = match relay.fill(pipe, *at_once) {
            Ok(0) => return Ok(ReadOutcome::End),
            Ok(n) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(ReadOutcome::Nothing),
            Err(e) => return Err(e),
        };
        let stored = sink.store_copy(stream.id, relay, n);
        if stored == n {
            return Ok(ReadOutcome::Moved(n));
        }
        let bytes = relay.read_out(n);
        sink.store(stream.id, bytes.get(stored..).unwrap_or_default());
        *self = Self::ReadAlways;
        Ok(ReadOutcome::Bytes(Cow::Owned(bytes)))
    }
}

/// Enlarges a pipe to the size of the job's, so that its reader and this process rarely wait for
/// each other, and returns its size in bytes. Above the user's limit, it keeps its size.
///
/// # Errors
/// It is not a pipe.
fn enlarge_pipe(pipe: BorrowedFd<'_>) -> Result<usize, Errno> {
    let size = fcntl_getpipe_size(pipe)?;
    if size >= PIPE_BYTES {
        return Ok(size);
    }
    Ok(fcntl_setpipe_size(pipe, PIPE_BYTES).unwrap_or(size))
}

/// Stores output from a pseudo-terminal, up to a change of its state.
fn read_terminal(
    stream: &PumpTarget,
    sink: &mut OutputFile,
    master: &OwnedFd,
    status: &mut u8,
) -> ReadOutcome<'static> {
    stream.record_in_hand(SPLICE_THRESHOLD_BYTES + pty::PACKET_BYTES + stream.held_bytes());
    let mut printed = Vec::new();
    let mut last = Packet::Data;
    while last == Packet::Data && printed.len() < SPLICE_THRESHOLD_BYTES {
        last = pty::read_packet(master, &mut printed);
    }
    if let Packet::Status(new) = last {
        *status = new;
    }
    if printed.is_empty() {
        return match last {
            Packet::Closed => ReadOutcome::End,
            _ => ReadOutcome::Nothing,
        };
    }
    sink.store(stream.id, &printed);
    ReadOutcome::Bytes(Cow::Owned(printed))
}

/// Waits until there is something to read, or nothing more to wait for.
fn wait(pipe: BorrowedFd<'_>, stop: BorrowedFd<'_>, limit: Option<Duration>) {
    let mut fds = [
        PollFd::new(&pipe, PollFlags::IN),
        PollFd::new(&stop, PollFlags::IN),
    ];
    // A failure (a signal) only causes an unnecessary read.
    poll(&mut fds, limit.map(timespec).as_ref()).ok();
}
