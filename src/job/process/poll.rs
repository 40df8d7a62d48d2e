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

/// Waits until one of `readable` is readable or was hung up, or one of `writable` accepts data, for
/// at most `limit`.
pub(crate) fn wait_for_either(
    readable: &[BorrowedFd<'_>],
    writable: &[BorrowedFd<'_>],
    limit: Option<Duration>,
) {
    let readable = readable.iter().map(|fd| PollFd::new(fd, PollFlags::IN));
    let writable = writable.iter().map(|fd| PollFd::new(fd, PollFlags::OUT));
    let mut polled: Vec<_> = readable.chain(writable).collect();
    // After a failure (a signal), the caller tries again.
    poll(&mut polled, limit.map(timespec).as_ref()).ok();
}

/// Returns whether a write would not wait, because the descriptor accepts data or has an error.
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    poll(&mut polled, Some(&timespec(Duration::ZERO))).ok();
    polled.iter().any(|fd| !fd.revents().is_empty())
}

/// Returns whether the other side has closed the descriptor, even if data remains to be read.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    poll(&mut polled, Some(&timespec(Duration::ZERO))).ok();
    polled.iter().any(|fd| !fd.revents().is_empty())
}

/// Converts a duration for `ppoll(2)`.
pub(crate) fn timespec(d: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(d.subsec_nanos()),
    }
}
