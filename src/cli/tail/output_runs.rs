//! `runlog tail --output` of several runs, or of a time: prints one run after the other, then
//! new output from all of them.

use std::collections::BTreeSet;
use std::io;
use std::io::{BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::output_lines::OutputLines;
use super::run_output::{OutputSink, RunOutput};
use super::select::named_runs;
use super::stop_reason::StopReason;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::{Code, is_run_removed};
use crate::cli::pager::PagedOutput;
use crate::cli::tail::args::Args;
use crate::job::{PrintedChunk, inspect_runs};
use crate::log::{JobScope, Watcher, list, open_any_dir};
use crate::volume::{RunId, Volume};

/// How often to check all runs, since the death of a supervisor changes no file.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Prints the output of the selected runs and, with -f, follows them.
pub(super) fn print_runs(args: &Args, global: &Global, deadline: Option<Instant>) -> Result<Code> {
    let volume = global.volume()?;
    let runs = selected_runs(args, &volume)?;
    let mut printed = PrintedRuns {
        args,
        volume,
        lines: OutputLines::new(args, global),
        out: BufWriter::new(PagedOutput::new(args.paging())),
        watcher: args.follow.then(Watcher::default),
        live: Vec::new(),
        known: BTreeSet::new(),
        has_jobs: false,
        code: Code::Ok,
    };
    printed.watch_runs()?;
    for run in runs {
        printed.add(run)?;
    }
    printed.out.flush()?;
    let stop = printed.follow(deadline)?;
    if stop == StopReason::Closed {
        return Ok(printed.code);
    }
    printed.out.get_mut().finish()?;
    for (_, output) in &printed.live {
        output.warn_incomplete(args);
    }
    if stop == StopReason::Timeout {
        return Ok(Code::Running);
    }
    if let Some(job) = args.job.as_ref().filter(|_| !printed.has_jobs) {
        print_stderr(format_args!("error: the runs have no job {job}"));
        return Ok(Code::NotFound);
    }
    Ok(printed.code)
}

/// Returns the named runs in the order of their names, or all runs by age.
fn selected_runs(args: &Args, volume: &Volume) -> Result<Vec<RunId>> {
    if !args.all {
        return named_runs(args, volume);
    }
    let Some(runs) = volume.runs()? else {
        return Ok(Vec::new());
    };
    let ids = list(volume)?;
    let ages = inspect_runs(&runs, &ids, JobScope::Summarized, |_, run| {
        run.summary.state.first_id
    });
    let mut by_age: Vec<_> = ages
        .into_iter()
        .map(|age| age.ok().flatten().flatten())
        .zip(ids)
        .collect();
    by_age.sort();
    Ok(by_age.into_iter().map(|(_, run)| run).collect())
}

struct PrintedRuns<'a> {
    args: &'a Args,
    volume: Volume,
    lines: OutputLines,
    out: BufWriter<PagedOutput>,
    watcher: Option<Watcher>,
    /// The runs that have not ended.
    live: Vec<(RunId, RunOutput)>,
    /// With `--all`, the runs found so far.
    known: BTreeSet<RunId>,
    has_jobs: bool,
    code: Code,
}

