//! Shows one run or all runs, and follows them as they change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cursor_store::CursorStore;
use super::filter::Filter;
use super::line_writer::LineWriter;
use super::run_status::RunStatusTracker;
use super::select::{AskedRuns, StartPoint, named, open_cursor_store, start};
use super::stdout_sink::StdoutSink;
use super::stop_reason::{ReadinessSet, StopConditions, StopReason, StoppedBy};
use super::until::Until;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::tail::Args;
use crate::job::{Interrupts, RunStatus};
use crate::log::{Changes, Cursor, Follower, RemovedRun, RemovedRuns, RunEnd, Watcher, list};
use crate::volume::{Dir, RunId, Volume, layout};

/// How often to poll runs whose changes are not reported.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How often to poll runs even though changes are reported: a supervisor may have died, or the
/// file system may be a network one.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often to poll finished runs, which seldom change.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Polling takes at most one part in this many of the time, up to a delay of [`MAX_INTERVAL`].
const BACKOFF_FACTOR: u32 = 20;
/// The maximum delay between polls, since one poll may have been slow by chance.
const MAX_INTERVAL: Duration = Duration::from_secs(20);

/// Returns how long to wait before the next poll.
fn pause(least: Duration, begun: Instant) -> Duration {
    least.max(MAX_INTERVAL.min(begun.elapsed() * BACKOFF_FACTOR))
}

/// A run that `tail` shows.
#[derive(Debug)]
pub(crate) struct FollowedRun {
    pub follower: Follower,
    /// The number of matching lines still to skip.
    pub skip: usize,
    /// The state of the run, if it matters.
    pub state: Option<RunStatusTracker>,
    /// The state when `tail` started, which does not count.
    pub before: Option<RunStatus>,
    /// Whether the run existed when `tail` started.
    pub old: bool,
    /// Whether changes of the log are reported.
    pub watched: bool,
    /// Whether the run is closed and completely read.
    pub over: bool,
    /// The error of the last attempt to read the run.
    pub error: Option<String>,
}

impl FollowedRun {
    /// Returns whether the run is closed and completely read.
    pub(crate) fn end(&self) -> RunEnd {
        if self.over {
            RunEnd::Reached
        } else {
            RunEnd::Open
        }
    }
}

/// The state of `tail`: the runs that it shows, and where their lines go.
#[derive(Debug)]
pub(crate) struct Tailer<'a> {
    pub args: &'a Args,
    pub filter: Filter<'a>,
    pub volume: Volume,
    pub runs: Option<Dir>,
    pub shown: LineWriter,
    pub ledger: CursorStore,
    pub watch: Option<Watcher>,
    pub stops: StopConditions,
    /// Runs that may have new lines.
    pub followed: BTreeMap<RunId, FollowedRun>,
    /// With `--all`: finished runs, which are seldom polled.
    pub over: BTreeMap<RunId, FollowedRun>,
    /// Runs to poll now.
    pub queue: BTreeSet<RunId>,
    /// Runs that were removed since the last flush.
    pub left: Vec<RunId>,
    pub removed: RemovedRuns,
    /// The removed runs to report.
    pub asked: AskedRuns,
    /// Removed runs that still exist and have shown no lines.
    pub unshown: Vec<RemovedRun>,
    pub met: ReadinessSet,
    /// Whether new runs are reported.
    runs_watched: bool,
    next_look: Instant,
    /// When the current poll of all runs started.
    look_begun: Option<Instant>,
    next_sweep: Instant,
}

