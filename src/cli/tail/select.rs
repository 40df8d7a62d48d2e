//! Which runs to show, and where to start in each.

use std::collections::BTreeSet;

use anyhow::Result;

use super::cursor_store::CursorStore;
use crate::cli::tail::args::Args;
use crate::cli::usage_error::UsageError;
use crate::log::{Cursor, FollowStart, RemovedRuns, SelectError, StorageError, select};
use crate::volume::{RunId, Volume};

/// The runs that the user named.
#[derive(Debug, Default)]
pub(crate) struct SelectedRuns {
    /// Those that exist, each once.
    pub runs: Vec<RunId>,
    /// The cursors of those that no longer exist.
    pub removed: Vec<Cursor>,
    /// Those that came and went since the cursor file was saved.
    pub unshown: Vec<RunId>,
}

/// The runs that are reported when they are removed.
#[derive(Debug)]
pub(crate) enum RequestedRuns {
    /// All runs of the volume.
    All,
    /// The runs that the user named.
    Named(BTreeSet<RunId>),
}

impl RequestedRuns {
    /// Selects the runs in `named`, or all runs if it is `None`.
    pub(crate) fn new(named: Option<&SelectedRuns>) -> Self {
        named.map_or(Self::All, |named| {
            let removed = named.removed.iter().map(Cursor::run);
            let all = named.runs.iter().chain(removed).chain(&named.unshown);
            Self::Named(all.cloned().collect())
        })
    }

    pub(crate) fn includes(&self, run: &RunId) -> bool {
        match self {
            Self::All => true,
            Self::Named(runs) => runs.contains(run),
        }
    }
}

/// Returns the named runs, each once.
pub(crate) fn named_runs(args: &Args, volume: &Volume) -> Result<Vec<RunId>> {
    let mut runs = Vec::new();
    for name in names(args) {
        let (run, _) = select(volume, &name)?;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    Ok(runs)
}

/// Finds the named runs and opens the cursors.
pub(crate) fn named(args: &Args, volume: &Volume) -> Result<(SelectedRuns, CursorStore)> {
    let mut runs = Vec::new();
    let mut missing = Vec::new();
    for name in names(args) {
        match select(volume, &name) {
            Ok((run, _)) if runs.contains(&run) => {}
            Ok((run, _)) => runs.push(run),
            // If the run was read before, its cursor says so.
            Err(e @ (SelectError::NoSuchRun { .. } | SelectError::NoRuns { .. })) => {
                missing.push((name, e));
            }
            Err(e) => return Err(e.into()),
        }
    }
    if args.cursor_file.as_ref().is_none_or(|path| !path.exists())
        && args.after_cursor.is_none()
        && let Some((_, e)) = missing.pop()
    {
        return Err(e.into());
    }
    let cursors = open_cursor_store(args)?;
    let mut removed: Vec<Cursor> = Vec::new();
    let mut unshown = Vec::new();
    for (name, e) in missing {
        if let Some(cursor) = cursors.iter().find(|c| c.run().as_str().starts_with(&name)) {
            removed.push(cursor.clone());
        } else if let Ok(run) = name.parse()
            && was_removed(volume, &cursors, &run)?
        {
            unshown.push(run);
        } else {
            return Err(e.into());
        }
    }
    let is_asked_for = |c: &&Cursor| runs.contains(c.run()) || removed.contains(c);
    if let Some(other) = cursors.iter().find(|c| !is_asked_for(c)) {
        return Err(UsageError {
            message: format!(
                "the cursor belongs to run {}, which is not named",
                other.run()
            ),
            hint: "name that run too, or use another cursor",
        }
        .into());
    }
    let selected = SelectedRuns {
        runs,
        removed,
        unshown,
    };
    Ok((selected, cursors))
}

/// Returns whether gc has removed a run with this id since the cursor file was saved.
fn was_removed(volume: &Volume, cursors: &CursorStore, run: &RunId) -> Result<bool, StorageError> {
    let Some(position) = cursors.retired() else {
        return Ok(false);
    };
    let since = RemovedRuns::starting_at(position).update(volume)?;
    Ok(since.runs.iter().any(|removed| removed.run == *run))
}

/// Returns the names from the command line; by default, the newest run or that of the cursor.
fn names(args: &Args) -> Vec<String> {
    if !args.runs.is_empty() {
        return args.runs.clone();
    }
    let of_cursor = args.after_cursor.as_ref().map(|c| c.run().to_string());
    vec![of_cursor.unwrap_or_else(|| "latest".to_owned())]
}

/// Opens the cursors.
pub(crate) fn open_cursor_store(args: &Args) -> Result<CursorStore> {
    let mut cursors = CursorStore::open(args)?;
    if let Some(cursor) = &args.after_cursor {
        cursors.start_after(cursor.clone());
    }
    Ok(cursors)
}

/// Where to start in a run.
#[derive(Debug)]
pub(crate) struct StartPoint {
    pub start: FollowStart,
    /// The number of matching lines to skip.
    pub skip: usize,
    /// Whether the run existed when `tail` started.
    pub existed: bool,
}

impl StartPoint {
    /// Starts at the first event of a new run. With a cursor file, events that were removed
    /// since the last call are reported as missing.
    pub(crate) fn new_run(args: &Args) -> Self {
        let start = match args.cursor_file {
            Some(_) => FollowStart::FirstEvent,
            None => FollowStart::Beginning,
        };
        Self {
            start,
            skip: 0,
            existed: false,
        }
    }
}
