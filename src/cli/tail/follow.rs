//! Showing runs, one or all, as they are and as they go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cursor_store::Ledger;
use super::filter::Filter;
use super::line_writer::Shown;
use super::run_status::StateOfRun;
use super::select::{named, open_ledger, start};
use super::stdout_sink::Outlet;
use super::stop_reason::{Met, Stop, Stopped, Stops};
use super::until::Until;
use crate::cli::context::{Global, say};
use crate::cli::exit::Code;
use crate::cli::tail::Args;
use crate::job::{Interrupts, RunStateKind};
use crate::log::{Changes, Cursor, Follower, Gone, Start, Watch, list};
use crate::volume::{Dir, RunId, Volume, layout};

/// How often runs are looked at where nothing tells of their changes.
const POLL: Duration = Duration::from_millis(200);
/// The same, where something does: a supervisor that died, a network file system.
const LOOK: Duration = Duration::from_secs(1);
/// How often runs that are over are looked at: they seldom change.
const SWEEP: Duration = Duration::from_secs(5);
/// Looking without being told that there is news takes at most one part of so many of
/// the time, …
const SHARE: u32 = 20;
/// … but is never put off for longer than this: it may have been slow by chance.
const LONGEST: Duration = Duration::from_secs(20);

/// How long the next look is put off.
fn pause(least: Duration, begun: Instant) -> Duration {
    least.max(LONGEST.min(begun.elapsed() * SHARE))
}

/// A run that is shown.
#[derive(Debug)]
pub(crate) struct Followed {
    pub follower: Follower,
    /// Its state, where that matters.
    pub state: Option<StateOfRun>,
    /// A state that it was in before we came, and that does not count.
    pub before: Option<RunStateKind>,
    /// Whether it was there before we came.
    pub old: bool,
    /// Whether changes of its log are told.
    pub watched: bool,
    /// Whether all of it was read, and it is closed.
    pub over: bool,
}

/// Shows runs.
#[derive(Debug)]
pub(crate) struct Tailer<'a> {
    pub args: &'a Args,
    pub filter: Filter<'a>,
    pub volume: Volume,
    pub runs: Option<Dir>,
    pub shown: Shown,
    pub ledger: Ledger,
    pub watch: Option<Watch>,
    pub stops: Stops,
    /// Runs that may have news.
    pub followed: BTreeMap<RunId, Followed>,
    /// With `--all`: those that are over, which are looked at seldom.
    pub over: BTreeMap<RunId, Followed>,
    /// Runs to be looked at now.
    pub queue: BTreeSet<RunId>,
    /// Runs that were removed since the last flush.
    pub left: Vec<RunId>,
    pub removed: Gone,
    pub met: Met,
    /// Whether runs that come are told.
    runs_watched: bool,
    next_look: Instant,
    /// When the look at all runs that is under way was begun.
    look_begun: Option<Instant>,
    next_sweep: Instant,
}

impl<'a> Tailer<'a> {
    pub(crate) fn new(args: &'a Args, global: &Global, deadline: Option<Instant>) -> Result<Self> {
        let volume = global.volume()?;
        let (asked, ledger) = if args.all {
            (None, open_ledger(args)?)
        } else {
            let (asked, ledger) = named(args, &volume)?;
            (Some(asked), ledger)
        };
        let outlet = Outlet::stdout(args.cursor_file.is_some());
        let several = asked.as_ref().is_none_or(|asked| asked.runs.len() > 1);
        let mut tailer = Self {
            args,
            filter: Filter::new(args),
            runs: volume.runs()?,
            volume,
            shown: Shown::new(outlet, global.style(), args.json, several),
            watch: args.follows().then(Watch::default),
            stops: Stops::new(deadline, ledger.is_used())?,
            ledger,
            followed: BTreeMap::new(),
            over: BTreeMap::new(),
            queue: BTreeSet::new(),
            left: Vec::new(),
            removed: Gone::default(),
            met: Met::default(),
            runs_watched: false,
            next_look: Instant::now() + LOOK,
            look_begun: None,
            next_sweep: Instant::now() + SWEEP,
        };
        if args.cursor_file.is_some() {
            tailer.shown.end_torn_line();
        }
        let gone = if let Some(asked) = asked {
            for run in asked.runs {
                let start = start(args, &tailer.ledger, &run);
                tailer.join(run, start, true);
            }
            asked.gone
        } else {
            tailer.list_new(true)?;
            let is_gone = |c: &&Cursor| !tailer.followed.contains_key(c.run());
            tailer.ledger.cursors().filter(is_gone).cloned().collect()
        };
        tailer.tell_gone(&gone)?;
        Ok(tailer)
    }

