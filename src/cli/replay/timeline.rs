//! The story of a run: its events, for people or byte for byte.

use std::io;
use std::io::Write as _;

use anyhow::Result;

use super::source::ReplaySource;
use crate::cli::context::{Global, print_stderr};
use crate::cli::exit::Code;
use crate::cli::replay::{Args, ReplayMode, read, warn};
use crate::job::{RunStatus, RunVerdict, inspect_run, run_verdict};
use crate::log::{Fold, Item, RunState};
use crate::render::Timeline;
use crate::volume::Dir;

pub(crate) fn execute(args: &Args, global: &Global, source: &ReplaySource) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut story = Timeline::new(global.style());
    let mut fold = Fold::default();
    let mut is_begun = false;
    let code = read(args, source, |item| {
        fold.apply(item);
        if !std::mem::replace(&mut is_begun, true) {
            writeln!(out, "{}\n", story.title(source.run(), &fold.state))?;
        }
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => story.event(line),
            Item::Damage(damage) => story.damage(damage),
        };
        writeln!(out, "{line}")?;
        Ok(ReplayMode::Read)
    })?;
    let inspected = inspect_now(source.dir(), &fold.state)?;
    writeln!(out, "\n{}", story.sum(&fold.state, &inspected))?;
    out.flush()?;
    if code == Code::Damage {
        print_stderr("warning: damage was passed over; `runlog replay --verify RUN` names it");
    }
    Ok(code)
}

/// The state of a run whose log was read in full.
pub(crate) fn inspect_now(dir: &Dir, state: &RunState) -> Result<RunVerdict> {
    let inspected = run_verdict(dir, state);
    if inspected.state == RunStatus::Lost {
        // Its end may have been written just before the lease was looked at.
        return Ok(inspect_run(dir, true)?.verdict);
    }
    Ok(inspected)
}

/// The stored lines as they stand.
pub(crate) fn json(args: &Args, source: &ReplaySource) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let code = read(args, source, |item| {
        match item {
            Item::Event(_, line) | Item::Foreign(_, line) => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            Item::Damage(damage) => warn(damage),
        }
        Ok(ReplayMode::Read)
    })?;
    out.flush()?;
    Ok(code)
}
