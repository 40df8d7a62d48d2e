//! Tombstones: `retired.jsonl` has one line for each run that gc removed, with the keys of
//! `status --json` and a checksum like that of an event.
//!
//! A tombstone is durable before the directory of its run is removed. A run that still exists
//! may therefore have tombstones, and these do not count.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::retired_file;
use super::retired_file::{RetiredFile, parse_line};
use crate::log::error::{GcError, StorageError, SyncError};
use crate::log::format::envelope;
use crate::log::format::event_type::SpaceClaim;
use crate::log::lock::file_lock;
use crate::log::read::damage::{Damage, DamageList};
use crate::log::read::summary::RunSummary;
use crate::log::segment::line_reader::{FileSpan, LineReader};
use crate::log::segment::preallocate::Preallocation;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::state::run_state::RunState;
use crate::log::state::run_status::RunStatus;
use crate::volume::{
    Dir, FileKey, IoContext, RunId, Volume, copy_access, is_out_of_space, layout, now_ts, rfc3339,
    ulid_text,
};

/// The summary of a removed run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The version of the format.
    v: u64,
    /// When gc removed the run.
    #[serde(with = "rfc3339")]
    pub retired_ts: Timestamp,
    /// The reason for the removal.
    pub why: String,
    /// The disk usage of its directory, in bytes.
    pub freed_bytes: u64,
    /// The id of the run.
    pub run_id: RunId,
    /// The final state.
    pub state: RunStatus,
    /// The evidence for that state.
    pub because: String,
    /// The time from the first event to the close, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The total number of events that the run has had.
    pub events: u64,
    /// The length of its log, in bytes.
    pub bytes: u64,
    /// The number of damaged places in its log.
    pub damaged: u64,
    /// The folded state, with as many jobs as fit into 32 KiB.
    #[serde(flatten)]
    pub run: RunState,
}

impl Tombstone {
    /// Creates the tombstone of a run that is being removed, without a reason.
    ///
    /// # Errors
    /// The state cannot be truncated.
    pub fn new(
        run_id: RunId,
        summary: &RunSummary,
        state: RunStatus,
        because: String,
    ) -> Result<Self, GcError> {
        Ok(Self {
            v: envelope::FORMAT_VERSION,
            retired_ts: now_ts(),
            why: String::new(),
            freed_bytes: 0,
            run_id,
            state,
            because,
            duration_ms: summary.state.duration_ms(),
            events: summary.events,
            bytes: summary.bytes,
            damaged: summary.damage.count(),
            run: summary.state.truncated()?,
        })
    }

    fn write_to(&self, out: &mut Vec<u8>) -> Result<(), GcError> {
        let start = out.len();
        serde_json::to_writer(&mut *out, self)?;
        // Insert the checksum before the last brace.
        out.pop();
        envelope::seal(out, start);
        Ok(())
    }
}

/// The open and locked tombstone file.
#[derive(Debug)]
pub(crate) struct TombstoneLog {
    file: Arc<File>,
    path: PathBuf,
    len: u64,
    /// The tombstones in the file, by run, first event and number of events.
    recorded: HashSet<TombstoneKey>,
    /// Space for the next tombstone, so that gc can free space on a full disk.
    reserve: Preallocation,
}

impl TombstoneLog {
    /// Opens the file, creates it if it does not exist, and acquires its lock.
    ///
    /// # Errors
    /// Another gc is running ([`GcError::Running`]), or the file cannot be written.
    pub(crate) fn open(var: &Dir) -> Result<Self, GcError> {
        let path = var.path().join(layout::RETIRED);
        let file = lock_current(var, &path)?;
        // The file may be new, or the gc that created it may have died before it synced the
        // directory.
        var.sync().map_err(SyncError::from_volume)?;
        let len = repair_last_line(&file).at("repair", &path)?;
        let file = Arc::new(file);
        let recorded = read_keys(&file, len).at("read", &path)?;
        Ok(Self {
            file,
            path,
            len,
            recorded,
            reserve: Preallocation::default(),
        })
    }

