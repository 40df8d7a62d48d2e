//! What a job prints: copied from its pipes into `jobs/<job_id>.out` in the order of
//! arrival, and passed on to our own stdout and stderr.
//!
//! One thread for each stream reads, stores, and then passes on, so that a reader who
//! does not read holds up only his own stream, as without runlog. It is started when the
//! stream has its first bytes: most jobs leave one of them, or both, silent. After the
//! job's end the main thread stores what is left in the pipes itself: the log never waits
//! for a reader, nor for grandchildren that keep the pipes open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::output_file::OutputFile;
use super::pump::{CopyPath, Pump, PumpState, PumpTarget};
use super::stream::{OnWarning, PIPE_BYTES, Passthrough, StreamId, lock, new_buffer};
use crate::job::process::poll::timespec;

/// The pipes of one attempt, and the threads that empty them.
#[derive(Debug)]
pub(crate) struct Capture {
    streams: Vec<Arc<PumpTarget>>,
    /// Those of streams that had nothing so far: they have no thread yet.
    silent: Vec<Pump>,
    sink: Arc<Mutex<OutputFile>>,
    /// Ready once every thread has ended.
    ended: OwnedFd,
    /// Closed to tell the threads that there is nothing more to wait for.
    stop: Option<OwnedFd>,
}

/// The ends of the pipes that the job writes to.
pub(crate) struct ChildPipes {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl Capture {
    /// Makes the pipes.
    pub(crate) fn start(
        sink: &Arc<Mutex<OutputFile>>,
        pass_on: Passthrough,
        trouble: &OnWarning,
    ) -> io::Result<(Self, ChildPipes)> {
        let (stop_read, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let (ended, ended_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut streams = Vec::new();
        let mut silent = Vec::new();
        let mut ends = Vec::new();
        for id in [StreamId::Stdout, StreamId::Stderr] {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&read, true)?;
            // Refused over the user's limit: then the pipe is as large as it is.
            rustix::pipe::fcntl_setpipe_size(&read, PIPE_BYTES).ok();
            let poll_end = read.try_clone()?;
            let stream = Arc::new(PumpTarget::new(id, pass_on, read));
            streams.push(Arc::clone(&stream));
            ends.push(write);
            silent.push(Pump {
                stream,
                sink: Arc::clone(sink),
                poll_end,
                stop: stop_read.try_clone()?,
                trouble: Arc::clone(trouble),
                route: CopyPath::default(),
                _alive: ended_write.try_clone()?,
            });
        }
        let capture = Self {
            streams,
            silent,
            sink: Arc::clone(sink),
            ended,
            stop: Some(stop),
        };
        match <[OwnedFd; 2]>::try_from(ends) {
            Ok([stdout, stderr]) => Ok((capture, ChildPipes { stdout, stderr })),
            Err(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// Waits for a signal, at most so long; a stream that has its first bytes meanwhile
    /// gets its thread.
    pub(crate) fn wait(&mut self, signals: &OwnedFd, limit: Duration) {
        let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
        let pipes = self.silent.iter();
        fds.extend(pipes.map(|worker| PollFd::new(&worker.poll_end, PollFlags::IN)));
        // A failure only means one look too many.
        poll(&mut fds, Some(&timespec(limit))).ok();
        let told: Vec<PollFlags> = fds.iter().skip(1).map(PollFd::revents).collect();
        for (worker, told) in std::mem::take(&mut self.silent).into_iter().zip(told) {
            if told.contains(PollFlags::IN) {
                if let Some(mut worker) = spawn_pump(worker) {
                    // No thread to be had: then the supervisor does it himself.
                    if worker.step(&mut new_buffer()) != PumpState::End {
                        self.silent.push(worker);
                    }
                }
            } else if told.is_empty() {
                self.silent.push(worker);
            }
            // Else the job closed it without a word.
        }
    }

    /// After the job's end: stores what is left in the pipes, at most their capacity,
    /// and lets the threads end once they have passed it on.
    pub(crate) fn drain(&mut self) {
        for stream in &self.streams {
            stream.drain(&mut lock(&self.sink));
        }
        self.stop = None;
        for worker in self.silent.drain(..) {
            if worker.stream.has_left_over()
                && let Some(mut worker) = spawn_pump(worker)
            {
                worker.step(&mut new_buffer());
            }
        }
    }

    /// Ready (hung up) once everything was passed on.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// Starts the thread of a stream; gives the worker back where there is none to be had.
fn spawn_pump(worker: Pump) -> Option<Pump> {
    let name = worker.stream.id.as_str().to_owned();
    let here = Arc::new(Mutex::new(Some(worker)));
    let there = Arc::clone(&here);
    let started = thread::Builder::new().name(name).spawn(move || {
        let worker = lock(&there).take();
        if let Some(worker) = worker {
            worker.run();
        }
    });
    match started {
        Ok(_) => None,
        Err(_) => lock(&here).take(),
    }
}
