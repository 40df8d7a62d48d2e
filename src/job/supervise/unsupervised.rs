//! The front's work after too many supervisors have died: it passes on the job's output,
//! forwards signals, waits, and ends like the job. Nothing more is logged.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::forward::Forwarder;
use super::supervisor::READER_TIMEOUT;
use crate::job::capture::job_terminal::{JobTerminal, TerminalUsers};
use crate::job::capture::stream::{PIPE_BYTES, Passthrough};
use crate::job::process::poll::{is_writable, wait_for_either};
use crate::job::process::pty;
use crate::job::process::pty::Packet;
use crate::job::process::signals::{SignalFd, asks_to_end};
use crate::job::process::supervision_page::{Claim, RunResult, SupervisionPage};
use crate::job::process::wait_status;
use crate::job::process::wait_status::{ChildState, WaitStatus};
use crate::log::StreamId;

/// How often to check the job, in case a signal is lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of bytes to read at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// The number of bytes that a writable pipe accepts without making the writer wait (`PIPE_BUF`).
const WRITE_BYTES: usize = 4096;

/// A stream of the job.
struct Stream {
    /// The pipe, until it is closed.
    pipe: Option<OwnedFd>,
    terminal: Option<JobTerminal>,
    target: Option<BorrowedFd<'static>>,
    /// Output to pass on.
    held: Vec<u8>,
    /// How many bytes to read at most, after the job has ended.
    limit: Option<usize>,
}

/// Waits for the end of the last started process; `None` if none was started.
pub(crate) fn await_end(
    page: &'static SupervisionPage,
    signals: &SignalFd,
    forwarder: &Forwarder,
    pipes: [Option<OwnedFd>; 2],
    pass_on: Passthrough,
) -> Option<RunResult> {
    let claim = page.claimed()?;
    let terminals = terminals(page, forwarder, &pipes);
    let streams = pipes.into_iter().zip(terminals).zip(targets(pass_on));
    let mut streams: Vec<_> = streams
        .map(|((pipe, terminal), target)| Stream {
            pipe,
            terminal,
            target,
            held: Vec::new(),
            limit: None,
        })
        .collect();
    let mut is_asked_to_end = false;
    let mut ended = None;
    loop {
        let mut readable = vec![signals.fd().as_fd()];
        readable.extend(streams.iter().filter_map(Stream::read_end));
        let writable: Vec<_> = streams.iter().filter_map(Stream::write_end).collect();
        wait_for_either(&readable, &writable, Some(POLL_INTERVAL));
        while let Some(arrived) = signals.next() {
            is_asked_to_end |= asks_to_end(arrived.signal);
            if arrived.signal != libc::SIGCHLD {
                forwarder.forward(claim, &arrived);
            }
        }
        if ended.is_none()
            && let Some(end) = end_of(page, claim)
        {
            ended = Some((end, Instant::now()));
            for stream in &mut streams {
                stream.limit = Some(PIPE_BYTES);
            }
        }
        // Signals are read again after each part.
        for stream in &mut streams {
            stream.step();
        }
        if let Some((end, at)) = ended
            && (streams.iter().all(Stream::is_done)
                || is_asked_to_end && at.elapsed() >= READER_TIMEOUT)
        {
            for stream in &streams {
                if let Some(terminal) = &stream.terminal {
                    terminal.leave();
                }
            }
            wait_status::reap(claim.pid);
            return Some(end);
        }
    }
}

/// Returns how the process ended, if it has ended.
fn end_of(page: &SupervisionPage, claim: Claim) -> Option<RunResult> {
    let status = match page.end(claim.step) {
        Some((status, _)) => status,
        None => match wait_status::peek(claim.pid) {
            Ok(ChildState::Running) => return None,
            Ok(ChildState::Ended(status, _)) => status,
            // No process of runlog has seen its end, which must not count as a success.
            Err(_) => return Some(RunResult::Exit(1)),
        },
    };
    page.record_exit(claim.step);
    Some(match status {
        WaitStatus::Exited(code) => RunResult::Exit(code as u8),
        WaitStatus::Signaled(signal) => RunResult::Signal(signal as u8),
    })
}

/// Returns the pseudo-terminals among the pipes.
fn terminals(
    page: &'static SupervisionPage,
    forwarder: &Forwarder,
    pipes: &[Option<OwnedFd>; 2],
) -> [Option<JobTerminal>; 2] {
    let users = TerminalUsers {
        front: forwarder.root,
        group: forwarder.target.group(),
    };
    let [first, second] = pipes;
    let [first_modes, second_modes] = &page.modes;
    [
        (first, StreamId::Stdout, first_modes),
        (second, StreamId::Stderr, second_modes),
    ]
    .map(|(pipe, id, modes)| {
        let attached = JobTerminal::attach(pipe.as_ref()?, id, Passthrough::Apart, users, modes);
        attached.ok().flatten()
    })
}

/// Returns where to pass on the output of each pipe.
fn targets(pass_on: Passthrough) -> [Option<BorrowedFd<'static>>; 2] {
    match pass_on {
        Passthrough::No => [None, None],
        Passthrough::Apart | Passthrough::ToStderr => {
            [rustix::stdio::stdout(), rustix::stdio::stderr()].map(Some)
        }
    }
}

impl Stream {
    /// Returns the pipe, if output is to be read.
    fn read_end(&self) -> Option<BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref().map(AsFd::as_fd);
        pipe.filter(|_| self.held.is_empty())
    }

    /// Returns the target, if output is to be passed on.
    fn write_end(&self) -> Option<BorrowedFd<'static>> {
        self.target.filter(|_| !self.held.is_empty())
    }

    fn is_done(&self) -> bool {
        self.pipe.is_none() && self.held.is_empty()
    }

    /// Reads or passes on a part of the output, without waiting.
    fn step(&mut self) {
        match self.write_end() {
            Some(target) if is_writable(target) => self.write(target),
            Some(_) => {}
            None => self.read(),
        }
    }

    fn write(&mut self, target: BorrowedFd<'_>) {
        let part = self.held.get(..WRITE_BYTES).unwrap_or(&self.held);
        match rustix::io::write(target, part) {
            Ok(n) => drop(self.held.drain(..n)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => {
                self.held.clear();
                if matches!(e, Errno::PIPE | Errno::CONNRESET) {
                    // The job's reader closed its end, as without runlog.
                    self.pipe = None;
                }
            }
        }
    }

    fn read(&mut self) {
        let Some(pipe) = &self.pipe else {
            return;
        };
        let read = match &self.terminal {
            None => {
                self.held.resize(CHUNK_BYTES, 0);
                let read = rustix::io::read(pipe, &mut self.held);
                self.held.truncate(*read.as_ref().unwrap_or(&0));
                read
            }
            Some(terminal) => match pty::read_packet(pipe, &mut self.held) {
                Packet::Data => Ok(self.held.len()),
                Packet::Status(status) => {
                    terminal.handle_status(status);
                    return;
                }
                Packet::Empty => Err(Errno::AGAIN),
                Packet::Closed => Ok(0),
            },
        };
        let goes_on = match (read, &mut self.limit) {
            (Err(Errno::INTR), _) | (Err(Errno::AGAIN) | Ok(1..), None) => true,
            (Ok(n @ 1..), Some(limit)) => {
                *limit = limit.saturating_sub(n);
                *limit > 0
            }
            (Ok(_) | Err(_), _) => false,
        };
        if !goes_on {
            self.pipe = None;
        }
        if self.target.is_none() {
            self.held.clear();
        }
    }
}
