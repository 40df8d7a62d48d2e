//! Waiting for descriptors (`poll(2)`).

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The state of a descriptor after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It is not ready.
    Idle,
    /// It is readable.
    Readable,
    /// The other side has closed it, and no data remains.
    HungUp,
}

/// Waits until one of the descriptors is readable or was hung up, for at most `limit`.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], limit: Option<Duration>) -> Vec<Readiness> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    // After a failure (a signal), nothing is ready, and the caller tries again.
    poll(&mut polled, limit.map(timespec).as_ref()).ok();
    let readiness = |flags: PollFlags| match flags {
        flags if flags.contains(PollFlags::IN) => Readiness::Readable,
        flags if flags.is_empty() => Readiness::Idle,
        _ => Readiness::HungUp,
    };
    polled.iter().map(|fd| readiness(fd.revents())).collect()
}

/// Converts a duration for `ppoll(2)`.
pub(crate) fn timespec(d: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(d.subsec_nanos()),
    }
}
