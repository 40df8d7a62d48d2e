//! `runlog complete-runs`: prints run IDs for the completion scripts.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;
use std::io::Write as _;

use anyhow::Result;

use crate::cli::context::Global;
use crate::cli::exit::Code;
use crate::job::{InspectedRun, RunStatus, inspect_runs};
use crate::log::{JobScope, list};
use crate::render::escape_controls;
use crate::volume::{Dir, RunId};

/// Print run IDs for a completion script, newest first, each with its state
///
/// Errors are not printed: they would disturb the line that is being typed.
///
/// Exit codes: 0 success; 2 invalid arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Prefix of the IDs
    #[arg(default_value = "")]
    prefix: String,
    /// Only runs that accept more jobs and notes
    #[arg(long)]
    writable: bool,
    /// Print the names of runs instead
    #[arg(long, conflicts_with = "writable")]
    names: bool,
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let Ok(volume) = global.volume() else {
        return Ok(Code::Ok);
    };
    let (Ok(Some(runs)), Ok(mut ids)) = (volume.runs(), list(&volume)) else {
        return Ok(Code::Ok);
    };
    if args.names {
        return print_names(args, &runs, &ids);
    }
    ids.retain(|run| run.as_str().starts_with(&args.prefix));
    let looked = inspect_runs(&runs, &ids, JobScope::Summarized, |run, examined| {
        let age = (examined.summary.state.first_id, run.clone());
        (age, examined.verdict.state)
    });
    let looked = looked.into_iter().filter_map(Result::ok).flatten();
    let mut found: Vec<_> = looked.filter(|(_, state)| args.wants(*state)).collect();
    found.sort_by(|(a, _), (b, _)| Reverse(a).cmp(&Reverse(b)));
    let mut out = io::BufWriter::new(io::stdout().lock());
    if !args.writable && !found.is_empty() && "latest".starts_with(&args.prefix) {
        writeln!(out, "latest\tthe newest run")?;
    }
    for ((_, run), state) in found {
        writeln!(out, "{run}\t{}", state.as_str())?;
    }
    out.flush()?;
    Ok(Code::Ok)
}

/// Prints the names that start with the prefix, each once.
fn print_names(args: &Args, runs: &Dir, ids: &[RunId]) -> Result<Code> {
    let name = |_: &RunId, inspected: InspectedRun| inspected.summary.state.name;
    let names = inspect_runs(runs, ids, JobScope::Summarized, name).into_iter();
    let names: BTreeSet<String> = names.filter_map(Result::ok).flatten().collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for name in names.iter().filter(|name| name.starts_with(&args.prefix)) {
        writeln!(out, "{}", escape_controls(name))?;
    }
    out.flush()?;
    Ok(Code::Ok)
}

impl Args {
    fn wants(&self, state: RunStatus) -> bool {
        use RunStatus::{Completed, Failed};
        !self.writable || !matches!(state, Completed | Failed)
    }
}
