//! Waiting for a change in one run.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;

use super::watcher::{IN_JOBS, IN_RUN};
use crate::volume::{Dir, layout};

/// How often a run is polled without inotify, for example because its limits are reached.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often a run is polled with inotify, which misses changes on a network file system and
/// the death of a supervisor.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What in a run's directory wakes a [`ChangeWaiter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchScope {
    /// The log and the leases. A job that prints much wakes nobody.
    Log,
    /// The log, the leases and the output of the jobs.
    LogAndOutput,
}

/// A waiter for changes in a run's directory.
#[derive(Debug)]
pub struct ChangeWaiter {
    inotify: Option<OwnedFd>,
}

impl ChangeWaiter {
    /// Creates a waiter for the log, the leases of the jobs and, if asked for, their output.
    pub fn new(dir: &Dir, scope: WatchScope) -> Self {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).ok().filter(|fd| {
            // Watched by path: inotify has no call that is relative to a directory.
            let in_jobs = match scope {
                WatchScope::Log => IN_JOBS,
                WatchScope::LogAndOutput => IN_RUN,
            };
            inotify::add_watch(fd, dir.path().join(layout::JOBS), in_jobs).ok();
            inotify::add_watch(fd, dir.path(), IN_RUN).is_ok()
        });
        Self { inotify }
    }

    /// Waits until something changed or the next poll is due, at most until the deadline.
    pub fn wait_for_change(&self, deadline: Option<Instant>) {
        let inotify = self
            .inotify
            .as_ref()
            .map(|fd| PollFd::new(fd, PollFlags::IN));
        self.poll(&mut inotify.into_iter().collect::<Vec<_>>(), deadline);
    }

    /// Waits like [`ChangeWaiter::wait_for_change`], but also until the reader of `output` is
    /// gone. Returns whether it is.
    pub fn wait_for_change_or_close(
        &self,
        deadline: Option<Instant>,
        output: BorrowedFd<'_>,
    ) -> bool {
        // poll(2) reports these two without being asked.
        let closed = PollFlags::ERR | PollFlags::HUP;
        let mut fds = vec![PollFd::from_borrowed_fd(output, PollFlags::empty())];
        fds.extend(
            self.inotify
                .as_ref()
                .map(|fd| PollFd::new(fd, PollFlags::IN)),
        );
        self.poll(&mut fds, deadline);
        fds.first()
            .is_some_and(|fd| fd.revents().intersects(closed))
    }

    fn poll(&self, fds: &mut [PollFd<'_>], deadline: Option<Instant>) {
        let pause = if self.inotify.is_some() {
            RECHECK_INTERVAL
        } else {
            POLL_INTERVAL
        };
        let left = deadline.map_or(pause, |at| at.saturating_duration_since(Instant::now()));
        let pause = pause.min(left);
        let timeout = Timespec::try_from(pause).ok();
        if fds.is_empty() || poll(fds, timeout.as_ref()).is_err() {
            std::thread::sleep(pause.min(POLL_INTERVAL));
        }
        // Which events arrived does not matter: the caller reads the run again.
        let mut buf = [0_u8; 4096];
        if let Some(fd) = &self.inotify {
            while rustix::io::read(fd, &mut buf).is_ok_and(|n| n > 0) {}
        }
    }
}
