//! Waiting for a change in one run, or in a few.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;

use super::watcher::{IN_JOBS, IN_RUN};
use crate::volume::{Dir, layout};

/// How often to poll a run without inotify, for example when its limits are reached.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often to poll a run with inotify, which misses changes on a network file system and the
/// death of a supervisor.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The changes in a run's directory that wake a [`ChangeWaiter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchScope {
    /// Changes to the log and the leases. A job's output does not wake the waiter.
    Log,
    /// Changes to the log, the leases and the output of the jobs.
    LogAndOutput,
}

/// A waiter for changes in the directories of runs.
#[derive(Debug)]
pub struct ChangeWaiter {
    inotify: Option<OwnedFd>,
}

impl ChangeWaiter {
    /// Creates a waiter for the changes in `scope`.
    pub fn new(dir: &Dir, scope: WatchScope) -> Self {
        Self::for_runs([dir], scope)
    }

    /// Creates a waiter for the changes in any of the runs in `dirs`.
    pub fn for_runs<'a>(dirs: impl IntoIterator<Item = &'a Dir>, scope: WatchScope) -> Self {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).ok().filter(|fd| {
            let in_jobs = match scope {
                WatchScope::Log => IN_JOBS,
                WatchScope::LogAndOutput => IN_RUN,
            };
            dirs.into_iter().all(|dir| {
                // Watch by path, because inotify has no call relative to a directory.
                inotify::add_watch(fd, dir.path().join(layout::JOBS), in_jobs).ok();
                inotify::add_watch(fd, dir.path(), IN_RUN).is_ok()
            })
        });
        Self { inotify }
    }

    /// Waits until something changes, the next poll is due, or the deadline passes.
    pub fn wait_for_change(&self, deadline: Option<Instant>) {
        let inotify = self
            .inotify
            .as_ref()
            .map(|fd| PollFd::new(fd, PollFlags::IN));
        self.poll(&mut inotify.into_iter().collect::<Vec<_>>(), deadline);
    }

    /// Waits like [`ChangeWaiter::wait_for_change`], but also until the reader of `output`
    /// closes its end. Returns whether it has.
    pub fn wait_for_change_or_close(
        &self,
        deadline: Option<Instant>,
        output: BorrowedFd<'_>,
    ) -> bool {
        // poll(2) always reports these two.
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
        // The events themselves do not matter, because the caller reads the run again.
        let mut buf = [0_u8; 4096];
        if let Some(fd) = &self.inotify {
            while rustix::io::read(fd, &mut buf).is_ok_and(|n| n > 0) {}
        }
    }
}
