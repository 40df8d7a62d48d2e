//! What the front does once too many supervisors have died: it passes on what the job prints,
//! forwards signals, waits, and ends as the job did. Nothing more gets into the log.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::forward::Forwarder;
use crate::job::capture::pump::write_all;
use crate::job::process::poll::wait_readable;
use crate::job::process::signals::SignalFd;
use crate::job::process::supervision_page::{Claim, RunResult, SupervisionPage};
use crate::job::process::wait_status;
use crate::job::process::wait_status::{ChildState, WaitStatus};

/// How often the job is looked at, should a signal be lost.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of bytes that are read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Brings the process that was started last to its end; `None` if none was started.
pub(crate) fn carry_on(
    page: &'static SupervisionPage,
    signals: &SignalFd,
    forwarder: &Forwarder,
    mut pipes: [Option<OwnedFd>; 2],
    pass_on: bool,
) -> Option<RunResult> {
    let claim = page.claimed()?;
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
        for (pipe, target) in pipes.iter_mut().zip(targets()) {
            while read_once(pipe, pass_on.then_some(target)) {}
        }
        if let Some(end) = end {
            wait_status::reap(claim.pid);
            return Some(end);
        }
    }
}

/// Returns how the process ended, if it has.
fn end_of(page: &SupervisionPage, claim: Claim) -> Option<RunResult> {
    let status = match page.adopted_exit(claim.step) {
        Some((status, _)) => status,
        None => match wait_status::peek(claim.pid) {
            Ok(ChildState::Running) => return None,
            Ok(ChildState::Ended(status, _)) => status,
            // Its end was collected together with the supervisor that saw it.
            Err(_) => return Some(RunResult::Exit(0)),
        },
    };
    page.record_exit(claim.step);
    Some(match status {
        WaitStatus::Exited(code) => RunResult::Exit(code as u8),
        WaitStatus::Signaled(signal) => RunResult::Signal(signal as u8),
    })
}

fn targets() -> [BorrowedFd<'static>; 2] {
    [rustix::stdio::stdout(), rustix::stdio::stderr()]
}

/// Reads a part of what is in the pipe and passes it on; false if there is nothing for now.
fn read_once(pipe: &mut Option<OwnedFd>, target: Option<BorrowedFd<'_>>) -> bool {
    let Some(fd) = pipe else {
        return false;
    };
    let mut buf = vec![0; CHUNK_BYTES];
    let read = rustix::io::read(&*fd, &mut buf);
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
        // The job's reader is gone, as without runlog.
        *pipe = None;
        return false;
    }
    true
}
