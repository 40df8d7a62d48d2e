//! One stream of a job on its way from its pipe into the file and to our own stream.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::output_file::OutputFile;
use super::splice_pipe::SplicePipe;
use super::stream::{OnWarning, PIPE_BYTES, Passthrough, StreamId, lock, new_buffer};

/// So many bytes at once mean that more is to be expected, and that it is worth while to
/// let the kernel move them.
const SPLICE_THRESHOLD_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct PumpTarget {
    pub id: StreamId,
    pass_on: Passthrough,
    /// Our end of the pipe, until it is closed. Taken only with the sink locked.
    pipe: Mutex<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    fd: Option<OwnedFd>,
    /// Stored by the main thread, and still to be passed on.
    left_over: Vec<u8>,
}

impl PumpTarget {
    pub(crate) fn new(id: StreamId, pass_on: Passthrough, pipe: OwnedFd) -> Self {
        let pipe = Mutex::new(Pipe {
            fd: Some(pipe),
            left_over: Vec::new(),
        });
        Self { id, pass_on, pipe }
    }

    /// Stores what is left in the pipe, at most its capacity, and closes it.
    pub(crate) fn drain(&self, sink: &mut OutputFile) {
        let mut pipe = lock(&self.pipe);
        let mut left = pipe.fd.as_ref().map_or(0, |fd| {
            rustix::pipe::fcntl_getpipe_size(fd).unwrap_or(PIPE_BYTES)
        });
        let mut buf = new_buffer();
        let longest = buf.len();
        while let Some(fd) = pipe.fd.as_ref().filter(|_| left > 0) {
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
        pipe.fd = None;
        sink.finish(self.id);
    }

    /// Whether the main thread has stored what is still to be passed on.
    pub(crate) fn has_left_over(&self) -> bool {
        !lock(&self.pipe).left_over.is_empty()
    }

    /// Our own stream that it is passed on to.
    fn target(&self) -> BorrowedFd<'static> {
        match (self.id, self.pass_on) {
            (StreamId::Stdout, Passthrough::Apart) => rustix::stdio::stdout(),
            _ => rustix::stdio::stderr(),
        }
    }
}

/// Empties the pipe of one stream.
pub(crate) struct Pump {
    pub stream: Arc<PumpTarget>,
    pub sink: Arc<Mutex<OutputFile>>,
    /// A second handle of the pipe, to wait on without the lock.
    pub poll_end: OwnedFd,
    pub stop: OwnedFd,
    pub trouble: OnWarning,
    pub route: CopyPath,
    /// Its closing tells that this thread has ended.
    pub _alive: OwnedFd,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Worker").field(&self.stream.id).finish()
    }
}

/// How bytes that are passed on get there.
#[derive(Debug, Default)]
pub(crate) enum CopyPath {
    /// They are read and written. There was not much so far.
    #[default]
    Read,
    /// There is much: the kernel moves them, if it can.
    Try,
    /// The kernel moves them through this, as many at once as fit into our own stream: its
    /// reader takes them while the next ones are stored.
    Move { relay: SplicePipe, at_once: usize },
    /// The kernel cannot.
    ReadAlways,
}