    /// Removes the oldest lines until `max_lines` remain, and returns how many it removed.
    ///
    /// The file is replaced, so that a crash leaves the old one or the new one. Readers find
    /// their position again by the last line that they read.
    ///
    /// # Errors
    /// The new file cannot be written, and the old one remains.
    pub(crate) fn trim(&mut self, var: &Dir, max_lines: usize) -> Result<u64, GcError> {
        let (start, removed) = excess(&self.file, self.len, max_lines).at("read", &self.path)?;
        if removed == 0 {
            return Ok(0);
        }
        let new = self.replace_from(var, start).inspect_err(|_| {
            // The new file may have filled the disk.
            drop(var.remove_file(layout::RETIRED_NEW));
        })?;
        (self.file, self.len) = (Arc::new(new), self.len - start);
        self.reserve = Preallocation::default();
        Ok(removed)
    }

    /// Replaces the file with a copy of the lines from `start`, and returns the copy, locked.
    fn replace_from(&self, var: &Dir, start: u64) -> Result<File, GcError> {
        // A gc that died may have left one. Only the process that holds the lock gets here.
        var.remove_file(layout::RETIRED_NEW)?;
        let new = var.create_new(layout::RETIRED_NEW)?;
        let path = var.path().join(layout::RETIRED_NEW);
        // Lock the new file before it gets its name, so that no other gc starts.
        match file_lock::try_exclusive(&new, &path)? {
            Some(guard) => guard.keep(),
            None => return Err(GcError::Running { path }),
        }
        copy_access(&self.file, &new).at("set owner and mode of", &path)?;
        let mut old = FileSpan::new(Arc::clone(&self.file), start, self.len);
        std::io::copy(&mut old, &mut &new).at("write", &path)?;
        new.sync_data().map_err(|source| SyncError {
            path: path.clone(),
            source,
        })?;
        var.replace(layout::RETIRED_NEW, layout::RETIRED)?;
        var.sync().map_err(SyncError::from_volume)?;
        Ok(new)
    }

    /// Returns whether the file has a tombstone of this run.
    pub(crate) fn has(&self, run: &RunId, first_id: Option<Ulid>) -> bool {
        let is_same = |key: &TombstoneKey| key.run_id == *run && key.first_id == first_id;
        self.recorded.iter().any(is_same)
    }

    /// Appends tombstones and syncs the file. If the write fails, no tombstone remains.
    ///
    /// A tombstone that an interrupted gc recorded is not recorded again.
    ///
    /// # Errors
    /// They cannot be written ([`StorageError::NoSpace`] if the disk is full) or synced.
    pub(crate) fn append(&mut self, runs: &[Tombstone]) -> Result<(), GcError> {
        let mut bytes = Vec::new();
        let is_new = |run: &&Tombstone| !self.recorded.contains(&TombstoneKey::from(*run));
        for run in runs.iter().filter(is_new) {
            run.write_to(&mut bytes)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(source) = (&*self.file).write_all(&bytes) {
            // If this fails too, the next gc removes the torn line.
            drop(self.file.set_len(self.len));
            let path = self.path.clone();
            return Err(if is_out_of_space(source.kind()) {
                StorageError::NoSpace { path, source }.into()
            } else {
                Err(source).at("write", path)?
            });
        }
        self.len += bytes.len() as u64;
        self.recorded.extend(runs.iter().map(TombstoneKey::from));
        // Reserve space for the next append. If this fails, there may be space by then.
        let space = SpaceClaim::Ordinary;
        drop(
            self.reserve
                .ensure(&self.file, self.len, self.len, space, 0),
        );
        self.file.sync_data().map_err(|source| SyncError {
            path: self.path.clone(),
            source,
        })?;
        Ok(())
    }
}

/// Opens and locks the current file: a gc that trims the file replaces it.
fn lock_current(var: &Dir, path: &Path) -> Result<File, GcError> {
    loop {
        let file = var.append(layout::RETIRED)?;
        let running = || GcError::Running {
            path: path.to_owned(),
        };
        file_lock::try_exclusive(&file, path)?
            .ok_or_else(running)?
            .keep();
        let opened = rustix::fs::fstat(&file).map_err(std::io::Error::from);
        let opened = FileKey::from(&opened.at("stat", path)?);
        let named = var.stat(layout::RETIRED)?;
        if named.as_ref().map(FileKey::from) == Some(opened) {
            return Ok(file);
        }
    }
}

/// Returns the number of lines in the file beyond the newest `max_lines`.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn count_excess(volume: &Volume, max_lines: usize) -> Result<u64, StorageError> {
    let Some(retired) = RetiredFile::open(volume)? else {
        return Ok(0);
    };
    let excess = excess(&retired.file, retired.len, max_lines);
    let (_, lines) = excess.at("read", &retired.path)?;
    Ok(lines)
}