impl PrintedRuns<'_> {
    /// Watches for new runs; called before listing the runs.
    fn watch_runs(&mut self) -> Result<()> {
        if let (Some(watcher), true, Some(runs)) =
            (&mut self.watcher, self.args.all, self.volume.runs()?)
        {
            watcher.watch_runs(&runs);
        }
        Ok(())
    }

    /// Prints the output of a run so far.
    fn add(&mut self, run: RunId) -> Result<()> {
        if self.args.all {
            self.known.insert(run.clone());
        }
        let opened = self.open(&run);
        match opened {
            Ok(Some(output)) => self.live.push((run, output)),
            Ok(None) => return Ok(()),
            Err(e) => return self.skip(&run, e),
        }
        let last = self.live.len() - 1;
        self.poll(last)
    }

    fn open(&mut self, run: &RunId) -> Result<Option<RunOutput>> {
        let Some(runs) = self.volume.runs()? else {
            return Ok(None);
        };
        let Some(dir) = open_any_dir(&runs, run)? else {
            return Ok(None);
        };
        if let Some(watcher) = &mut self.watcher {
            watcher.watch_run(run, &dir);
        }
        RunOutput::open(dir).map(Some)
    }

    /// Prints the new output of the live run at index `at`, and drops the run if it has ended.
    fn poll(&mut self, at: usize) -> Result<()> {
        loop {
            let Some((run, output)) = self.live.get_mut(at) else {
                return Ok(());
            };
            if let Some(watcher) = &mut self.watcher {
                // Watch before reading, so that no change is missed in between.
                watcher.watch_output(run, output.dir());
            }
            let (lines, out) = (&mut self.lines, &mut self.out);
            let mut print = |job: &_, chunk: PrintedChunk<'_>| lines.chunk(out, run, job, chunk);
            let polled = output.poll(self.args, &mut OutputSink::Chunks(&mut print));
            self.has_jobs |= output.has_jobs();
            match polled {
                Ok(true) if self.args.follow => {}
                Ok(_) if self.args.follow && !output.has_ended() => return Ok(()),
                Ok(_) => {
                    output.warn_incomplete(self.args);
                    return self.remove(at);
                }
                Err(e) => {
                    let run = run.clone();
                    self.remove(at)?;
                    return self.skip(&run, e);
                }
            }
        }
    }

    fn remove(&mut self, at: usize) -> Result<()> {
        let (run, _) = self.live.remove(at);
        self.lines.end(&mut self.out, &run)?;
        if let Some(watcher) = &mut self.watcher {
            watcher.unwatch(&run);
        }
        Ok(())
    }

    /// Reports a run that cannot be read. With `--all`, the others continue.
    fn skip(&mut self, run: &RunId, e: anyhow::Error) -> Result<()> {
        if is_run_removed(&e) {
            print_stderr(format_args!("run {run} was removed"));
            if !self.args.all {
                self.code = Code::NotFound;
            }
            return Ok(());
        }
        if !self.args.all || e.is::<io::Error>() {
            return Err(e);
        }
        print_stderr(format_args!("warning: run {run}: {e:#}"));
        self.code = Code::Io;
        Ok(())
    }

    /// Prints new output until all runs have ended. Returns why it stops.
    fn follow(&mut self, deadline: Option<Instant>) -> Result<StopReason> {
        let mut next_poll = Instant::now() + RECHECK_INTERVAL;
        while self.watcher.is_some() && (self.args.all || !self.live.is_empty()) {
            // Compare the time before reading all runs, so that no output until then is missed.
            let is_over = self.args.is_over();
            let is_late = deadline.is_some_and(|at| at <= Instant::now());
            if is_late && !is_over {
                return Ok(StopReason::Timeout);
            }
            let due = deadline.map_or(next_poll, |at| at.min(next_poll));
            let longest = due.saturating_duration_since(Instant::now());
            let longest = self
                .args
                .left_until()
                .map_or(longest, |left| left.min(longest));
            let Some(watcher) = &mut self.watcher else {
                break;
            };
            let changes = watcher.wait(longest, &[], io::stdout().as_fd());
            if changes.output_closed {
                return Ok(StopReason::Closed);
            }
            let is_due = is_over || changes.any || next_poll <= Instant::now();
            if self.args.all {
                let new = if is_due {
                    list(&self.volume)?
                } else {
                    changes.runs.clone()
                };
                self.watch_runs()?;
                for run in new {
                    if !self.known.contains(&run) {
                        self.add(run)?;
                    }
                }
            }
            // Go backward, because a run that has ended is dropped from the list.
            for at in (0..self.live.len()).rev() {
                let is_changed = |(run, _): &(RunId, _)| is_due || changes.runs.contains(run);
                if self.live.get(at).is_some_and(is_changed) {
                    self.poll(at)?;
                }
            }
            if is_due {
                next_poll = Instant::now() + RECHECK_INTERVAL;
            }
            self.out.flush()?;
            if is_over {
                break;
            }
        }
        self.out.flush()?;
        Ok(StopReason::Done)
    }
}
