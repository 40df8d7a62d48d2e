//! One stream of a job on its way from its pipe into the file and to our own stream.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::output_capture::{PIPE_BYTES, PassOn, StreamId, Trouble, lock, new_buffer};
use super::output_file::Sink;
use super::splice_pipe::Relay;

/// So many bytes at once mean that more is to be expected, and that it is worth while to
/// let the kernel move them.
const MUCH: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Stream {
    pub id: StreamId,
    pass_on: PassOn,
    /// Our end of the pipe, until it is closed. Taken only with the sink locked.
    pipe: Mutex<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    fd: Option<OwnedFd>,
    /// Stored by the main thread, and still to be passed on.
    left_over: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(id: StreamId, pass_on: PassOn, pipe: OwnedFd) -> Self {
        let pipe = Mutex::new(Pipe {
            fd: Some(pipe),
            left_over: Vec::new(),
        });
        Self { id, pass_on, pipe }
    }

    /// Stores what is left in the pipe, at most its capacity, and closes it.
    pub(crate) fn drain(&self, sink: &mut Sink) {
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
            if self.pass_on != PassOn::No {
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
            (StreamId::Stdout, PassOn::Apart) => rustix::stdio::stdout(),
            _ => rustix::stdio::stderr(),
        }
    }
}

/// Empties the pipe of one stream.
pub(crate) struct Worker {
    pub stream: Arc<Stream>,
    pub sink: Arc<Mutex<Sink>>,
    /// A second handle of the pipe, to wait on without the lock.
    pub poll_end: OwnedFd,
    pub stop: OwnedFd,
    pub trouble: Trouble,
    pub route: Route,
    /// Its closing tells that this thread has ended.
    pub _alive: OwnedFd,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Worker").field(&self.stream.id).finish()
    }
}

/// How bytes that are passed on get there.
#[derive(Debug, Default)]
pub(crate) enum Route {
    /// They are read and written. There was not much so far.
    #[default]
    Read,
    /// There is much: the kernel moves them, if it can.
    Try,
    /// The kernel moves them through this, as many at once as fit into our own stream: its
    /// reader takes them while the next ones are stored.
    Move { relay: Relay, at_once: usize },
    /// The kernel cannot.
    ReadAlways,
}

/// What one look at the pipe gave. All of it is stored.
enum Look<'a> {
    Bytes(Cow<'a, [u8]>),
    /// Moved by the kernel; what is to be passed on is in the relay.
    Moved(usize),
    Nothing,
    End,
}

impl Look<'_> {
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
pub(crate) enum Next {
    Look,
    Wait,
    End,
}

impl Worker {
    pub(crate) fn run(mut self) {
        let mut buf = new_buffer();
        let mut next = Next::Wait;
        while next != Next::End {
            if next == Next::Wait {
                wait(self.poll_end.as_fd(), self.stop.as_fd());
            }
            next = self.step(&mut buf);
        }
    }

    /// Stores and passes on what is in the pipe.
    pub(crate) fn step(&mut self, buf: &mut [MaybeUninit<u8>]) -> Next {
        let stream = Arc::clone(&self.stream);
        let silent = stream.pass_on == PassOn::No;
        let looked = self.take(buf);
        let n = looked.len();
        let passed = match looked {
            Look::Bytes(bytes) => silent || self.pass_on(&bytes),
            Look::Moved(n) => silent || self.pass_on_moved(n),
            Look::Nothing => return Next::Wait,
            Look::End => {
                let left_over = std::mem::take(&mut lock(&stream.pipe).left_over);
                self.pass_on(&left_over);
                return Next::End;
            }
        };
        if !passed {
            // Our own reader is gone: so is the job's, which then ends as without runlog.
            lock(&stream.pipe).fd = None;
            return Next::End;
        }
        if n < MUCH {
            return Next::Wait;
        }
        if matches!(self.route, Route::Read) {
            self.route = Route::Try;
        }
        Next::Look
    }

    /// Stores what is in the pipe.
    fn take<'a>(&mut self, buf: &'a mut [MaybeUninit<u8>]) -> Look<'a> {
        let mut sink = lock(&self.sink);
        let pipe = lock(&self.stream.pipe);
        let Some(fd) = &pipe.fd else {
            return Look::End;
        };
        let look = self.route.take(&self.stream, &mut sink, fd, buf);
        // Who passes on may be held up by his reader: the index is not to wait for that.
        if look.len() < MUCH || self.stream.pass_on != PassOn::No {
            sink.index();
        }
        look
    }

    /// Whether all was written to our own stream.
    fn pass_on(&self, bytes: &[u8]) -> bool {
        let target = self.stream.target();
        self.passed(write_all(bytes.len(), target, |done| {
            rustix::io::write(target, bytes.get(done..).unwrap_or_default())
        }))
    }

    /// The same for the `n` bytes that are in the relay.
    fn pass_on_moved(&mut self, n: usize) -> bool {
        let Route::Move { relay, .. } = &self.route else {
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
                let rest = relay.take(left);
                self.route = Route::ReadAlways;
                self.pass_on(&rest)
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

impl Route {
    /// Stores what is in the pipe.
    fn take<'a>(
        &mut self,
        stream: &Stream,
        sink: &mut Sink,
        pipe: &OwnedFd,
        buf: &'a mut [MaybeUninit<u8>],
    ) -> Look<'a> {
        if stream.pass_on == PassOn::No {
            match sink.splice(stream.id, pipe) {
                Some(0) => return Look::End,
                Some(n) => return Look::Moved(n),
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
            Ok(([], _)) => Look::End,
            Ok((got, _)) => {
                sink.store(stream.id, got);
                Look::Bytes(Cow::Borrowed(got))
            }
            Err(Errno::AGAIN | Errno::INTR) => Look::Nothing,
            Err(_) => Look::End,
        }
    }

    /// Moves what is in the pipe into the relay, and stores it.
    fn relay(
        &mut self,
        stream: &Stream,
        sink: &mut Sink,
        pipe: &OwnedFd,
    ) -> Result<Look<'static>, Errno> {
        if let Self::Try = self {
            // Fails for what is no pipe.
            let at_once = rustix::pipe::fcntl_getpipe_size(stream.target())?;
            let relay = Relay::new()?;
            *self = Self::Move { relay, at_once };
        }
        let Self::Move { relay, at_once } = self else {
            return Err(Errno::INVAL);
        };
        let n = match relay.fill(pipe, *at_once) {
            Ok(0) => return Ok(Look::End),
            Ok(n) => n,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Look::Nothing),
            Err(e) => return Err(e),
        };
        let stored = sink.store_copy(stream.id, relay, n);
        if stored == n {
            return Ok(Look::Moved(n));
        }
        let bytes = relay.take(n);
        sink.store(stream.id, bytes.get(stored..).unwrap_or_default());
        *self = Self::ReadAlways;
        Ok(Look::Bytes(Cow::Owned(bytes)))
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
