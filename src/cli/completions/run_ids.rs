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
    /// Print the IDs of jobs instead
    #[arg(long, conflicts_with_all = ["writable", "names"])]
    jobs: bool,
}

pub(crate) fn execute(args: &Args, global: &Global) -> Result<Code> {
    let Ok(volume) = global.volume() else {
        return Ok(Code::Ok);
    };
    let (Ok(Some(runs)), Ok(mut ids)) = (volume.runs(), list(&volume)) else {
        return Ok(Code::Ok);
    };
    if args.names || args.jobs {
        return print_words(args, &runs, &ids);
    }
    ids.retain(|run| run.as_str().starts_with(&args.prefix));
    let states = inspect_runs(&runs, &ids, JobScope::Summarized, |run, inspected| {
        let age = (inspected.summary.state.first_id, run.clone());
        (age, inspected.verdict.state)
    });
    let states = states.into_iter().filter_map(Result::ok).flatten();
    let mut found: Vec<_> = states.filter(|(_, state)| args.wants(*state)).collect();
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

/// Prints the names of runs or the ids of jobs that start with the prefix, each once.
fn print_words(args: &Args, runs: &Dir, ids: &[RunId]) -> Result<Code> {
    let words = |_: &RunId, inspected: InspectedRun| {
        let state = inspected.summary.state;
        if args.jobs {
            let jobs = state.jobs.into_iter();
            jobs.map(|job| job.job_id.into()).collect()
        } else {
            vec![state.name]
        }
    };
    let found = inspect_runs(runs, ids, JobScope::Summarized, words).into_iter();
    let words: BTreeSet<String> = found.filter_map(Result::ok).flatten().flatten().collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let is_wanted = |word: &&String| !word.is_empty() && word.starts_with(&args.prefix);
    for word in words.iter().filter(is_wanted) {
        writeln!(out, "{}", escape_controls(word))?;
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
