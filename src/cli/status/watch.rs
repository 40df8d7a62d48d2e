//! `status --watch`: shows runs as they proceed, on the whole screen or as a line of JSON for
//! each change.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context as _, Result};

use super::screen::{KeyAction, Screen};
use super::watched_runs::{WatchedLiveRun, WatchedRuns};
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit;
use crate::cli::exit::Code;
use crate::cli::status::Args;
use crate::cli::usage_error::UsageError;
use crate::job::{Interrupts, RunStatus, inspect_run, last_output_bytes};
use crate::log::{JobScope, JobState, StorageError, Ulid};
use crate::render::{
    Human, JobNow, JsonLines, ListFrame, MAX_SHOWN_JOBS, OUTPUT_TAIL_BYTES, RunFrame, RunNow,
    RunPrinter as _, RunRecord, Style, WatchedRun,
};
use crate::volume::{Dir, RunId, wall_clock};

/// How often durations on the screen are updated.
const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum time between two updates; faster changes are shown together.
const MIN_REDRAW_INTERVAL: Duration = Duration::from_millis(100);
/// The order in which states are counted in the summary: the most important first.
const STATES: [RunStatus; 7] = [
    RunStatus::Running,
    RunStatus::Open,
    RunStatus::Pending,
    RunStatus::Lost,
    RunStatus::Unknown,
    RunStatus::Failed,
    RunStatus::Completed,
];
/// The number of bytes to read for the last line of a job's output.
const LAST_LINE_BYTES: usize = 4 << 10;

/// The reason that watching ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchEnd {
    /// The run has ended.
    Done(RunStatus),
    /// The run was removed.
    Removed,
    /// The user quit, or the terminal or the reader of stdout is closed.
    Quit,
    /// `--timeout` has passed.
    Timeout,
    /// A signal was received.
    Signal(i32),
}

/// Shows the runs until watching ends.
pub(crate) fn watch(args: &Args, global: &Global) -> Result<Code> {
    let deadline = args.deadline();
    if !args.json {
        check_terminal()?;
    }
    let volume = global.volume()?;
    let only = match args.runs.as_slice() {
        [] => None,
        [name] => Some(global.run(name)?.0),
        _ => {
            return Err(UsageError {
                message: "--watch takes one RUN".to_owned(),
                hint: "watch one run, or all runs without RUN",
            }
            .into());
        }
    };
    let mut watcher = WatchCommand {
        args,
        deadline,
        runs: WatchedRuns::new(volume, only.clone(), args.report_changes()),
        only,
    };
    watcher.runs.begin()?;
    if args.json {
        watcher.lines()
    } else {
        watcher.screen(global)
    }
}

/// Checks that stdout is a terminal that can be redrawn.
fn check_terminal() -> Result<()> {
    let message = if !io::stdout().is_terminal() {
        "--watch needs a terminal on stdout"
    } else if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        "--watch needs a terminal that can be redrawn; TERM says that it cannot"
    } else {
        return Ok(());
    };
    Err(UsageError {
        message: message.to_owned(),
        hint: "use `runlog status --watch --json`, `runlog status --wait RUN` or `runlog tail -f RUN`",
    }
    .into())
}

struct WatchCommand<'a> {
    args: &'a Args,
    deadline: Option<Instant>,
    runs: WatchedRuns,
    only: Option<RunId>,
}

