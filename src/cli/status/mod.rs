//! `runlog status`.

mod args;
mod last_output;
mod list;
mod named_runs;
mod page;
mod screen;
mod stats;
mod watch;
mod watched_runs;

use std::io;
use std::io::Write as _;

use anyhow::Result;

pub(crate) use self::args::Args;
use self::args::StatusFormat;
use self::list::{Listed, NO_RUNS_MATCH, add_removed, newest, select_retired, select_runs};
use self::named_runs::show_named;
use self::page::write_pages;
use super::atomic_output::AtomicOutput;
use super::context::{Global, print_stderr};
use super::exit;
use super::exit::Code;
use super::pager;
use super::pager::Paging;
use super::usage_error::UsageError;
use crate::render::export::csv::csv_jobs;
use crate::render::export::prometheus;
use crate::render::{Human, JsonLines, RunPrinter, RunRecord};

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
                let is_any_recorded = !reports.is_empty();
                let selected = reports.into_iter().filter(|run| args.selects(run));
                let listed: io::Result<Vec<_>> = selected
                    .map(|run| Listed::new(run, |run| printer.row(run)))
                    .collect();
                let listed = listed?;
                if listed.is_empty() && is_any_recorded && !args.json {
                    print_stderr(NO_RUNS_MATCH);
                }
                printer.list(&mut out, &newest(args, listed))?;
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
    let (runs, mut code) = if args.retired {
        let (runs, code) = select_retired(args, global)?;
        let selected = runs.into_iter().filter(|run| args.selects(run));
        (newest(args, selected.map(Listed::whole).collect()), code)
    } else if !args.runs.is_empty() {
        show_named(args, global)?
    } else {
        let whole = |run| Ok(Listed::whole(run));
        let mut listed = select_runs(args, global, &whole)?;
        if form == StatusFormat::Prometheus {
            listed = add_removed(args, global, &whole, listed)?;
        }
        let (listed, code) = listed;
        (newest(args, listed), code)
    };
    let written = match form {
        StatusFormat::Prometheus => out.with(|out| prometheus(out, &runs)),
        StatusFormat::Csv => out.with(|out| csv_jobs(out, &runs)),
        StatusFormat::Html => write_pages(args, global, &mut out, &runs).map(|written| {
            if written != Code::Ok {
                code = written;
            }
        }),
    };
    exit::answered(written.and_then(|()| out.finish()), code)
}
