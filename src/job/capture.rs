//! What a job prints: copied from its pipes into `jobs/<job_id>.out` in the order of
//! arrival, and passed on to our own stdout and stderr.
//!
//! One thread for each stream reads, stores, and then passes on, so that a reader who
//! does not read holds up only his own stream, as without runlog. After the job's end
//! the main thread stores what is left in the pipes itself: the log never waits for a
//! reader, nor for grandchildren that keep the pipes open.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::sink::Sink;

/// Size that is asked of the pipes, in bytes: fewer wake-ups than with the 64 KiB that
/// a pipe has by default.
pub(super) const PIPE_BYTES: usize = 1 << 20;
/// Read at a time, in bytes.
const CHUNK: usize = 256 << 10;

/// Which stream of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamId {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl StreamId {
    /// The stream of that name in the index.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr]
            .into_iter()
            .find(|stream| stream.as_str() == name)
    }

    /// Its name in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where what the job prints is passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassOn {
    /// Nowhere.
    No,
    /// Each stream to ours of that name.
    Apart,
    /// Both to our stderr: what undoes a job must not look like its output.
    ToStderr,
}

/// Told when something goes wrong that does not concern the job.
pub type Trouble = Arc<dyn Fn(&str) + Send + Sync>;

/// The pipes of one attempt, and the threads that empty them.
#[derive(Debug)]
pub(super) struct Capture {
    streams: Vec<Arc<Stream>>,
    sink: Arc<Mutex<Sink>>,
    /// Ready once every thread has ended.
    ended: OwnedFd,
    /// Closed to tell the threads that there is nothing more to wait for.
    stop: Option<OwnedFd>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
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

/// The ends of the pipes that the job writes to.
pub(super) struct JobEnds {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// Makes the pipes and starts the threads.
    pub(super) fn start(
        sink: &Arc<Mutex<Sink>>,
        pass_on: PassOn,
        trouble: &Trouble,
    ) -> io::Result<(Self, JobEnds)> {
        let (stop_read, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let (ended, ended_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut streams = Vec::new();
        let mut ends = Vec::new();
        for id in [StreamId::Stdout, StreamId::Stderr] {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&read, true)?;
            // Refused over the user's limit: then the pipe is as large as it is.
            rustix::pipe::fcntl_setpipe_size(&read, PIPE_BYTES).ok();
            let poll_end = read.try_clone()?;
            let stream = Arc::new(Stream {
                id,
                pass_on,
                pipe: Mutex::new(Pipe {
                    fd: Some(read),
                    left_over: Vec::new(),
                }),
            });
            streams.push(Arc::clone(&stream));
            ends.push(write);
            let worker = Worker {
                stream,
                sink: Arc::clone(sink),
                poll_end: Some(poll_end),
                stop: stop_read.try_clone()?,
                trouble: Arc::clone(trouble),
                _alive: ended_write.try_clone()?,
            };
            thread::Builder::new()
                .name(id.as_str().to_owned())
                .spawn(move || worker.run())?;
        }
        let capture = Self {
            streams,
            sink: Arc::clone(sink),
            ended,
            stop: Some(stop),
        };
        match <[OwnedFd; 2]>::try_from(ends) {
            Ok([stdout, stderr]) => Ok((capture, JobEnds { stdout, stderr })),
            Err(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// After the job's end: stores what is left in the pipes, at most their capacity,
    /// and lets the threads end once they have passed it on.
    pub(super) fn drain(&mut self) {
        for stream in &self.streams {
            let mut sink = lock(&self.sink);
            let mut pipe = lock(&stream.pipe);
            let mut left = pipe.fd.as_ref().map_or(0, |fd| {
                rustix::pipe::fcntl_getpipe_size(fd).unwrap_or(PIPE_BYTES)
            });
            let mut buf = vec![0; CHUNK];
            while let Some(fd) = pipe.fd.as_ref().filter(|_| left > 0) {
                let part = buf.get_mut(..left.min(CHUNK)).unwrap_or_default();
                let Ok(n @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *part))
                else {
                    break;
                };
                let got = part.get(..n).unwrap_or_default();
                sink.store(stream.id, got);
                if stream.pass_on != PassOn::No {
                    pipe.left_over.extend_from_slice(got);
                }
                left -= n;
            }
            pipe.fd = None;
            sink.finish(stream.id);
        }
        self.stop = None;
    }

    /// Ready (hung up) once everything was passed on.
    pub(super) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

struct Worker {
    stream: Arc<Stream>,
    sink: Arc<Mutex<Sink>>,
    /// A second handle, to wait on without the lock.
    poll_end: Option<OwnedFd>,
    stop: OwnedFd,
    trouble: Trouble,
    /// Its closing tells that this thread has ended.
    _alive: OwnedFd,
}

/// What one look at the pipe gave.
enum Look {
    Bytes(usize),
    Nothing,
    End,
}

impl Worker {
    fn run(mut self) {
        let mut buf = vec![0; CHUNK];
        while let Some(poll_end) = &self.poll_end {
            wait(poll_end.as_fd(), self.stop.as_fd());
            match self.take(&mut buf) {
                Look::Bytes(n) => {
                    if self.stream.pass_on != PassOn::No
                        && !self.pass_on(buf.get(..n).unwrap_or_default())
                    {
                        self.close();
                    }
                }
                Look::Nothing => {}
                Look::End => {
                    let left_over = std::mem::take(&mut lock(&self.stream.pipe).left_over);
                    self.pass_on(&left_over);
                    self.poll_end = None;
                }
            }
        }
    }

    /// Reads and stores what is in the pipe.
    fn take(&self, buf: &mut [u8]) -> Look {
        let mut sink = lock(&self.sink);
        let pipe = lock(&self.stream.pipe);
        let Some(fd) = &pipe.fd else {
            return Look::End;
        };
        if self.stream.pass_on == PassOn::No
            && let Some(moved) = sink.splice(self.stream.id, fd)
        {
            return if moved == 0 {
                Look::End
            } else {
                Look::Bytes(0)
            };
        }
        match rustix::io::read(fd, &mut *buf) {
            Ok(0) => Look::End,
            Ok(n) => {
                sink.store(self.stream.id, buf.get(..n).unwrap_or_default());
                Look::Bytes(n)
            }
            Err(Errno::AGAIN | Errno::INTR) => Look::Nothing,
            Err(_) => Look::End,
        }
    }

    /// Our own reader is gone: so is the job's, which then ends as without runlog.
    fn close(&mut self) {
        lock(&self.stream.pipe).fd = None;
        self.poll_end = None;
    }

    /// Whether all was written to our own stream.
    fn pass_on(&self, bytes: &[u8]) -> bool {
        let target = match (self.stream.id, self.stream.pass_on) {
            (StreamId::Stdout, PassOn::Apart) => rustix::stdio::stdout(),
            _ => rustix::stdio::stderr(),
        };
        match write_all(target, bytes) {
            Ok(()) => true,
            Err(Errno::PIPE) => false,
            Err(e) => {
                let name = self.stream.id.as_str();
                (self.trouble)(&format!("cannot pass on the job's {name}: {e}"));
                false
            }
        }
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

fn write_all(target: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(target, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
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

/// The file `/dev/null`, for streams that go nowhere.
pub(super) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
