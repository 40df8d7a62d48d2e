//! Capturing a job's output: it is copied from the job's pipes into `jobs/<job_id>.out` in the
//! order of arrival, and passed on to runlog's own stdout and stderr.
//!
//! One thread for each stream reads, stores, and then passes on, so that a slow reader delays
//! only its own stream, as without runlog. The thread is started when the stream has its first
//! bytes, because in most jobs one or both streams remain silent. After the job's end, the main
//! thread stores the rest of the pipes itself: the log never waits for a reader, and only briefly
//! for processes that the job left behind.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};

use super::copy_path::CopyPath;
use super::job_terminal::{JobTerminal, TerminalUsers};
use super::output_file::OutputFile;
use super::plan_streams::{
    PlannedStream, effective_passthrough, passthrough_terminal, target_with_one_reader,
};
use super::pump::{Pump, PumpState};
use super::pump_target::{Drained, Pipe, PumpTarget};
use super::stream::{OnReaderGone, OnWarning, Passthrough, new_buffer};
use crate::job::process::discard;
use crate::job::process::poll::{Readiness, wait_readable};
use crate::job::process::pty::Pty;
use crate::job::process::supervision_page::SupervisionPage;
use crate::job::redact::redactor::Redactor;
use crate::job::spec::stream_plan::StreamPlan;
use crate::sync::lock;

/// A source of signals and messages to wait for, besides the streams of a job.
pub(crate) trait WaitForEvents {
    /// Waits until an event arrives, or one of `others` is readable. Returns the readiness of
    /// each.
    fn wait_for_events(&mut self, others: &[BorrowedFd<'_>], limit: Duration) -> Vec<Readiness>;
}

/// The pipes of one attempt, and the threads that read them.
#[derive(Debug)]
pub(crate) struct Capture {
    streams: Vec<Arc<PumpTarget>>,
    /// The pumps of streams without output so far, which have no thread yet.
    silent: Vec<Pump>,
    sink: Arc<Mutex<OutputFile>>,
    page: &'static SupervisionPage,
    /// Becomes ready when every thread has ended.
    ended: Arc<OwnedFd>,
    /// Closing this makes the threads stop waiting.
    stop: Option<OwnedFd>,
}

/// The ends of the pipes that the job writes to.
pub(crate) struct ChildPipes {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// The parameters of a capture, besides its pipes.
pub(crate) struct CaptureOptions<'a> {
    /// The pipes to create.
    pub plan: StreamPlan,
    /// The processes that may use a terminal.
    pub users: TerminalUsers,
    pub sink: &'a Arc<Mutex<OutputFile>>,
    pub pass_on: Passthrough,
    /// The capture of the attempt before, whose output is passed on first.
    pub predecessor: Option<&'a Capture>,
    /// The masking of passed-on output.
    pub redactor: Option<&'a Redactor>,
    pub page: &'static SupervisionPage,
    /// Called for problems that do not affect the job.
    pub on_warning: &'a OnWarning,
    /// Called when the reader of a stream has closed its end.
    pub on_reader_gone: &'a OnReaderGone,
}

impl CaptureOptions<'_> {
    /// Creates a pipe or a pseudo-terminal, and returns runlog's end and the job's end.
    fn open(&self, stream: PlannedStream) -> io::Result<(OwnedFd, OwnedFd)> {
        if !stream.is_terminal {
            return new_pipe();
        }
        let real = passthrough_terminal(stream.id, self.pass_on);
        // In the background, the modes are those of the shell's line editor.
        let modes_of = real.filter(|real| self.users.are_in_foreground(*real));
        match Pty::open(real, modes_of) {
            Ok(Pty { master, slave }) => Ok((master, slave)),
            // There is no `/dev/pts`, or no free pseudo-terminal: use a pipe, as without a
            // terminal.
            Err(_) if real.is_some() => new_pipe(),
            Err(e) => Err(e),
        }
    }
}

impl Capture {
    /// Creates the pipes. Also returns the job's ends.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn start(options: &CaptureOptions<'_>) -> io::Result<(Self, ChildPipes)> {
        let mut streams = options.plan.streams(options.pass_on).into_iter();
        let mut open = || {
            streams
                .next()
                .map(|stream| options.open(stream))
                .transpose()
        };
        let (first, second) = (open()?, open()?);
        let (first, stdout) = first.ok_or(io::ErrorKind::InvalidInput)?;
        let (second, stderr) = match second {
            Some((second, stderr)) => (Some(second), stderr),
            None => (None, stdout.try_clone()?),
        };
        let mut capture = Self::attach([Some(first), second], options)?;
        for terminal in capture.terminals() {
            terminal.begin();
        }
        capture.watch_terminals();
        Ok((capture, ChildPipes { stdout, stderr }))
    }