impl WatchCommand<'_> {
    /// Returns why watching ends, if it does.
    fn stop(&self) -> Option<WatchEnd> {
        if let Some(run) = &self.only {
            if let Some(over) = self.runs.finished.get(run) {
                return Some(WatchEnd::Done(over.state));
            }
            match self.runs.live.get(run).map(|live| &live.now) {
                None => return Some(WatchEnd::Removed),
                Some(Some((now, _))) if now.state.has_ended() => {
                    return Some(WatchEnd::Done(now.state));
                }
                Some(_) => {}
            }
        }
        let is_late = self.deadline.is_some_and(|at| at <= Instant::now());
        is_late.then_some(WatchEnd::Timeout)
    }

    /// Returns the maximum time to wait.
    fn longest(&self) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.deadline
            .map_or(REDRAW_INTERVAL, |at| REDRAW_INTERVAL.min(left(at)))
    }

    /// Prints a line of JSON for each run, then for each change.
    fn lines(mut self) -> Result<Code> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut is_first = true;
        let stop = loop {
            let started = Instant::now();
            self.runs.refresh()?;
            self.runs.schedule_recheck(started);
            let mut records = std::mem::take(&mut self.runs.changed);
            records.retain(|run| self.args.selects(run));
            if std::mem::take(&mut is_first) {
                records.sort_by_cached_key(age_of);
            }
            if self.args.number == Some(0) {
                records.clear();
            }
            let oldest = self.oldest();
            let is_new = |run: &&RunRecord| oldest.as_ref().is_none_or(|o| *o <= age_of(run));
            let mut new = records.iter().filter(is_new);
            let written = new.try_for_each(|run| JsonLines.run(&mut out, run));
            // Print problems before the changes that they explain.
            self.print_problems();
            let written = written.and_then(|()| out.flush());
            let closed = match written.context("cannot write to stdout") {
                Err(e) if exit::is_broken_pipe(&e) => Some(WatchEnd::Quit),
                written => written.map(|()| None)?,
            };
            if let Some(stop) = self.stop().or(closed) {
                break stop;
            }
            let longest = self.longest();
            let changes = self.runs.watch.wait(longest, &[], io::stdout().as_fd());
            if changes.output_closed {
                break WatchEnd::Quit;
            }
            self.runs.apply(changes)?;
            thread::sleep(
                MIN_REDRAW_INTERVAL
                    .saturating_sub(started.elapsed())
                    .min(self.longest()),
            );
        };
        self.end(stop)
    }

    /// Returns the age of the oldest run that `--number` selects.
    fn oldest(&self) -> Option<Age> {
        let n = self.args.number?;
        let mut ages: Vec<_> = self.selected().map(WatchedRun::age).collect();
        ages.sort_unstable();
        let at = ages.len().saturating_sub(n);
        let (first_id, run) = *ages.get(at)?;
        Some((first_id, run.clone()))
    }

    /// Draws the runs on the screen until watching ends.
    fn screen(mut self, global: &Global) -> Result<Code> {
        self.runs.refresh()?;
        let stop = if let Some(stop) = self.stop() {
            // The run has already ended.
            stop
        } else {
            let mut screen = Screen::enter()?;
            let stop = self.draw(&mut screen, global.style());
            // Restore the terminal before printing anything else.
            let signals = screen.leave_screen();
            let stop = stop.inspect_err(|_| self.print_problems())?;
            if let (WatchEnd::Signal(signal), Some(signals)) = (stop, signals) {
                self.print_problems();
                Interrupts::reraise(signals, signal);
            }
            stop
        };
        self.print_problems();
        if let (Some(run), WatchEnd::Done(_) | WatchEnd::Timeout) = (&self.only, stop) {
            let (run, dir) = global.run(run.as_str())?;
            let inspected = inspect_run(&dir, JobScope::All)?;
            let report = RunRecord::new(run, dir.path().to_owned(), inspected);
            let mut out = io::stdout().lock();
            let written = Human(global.style()).run(&mut out, &report);
            let written = written.and_then(|()| out.flush());
            return exit::answered(written.context("cannot write to stdout"), self.end(stop)?);
        }
        self.end(stop)
    }

    fn draw(&mut self, screen: &mut Screen, style: Style) -> Result<WatchEnd> {
        loop {
            let started = Instant::now();
            self.runs.refresh()?;
            self.runs.schedule_recheck(started);
            if let Some(stop) = self.stop() {
                return Ok(stop);
            }
            let (columns, rows) = screen.size();
            let style = Style {
                width: u16::try_from(columns).ok(),
                ..style
            };
            let lines = match &self.only {
                Some(run) => self.run_frame(run).map(|f| f.lines(style, rows)),
                None => Some(self.list_frame(rows).lines(style, rows)),
            };
            screen.draw(lines.unwrap_or_default())?;
            let wakers = screen.wakers();
            let longest = self.longest();
            let changes = self.runs.watch.wait(longest, &wakers, io::stdout().as_fd());
            drop(wakers);
            if changes.output_closed {
                return Ok(WatchEnd::Quit);
            }
            match screen.key_action()? {
                Some(KeyAction::Quit) => return Ok(WatchEnd::Quit),
                Some(KeyAction::Signal(signal)) => return Ok(WatchEnd::Signal(signal)),
                None => {}
            }
            self.runs.apply(changes)?;
            thread::sleep(MIN_REDRAW_INTERVAL.saturating_sub(started.elapsed()));
        }
    }

    /// Prints the problems that were collected while the screen was active.
    fn print_problems(&mut self) {
        for warning in self.runs.problems.warnings.drain(..) {
            print_stderr(warning);
        }
        if self.args.json {
            for run in self.runs.problems.removed.drain(..) {
                print_stderr(format_args!("run {run} was removed"));
            }
        }
    }

    fn end(&self, stop: WatchEnd) -> Result<Code> {
        let code = match stop {
            WatchEnd::Done(RunStatus::Completed) => return Ok(Code::Ok),
            WatchEnd::Done(_) => return Ok(Code::Negative),
            WatchEnd::Removed => {
                let path = self
                    .only
                    .as_ref()
                    .map(|run| self.runs.volume().run_path(run));
                let path = path.unwrap_or_default();
                return Err(StorageError::RunRemoved { path }.into());
            }
            WatchEnd::Timeout => Code::Running,
            // The outcome of a named run is not known yet.
            WatchEnd::Quit | WatchEnd::Signal(_) if self.only.is_some() => Code::Running,
            WatchEnd::Quit | WatchEnd::Signal(_) => Code::Ok,
        };
        Ok(match &self.runs.problems {
            problems if problems.unreadable => Code::Io,
            problems if problems.damage => Code::Damage,
            _ => code,
        })
    }

    /// Returns the runs that the filters select.
    fn selected(&self) -> impl Iterator<Item = &WatchedRun> {
        let live = self.runs.live.values();
        let live = live.filter_map(|live| live.now.as_ref().map(|(run, _)| run));
        let all = self.runs.finished.values().chain(live);
        all.filter(|run| self.args.selects_run(run.state, &run.name, run.opened_ts))
    }

    fn list_frame(&self, rows: usize) -> ListFrame<'_> {
        let mut selected: Vec<_> = self.selected().collect();
        selected.sort_unstable_by(|a, b| b.age().cmp(&a.age()));
        selected.truncate(self.args.number.unwrap_or(usize::MAX));
        let states = STATES.map(|state| {
            let n = selected.iter().filter(|run| run.state == state).count();
            (state, n)
        });
        // A stable sort keeps the order by age.
        selected.sort_by_key(|run| !run.is_live());
        let total = selected.len();
        selected.truncate(rows);
        ListFrame {
            volume: self.runs.volume().path().display().to_string(),
            now: wall_clock(),
            runs: selected.into_iter().map(|run| self.run_now(run)).collect(),
            total,
            states: states.to_vec(),
            warnings: self.runs.problems.warnings.len(),
        }
    }

    fn run_now<'a>(&self, run: &'a WatchedRun) -> RunNow<'a> {
        let is_running = run.state == RunStatus::Running;
        let live = self.runs.live.get(&run.run_id).filter(|_| is_running);
        let mut jobs = live.map(live_jobs).unwrap_or_default().into_iter();
        let first = jobs.next();
        let job = live.zip(first).map(|(live, job)| {
            let dir = self.runs.dir(&run.run_id);
            job_now(live, job, dir.as_ref(), LAST_LINE_BYTES)
        });
        RunNow {
            run,
            job,
            others: jobs.len(),
            usual_ms: self.runs.durations.median(&run.name),
        }
    }

    fn run_frame(&self, run: &RunId) -> Option<RunFrame> {
        let live = self.runs.live.get(run)?;
        let dir = self.runs.dir(run)?;
        let jobs = live_jobs(live).into_iter().zip(0..).map(|(job, at)| {
            // The output of further jobs is not shown.
            let bytes = if at < MAX_SHOWN_JOBS {
                OUTPUT_TAIL_BYTES
            } else {
                0
            };
            job_now(live, job, Some(&dir), bytes)
        });
        Some(RunFrame {
            run: self.runs.report(run, &dir)?,
            now: wall_clock(),
            usual_ms: self.runs.durations.median(&live.run.state().name),
            jobs: jobs.collect(),
        })
    }
}

/// The keys that order runs by age.
type Age = (Option<Ulid>, RunId);

fn age_of(run: &RunRecord) -> Age {
    (run.first_id, run.run_id.clone())
}

/// Returns the jobs of a run that have not ended, the latest first.
fn live_jobs(live: &WatchedLiveRun) -> Vec<&JobState> {
    let mut jobs: Vec<_> = live.run.state().unfinished().collect();
    jobs.reverse();
    jobs.sort_by_key(|job| std::cmp::Reverse(job.started_ts));
    jobs
}

fn job_now(live: &WatchedLiveRun, job: &JobState, dir: Option<&Dir>, bytes: usize) -> JobNow {
    let printed = dir.map(|dir| (dir, &job.job_id));
    // Output that cannot be read is not shown.
    let printed = printed.and_then(|(dir, id)| last_output_bytes(dir, id, bytes).ok());
    JobNow {
        job: job.clone(),
        more: live.run.job(job),
        printed: printed.unwrap_or_default(),
    }
}