    /// Takes up a run.
    pub(crate) fn join(&mut self, run: RunId, start: Start, old: bool) {
        self.shown.align(&run);
        let by_name = !self.args.all && self.args.follows();
        let for_state = matches!(self.args.until, Some(Until::State(_)));
        let followed = Followed {
            follower: Follower::new(start),
            state: (by_name || for_state).then(StateOfRun::default),
            before: None,
            old,
            watched: false,
            over: false,
        };
        self.followed.insert(run.clone(), followed);
        self.queue.insert(run);
    }

    /// Tells of runs that are gone, though not all of them was read.
    fn tell_gone(&mut self, cursors: &[Cursor]) -> Result<()> {
        self.removed.update(&self.volume)?;
        for cursor in cursors {
            if let Some(gap) = self.removed.missing(cursor) {
                self.met.damage = true;
                self.shown.gap(cursor.run(), &gap)?;
            }
            let run = cursor.run().clone();
            self.ledger.note(self.shown.taken(), run, None);
        }
        Ok(())
    }

    /// Shows what there is to show, to its end.
    pub(crate) fn run(mut self) -> Result<Code> {
        let stop = match self.go() {
            Err(e) => e.downcast().map(|Stopped(stop)| stop),
            ended => ended,
        };
        let stop = stop.and_then(|stop| self.let_read(stop));
        // What was read has its cursors kept, whatever else went wrong.
        self.ledger.settle(self.shown.outlet.read());
        let saved = self.ledger.save();
        self.ledger.show();
        let stop = stop?;
        saved?;
        let code = match (stop, &self.args.until) {
            (Stop::Timeout, _) => Code::Running,
            (Stop::Done, Some(until)) if until.is_awaited() => {
                say(format_args!("the runs have ended: {}", until.never()));
                Code::Negative
            }
            _ => Code::Ok,
        };
        if let Stop::Signal(signal) = stop
            && let Some(signals) = self.stops.signals
        {
            Interrupts::obey(signals, signal);
        }
        Ok(self.met.code(code))
    }

    fn go(&mut self) -> Result<Stop> {
        loop {
            let stop = self.look_at_queue()?;
            self.flush()?;
            if let Some(stop) = stop.or_else(|| self.stops.due()) {
                return Ok(stop);
            }
            if self.watch.is_none() || (!self.args.all && self.followed.is_empty()) {
                return Ok(Stop::Done);
            }
            if self.queue.is_empty() {
                self.look_is_done();
                let changes = self.wait();
                if changes.output_closed {
                    return Ok(Stop::Closed);
                }
                self.take(changes)?;
            }
        }
    }

    fn look_at_queue(&mut self) -> Result<Option<Stop>> {
        for run in std::mem::take(&mut self.queue) {
            if let Some(stop) = self.look(&run)? {
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

    /// Writes what is to be shown, and takes note of it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        match &std::mem::take(&mut self.left)[..] {
            [] => {}
            [run] => say(format_args!("run {run} was removed")),
            runs => say(format_args!("{} runs were removed", runs.len())),
        }
        self.keep()
    }

    fn wait(&mut self) -> Changes {
        let times = [Some(self.next_look), self.stops.deadline, self.ledger.due()];
        let next = times.into_iter().flatten().min();
        let longest = next.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
        let signals = self.stops.signals.as_ref().map(Interrupts::fd);
        match &mut self.watch {
            Some(watch) => watch.wait(longest, signals.as_slice(), io::stdout().as_fd()),
            None => Changes::default(),
        }
    }

    /// Decides which runs are to be looked at.
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
            self.next_sweep = Instant::now() + pause(SWEEP, now);
        }
        Ok(())
    }

    /// Decides when all runs are looked at next, told of changes or not.
    fn look_is_done(&mut self) {
        let Some(begun) = self.look_begun.take() else {
            return;
        };
        let listing = self.runs_watched || !self.args.all;
        let told = listing && self.followed.values().all(|followed| followed.watched);
        let least = if told { LOOK } else { POLL };
        self.next_look = Instant::now() + pause(least, begun);
    }

    /// Takes up what happened to a run.
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
            self.join(run, Start::Beginning, false);
        }
        Ok(())
    }

    /// Takes up the runs that are new in the folder of the runs.
    fn list_new(&mut self, old: bool) -> Result<()> {
        if self.runs.is_none() {
            self.runs = self.volume.runs()?;
        }
        let Some(runs) = &self.runs else {
            return Ok(());
        };
        if let Some(watch) = &mut self.watch {
            // Before the look, so that nothing comes in between unseen.
            self.runs_watched = watch.runs(runs);
        }
        for run in list(&self.volume)? {
            if !self.followed.contains_key(&run) && !self.over.contains_key(&run) {
                let start = if old {
                    start(self.args, &self.ledger, &run)
                } else {
                    Start::Beginning
                };
                self.join(run, start, old);
            }
        }
        Ok(())
    }
}
