//! `tail --grep`: searches the events or the output of runs on several threads.

use std::io;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use super::filter::Filter;
use super::select::named_runs;
use crate::cli::context::{Global, print_stderr, warn_damage};
use crate::cli::exit::Code;
use crate::cli::incomplete_output::warn_incomplete;
use crate::cli::tail::Args;
use crate::cli::usage_error::UsageError;
use crate::job::{
    LineKind, LineSearch, OutputSelection, PatternCase, SearchItem, SearchOptions, search_events,
    search_output, stored_outputs,
};
use crate::log::{JobScope, RunSummary, StorageError, list, read_summary};
use crate::render::{FoundLines, FoundRecord, OutputBytes, Style, json_line};
use crate::sync::lock;
use crate::volume::{Dir, JobId, RunId, VolumeError, error_chain};

/// The maximum number of threads, to leave processors for other programs.
const MAX_THREADS: usize = 4;
/// The number of runs that a thread searches before it prints its results.
const RUNS_AT_A_TIME: usize = 16;
/// The maximum number of bytes of results that a thread holds until its turn to print.
const MAX_HELD_BYTES: usize = 256 << 10;
/// The separator between groups of lines, as in grep.
const SEPARATOR: &[u8] = b"--\n";

/// Runs `tail --grep`.
pub(super) fn search(args: &Args, global: &Global, pattern: &str) -> Result<Code> {
    let lines = |own: Option<u16>| usize::from(own.or(args.context).unwrap_or(0));
    let search = LineSearch::new(SearchOptions {
        pattern,
        case: if args.ignore_case {
            PatternCase::Ignored
        } else {
            PatternCase::Sensitive
        },
        before: lines(args.before_context),
        after: lines(args.after_context),
    });
    let search = search.map_err(|reason| UsageError {
        message: format!("--grep: `{pattern}` is not a regular expression: {reason}"),
        hint: "put `\\` before a character to match it literally, such as `\\(` or `\\.`",
    })?;
    let volume = global.volume()?;
    let runs = if args.all {
        list(&volume)?
    } else {
        named_runs(args, &volume)?
    };
    let Some(dir) = volume.runs()? else {
        return Ok(Code::Negative);
    };
    let context = lines(args.before_context) + lines(args.after_context);
    let all = SearchedRuns {
        args,
        runs: &runs,
        dir: &dir,
        style: global.style(),
        bytes: match global.sanitizer() {
            Some(_) => OutputBytes::Sanitized,
            None => OutputBytes::Raw,
        },
        separates: context > 0 && !args.json,
        next: AtomicUsize::new(0),
        is_stopped: AtomicBool::new(false),
        printed: Mutex::new(Printed::default()),
        turn: Condvar::new(),
    };
    let threads = runs.len().div_ceil(RUNS_AT_A_TIME).min(MAX_THREADS);
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(threads));
    thread::scope(|scope| {
        for _ in 1..threads {
            let (all, search) = (&all, search.clone());
            // If a thread cannot be started, the others do its work.
            drop(thread::Builder::new().spawn_scoped(scope, move || all.work(search)));
        }
        all.work(search);
    });
    let printed = all.printed.into_inner();
    let printed = printed.unwrap_or_else(PoisonError::into_inner);
    match printed.error {
        Some(e) => Err(e.into()),
        None => Ok(printed.code.unwrap_or(Code::Negative)),
    }
}

/// The runs that are searched, and what the threads share.
struct SearchedRuns<'a> {
    args: &'a Args,
    runs: &'a [RunId],
    dir: &'a Dir,
    style: Style,
    bytes: OutputBytes,
    /// Whether to print separators between groups of lines.
    separates: bool,
    /// The first run that no thread has taken yet.
    next: AtomicUsize,
    is_stopped: AtomicBool,
    printed: Mutex<Printed>,
    turn: Condvar,
}

/// The output so far.
#[derive(Default)]
struct Printed {
    /// The first run of the batch that may print now.
    turn: usize,
    has_lines: bool,
    code: Option<Code>,
    error: Option<io::Error>,
}

/// The results of one thread.
struct Findings<'a> {
    all: &'a SearchedRuns<'a>,
    lines: FoundLines<'a>,
    /// The first run of the batch.
    turn: usize,
    held: Vec<u8>,
    /// Whether the next line does not follow the last one.
    is_new_group: bool,
    has_match: bool,
}

