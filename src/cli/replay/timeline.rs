//! The timeline of a run: its events, human-readable or byte for byte.

use std::io;
use std::io::Write as _;

use anyhow::Result;

use super::source::ReplaySource;
use crate::cli::context::{DamageWarnings, Global, print_stderr, warn_gap};
use crate::cli::exit::Code;
use crate::cli::pager::{PagedOutput, Paging};
use crate::cli::replay::{Args, ReadControl, read};
use crate::job::{RunStatus, RunVerdict, inspect_run, run_verdict};
use crate::log::{Fold, Item, JobScope, RunState};
use crate::render::Timeline;
use crate::volume::Dir;

pub(crate) fn execute(args: &Args, global: &Global, source: &ReplaySource) -> Result<Code> {
    let paging = if args.no_pager {
        Paging::Off
    } else {
        Paging::FromStart
    };
    let mut out = io::BufWriter::new(PagedOutput::new(paging));
    let mut timeline = Timeline::new(global.style());
    let mut fold = Fold::default();
    let mut has_title = false;
    let code = read(args, source, |item| {
        fold.apply(item);
        if !std::mem::replace(&mut has_title, true) {
            writeln!(out, "{}\n", timeline.title(source.run(), &fold.state))?;
        }
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => timeline.event(line),
            Item::Damage(damage) => timeline.damage(damage),
            Item::Dropped(gap) => timeline.gap(gap),
        };
        writeln!(out, "{line}")?;
        Ok(ReadControl::Continue)
    })?;
    let verdict = inspect_now(source.dir(), &fold.state)?;
    writeln!(out, "\n{}", timeline.summary(&fold.state, &verdict))?;
    out.flush()?;
    out.get_mut().finish()?;
    if timeline.has_damage() {
        print_stderr(format_args!(
            "warning: damage was skipped; list it with `runlog replay --verify {}`",
            args.source_words()
        ));
    }
    Ok(code)
}

/// Returns the status of a run after its log was read in full.
pub(crate) fn inspect_now(dir: &Dir, state: &RunState) -> Result<RunVerdict> {
    let verdict = run_verdict(dir, state);
    if verdict.state == RunStatus::Lost {
        // The end may have been written just before the lease was checked.
        return Ok(inspect_run(dir, JobScope::All)?.verdict);
    }
    Ok(verdict)
}

/// Prints the stored lines unchanged.
pub(crate) fn json(args: &Args, source: &ReplaySource) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut warnings = DamageWarnings::default();
    let code = read(args, source, |item| {
        match item {
            Item::Event(_, line) | Item::Foreign(_, line) => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            Item::Damage(damage) => warnings.warn(damage),
            Item::Dropped(gap) => warn_gap(gap),
        }
        Ok(ReadControl::Continue)
    })?;
    out.flush()?;
    warnings.finish();
    Ok(code)
}
