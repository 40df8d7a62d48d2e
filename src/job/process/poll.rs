//! Waiting for descriptors, `poll(2)`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::signals::SignalFd;

/// Waits for a signal, at most so long.
pub(crate) fn wait_readable(fd: &OwnedFd, limit: Duration) {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    // A failure only means one look too many.
    poll(&mut fds, Some(&timespec(limit))).ok();
}

/// Waits for a signal or for the other descriptor to be ready; says whether it is the
/// other one.
pub(crate) fn wait_for_either(signals: &SignalFd, other: impl std::os::fd::AsFd) -> bool {
    let mut fds = [
        PollFd::new(signals.fd(), PollFlags::IN),
        PollFd::new(&other, PollFlags::IN),
    ];
    poll(&mut fds, None).ok();
    let [_, other] = &fds;
    !other.revents().is_empty()
}

pub(crate) fn timespec(d: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        // A part of a millisecond is rounded up, so that nothing spins.
        tv_nsec: i64::from(d.subsec_nanos()).max(i64::from(d.as_secs() == 0)),
    }
}
