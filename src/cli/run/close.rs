//! `run --run ID --close` without a command: closes a run.

use anyhow::Result;

use super::args::Args;
use crate::cli::context::{Global, print_stderr, warn_damage};
use crate::cli::exit::Code;
use crate::job::{InDoubt, inspect_run};
use crate::log::{Batch, Close, Durability, EventType, JobScope};
use crate::volume::RunId;

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let Some(run) = &args.run else {
        return Ok(Code::Usage);
    };
    if close_run(run, args, global)? == Closed::Before {
        print_stderr(format_args!("run {run} is already closed"));
    }
    Ok(Code::Ok)
}

/// When a run was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Now,
    Before,
}

/// Closes a run, unless it is closed.
pub(super) fn close_run(run: &RunId, args: &Args, global: &Global) -> Result<Closed> {
    let log = Global::open_exact(&global.volume()?, run)?.foreign_policy(args.foreign_policy());
    let inspected = inspect_run(log.dir(), JobScope::Summarized)?;
    warn_damage(&inspected.summary.damage);
    if !args.force && inspected.summary.is_uncertain {
        InDoubt::Refuse.allow_uncertain(run)?;
    }
    let budget = EventType::RunClosed.lock_budget();
    let appended = log.append_with(Durability::Power, budget, |view| {
        let close = if view.is_closed {
            Close::No
        } else {
            Close::Now
        };
        Ok(Batch::only(close))
    })?;
    Ok(if appended.closed {
        Closed::Now
    } else {
        Closed::Before
    })
}