impl SearchedRuns<'_> {
    /// Searches runs until there are no more.
    fn work(&self, mut search: LineSearch) {
        let pattern = search.pattern().clone();
        loop {
            let turn = self.next.fetch_add(RUNS_AT_A_TIME, Ordering::Relaxed);
            let Some(runs) = self.runs.get(turn..).filter(|runs| !runs.is_empty()) else {
                return;
            };
            let lines = FoundLines {
                pattern: &pattern,
                style: self.style,
                output: self.bytes,
            };
            let mut findings = Findings {
                all: self,
                lines,
                turn,
                held: Vec::new(),
                is_new_group: true,
                has_match: false,
            };
            for run in runs.iter().take(RUNS_AT_A_TIME) {
                if self.is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                if let Err(e) = self.search_run(run, &mut search, &mut findings) {
                    self.report(run, &e);
                }
            }
            findings.finish();
        }
    }

    fn search_run(
        &self,
        run: &RunId,
        search: &mut LineSearch,
        findings: &mut Findings<'_>,
    ) -> io::Result<()> {
        let dir = match self.dir.open_dir(run.as_str()) {
            Ok(dir) => dir,
            // This is not a run, or has been removed since it was listed.
            Err(VolumeError::NotADirectory { .. }) if self.args.all => return Ok(()),
            Err(e) if e.io_kind() == Some(io::ErrorKind::NotFound) => return Ok(()),
            Err(e) => return Err(io::Error::other(e)),
        };
        let jobs = if self.args.output {
            stored_outputs(&dir).map_err(io::Error::other)?
        } else {
            self.search_log(run, &dir, search, findings)?;
            Vec::new()
        };
        let selection = OutputSelection {
            stream: self.args.stream,
            since: self.args.since,
            until: self.args.until_time(),
        };
        let is_wanted = |job: &JobId| self.args.job.as_ref().is_none_or(|only| *job == **only);
        for job in jobs.iter().filter(|job| is_wanted(job)) {
            findings.is_new_group = true;
            search_output(&dir, job, selection, search, &mut |item| {
                findings.record(run, &item)
            })?;
        }
        if self.args.output {
            match read_summary(&dir, JobScope::All) {
                Ok(RunSummary { state, .. }) => {
                    warn_incomplete(&state.jobs, self.args.job.as_deref(), self.args.stream);
                }
                // The run was removed, or has no event yet.
                Err(StorageError::RunRemoved { .. }) => {}
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        Ok(())
    }

    fn search_log(
        &self,
        run: &RunId,
        dir: &Dir,
        search: &LineSearch,
        findings: &mut Findings<'_>,
    ) -> io::Result<()> {
        let filter = Filter::new(self.args);
        let wants = |line: &[u8]| filter.wants(line);
        findings.is_new_group = true;
        let damage = search_events(dir, search, &wants, &mut |item| findings.record(run, &item));
        let damage = match damage {
            Err(_) if dir.is_removed() => return Ok(()),
            damage => damage?,
        };
        if !damage.is_empty() {
            self.set_code(Code::Damage);
            warn_damage(&damage);
        }
        Ok(())
    }

    /// Reports that a run could not be searched; the search continues.
    fn report(&self, run: &RunId, e: &io::Error) {
        if self.is_stopped.load(Ordering::Relaxed) {
            return;
        }
        self.set_code(Code::Io);
        let e = e
            .get_ref()
            .map_or_else(|| e.to_string(), |e| error_chain(e));
        print_stderr(format_args!("warning: run {run}: {e}"));
    }

    /// Records an exit code, unless a worse one is set.
    fn set_code(&self, code: Code) {
        let mut printed = lock(&self.printed);
        let rank = |code: Option<Code>| match code {
            None => 0,
            Some(Code::Ok) => 1,
            Some(Code::Damage) => 2,
            Some(_) => 3,
        };
        if rank(Some(code)) > rank(printed.code) {
            printed.code = Some(code);
        }
    }
}

impl Findings<'_> {
    /// Holds a matching line, or prints it.
    fn record(&mut self, run: &RunId, item: &SearchItem<'_>) -> io::Result<()> {
        let all = self.all;
        if all.is_stopped.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let SearchItem::Line(found) = item else {
            self.is_new_group = true;
            return Ok(());
        };
        if std::mem::take(&mut self.is_new_group) && all.separates {
            self.held.extend_from_slice(SEPARATOR);
        }
        self.has_match |= found.kind == LineKind::Match;
        if all.args.json {
            json_line(&mut self.held, &FoundRecord::new(run, found))?;
        } else if all.args.output {
            self.lines.write_output(&mut self.held, run, found)?;
        } else {
            self.lines.write_event(&mut self.held, run, found)?;
        }
        if self.held.len() >= MAX_HELD_BYTES {
            self.print(self.turn)?;
        }
        Ok(())
    }

    /// Prints the held lines when it is their turn; then `next` has the turn.
    fn print(&mut self, next: usize) -> io::Result<()> {
        let all = self.all;
        let waited = all
            .turn
            .wait_while(lock(&all.printed), |p| p.turn < self.turn);
        let mut printed = waited.unwrap_or_else(PoisonError::into_inner);
        let separator = if all.separates && !printed.has_lines {
            SEPARATOR
        } else {
            b""
        };
        let text = self.held.strip_prefix(separator).unwrap_or(&self.held);
        printed.has_lines |= !text.is_empty();
        let mut result = Ok(());
        if printed.error.is_none() && !text.is_empty() {
            let mut out = io::stdout().lock();
            result = out.write_all(text).and_then(|()| out.flush());
        }
        self.held.clear();
        printed.turn = next;
        all.turn.notify_all();
        if let Err(e) = result {
            all.is_stopped.store(true, Ordering::Relaxed);
            printed.error = Some(e);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Prints the rest, and passes the turn to the thread with the next runs.
    fn finish(mut self) {
        let next = self.turn + RUNS_AT_A_TIME;
        // A failure is reported at the end.
        drop(self.print(next));
        if self.has_match {
            self.all.set_code(Code::Ok);
        }
    }
}