/// Returns the offset at which the newest `max_lines` lines start, and the number of lines
/// before it.
fn excess(file: &Arc<File>, len: u64, max_lines: usize) -> std::io::Result<(u64, u64)> {
    let mut back = RevLineReader::new(file, len);
    let mut start = len;
    for _ in 0..max_lines {
        let Some(line) = back.prev_line()? else { break };
        start = line.offset;
    }
    Ok((start, retired_file::count_lines(file, start)?))
}

/// The identity of a tombstone. If a run got more events after gc was interrupted, its next
/// tombstone has a new summary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct TombstoneKey {
    pub run_id: RunId,
    #[serde(default, with = "ulid_text")]
    pub first_id: Option<Ulid>,
    pub events: u64,
}

impl From<&Tombstone> for TombstoneKey {
    fn from(tombstone: &Tombstone) -> Self {
        Self {
            run_id: tombstone.run_id.clone(),
            first_id: tombstone.run.first_id,
            events: tombstone.events,
        }
    }
}

fn read_keys(file: &Arc<File>, len: u64) -> std::io::Result<HashSet<TombstoneKey>> {
    let mut keys = HashSet::new();
    let mut lines = LineReader::from_span(FileSpan::new(Arc::clone(file), 0, len));
    while let Some(line) = lines.next_line()? {
        if envelope::check_frame(line.bytes).is_ok() {
            keys.extend(serde_json::from_slice::<TombstoneKey>(line.bytes));
        }
    }
    Ok(keys)
}

/// Completes or cuts a torn last line, and returns the length of the file.
///
/// A line that an interrupted gc tore belongs to a run that still exists, so cutting it loses
/// nothing.
fn repair_last_line(file: &File) -> std::io::Result<u64> {
    let len = file.metadata()?.len();
    let mut back = RevLineReader::new(file, len);
    let Some(last) = back.prev_line()?.filter(|line| !line.whole) else {
        return Ok(len);
    };
    if parse_line::<Tombstone>(&last).is_ok() {
        (&*file).write_all(b"\n")?;
        return Ok(len + 1);
    }
    file.set_len(last.offset)?;
    Ok(last.offset)
}

/// Reads the runs that gc removed, in the order of removal and each once, and the damage in the
/// file.
///
/// # Errors
/// The file cannot be read.
pub fn read_tombstones(volume: &Volume) -> Result<(Vec<Tombstone>, DamageList), StorageError> {
    let Some(retired) = RetiredFile::open(volume)? else {
        return Ok((Vec::new(), DamageList::default()));
    };
    let path = &retired.path;
    let mut lines = retired.lines_from(0);
    let mut found: Vec<Option<Tombstone>> = Vec::new();
    let mut places: HashMap<(RunId, Option<Ulid>), usize> = HashMap::new();
    let mut damage = DamageList::default();
    let mut number = 0;
    while let Some(line) = lines.next_line().at("read", path)? {
        number += 1;
        if !line.whole {
            // The line is incomplete, so its run still exists.
            break;
        }
        match parse_line::<Tombstone>(&line) {
            Ok(run) => {
                let key = (run.run_id.clone(), run.run.first_id);
                // Only the last tombstone counts: gc removed the run after writing it.
                if let Some(before) = places.insert(key, found.len())
                    && let Some(place) = found.get_mut(before)
                {
                    *place = None;
                }
                found.push(Some(run));
            }
            Err(reason) => damage.push(Damage {
                file: path.clone(),
                line: number,
                offset: line.offset,
                reason,
            }),
        }
    }
    let runs = volume.runs()?;
    let mut removed: Vec<_> = found.into_iter().flatten().collect();
    removed.retain(|tombstone| {
        let (run, first_id) = (&tombstone.run_id, tombstone.run.first_id);
        let exists = |runs| retired_file::still_exists(runs, run, first_id);
        !runs.as_ref().is_some_and(exists)
    });
    Ok((removed, damage))
}
