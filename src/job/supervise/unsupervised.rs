//! The front's work after too many supervisors have died: it passes on the job's output,
//! forwards signals, waits, and ends like the job. Nothing more is logged.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::forward::Forwarder;
use crate::job::capture::job_terminal::{JobTerminal, TerminalUsers};
use crate::job::capture::stream::Passthrough;
use crate::job::capture::write_all::write_all;
use crate::job::process::poll::wait_readable;
use crate::job::process::pty;
use crate::job::process::pty::Packet;
use crate::job::process::signals::SignalFd;
use crate::job::process::supervision_page::{Claim, RunResult, SupervisionPage};
use crate::job::process::wait_status;
use crate::job::process::wait_status::{ChildState, WaitStatus};
use crate::log::StreamId;

/// How often to check the job, in case a signal is lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of bytes to read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Waits for the end of the last started process; `None` if none was started.
pub(crate) fn await_end(
    page: &'static SupervisionPage,
    signals: &SignalFd,
    forwarder: &Forwarder,
    mut pipes: [Option<OwnedFd>; 2],
    pass_on: Passthrough,
) -> Option<RunResult> {
    let claim = page.claimed()?;
    let terminals = terminals(page, forwarder, &pipes);
    loop {
        let mut fds: Vec<BorrowedFd<'_>> = vec![signals.fd().as_fd()];
        fds.extend(pipes.iter().flatten().map(AsFd::as_fd));
        wait_readable(&fds, Some(POLL_INTERVAL));
        while let Some(arrived) = signals.next() {
            if arrived.signal != libc::SIGCHLD {
                forwarder.forward(claim, &arrived);
            }
        }
        let end = end_of(page, claim);
        let streams = pipes.iter_mut().zip(&terminals).zip(targets(pass_on));
        for ((pipe, terminal), target) in streams {
            while read_once(pipe, terminal.as_ref(), target) {}
        }
        if let Some(end) = end {
            for terminal in terminals.iter().flatten() {
                terminal.restore();
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

fn read_pipe(pipe: &OwnedFd, buf: &mut Vec<u8>) -> Result<usize, Errno> {
    buf.resize(CHUNK_BYTES, 0);
    rustix::io::read(pipe, buf)
}

/// Reads a part of the content of the pipe and passes it on; false if there is nothing for now.
fn read_once(
    pipe: &mut Option<OwnedFd>,
    terminal: Option<&JobTerminal>,
    target: Option<BorrowedFd<'_>>,
) -> bool {
    let Some(fd) = pipe else {
        return false;
    };
    let mut buf = Vec::new();
    let read = match terminal {
        None => read_pipe(fd, &mut buf),
        Some(terminal) => match pty::read_packet(&*fd, &mut buf) {
            Packet::Data => Ok(buf.len()),
            Packet::Status(status) => {
                terminal.handle_status(status);
                return true;
            }
            Packet::Empty => Err(Errno::AGAIN),
            Packet::Closed => Ok(0),
        },
    };
    let bytes = match read {
        Ok(n @ 1..) => buf.get(..n).unwrap_or_default(),
        Err(Errno::INTR) => return true,
        Err(Errno::AGAIN) => return false,
        Ok(_) | Err(_) => {
            *pipe = None;
            return false;
        }
    };
    if let Some(target) = target
        && write_all(bytes.len(), target, |done| {
            rustix::io::write(target, bytes.get(done..).unwrap_or_default())
        }) == Err(Errno::PIPE)
    {
        // The job's reader closed its end, as without runlog.
        *pipe = None;
        return false;
    }
    true
}
