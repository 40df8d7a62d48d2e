//! `runlog status`.

mod args;
mod last_output;
mod list;
mod page;
mod screen;
mod stats;
mod watch;
mod watched_runs;

use std::io;
use std::io::Write as _;
use std::time::Instant;

use anyhow::Result;

pub(crate) use self::args::Args;
use self::args::StatusFormat;
use self::last_output::add_last_output;
use self::list::{Listed, newest, select_retired, select_runs};
use self::page::write_pages;
use super::atomic_output::AtomicOutput;
use super::context::{Global, warn_damage};
use super::exit::Code;
use super::pager;
use super::pager::Paging;
use super::usage_error::UsageError;
use super::usual_duration::add_usual;
use crate::job::{RunStatus, inspect_run};
use crate::log::{ChangeWaiter, JobScope, WatchScope};
use crate::render::export::csv::csv_jobs;
use crate::render::export::prometheus;
use crate::render::{Human, JsonLines, RunPrinter, RunRecord};
use crate::volume::{Dir, RunId};

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    if let Some(form) = args.export {
        return export(args, global, form);
    }
    if args.stats {
        return stats::stats(args, global);
    }
    if args.watch {
        return watch::watch(args, global);
    }
    if args.json {
        print(args, global, &JsonLines)
    } else {
        print(args, global, &Human(global.style()))
    }
}

/// Prints the selected runs in the given format.
fn print(args: &Args, global: &Global, printer: &impl RunPrinter) -> Result<Code> {
    let mut out = Vec::new();
    let code = if args.retired {
        let (reports, code) = select_retired(args, global)?;
        match reports.as_slice() {
            [only] if !args.runs.is_empty() => printer.run(&mut out, only)?,
            _ => {
                let selected = reports.into_iter().filter(|run| args.selects(run));
                let listed: io::Result<_> = selected
                    .map(|run| Listed::new(run, |run| printer.row(run)))
                    .collect();
                printer.list(&mut out, &newest(args, listed?))?;
            }
        }
        code
    } else if !args.runs.is_empty() {
        let (records, code) = show_named(args, global)?;
        for (at, record) in records.iter().enumerate() {
            if at > 0 && !args.json {
                writeln!(out)?;
            }
            printer.run(&mut out, record)?;
        }
        code
    } else {
        let row = |run: RunRecord| Listed::new(run, |run| printer.row(run));
        let (listed, code) = select_runs(args, global, &row)?;
        printer.list(&mut out, &newest(args, listed))?;
        code
    };
    let paging = match (args.no_pager || args.json, args.runs.is_empty()) {
        (true, _) => Paging::Off,
        (false, true) => Paging::FromEnd,
        (false, false) => Paging::FromStart,
    };
    pager::print(&out, paging, code)
}

/// Exports the selected runs.
fn export(args: &Args, global: &Global, form: StatusFormat) -> Result<Code> {
    if args.with_runs.is_some() && form != StatusFormat::Html {
        return Err(UsageError {
            message: "--with-runs needs --export html".to_owned(),
            hint: "add `--export html`, or leave out --with-runs",
        }
        .into());
    }
    let mut out = AtomicOutput::create(args.out.as_deref(), global)?;
    let (runs, code) = if args.retired {
        let (runs, code) = select_retired(args, global)?;
        let selected = runs.into_iter().filter(|run| args.selects(run));
        (newest(args, selected.map(Listed::whole).collect()), code)
    } else if !args.runs.is_empty() {
        show_named(args, global)?
    } else {
        let (listed, code) = select_runs(args, global, &|run| Ok(Listed::whole(run)))?;
        (newest(args, listed), code)
    };
    match form {
        StatusFormat::Prometheus => out.with(|out| prometheus(out, &runs))?,
        StatusFormat::Csv => out.with(|out| csv_jobs(out, &runs))?,
        StatusFormat::Html => write_pages(args, global, &mut out, &runs)?,
    }
    out.finish()?;
    Ok(code)
}

/// Reads the named runs now or, with `--wait`, once they have ended.
fn show_named(args: &Args, global: &Global) -> Result<(Vec<RunRecord>, Code)> {
    let mut found: Vec<(RunId, Dir)> = Vec::new();
    for name in &args.runs {
        let (run, dir) = global.run(name)?;
        if !found.iter().any(|(known, _)| *known == run) {
            found.push((run, dir));
        }
    }
    let volume = global.volume()?;
    let deadline = args.deadline();
    let mut records = Vec::new();
    let mut code = Code::Ok;
    for (run, dir) in found {
        let (mut record, own) = if args.wait {
            wait(run, &dir, deadline)?
        } else {
            show_once(run, &dir)?
        };
        let own = match (args.exit_status, record.state) {
            (true, state) => outcome(state).unwrap_or(Code::Running),
            (false, _) => own,
        };
        // A failed run takes precedence over one that is still running.
        code = match (code, own) {
            (Code::Damage, _) | (_, Code::Damage) => Code::Damage,
            (Code::Negative, _) | (_, Code::Negative) => Code::Negative,
            (Code::Ok, own) => own,
            (code, _) => code,
        };
        add_usual(&mut record, &volume);
        if !args.json && args.export.is_none() {
            add_last_output(&mut record, &dir);
        }
        records.push(record);
    }
    Ok((records, code))
}

/// Returns the exit code for a run that has ended; `None` if it is still running.
fn outcome(state: RunStatus) -> Option<Code> {
    match state {
        RunStatus::Completed => Some(Code::Ok),
        RunStatus::Failed | RunStatus::Lost | RunStatus::Unknown => Some(Code::Negative),
        RunStatus::Pending | RunStatus::Running | RunStatus::Open => None,
    }
}

/// Reads a run as it is now; warns about damage.
fn show_once(run: RunId, dir: &Dir) -> Result<(RunRecord, Code)> {
    let examined = inspect_run(dir, JobScope::All)?;
    warn_damage(&examined.summary.damage);
    let code = if examined.summary.damage.is_empty() {
        Code::Ok
    } else {
        Code::Damage
    };
    Ok((RunRecord::new(run, dir.path().to_owned(), examined), code))
}

/// Waits for a run to end, and returns its outcome as the exit code.
fn wait(run: RunId, dir: &Dir, deadline: Option<Instant>) -> Result<(RunRecord, Code)> {
    let waiter = ChangeWaiter::new(dir, WatchScope::Log);
    loop {
        let inspected = inspect_run(dir, JobScope::All)?;
        let is_late = || deadline.is_some_and(|at| at <= Instant::now());
        let code = match outcome(inspected.verdict.state) {
            Some(code) => code,
            None if is_late() => Code::Running,
            None => {
                waiter.wait_for_change(deadline);
                continue;
            }
        };
        warn_damage(&inspected.summary.damage);
        return Ok((RunRecord::new(run, dir.path().to_owned(), inspected), code));
    }
}
