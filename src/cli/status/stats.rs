//! `status --stats`: a row for each name of runs.

use anyhow::Result;

use super::args::Args;
use super::list::{Listed, add_removed, newest, select_runs};
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::pager;
use crate::cli::pager::Paging;
use crate::render::{RunRecord, RunSample, json_line, name_stats, write_stats};

/// Prints `status --stats`.
pub(super) fn stats(args: &Args, global: &Global) -> Result<Code> {
    let row = |run: RunRecord| Listed::new(run, |run| Ok(RunSample::new(run)));
    let listed = if args.retired {
        (Vec::new(), Code::Ok)
    } else {
        select_runs(args, global, &row)?
    };
    let (listed, code) = add_removed(args, global, &row, listed)?;
    let samples = newest(args, listed).into_iter().flatten().collect();
    let stats = name_stats(samples);
    if stats.is_empty() && !args.json {
        print_stderr("no finished runs to count");
    }
    let mut out = Vec::new();
    if args.json {
        stats
            .iter()
            .try_for_each(|name| json_line(&mut out, name))?;
        return pager::print(&out, Paging::Off, code);
    }
    write_stats(&mut out, &stats, global.style())?;
    let paging = if args.no_pager {
        Paging::Off
    } else {
        Paging::FromStart
    };
    pager::print(&out, paging, code)
}