impl<'a> Tailer<'a> {
    pub(crate) fn new(args: &'a Args, global: &Global, deadline: Option<Instant>) -> Result<Self> {
        let volume = global.volume()?;
        let (asked, ledger) = if args.all {
            (None, open_cursor_store(args)?)
        } else {
            let (asked, ledger) = named(args, &volume)?;
            (Some(asked), ledger)
        };
        // Read this before listing the runs, so that no run that is removed meanwhile is missed.
        let removed = match ledger.retired() {
            Some(position) => RemovedRuns::starting_at(position),
            None if args.cursor_file.is_some() => RemovedRuns::from_now_on(&volume)?,
            None => RemovedRuns::default(),
        };
        let outlet = match &args.cursor_file {
            Some(_) => StdoutSink::acknowledged(),
            None => StdoutSink::unacknowledged(),
        };
        let outlet = outlet.with_pager(args.paging());
        let several = asked.as_ref().is_none_or(|asked| asked.runs.len() > 1);
        let mut tailer = Self {
            args,
            filter: Filter::new(args),
            runs: volume.runs()?,
            volume,
            shown: LineWriter::new(outlet, global.style(), args.json, several),
            watch: args.follows().then(Watcher::default),
            stops: StopConditions::new(deadline, ledger.is_used())?,
            ledger,
            followed: BTreeMap::new(),
            over: BTreeMap::new(),
            queue: BTreeSet::new(),
            left: Vec::new(),
            removed,
            asked: AskedRuns::new(asked.as_ref()),
            unshown: Vec::new(),
            met: ReadinessSet::default(),
            runs_watched: false,
            next_look: Instant::now() + RECHECK_INTERVAL,
            look_begun: None,
            next_sweep: Instant::now() + SWEEP_INTERVAL,
        };
        if args.cursor_file.is_some() {
            tailer.shown.end_torn_line();
        }
        let gone = if let Some(asked) = asked {
            for run in asked.runs {
                let start = start(args, &tailer.ledger, &run);
                tailer.add_run(run, start, true);
            }
            asked.gone
        } else {
            tailer.list_new(true)?;
            let is_gone = |c: &&Cursor| !tailer.followed.contains_key(c.run());
            tailer.ledger.cursors().filter(is_gone).cloned().collect()
        };
        tailer.report_removed_runs(&gone)?;
        Ok(tailer)
    }

    /// Adds a run.
    pub(crate) fn add_run(&mut self, run: RunId, start: StartPoint, old: bool) {
        self.shown.align(&run);
        let by_name = !self.args.all && self.args.follows();
        let for_state = matches!(self.args.until, Some(Until::State(_)));
        let followed = FollowedRun {
            follower: Follower::new(start.start),
            skip: start.skip,
            state: (by_name || for_state).then(RunStatusTracker::default),
            before: None,
            old,
            watched: false,
            over: false,
            error: None,
        };
        self.followed.insert(run.clone(), followed);
        self.queue.insert(run);
    }

    /// Reports removed runs that were not read completely.
    fn report_removed_runs(&mut self, cursors: &[Cursor]) -> Result<()> {
        self.read_removed()?;
        for cursor in cursors {
            if let Some(gap) = self.removed.gap_after(&self.volume, cursor)? {
                self.met.damage = true;
                self.shown.gap(cursor.run(), &gap)?;
            }
        }
        self.report_unshown()?;
        for cursor in cursors {
            let run = cursor.run().clone();
            self.ledger.record(self.shown.accepted(), run, None);
        }
        Ok(())
    }

    /// Shows the runs until `tail` ends.
    pub(crate) fn run(mut self) -> Result<Code> {
        let stop = match self.follow_until_end() {
            Err(e) => e.downcast().map(|StoppedBy(stop)| stop),
            ended => ended,
        };
        let stop = stop.and_then(|stop| self.wait_for_reader(stop));
        // Keep the cursors of what was read, whatever else failed.
        self.ledger.ack(self.shown.outlet.read());
        let saved = self.ledger.save();
        self.ledger.show();
        let stop = stop?;
        saved?;
        self.shown.outlet.finish()?;
        let code = match (stop, &self.args.until) {
            (StopReason::Timeout, _) => Code::Running,
            (StopReason::Done, Some(until)) if until.is_awaited() => {
                print_stderr(format_args!("the runs have ended: {}", until.never()));
                Code::Negative
            }
            _ => Code::Ok,
        };
        if let StopReason::Signal(signal) = stop
            && let Some(signals) = self.stops.signals
        {
            Interrupts::reraise(signals, signal);
        }
        Ok(self.met.code(code))
    }

    fn follow_until_end(&mut self) -> Result<StopReason> {
        loop {
            let stop = self.poll_queue()?;
            if self.args.cursor_file.is_some() {
                self.read_removed()?;
                self.report_unshown()?;
            }
            self.flush()?;
            if let Some(stop) = stop.or_else(|| self.stops.due()) {
                return Ok(stop);
            }
            if self.watch.is_none() || (!self.args.all && self.followed.is_empty()) {
                return Ok(StopReason::Done);
            }
            if self.queue.is_empty() {
                self.finish_poll();
                let changes = self.wait();
                if changes.output_closed {
                    return Ok(StopReason::Closed);
                }
                self.take(changes)?;
            }
        }
    }

