//! Waiting until something happens to a run.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::fs::inotify::CreateFlags;

use super::watcher::{IN_JOBS, IN_RUN};
use crate::volume::{Dir, layout};

/// How often a run is looked at where nothing tells of its changes: a full inotify
/// limit, a network file system, a supervisor that died.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The same, where inotify tells of them.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Wakes up when something happens in a run's folder.
#[derive(Debug)]
pub struct ChangeWaiter {
    inotify: Option<OwnedFd>,
}

impl ChangeWaiter {
    /// Watches the run in `dir`: its log, the leases of its jobs, and with `output` what
    /// they print. A job that prints much would wake up all the others for nothing.
    pub fn new(dir: &Dir, output: bool) -> Self {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).ok().filter(|fd| {
            // Watched by path: inotify has no call that is relative to a folder.
            let of_jobs = if output { IN_RUN } else { IN_JOBS };
            inotify::add_watch(fd, dir.path().join(layout::JOBS), of_jobs).ok();
            inotify::add_watch(fd, dir.path(), IN_RUN).is_ok()
        });
        Self { inotify }
    }

    /// Waits until something happened, or until it is time to look all the same; never
    /// longer than to the deadline.
    pub fn wait_for_change(&self, deadline: Option<Instant>) {
        let pause = if self.inotify.is_some() {
            RECHECK_INTERVAL
        } else {
            POLL_INTERVAL
        };
        let left = deadline.map_or(pause, |at| at.saturating_duration_since(Instant::now()));
        let pause = pause.min(left);
        let Some(fd) = &self.inotify else {
            std::thread::sleep(pause);
            return;
        };
        let timeout = Timespec {
            tv_sec: pause.as_secs() as i64,
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).ok();
        // What happened does not matter: the run is looked at anew.
        let mut buf = [0_u8; 4096];
        while rustix::io::read(fd, &mut buf).is_ok_and(|n| n > 0) {}
    }
}
