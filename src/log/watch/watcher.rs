//! Waiting until something happens to one of many runs, or a new one appears.

use std::collections::HashMap;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::fs::inotify::{CreateFlags, ReadFlags, WatchFlags};

use crate::volume::{Dir, RunId, layout};

/// What tells of a change in the folder of a run.
pub(crate) const IN_RUN: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// What tells of a change in the folder of its jobs: of their leases, and not of all that
/// they print.
pub(crate) const IN_JOBS: WatchFlags = IN_RUN.difference(WatchFlags::MODIFY);
/// What tells of runs that come and go.
const IN_RUNS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

/// What woke us up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Runs in which something happened, that came or went; one may be there several
    /// times.
    pub runs: Vec<RunId>,
    /// More happened than could be told: any run may have changed.
    pub any: bool,
    /// Nobody reads our output any more.
    pub output_closed: bool,
}

/// Watches runs, and the folder of the runs.
#[derive(Debug)]
pub struct Watcher {
    inotify: Option<OwnedFd>,
    /// Whose folder a watch is on; `None`: the folder of the runs.
    owners: HashMap<i32, Option<RunId>>,
    /// The watches of a run: its folder, and that of its jobs.
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
    /// Watches the folder of the runs; says whether that could be done.
    pub fn watch_runs(&mut self, runs: &Dir) -> bool {
        self.add(runs, "", IN_RUNS, None).is_some()
    }

    /// Watches the run in `dir`, and with `jobs` its jobs' leases, as far as
    /// that is not done yet; says whether its log is watched.
    pub fn watch_run(&mut self, run: &RunId, dir: &Dir, jobs: bool) -> bool {
        let [mut of_run, mut of_jobs] = self.watches.get(run).copied().unwrap_or_default();
        of_run = of_run.or_else(|| self.add(dir, "", IN_RUN, Some(run)));
        if jobs {
            of_jobs = of_jobs.or_else(|| self.add(dir, layout::JOBS, IN_JOBS, Some(run)));
        }
        self.watches.insert(run.clone(), [of_run, of_jobs]);
        of_run.is_some()
    }

    /// Watches a run no longer.
    pub fn unwatch(&mut self, run: &RunId) {
        for wd in self.watches.remove(run).into_iter().flatten().flatten() {
            self.owners.remove(&wd);
            if let Some(fd) = &self.inotify {
                // Where its folder is gone, the watch is too.
                inotify::remove_watch(fd, wd).ok();
            }
        }
    }

    /// Watched by path: inotify has no call that is relative to a folder.
    fn add(&mut self, dir: &Dir, sub: &str, what: WatchFlags, of: Option<&RunId>) -> Option<i32> {
        let fd = self.inotify.as_ref()?;
        let wd = inotify::add_watch(fd, dir.path().join(sub), what).ok()?;
        self.owners.insert(wd, of.cloned());
        Some(wd)
    }

    /// Waits until something happened, one of `others` (signals, keys) can be read, nobody
    /// reads what is written to `output`, or `longest` is over.
    pub fn wait(
        &mut self,
        longest: Duration,
        others: &[BorrowedFd<'_>],
        output: BorrowedFd<'_>,
    ) -> Changes {
        let closed = PollFlags::ERR | PollFlags::HUP;
        // These two are told of without being asked for.
        let mut fds = vec![PollFd::from_borrowed_fd(output, PollFlags::empty())];
        let inotify = self.inotify.as_ref().map(AsFd::as_fd);
        for fd in others.iter().copied().chain(inotify) {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        }
        let timeout = Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        let begun = Instant::now();
        if poll(&mut fds, Some(&timeout)).is_err() && begun.elapsed() < longest {
            // Interrupted, or no memory: not to be tried without a pause.
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
            let gone = ReadFlags::IGNORED | ReadFlags::MOVE_SELF;
            if event.events().intersects(gone) {
                dropped.push(event.wd());
            }
        }
        for wd in dropped {
            if let Some(Some(run)) = self.owners.get(&wd).cloned() {
                // Whoever has its name now is watched anew.
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
