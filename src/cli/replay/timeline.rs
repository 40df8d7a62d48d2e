//! The story of a run: its events, for people or byte for byte.

use std::io;
use std::io::Write as _;

use anyhow::Result;

use super::source::Source;
use crate::cli::context::{Global, say};
use crate::cli::exit::Code;
use crate::cli::replay::{Args, Next, read, warn};
use crate::job::{Inspected, RunStateKind, examine, inspect};
use crate::log::{Fold, Item, RunState};
use crate::render::Story;
use crate::volume::Dir;

pub(crate) fn execute(args: &Args, global: &Global, source: &Source) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut story = Story::new(global.style());
    let mut fold = Fold::default();
    let mut is_begun = false;
    let code = read(args, source, |item| {
        fold.take(item);
        if !std::mem::replace(&mut is_begun, true) {
            writeln!(out, "{}\n", story.title(source.run(), &fold.state))?;
        }
        let line = match item {
            Item::Event(_, line) | Item::Foreign(_, line) => story.event(line),
            Item::Damage(damage) => story.damage(damage),
        };
        writeln!(out, "{line}")?;
        Ok(Next::Read)
    })?;
    let inspected = inspect_now(source.dir(), &fold.state)?;
    writeln!(out, "\n{}", story.sum(&fold.state, &inspected))?;
    out.flush()?;
    if code == Code::Damage {
        say("warning: damage was passed over; `runlog replay --verify RUN` names it");
    }
    Ok(code)
}

/// The state of a run whose log was read in full.
pub(crate) fn inspect_now(dir: &Dir, state: &RunState) -> Result<Inspected> {
    let inspected = inspect(dir, state);
    if inspected.state == RunStateKind::Lost {
        // Its end may have been written just before the lease was looked at.
        return Ok(examine(dir, true)?.inspected);
    }
    Ok(inspected)
}

/// The stored lines as they stand.
pub(crate) fn json(args: &Args, source: &Source) -> Result<Code> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let code = read(args, source, |item| {
        match item {
            Item::Event(_, line) | Item::Foreign(_, line) => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            Item::Damage(damage) => warn(damage),
        }
        Ok(Next::Read)
    })?;
    out.flush()?;
    Ok(code)
}
