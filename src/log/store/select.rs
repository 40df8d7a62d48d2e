//! Finding a run by the text that a user typed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use ulid::Ulid;

use crate::log::error::StorageError;
use crate::log::read::first_event::{first_id, first_state};
use crate::log::store::catalog::{SelectError, list, open_any_dir, open_dir};
use crate::volume::{Dir, RunId, Volume, parse_ulid};

/// How a text matched a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The text is the id of the run.
    Id,
    /// The text is `latest`, or `latest~N`.
    Latest,
    /// The text is the name of the run, or `NAME~N`.
    Name,
    /// The text is a unique prefix of the id.
    Prefix {
        /// The number of characters of the id's ULID in the text; 0 if the id has no ULID.
        ulid_chars: usize,
    },
}

/// A run that a user named. Except for an exact id, runs that this user may not read do not count.
#[derive(Debug)]
pub struct SelectedRun {
    /// The id of the run.
    pub run: RunId,
    /// The directory of the run.
    pub dir: Dir,
    /// How the text matched it.
    pub matched_by: MatchedBy,
}

/// Finds the run that a text names, and returns its id and directory.
///
/// # Errors
///
/// See [`find_run`].
pub fn select(volume: &Volume, text: &str) -> Result<(RunId, Dir), SelectError> {
    find_run(volume, text).map(|found| (found.run, found.dir))
}

/// Finds the run that a text names.
///
/// The first match counts: an exact id, `latest` (the run with the highest first event id), a
/// name (its newest run), a unique prefix of an id, the exact id of a run without events.
/// `latest~N` and `NAME~N` are the N-th run before, and `~` means `~1`, unless that is a name.
///
/// # Errors
///
/// No run matches, or the text is a prefix of several ids.
pub fn find_run(volume: &Volume, text: &str) -> Result<SelectedRun, SelectError> {
    let Some(runs) = volume.runs().map_err(StorageError::from)? else {
        return Err(no_runs(volume));
    };
    if let Ok(run) = text.parse::<RunId>()
        && let Some(dir) = open_dir(&runs, &run)?
    {
        let matched_by = MatchedBy::Id;
        return Ok(SelectedRun {
            run,
            dir,
            matched_by,
        });
    }
    let ids = list(volume)?;
    let (mut base, mut back) = split_offset(text);
    if base != text && !named_by_age(&runs, &ids, text)?.is_empty() {
        // The name of a run may look like an offset.
        (base, back) = (text, 0);
    }
    let (found, matched_by) = if base == "latest" {
        let found = nth_newest(&runs, all_by_age(&runs, ids)?, back)?;
        if found.is_none() && back == 0 {
            return Err(no_runs(volume));
        }
        (found, MatchedBy::Latest)
    } else {
        let named = named_by_age(&runs, &ids, base)?;
        (nth_newest(&runs, named, back)?, MatchedBy::Name)
    };
    if let Some((run, dir)) = found {
        return Ok(SelectedRun {
            run,
            dir,
            matched_by,
        });
    }
    let found = find_by_prefix(&runs, &list(volume)?, text);
    if let Err(SelectError::NoSuchRun { .. }) = found
        && let Ok(run) = text.parse::<RunId>()
        && let Some(dir) = open_any_dir(&runs, &run)?
    {
        let matched_by = MatchedBy::Id;
        return Ok(SelectedRun {
            run,
            dir,
            matched_by,
        });
    }
    found
}

fn no_runs(volume: &Volume) -> SelectError {
    SelectError::NoRuns {
        volume: volume.path().to_owned(),
    }
}

/// Splits `build~2` into `build` and 2.
pub fn split_offset(text: &str) -> (&str, usize) {
    match text.rsplit_once('~') {
        Some((base, "")) => (base, 1),
        Some((base, n)) => n.parse().map_or((text, 0), |n| (base, n)),
        None => (text, 0),
    }
}

