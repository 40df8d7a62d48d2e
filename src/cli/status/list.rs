//! Lists of runs: those in the volume, and those that gc removed.

use std::cmp::Reverse;
use std::{io, ptr};

use anyhow::Result;

use super::args::Args;
use crate::cli::context::{Global, print_stderr, warn_damage};
use crate::cli::exit::Code;
use crate::job::inspect_runs;
use crate::log;
use crate::log::{JobScope, SelectError, StorageError, Ulid, list, split_offset};
use crate::render::RunRecord;
use crate::volume::{RunId, error_chain};

/// What stderr says if there are runs, but all are filtered out.
pub(super) const NO_RUNS_MATCH: &str = "no runs match";

/// A run in a list, with the keys that lists are sorted by.
pub(super) struct Listed<T> {
    pub first_id: Option<Ulid>,
    pub run_id: RunId,
    pub row: T,
}

impl<T> Listed<T> {
    /// Formats a run with `row`.
    pub(super) fn new(
        run: RunRecord,
        row: impl FnOnce(&RunRecord) -> io::Result<T>,
    ) -> io::Result<Self> {
        Ok(Self {
            row: row(&run)?,
            first_id: run.first_id,
            run_id: run.run_id,
        })
    }
}

impl Listed<RunRecord> {
    /// Keeps the whole record of a run.
    pub(super) fn whole(run: RunRecord) -> Self {
        Self {
            first_id: run.first_id,
            run_id: run.run_id.clone(),
            row: run,
        }
    }
}

/// Reads the runs that the arguments select, and formats each with `format`. Warns about damage.
pub(super) fn select_runs<T: Send>(
    args: &Args,
    global: &Global,
    format: &(impl Fn(RunRecord) -> io::Result<Listed<T>> + Sync),
) -> Result<(Vec<Listed<T>>, Code)> {
    let volume = global.volume()?;
    let mut listed = Vec::new();
    let mut code = Code::Ok;
    let runs = volume.runs()?;
    let ids = list(&volume)?;
    let scope = if args.json && !args.stats || args.export.is_some() {
        JobScope::All
    } else {
        JobScope::Summarized
    };
    let inspected_runs = runs.map(|runs| {
        inspect_runs(&runs, &ids, scope, |run, inspected| {
            let damage = inspected.summary.damage.clone();
            let path = runs.path().join(run.as_str());
            let report = RunRecord::new(run.clone(), path, inspected);
            let selected = args.selects(&report).then(|| format(report));
            (selected.transpose(), damage)
        })
    });
    let mut found = 0_usize;
    for (run, result) in ids.iter().zip(inspected_runs.into_iter().flatten()) {
        match result {
            // This is not a run yet, or has been removed in the meantime.
            Ok(None) | Err(StorageError::RunRemoved { .. }) => {}
            Ok(Some((selected, damage))) => {
                warn_damage(&damage);
                if !damage.is_empty() && code == Code::Ok {
                    code = Code::Damage;
                }
                found += 1;
                listed.extend(selected?);
            }
            // One unreadable run does not hide the others.
            Err(e) => {
                print_stderr(format_args!("warning: run {run}: {}", error_chain(&e)));
                code = Code::Io;
            }
        }
    }
    if listed.is_empty() && !args.json && !args.stats && args.export.is_none() {
        if found > 0 {
            print_stderr(NO_RUNS_MATCH);
        } else if code == Code::Ok {
            // Otherwise there are runs that cannot be read.
            print_stderr(format_args!("no runs in `{}`", volume.path().display()));
        }
    }
    Ok((listed, code))
}

/// Adds the runs that gc removed and the arguments select. Warns about damage.
pub(super) fn add_removed<T>(
    args: &Args,
    global: &Global,
    format: &impl Fn(RunRecord) -> io::Result<Listed<T>>,
    (mut listed, mut code): (Vec<Listed<T>>, Code),
) -> Result<(Vec<Listed<T>>, Code)> {
    let volume = global.volume()?;
    let (retired, damage) = log::read_tombstones(&volume)?;
    warn_damage(&damage);
    if !damage.is_empty() && code == Code::Ok {
        code = Code::Damage;
    }
    for run in retired {
        let run = RunRecord::from_tombstone(&volume, run);
        if args.selects(&run) {
            listed.push(format(run)?);
        }
    }
    Ok((listed, code))
}

/// Reads the runs that gc removed; warns about damage.
pub(super) fn select_retired(args: &Args, global: &Global) -> Result<(Vec<RunRecord>, Code)> {
    let volume = global.volume()?;
    let (retired, damage) = log::read_tombstones(&volume)?;
    warn_damage(&damage);
    let code = if damage.is_empty() {
        Code::Ok
    } else {
        Code::Damage
    };
    let record = |run| RunRecord::from_tombstone(&volume, run);
    let mut reports: Vec<_> = retired.into_iter().map(record).collect();
    if !args.runs.is_empty() {
        let mut named: Vec<&RunRecord> = Vec::new();
        for name in &args.runs {
            for run in select_removed(&reports, name)? {
                if !named.iter().any(|known| ptr::eq(*known, run)) {
                    named.push(run);
                }
            }
        }
        reports = named.into_iter().cloned().collect();
    }
    if reports.is_empty() && !args.json {
        let volume = volume.path().display();
        print_stderr(format_args!("no removed runs are recorded in `{volume}`"));
    }
    Ok((reports, code))
}

/// Finds the removed runs that a text names, in the order of [`find_run`](log::find_run). An ID
/// may have been removed several times.
fn select_removed<'a>(
    runs: &'a [RunRecord],
    text: &str,
) -> Result<Vec<&'a RunRecord>, SelectError> {
    let exact: Vec<_> = runs
        .iter()
        .filter(|run| run.run_id.as_str() == text)
        .collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let (base, back) = if runs.iter().any(|run| run.name == text) {
        (text, 0)
    } else {
        split_offset(text)
    };
    let mut by_age: Vec<_> = runs
        .iter()
        .filter(|run| base == "latest" || run.name == base)
        .collect();
    by_age.sort_by_key(|run| Reverse((run.first_id, &run.run_id)));
    if let Some(run) = by_age.get(back) {
        return Ok(vec![run]);
    }
    let found: Vec<_> = runs
        .iter()
        .filter(|run| run.run_id.as_str().starts_with(text))
        .collect();
    let mut candidates: Vec<RunId> = found.iter().map(|run| run.run_id.clone()).collect();
    candidates.sort();
    candidates.dedup();
    match candidates.len() {
        0 => Err(SelectError::NotRemoved {
            run: text.to_owned(),
        }),
        1 => Ok(found),
        _ => Err(SelectError::Ambiguous {
            name: text.to_owned(),
            candidates,
        }),
    }
}

/// Returns the newest runs that `--number` asks for, oldest first.
pub(super) fn newest<T>(args: &Args, mut listed: Vec<Listed<T>>) -> Vec<T> {
    listed.sort_by(|a, b| (a.first_id, &a.run_id).cmp(&(b.first_id, &b.run_id)));
    let number = args.number.unwrap_or(usize::MAX);
    let older = listed.len().saturating_sub(number);
    listed.into_iter().skip(older).map(|run| run.row).collect()
}