/// What one look at the pipe gave. All of it is stored.
enum ReadOutcome<'a> {
    Bytes(Cow<'a, [u8]>),
    /// Moved by the kernel; what is to be passed on is in the relay.
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

/// What comes next for a stream.
#[derive(PartialEq, Eq)]
pub(crate) enum PumpState {
    Look,
    Wait,
    End,
}

impl Pump {
    pub(crate) fn run(mut self) {
        let mut buf = new_buffer();
        let mut next = PumpState::Wait;
        while next != PumpState::End {
            if next == PumpState::Wait {
                wait(self.poll_end.as_fd(), self.stop.as_fd());
            }
            next = self.step(&mut buf);
        }
    }

    /// Stores and passes on what is in the pipe.
    pub(crate) fn step(&mut self, buf: &mut [MaybeUninit<u8>]) -> PumpState {
        let stream = Arc::clone(&self.stream);
        let silent = stream.pass_on == Passthrough::No;
        let looked = self.recv(buf);
        let n = looked.len();
        let passed = match looked {
            ReadOutcome::Bytes(bytes) => silent || self.write_through(&bytes),
            ReadOutcome::Moved(n) => silent || self.splice_through(n),
            ReadOutcome::Nothing => return PumpState::Wait,
            ReadOutcome::End => {
                let left_over = std::mem::take(&mut lock(&stream.pipe).left_over);
                self.write_through(&left_over);
                return PumpState::End;
            }
        };
        if !passed {
            // Our own reader is gone: so is the job's, which then ends as without runlog.
            lock(&stream.pipe).fd = None;
            return PumpState::End;
        }
        if n < SPLICE_THRESHOLD_BYTES {
            return PumpState::Wait;
        }
        if matches!(self.route, CopyPath::Read) {
            self.route = CopyPath::Try;
        }
        PumpState::Look
    }

    /// Stores what is in the pipe.
    fn recv<'a>(&mut self, buf: &'a mut [MaybeUninit<u8>]) -> ReadOutcome<'a> {
        let mut sink = lock(&self.sink);
        let pipe = lock(&self.stream.pipe);
        let Some(fd) = &pipe.fd else {
            return ReadOutcome::End;
        };
        let look = self.route.take(&self.stream, &mut sink, fd, buf);
        // Who passes on may be held up by his reader: the index is not to wait for that.
        if look.len() < SPLICE_THRESHOLD_BYTES || self.stream.pass_on != Passthrough::No {
            sink.index();
        }
        look
    }

    /// Whether all was written to our own stream.
    fn write_through(&self, bytes: &[u8]) -> bool {
        let target = self.stream.target();
        self.passed(write_all(bytes.len(), target, |done| {
            rustix::io::write(target, bytes.get(done..).unwrap_or_default())
        }))
    }

    /// The same for the `n` bytes that are in the relay.
    fn splice_through(&mut self, n: usize) -> bool {
        let CopyPath::Move { relay, .. } = &self.route else {
            return true;
        };
        let target = self.stream.target();
        let mut left = n;
        let moved = write_all(n, target, |done| {
            left = n - done;
            relay.move_to(target, None, left)
        });
        match moved {
            Ok(()) | Err(Errno::PIPE) => self.passed(moved),
            Err(_) => {
                let rest = relay.read_out(left);
                self.route = CopyPath::ReadAlways;
                self.write_through(&rest)
            }
        }
    }

    fn passed(&self, result: Result<(), Errno>) -> bool {
        if let Err(e) = result
            && e != Errno::PIPE
        {
            let name = self.stream.id.as_str();
            (self.trouble)(&format!("cannot pass on the job's {name}: {e}"));
        }
        result.is_ok()
    }
}

impl CopyPath {
    /// Stores what is in the pipe.
    fn take<'a>(
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
                None => {}
            }
        } else if matches!(self, Self::Try | Self::Move { .. }) && sink.can_move() {
            match self.relay(stream, sink, pipe) {
                Ok(look) => return look,
                // What the kernel cannot move is read.
                Err(_) => *self = Self::ReadAlways,
            }
        }
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

    /// Moves what is in the pipe into the relay, and stores it.
    fn relay(
        &mut self,
        stream: &PumpTarget,
        sink: &mut OutputFile,
        pipe: &OwnedFd,
    ) -> Result<ReadOutcome<'static>, Errno> {
        if let Self::Try = self {
            // Fails for what is no pipe.
            let at_once = rustix::pipe::fcntl_getpipe_size(stream.target())?;
            let relay = SplicePipe::new()?;
            *self = Self::Move { relay, at_once };
        }
        let Self::Move { relay, at_once } = self else {
            return Err(Errno::INVAL);
        };
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

/// Waits until there is something to read, or nothing more to wait for.
fn wait(pipe: BorrowedFd<'_>, stop: BorrowedFd<'_>) {
    let mut fds = [
        PollFd::new(&pipe, PollFlags::IN),
        PollFd::new(&stop, PollFlags::IN),
    ];
    // A failure (a signal) only means one look too many.
    poll(&mut fds, None).ok();
}

/// Lets `write` write until all `len` bytes are; it is told how many are done.
fn write_all(
    len: usize,
    target: BorrowedFd<'_>,
    mut write: impl FnMut(usize) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let mut done = 0;
    while done < len {
        match write(done) {
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            // Somebody made the stream that we share with him non-blocking.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(&target, PollFlags::OUT)];
                poll(&mut fds, None).ok();
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