/// Finds the only run whose id starts with the text.
fn find_by_prefix(runs: &Dir, ids: &[RunId], text: &str) -> Result<SelectedRun, SelectError> {
    let missing = || SelectError::NoSuchRun {
        run: text.to_owned(),
    };
    if split_offset(text).1 > 0 {
        return Err(missing());
    }
    if text.contains('~') {
        let text = text.to_owned();
        return Err(SelectError::BadOffset { text });
    }
    // A prefix of an id is itself a valid id.
    drop(text.parse::<RunId>()?);
    let mut denied = None;
    let mut found = Vec::new();
    for run in ids.iter().filter(|run| run.as_str().starts_with(text)) {
        if let Some(dir) = open_readable(runs, run, &mut denied)? {
            found.push((run.clone(), dir));
        }
    }
    if found.len() > 1 {
        return Err(SelectError::Ambiguous {
            name: text.to_owned(),
            candidates: found.into_iter().map(|(run, _)| run).collect(),
        });
    }
    let missing = || denied.map_or_else(missing, SelectError::from);
    let (run, dir) = found.pop().ok_or_else(missing)?;
    let stem = split_id(&run).map(|(stem, _)| stem.len() + 1);
    let ulid_chars = stem.map_or(0, |stem| text.len().saturating_sub(stem));
    Ok(SelectedRun {
        run,
        dir,
        matched_by: MatchedBy::Prefix { ulid_chars },
    })
}

/// Splits an id of the form `<name>-<ulid>`.
fn split_id(run: &RunId) -> Option<(&str, Ulid)> {
    let id = run.as_str();
    let (stem, ulid) = id.split_at_checked(id.len().checked_sub(ulid::ULID_LEN)?)?;
    Some((stem.strip_suffix('-')?, parse_ulid(ulid)?))
}

/// Returns the newest `limit` ids in the directory `runs` that were generated from this name,
/// newest first; if that of `run` was, only older ones.
///
/// Another name can lead to the same ids, if either has characters that ids cannot have.
///
/// # Errors
/// The directory cannot be read.
pub fn newest_named(
    runs: &Dir,
    name: &str,
    run: &RunId,
    limit: usize,
) -> Result<Vec<RunId>, StorageError> {
    let generated = RunId::generate(name, Ulid::nil());
    let Some((stem, _)) = split_id(&generated) else {
        return Ok(Vec::new());
    };
    let has_stem = |id: &RunId| split_id(id).is_some_and(|(of, _)| of == stem);
    let end = Some(run).filter(|run| has_stem(run));
    let mut newest: BinaryHeap<Reverse<RunId>> = BinaryHeap::new();
    // A volume may have very many runs, so only few ids are copied.
    runs.for_each_name(|id| {
        let is_newest = |known: &Reverse<RunId>| known.0.as_str() < id;
        if id.starts_with(stem)
            && end.is_none_or(|end| id < end.as_str())
            && (newest.len() < limit || newest.peek().is_some_and(is_newest))
            && let Ok(id) = id.parse::<RunId>()
            && has_stem(&id)
        {
            newest.push(Reverse(id));
            if newest.len() > limit {
                newest.pop();
            }
        }
    })?;
    let newest = newest.into_sorted_vec();
    Ok(newest.into_iter().map(|Reverse(id)| id).collect())
}

/// Opens the directory of a run with events. If this user may not read it, returns `None` and
/// stores the error in `denied`.
fn open_readable(
    runs: &Dir,
    run: &RunId,
    denied: &mut Option<StorageError>,
) -> Result<Option<Dir>, StorageError> {
    match open_dir(runs, run) {
        Err(StorageError::Volume(e)) if e.io_kind() == Some(io::ErrorKind::PermissionDenied) => {
            *denied = Some(e.into());
            Ok(None)
        }
        opened => opened,
    }
}

