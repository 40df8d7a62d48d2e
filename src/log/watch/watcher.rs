//! Waiting for changes in many runs, and for runs that appear and disappear.

use std::collections::HashMap;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::fs::inotify::{CreateFlags, ReadFlags, WatchFlags};

use crate::volume::{Dir, RunId, layout};

/// The events that signal a change in the directory of a run.
pub(crate) const IN_RUN: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// The events that signal a change of a lease in the directory of the jobs, but not output.
pub(crate) const IN_JOBS: WatchFlags = IN_RUN.difference(WatchFlags::MODIFY);
/// The events that signal that a run appeared or disappeared.
const IN_RUNS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

/// The changes that ended a wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The runs that changed, appeared or disappeared. A run may be listed several times.
    pub runs: Vec<RunId>,
    /// Whether events were lost, so that any run may have changed.
    pub any: bool,
    /// Whether the reader of the output closed its end.
    pub output_closed: bool,
}

/// A watch on runs and on the directory of the runs.
#[derive(Debug)]
pub struct Watcher {
    inotify: Option<OwnedFd>,
    /// The run that each watch belongs to; `None` for the directory of the runs.
    owners: HashMap<i32, Option<RunId>>,
    /// The watches of each run: on its directory and on the directory of its jobs.
    watches: HashMap<RunId, [Option<i32>; 2]>,
}

impl Default for Watcher {
    fn default() -> Self {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        Self {
            inotify: inotify::init(flags).ok(),
            owners: HashMap::new(),
            watches: HashMap::new(),
        }
    }
}

impl Watcher {
    /// Watches the directory of the runs, and returns whether that succeeded.
    pub fn watch_runs(&mut self, runs: &Dir) -> bool {
        self.add(runs, "", IN_RUNS, None).is_some()
    }

    /// Watches the log of the run in `dir`, unless it is already watched. Returns whether it is
    /// watched now.
    pub fn watch_run(&mut self, run: &RunId, dir: &Dir) -> bool {
        let [mut of_run, of_jobs] = self.watches.get(run).copied().unwrap_or_default();
        of_run = of_run.or_else(|| self.add(dir, "", IN_RUN, Some(run)));
        self.watches.insert(run.clone(), [of_run, of_jobs]);
        of_run.is_some()
    }

    /// Watches the leases of the jobs of the run in `dir`, unless they are already watched.
    pub fn watch_leases(&mut self, run: &RunId, dir: &Dir) {
        let [of_run, mut of_jobs] = self.watches.get(run).copied().unwrap_or_default();
        of_jobs = of_jobs.or_else(|| self.add(dir, layout::JOBS, IN_JOBS, Some(run)));
        self.watches.insert(run.clone(), [of_run, of_jobs]);
    }

    /// Watches the leases and the output of the jobs of the run in `dir`, unless they are
    /// already watched.
    pub fn watch_output(&mut self, run: &RunId, dir: &Dir) {
        let [of_run, mut of_jobs] = self.watches.get(run).copied().unwrap_or_default();
        of_jobs = of_jobs.or_else(|| self.add(dir, layout::JOBS, IN_RUN, Some(run)));
        self.watches.insert(run.clone(), [of_run, of_jobs]);
    }

    /// Stops watching a run.
    pub fn unwatch(&mut self, run: &RunId) {
        for wd in self.watches.remove(run).into_iter().flatten().flatten() {
            self.owners.remove(&wd);
            if let Some(fd) = &self.inotify {
                // A removed directory has already lost its watch.
                inotify::remove_watch(fd, wd).ok();
            }
        }
    }

    /// Adds a watch by path, because inotify has no call relative to a directory.
    fn add(
        &mut self,
        dir: &Dir,
        sub: &str,
        events: WatchFlags,
        owner: Option<&RunId>,
    ) -> Option<i32> {
        let fd = self.inotify.as_ref()?;
        let wd = inotify::add_watch(fd, dir.path().join(sub), events).ok()?;
        self.owners.insert(wd, owner.cloned());
        Some(wd)
    }

    /// Waits until something changes, one of `others` (signals, keys) is readable, the reader of
    /// `output` closes its end, or `longest` has passed.
    pub fn wait(
        &mut self,
        longest: Duration,
        others: &[BorrowedFd<'_>],
        output: BorrowedFd<'_>,
    ) -> Changes {
        let closed = PollFlags::ERR | PollFlags::HUP;
        // poll(2) always reports these two.
        let mut fds = vec![PollFd::from_borrowed_fd(output, PollFlags::empty())];
        let inotify = self.inotify.as_ref().map(AsFd::as_fd);
        for fd in others.iter().copied().chain(inotify) {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let timeout = Timespec::try_from(longest).ok();
        let started = Instant::now();
        if poll(&mut fds, timeout.as_ref()).is_err() && started.elapsed() < longest {
            // Interrupted or out of memory: pause before the next attempt.
            std::thread::sleep(longest.min(Duration::from_millis(10)));
        }
        let output_closed = fds.iter().take(1).any(|fd| fd.revents().intersects(closed));
        Changes {
            output_closed,
            ..self.changes()
        }
    }

    fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        let Some(fd) = &self.inotify else {
            return changes;
        };
        let mut buf = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(fd, &mut buf);
        let mut dropped = Vec::new();
        while let Ok(event) = events.next() {
            changes.any |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let run = match self.owners.get(&event.wd()) {
                Some(Some(run)) => Some(run.clone()),
                Some(None) => run_named(event.file_name()),
                None => None,
            };
            if let Some(run) = run.filter(|run| changes.runs.last() != Some(run)) {
                changes.runs.push(run);
            }
            let gone_flags = ReadFlags::IGNORED | ReadFlags::MOVE_SELF;
            if event.events().intersects(gone_flags) {
                dropped.push(event.wd());
            }
        }
        for wd in dropped {
            if let Some(Some(run)) = self.owners.get(&wd).cloned() {
                // A new directory may have its name by now, and needs a new watch.
                self.unwatch(&run);
            }
            self.owners.remove(&wd);
        }
        changes
    }
}

fn run_named(name: Option<&CStr>) -> Option<RunId> {
    name?.to_str().ok()?.parse().ok()
}
