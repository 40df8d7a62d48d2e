//! Shows one run or all runs, and follows them as they change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cursor_store::CursorStore;
use super::filter::Filter;
use super::line_writer::{LineFormat, LineWriter};
use super::run_status::RunStatusTracker;
use super::select::{RequestedRuns, StartPoint, named, open_cursor_store};
use super::stdout_sink::StdoutSink;
use super::stop_reason::{Problems, StopConditions, StopReason, StoppedBy};
use super::until::Until;
use crate::cli::context::{DamageWarnings, Global, print_stderr};
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
fn pause(least: Duration, started: Instant) -> Duration {
    least.max(MAX_INTERVAL.min(started.elapsed() * BACKOFF_FACTOR))
}

/// How far a run was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// To its last line so far.
    Current,
    /// To a line that was written after the time of `--until`.
    Held,
    /// To the end of a closed run.
    Finished,
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
    pub existed: bool,
    /// Whether changes of the log are reported.
    pub watched: bool,
    pub progress: Progress,
    /// The error of the last attempt to read the run.
    pub error: Option<String>,
}

impl FollowedRun {
    /// Returns whether the run is closed and completely read.
    pub(crate) fn end(&self) -> RunEnd {
        if self.progress == Progress::Finished {
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
    pub writer: LineWriter,
    pub cursors: CursorStore,
    pub watch: Option<Watcher>,
    pub stops: StopConditions,
    /// Runs that may have new lines.
    pub followed: BTreeMap<RunId, FollowedRun>,
    /// With `--all`: finished runs, which are seldom polled.
    pub finished: BTreeMap<RunId, FollowedRun>,
    /// Runs to poll now.
    pub queue: BTreeSet<RunId>,
    /// Runs that were removed since the last flush.
    pub newly_removed: Vec<RunId>,
    pub removed: RemovedRuns,
    /// The removed runs to report.
    pub requested: RequestedRuns,
    /// Removed runs that still exist and have shown no lines.
    pub unshown: Vec<RemovedRun>,
    pub problems: Problems,
    pub warnings: DamageWarnings,
    /// Whether new runs are reported.
    runs_watched: bool,
    next_poll: Instant,
    /// When the current poll of all runs started.
    poll_started: Option<Instant>,
    next_sweep: Instant,
}

impl<'a> Tailer<'a> {
    pub(crate) fn new(args: &'a Args, global: &Global, deadline: Option<Instant>) -> Result<Self> {
        let volume = global.volume()?;
        let (requested, cursors) = if args.all {
            (None, open_cursor_store(args)?)
        } else {
            let (requested, cursors) = named(args, &volume)?;
            (Some(requested), cursors)
        };
        // Read this before listing the runs, so that no run that is removed meanwhile is missed.
        let removed = match cursors.retired() {
            Some(position) => RemovedRuns::starting_at(position),
            None if args.cursor_file.is_some() => RemovedRuns::from_now_on(&volume)?,
            None => RemovedRuns::default(),
        };
        let sink = match &args.cursor_file {
            Some(_) => StdoutSink::acknowledged(),
            None => StdoutSink::unacknowledged(),
        };
        let sink = sink.with_pager(args.paging());
        let format = match &requested {
            _ if args.json => LineFormat::Json,
            Some(requested) if requested.runs.len() <= 1 => LineFormat::Text,
            _ => LineFormat::TextWithRun,
        };
        let mut stops = StopConditions::new(deadline);
        if cursors.is_used() {
            stops.block_signals()?;
        }
        let mut tailer = Self {
            args,
            filter: Filter::new(args),
            runs: volume.runs()?,
            volume,
            writer: LineWriter::new(sink, global.style(), format),
            watch: args.follows().then(Watcher::default),
            stops,
            cursors,
            followed: BTreeMap::new(),
            finished: BTreeMap::new(),
            queue: BTreeSet::new(),
            newly_removed: Vec::new(),
            removed,
            requested: RequestedRuns::new(requested.as_ref()),
            unshown: Vec::new(),
            problems: Problems::default(),
            warnings: DamageWarnings::default(),
            runs_watched: false,
            next_poll: Instant::now() + RECHECK_INTERVAL,
            poll_started: None,
            next_sweep: Instant::now() + SWEEP_INTERVAL,
        };
        if args.cursor_file.is_some() {
            tailer.writer.end_torn_line();
        }
        let removed_cursors = if let Some(requested) = requested {
            for run in requested.runs {
                let start = tailer.start_point(&run)?;
                tailer.add_run(run, start);
            }
            requested.removed
        } else {
            for run in tailer.unfollowed_runs()? {
                let start = tailer.start_point(&run)?;
                tailer.add_run(run, start);
            }
            let is_removed = |c: &&Cursor| !tailer.followed.contains_key(c.run());
            tailer.cursors.iter().filter(is_removed).cloned().collect()
        };
        tailer.report_removed_runs(&removed_cursors)?;
        Ok(tailer)
    }

    /// Adds a run.
    pub(crate) fn add_run(&mut self, run: RunId, start: StartPoint) {
        self.writer.align(&run);
        let by_name = !self.args.all && self.args.follows();
        let for_state = matches!(self.args.until, Some(Until::State(_)));
        let followed = FollowedRun {
            follower: Follower::new(start.start),
            skip: start.skip,
            state: (by_name || for_state).then(RunStatusTracker::default),
            before: None,
            existed: start.existed,
            watched: false,
            progress: Progress::Current,
            error: None,
        };
        self.followed.insert(run.clone(), followed);
        self.queue.insert(run);
    }

    /// Reports removed runs that were not read completely.
    fn report_removed_runs(&mut self, cursors: &[Cursor]) -> Result<()> {
        if self.args.cursor_file.is_some() || !cursors.is_empty() {
            self.read_removed()?;
        }
        for cursor in cursors {
            if let Some(gap) = self.removed.gap_after(&self.volume, cursor)? {
                self.problems.damage = true;
                self.writer.gap(cursor.run(), &gap)?;
            }
        }
        self.report_unshown()?;
        for cursor in cursors {
            let run = cursor.run().clone();
            self.cursors.record(self.writer.accepted(), run, None);
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
        self.cursors.ack(self.writer.sink.read());
        let saved = self.cursors.save();
        self.cursors.show();
        self.warnings.finish();
        let stop = stop?;
        saved?;
        self.writer.sink.finish()?;
        if self.args.selects_events() && !self.args.follows() && self.writer.accepted() == 0 {
            print_stderr("no events match");
        }
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
        Ok(self.problems.code(code))
    }

    fn follow_until_end(&mut self) -> Result<StopReason> {
        loop {
            // Compare the time before reading all runs, so that no event until then is missed.
            let is_over = self.watch.is_some() && self.args.is_over();
            if is_over {
                self.apply(Changes {
                    any: true,
                    ..Changes::default()
                })?;
            }
            let stop = self.poll_queue()?;
            if self.args.cursor_file.is_some() {
                self.read_removed()?;
                self.report_unshown()?;
            }
            self.flush()?;
            if let Some(stop) = stop.or_else(|| self.stops.due()) {
                return Ok(stop);
            }
            let is_last = is_over || self.watch.is_none();
            if is_last || (!self.args.all && self.followed.is_empty()) {
                return Ok(StopReason::Done);
            }
            if self.queue.is_empty() {
                self.finish_poll();
                let changes = self.wait();
                if changes.output_closed {
                    return Ok(StopReason::Closed);
                }
                self.apply(changes)?;
            }
        }
    }

    fn poll_queue(&mut self) -> Result<Option<StopReason>> {
        for run in std::mem::take(&mut self.queue) {
            if let Some(stop) = self.poll(&run)? {
                return Ok(Some(stop));
            }
            if self.writer.is_full() {
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
        match &std::mem::take(&mut self.newly_removed)[..] {
            [] => {}
            [run] => print_stderr(format_args!("run {run} was removed")),
            runs => print_stderr(format_args!("{} runs were removed", runs.len())),
        }
        self.ack_and_save()
    }

    fn wait(&mut self) -> Changes {
        let times = [
            Some(self.next_poll),
            self.stops.deadline,
            self.cursors.due(),
        ];
        let next = times.into_iter().flatten().min();
        let longest = next.map_or(RECHECK_INTERVAL, |at| {
            at.saturating_duration_since(Instant::now())
        });
        let longest = self
            .args
            .left_until()
            .map_or(longest, |left| left.min(longest));
        let signals = self.stops.signals.as_ref().map(Interrupts::fd);
        match &mut self.watch {
            Some(watch) => watch.wait(longest, signals.as_slice(), io::stdout().as_fd()),
            None => Changes::default(),
        }
    }

    /// Queues the runs that may have changed.
    fn apply(&mut self, changes: Changes) -> Result<()> {
        for run in changes.runs {
            self.touch(run)?;
        }
        let now = Instant::now();
        if changes.any || now >= self.next_poll {
            self.poll_started = Some(now);
            if self.args.all && !self.runs_watched {
                self.add_new_runs()?;
            }
            self.queue.extend(self.followed.keys().cloned());
        }
        if self.args.all && (changes.any || now >= self.next_sweep) {
            self.add_new_runs()?;
            for run in self.finished.keys().cloned().collect::<Vec<_>>() {
                self.touch(run)?;
            }
            self.next_sweep = Instant::now() + pause(SWEEP_INTERVAL, now);
        }
        Ok(())
    }

    /// Schedules the next poll of all runs.
    fn finish_poll(&mut self) {
        let Some(started) = self.poll_started.take() else {
            return;
        };
        let listing = self.runs_watched || !self.args.all;
        let all_watched = listing && self.followed.values().all(|followed| followed.watched);
        let least = if all_watched {
            RECHECK_INTERVAL
        } else {
            POLL_INTERVAL
        };
        self.next_poll = Instant::now() + pause(least, started);
    }

    /// Queues a run that may have changed.
    fn touch(&mut self, run: RunId) -> Result<()> {
        if self.followed.contains_key(&run) {
            self.queue.insert(run);
        } else if let Some(finished) = self.finished.get(&run) {
            let active = match &self.runs {
                Some(runs) => runs.stat(&layout::active_of(&run))?,
                None => None,
            };
            if active.is_none_or(|active| !finished.follower.has_seen(&active))
                && let Some(finished) = self.finished.remove(&run)
            {
                self.followed.insert(run.clone(), finished);
                self.queue.insert(run);
            }
        } else if self.args.all {
            self.add_run(run, StartPoint::new_run(self.args));
        }
        Ok(())
    }

    /// Follows the new runs of the volume.
    fn add_new_runs(&mut self) -> Result<()> {
        for run in self.unfollowed_runs()? {
            self.add_run(run, StartPoint::new_run(self.args));
        }
        Ok(())
    }

    /// Returns the runs of the volume that are not followed.
    fn unfollowed_runs(&mut self) -> Result<Vec<RunId>> {
        if self.runs.is_none() {
            self.runs = self.volume.runs()?;
        }
        let Some(runs) = &self.runs else {
            return Ok(Vec::new());
        };
        if let Some(watch) = &mut self.watch {
            // Watch before listing, so that no change is missed in between.
            self.runs_watched = watch.watch_runs(runs);
        }
        let is_known =
            |run: &RunId| self.followed.contains_key(run) || self.finished.contains_key(run);
        let mut runs = list(&self.volume)?;
        runs.retain(|run| !is_known(run));
        Ok(runs)
    }
}