/// Returns all ids that may be runs, each with the id of its first event.
fn all_by_age(runs: &Dir, ids: Vec<RunId>) -> Result<Vec<(Option<Ulid>, RunId)>, StorageError> {
    let mut found = Vec::with_capacity(ids.len());
    let mut denied = None;
    for run in ids {
        if let Some(dir) = open_readable(runs, &run, &mut denied)? {
            found.push((first_id(&dir).unwrap_or(None), run));
        }
    }
    match denied {
        Some(e) if found.is_empty() => Err(e),
        _ => Ok(found),
    }
}

/// Returns the runs with this name, each with the id of its first event.
///
/// Most ids contain the name and the id of the first event, so only other runs are opened.
fn named_by_age(
    runs: &Dir,
    ids: &[RunId],
    name: &str,
) -> Result<Vec<(Option<Ulid>, RunId)>, StorageError> {
    let generated = RunId::generate(name, Ulid::nil());
    let stem = split_id(&generated).map(|(stem, _)| stem);
    // Other names may have the same stem if this one has characters that ids cannot have.
    let is_in_id = stem == Some(name);
    let mut found = Vec::new();
    for run in ids {
        match split_id(run) {
            Some((id_stem, _)) if Some(id_stem) != stem => {}
            Some((_, ulid)) if is_in_id => found.push((Some(ulid), run.clone())),
            _ => {
                // A run that cannot be read has no name that could match.
                let Some(dir) = open_readable(runs, run, &mut None)? else {
                    continue;
                };
                // Nor has a damaged run.
                if let Ok(state) = first_state(&dir)
                    && state.name == name
                {
                    found.push((state.first_id, run.clone()));
                }
            }
        }
    }
    Ok(found)
}

/// Returns the n-th newest of these runs that has events; 0 is the newest.
fn nth_newest(
    runs: &Dir,
    mut by_age: Vec<(Option<Ulid>, RunId)>,
    n: usize,
) -> Result<Option<(RunId, Dir)>, StorageError> {
    by_age.sort_unstable_by(|a, b| b.cmp(a));
    let mut left = n;
    let mut denied = None;
    for (_, run) in by_age {
        if let Some(dir) = open_readable(runs, &run, &mut denied)? {
            if left == 0 {
                return Ok(Some((run, dir)));
            }
            left -= 1;
        }
    }
    denied.map_or(Ok(None), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_ids_of_name_are_found() {
        let tmp = tempfile::tempdir().unwrap();
        let runs = Dir::open(tmp.path()).unwrap();
        let id = |name: &str, n: u128| RunId::generate(name, Ulid(n));
        for n in [3, 1, 5, 2, 4] {
            std::fs::create_dir(tmp.path().join(id("a", n).as_str())).unwrap();
            std::fs::create_dir(tmp.path().join(id("a-b", n).as_str())).unwrap();
        }
        std::fs::create_dir(tmp.path().join("a-own-id")).unwrap();
        let newest = |run: &RunId, limit| newest_named(&runs, "a", run, limit).unwrap();
        assert_eq!(newest(&id("a", 5), 2), [id("a", 4), id("a", 3)]);
        assert_eq!(newest(&id("a", 2), 9), [id("a", 1)]);
        assert_eq!(newest(&id("b", 1), 1), [id("a", 5)]);
    }

    #[test]
    fn offset_is_split_from_name() {
        assert_eq!(split_offset("build"), ("build", 0));
        assert_eq!(split_offset("build~"), ("build", 1));
        assert_eq!(split_offset("build~12"), ("build", 12));
        assert_eq!(split_offset("a~b"), ("a~b", 0));
        assert_eq!(split_offset("a~b~1"), ("a~b", 1));
        assert_eq!(split_offset("build~-1"), ("build~-1", 0));
    }

    #[test]
    fn generated_id_is_split() {
        let ulid = Ulid::from_parts(7, 9);
        let run = RunId::generate("my-build", ulid);
        assert_eq!(split_id(&run), Some(("my-build", ulid)));
        assert_eq!(split_id(&"build".parse().unwrap()), None);
        assert_eq!(split_id(&RunId::from_name(&"x".repeat(40))), None);
    }
}