    fn poll_queue(&mut self) -> Result<Option<StopReason>> {
        for run in std::mem::take(&mut self.queue) {
            if let Some(stop) = self.poll(&run)? {
                return Ok(Some(stop));
            }
            if self.shown.is_full() {
                self.flush()?;
                if let Some(stop) = self.stops.due() {
                    return Ok(Some(stop));
                }
            }
        }
        Ok(None)
    }

    /// Writes the buffered lines, and records what was read.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        match &std::mem::take(&mut self.left)[..] {
            [] => {}
            [run] => print_stderr(format_args!("run {run} was removed")),
            runs => print_stderr(format_args!("{} runs were removed", runs.len())),
        }
        self.ack_and_save()
    }

    fn wait(&mut self) -> Changes {
        let times = [Some(self.next_look), self.stops.deadline, self.ledger.due()];
        let next = times.into_iter().flatten().min();
        let longest = next.map_or(RECHECK_INTERVAL, |at| {
            at.saturating_duration_since(Instant::now())
        });
        let signals = self.stops.signals.as_ref().map(Interrupts::fd);
        match &mut self.watch {
            Some(watch) => watch.wait(longest, signals.as_slice(), io::stdout().as_fd()),
            None => Changes::default(),
        }
    }

    /// Queues the runs that may have changed.
    fn take(&mut self, changes: Changes) -> Result<()> {
        for run in changes.runs {
            self.touch(run)?;
        }
        let now = Instant::now();
        if changes.any || now >= self.next_look {
            self.look_begun = Some(now);
            if self.args.all && !self.runs_watched {
                self.list_new(false)?;
            }
            self.queue.extend(self.followed.keys().cloned());
        }
        if self.args.all && (changes.any || now >= self.next_sweep) {
            self.list_new(false)?;
            for run in self.over.keys().cloned().collect::<Vec<_>>() {
                self.touch(run)?;
            }
            self.next_sweep = Instant::now() + pause(SWEEP_INTERVAL, now);
        }
        Ok(())
    }

    /// Schedules the next poll of all runs.
    fn finish_poll(&mut self) {
        let Some(begun) = self.look_begun.take() else {
            return;
        };
        let listing = self.runs_watched || !self.args.all;
        let told = listing && self.followed.values().all(|followed| followed.watched);
        let least = if told {
            RECHECK_INTERVAL
        } else {
            POLL_INTERVAL
        };
        self.next_look = Instant::now() + pause(least, begun);
    }

    /// Queues a run that may have changed.
    fn touch(&mut self, run: RunId) -> Result<()> {
        if self.followed.contains_key(&run) {
            self.queue.insert(run);
        } else if let Some(over) = self.over.get(&run) {
            let active = match &self.runs {
                Some(runs) => runs.stat(&layout::active_of(&run))?,
                None => None,
            };
            if active.is_none_or(|active| !over.follower.has_seen(&active))
                && let Some(over) = self.over.remove(&run)
            {
                self.followed.insert(run.clone(), over);
                self.queue.insert(run);
            }
        } else if self.args.all {
            self.add_run(run, StartPoint::new_run(self.args), false);
        }
        Ok(())
    }

    /// Follows the new runs in the directory of the runs.
    fn list_new(&mut self, old: bool) -> Result<()> {
        if self.runs.is_none() {
            self.runs = self.volume.runs()?;
        }
        let Some(runs) = &self.runs else {
            return Ok(());
        };
        if let Some(watch) = &mut self.watch {
            // Watch before listing, so that no change is missed in between.
            self.runs_watched = watch.watch_runs(runs);
        }
        for run in list(&self.volume)? {
            if !self.followed.contains_key(&run) && !self.over.contains_key(&run) {
                let start = if old {
                    start(self.args, &self.ledger, &run)
                } else {
                    StartPoint::new_run(self.args)
                };
                self.add_run(run, start, old);
            }
        }
        Ok(())
    }
}