    /// Reads the pipes of a job that is already running. A stream without a pipe has lost its
    /// reader.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn resume(
        pipes: [Option<OwnedFd>; 2],
        options: &CaptureOptions<'_>,
    ) -> io::Result<Self> {
        let mut capture = Self::attach(pipes, options)?;
        for terminal in capture.terminals() {
            terminal.copy_modes();
        }
        capture.watch_terminals();
        Ok(capture)
    }

    fn attach(pipes: [Option<OwnedFd>; 2], options: &CaptureOptions<'_>) -> io::Result<Self> {
        let (stop_read, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let (ended, ended_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stop_read, ended_write) = (Arc::new(stop_read), Arc::new(ended_write));
        let predecessor = options.predecessor.map(|before| Arc::clone(&before.ended));
        let mut streams = Vec::new();
        let mut silent = Vec::new();
        let planned = options.plan.streams(options.pass_on).into_iter();
        for ((planned, pipe), record) in planned.zip(pipes).zip(&options.page.modes) {
            let Some(pipe) = pipe else {
                continue;
            };
            let id = planned.id;
            let pipe = Arc::new(pipe);
            let terminal = JobTerminal::attach(&pipe, id, options.pass_on, options.users, record)?;
            let pass_on = effective_passthrough(id, options.pass_on);
            let redactor = options.redactor.filter(|_| pass_on != Passthrough::No);
            let masker = redactor.map(Redactor::stream);
            let stream = Arc::new(PumpTarget {
                id,
                pass_on,
                watched: target_with_one_reader(id, pass_on),
                masker: masker.map(Mutex::new),
                page: options.page,
                draining: AtomicU64::new(0),
                pipe: Mutex::new(Pipe::new(Arc::clone(&pipe))),
                terminal: terminal.map(Arc::new),
            });
            streams.push(Arc::clone(&stream));
            silent.push(Pump {
                stream,
                sink: Arc::clone(options.sink),
                poll_end: pipe,
                stop: Arc::clone(&stop_read),
                predecessor: predecessor.clone(),
                on_warning: Arc::clone(options.on_warning),
                on_reader_gone: Arc::clone(options.on_reader_gone),
                route: CopyPath::default(),
                is_indexed: true,
                is_enlarged: false,
                status: 0,
                _alive: Arc::clone(&ended_write),
            });
        }
        Ok(Self {
            streams,
            silent,
            sink: Arc::clone(options.sink),
            page: options.page,
            ended: Arc::new(ended),
            stop: Some(stop),
        })
    }

    /// Returns duplicates of runlog's ends of the pipes, in the order of the plan.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn pipes(&self) -> io::Result<Vec<OwnedFd>> {
        let streams = self.streams.iter();
        streams.filter_map(|stream| stream.duplicate()).collect()
    }

    /// Returns the pseudo-terminals among the pipes.
    pub(crate) fn terminals(&self) -> Vec<Arc<JobTerminal>> {
        let streams = self.streams.iter();
        streams
            .filter_map(|stream| stream.terminal.clone())
            .collect()
    }

    /// Starts the threads of pseudo-terminals, whose changes of modes must be handled at once,
    /// even while this thread is busy.
    fn watch_terminals(&mut self) {
        for pump in std::mem::take(&mut self.silent) {
            if pump.stream.terminal.is_none() {
                self.silent.push(pump);
            } else if let Some(pump) = spawn_pump(pump) {
                self.silent.push(pump);
            }
        }
    }

    /// Waits for an event, for at most `limit`. Starts the threads of streams that get their
    /// first bytes.
    pub(crate) fn wait(&mut self, events: &mut impl WaitForEvents, limit: Duration) {
        let fds: Vec<_> = self
            .silent
            .iter()
            .map(|pump| pump.poll_end.as_fd())
            .collect();
        let ready = events.wait_for_events(&fds, limit);
        for (mut pump, ready) in std::mem::take(&mut self.silent).into_iter().zip(ready) {
            match ready {
                Readiness::Idle if pump.is_reader_gone() => pump.close_stream(),
                Readiness::Idle => self.silent.push(pump),
                Readiness::Readable => {
                    // If no more threads can be started, the supervisor pumps the stream itself.
                    if let Some(mut pump) = spawn_pump(pump)
                        && pump.step(&mut new_buffer()) != PumpState::End
                    {
                        self.silent.push(pump);
                    }
                }
                // The job has closed the stream.
                Readiness::HungUp => {
                    if pump.stream.has_left_over() {
                        pump.step(&mut new_buffer());
                    }
                }
            }
        }
    }

    /// Closes the slaves of the pseudo-terminals, so that only processes of the job hold them.
    pub(crate) fn close_slaves(&self) {
        for terminal in self.terminals() {
            terminal.close_slave();
        }
    }

    /// Returns whether a process can still print to one of the streams.
    pub(crate) fn is_held_open(&self) -> bool {
        let mut streams = self.streams.iter();
        streams.any(|stream| stream.is_held_open())
    }

    /// Stores the rest of the pipes after the job's end, up to their capacity, and lets the
    /// threads end after passing it on.
    ///
    /// A process that the job left behind may still hold a pipe. It gets a reader that discards
    /// its output, so that it is not harmed.
    pub(crate) fn drain(&mut self) {
        let mut held = Vec::new();
        for stream in &self.streams {
            if let Drained::HeldOpen(pipe) = stream.drain(&mut lock(&self.sink)) {
                held.push(pipe);
            }
        }
        self.stop = None;
        for pump in self.silent.drain(..) {
            if pump.stream.has_left_over()
                && let Some(mut pump) = spawn_pump(pump)
            {
                pump.step(&mut new_buffer());
            }
        }
        if held.is_empty() {
            return;
        }
        self.page.output.held_open.store(true, Ordering::Relaxed);
        let pipes: Vec<_> = held.iter().map(AsFd::as_fd).collect();
        if let Ok(pid) = discard::spawn_reader(&pipes) {
            self.page.record_reader(pid);
        }
    }

    /// Waits until everything is passed on, for at most `limit`.
    pub(crate) fn wait_until_passed_on(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if wait_readable(&[self.ended()], Some(left)) != [Readiness::Idle] || left.is_zero() {
                return;
            }
        }
    }

    /// Returns a descriptor that is ready (hung up) when everything is passed on.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Drop for Capture {
    /// Ends the threads of a capture that was not drained, because its command was not started.
    fn drop(&mut self) {
        for stream in &self.streams {
            stream.close(|| {});
        }
    }
}

/// Creates a pipe with a reading end that does not block.
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}

/// Starts the thread of a stream; returns its pump if no more threads can be started.
fn spawn_pump(pump: Pump) -> Option<Pump> {
    let name = pump.stream.id.as_str().to_owned();
    let here = Arc::new(Mutex::new(Some(pump)));
    let there = Arc::clone(&here);
    let started = thread::Builder::new().name(name).spawn(move || {
        let pump = lock(&there).take();
        if let Some(pump) = pump {
            pump.run();
        }
    });
    match started {
        Ok(_) => None,
        Err(_) => lock(&here).take(),
    }
}
