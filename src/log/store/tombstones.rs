//! `retired.jsonl`: one line for each run that gc removed, in the words of
//! `status --json`, with a checksum as events have.
//!
//! A line is durable before its run's folder goes. So a run that is still there may have
//! a line, or several; those do not count.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog;
use crate::log::error::{GcError, StorageError, SyncError};
use crate::log::format::envelope;
use crate::log::format::envelope::DamageReason;
use crate::log::format::ulid::parse_ulid;
use crate::log::lock::file_lock;
use crate::log::read::reader::Damage;
use crate::log::read::summary::RunSummary;
use crate::log::segment::line_reader::{FileSpan, LineReader};
use crate::log::segment::preallocate::Preallocation;
use crate::log::segment::rev_line_reader::RevLineReader;
use crate::log::state::run_state::RunState;
use crate::log::state::run_status::RunStatus;
use crate::volume::{Dir, IoContext, RunId, Volume, layout, now_ts};

/// A run that is gone, as its line tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Version of the format.
    v: u64,
    /// When gc took it.
    pub retired_ts: String,
    /// Why gc took it.
    pub why: String,
    /// All of its folder on disk, in bytes.
    pub freed_bytes: u64,
    /// Its id.
    pub run_id: RunId,
    /// The state that it ended in.
    pub state: RunStatus,
    /// What the state rested on.
    pub because: String,
    /// From the first event to the close, in milliseconds.
    pub duration_ms: Option<u64>,
    /// How many events it ever had.
    pub events: u64,
    /// Its log, in bytes.
    pub bytes: u64,
    /// How many damaged places its log had.
    pub damaged: usize,
    /// Its state, with as many jobs as fit into 32 KiB.
    #[serde(flatten)]
    pub run: RunState,
}

impl Tombstone {
    /// The line of a run that goes now; why it goes is left to be filled in.
    ///
    /// # Errors
    /// The state cannot be shortened.
    pub fn new(
        run_id: RunId,
        overview: &RunSummary,
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
            duration_ms: overview.state.duration_ms(),
            events: overview.events,
            bytes: overview.bytes,
            damaged: overview.damage.len(),
            run: overview.state.truncated()?,
        })
    }

    fn write_to(&self, out: &mut Vec<u8>) -> Result<(), GcError> {
        let start = out.len();
        serde_json::to_writer(&mut *out, self)?;
        // The checksum goes before the last brace.
        out.pop();
        envelope::seal(out, start);
        Ok(())
    }

    fn parse(line: &[u8]) -> Result<Self, DamageReason> {
        envelope::check(line)?;
        serde_json::from_slice(line).map_err(|_| DamageReason::NotJson)
    }
}

/// The file, locked: there is one gc at a time.
#[derive(Debug)]
pub(crate) struct TombstoneLog {
    file: File,
    path: PathBuf,
    len: u64,
    /// So that gc can make room on a full disk, for which it needs some itself.
    reserve: Preallocation,
}

impl TombstoneLog {
    /// Opens the file, making it where it is missing, and takes its lock.
    ///
    /// # Errors
    /// Another gc is at work ([`GcError::Running`]), or the file cannot be written.
    pub(crate) fn open(var: &Dir) -> Result<Self, GcError> {
        let path = var.path().join(layout::RETIRED);
        let file = var.append(layout::RETIRED)?;
        match file_lock::try_exclusive(&file, &path)? {
            Some(guard) => guard.keep(),
            None => return Err(GcError::Running { path }),
        }
        // It may have been made just now, or by one that died before its own sync.
        var.sync().map_err(SyncError::from_volume)?;
        let len = complete_line(&file).at("mend", &path)?;
        Ok(Self {
            file,
            path,
            len,
            reserve: Preallocation::default(),
        })
    }

    /// Writes lines and makes them durable. After trouble with the write none stands.
    ///
    /// # Errors
    /// They cannot be written ([`StorageError::NoSpace`] where the disk is full), or synced.
    pub(crate) fn append(&mut self, runs: &[Tombstone]) -> Result<(), GcError> {
        let mut bytes = Vec::new();
        for run in runs {
            run.write_to(&mut bytes)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.file.write_all(&bytes) {
            // What is left of a line is mended by the next gc.
            drop(self.file.set_len(self.len));
            let path = self.path.clone();
            let full = matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            );
            return Err(if full {
                StorageError::NoSpace { path, source }.into()
            } else {
                Err(source).at("write", path)?
            });
        }
        self.len += bytes.len() as u64;
        // For the next time; where there is no room left now, there may be then.
        drop(self.reserve.ensure(&self.file, self.len, self.len));
        self.file.sync_data().map_err(|source| SyncError {
            path: self.path.clone(),
            source,
        })?;
        Ok(())
    }
}

/// Makes the file end where a line ends; gives its length. The torn line of a gc that was
/// cut off tells of a run that is still there, so nothing is lost with it.
fn complete_line(file: &File) -> std::io::Result<u64> {
    let len = file.metadata()?.len();
    let mut back = RevLineReader::new(file, len);
    let Some(last) = back.prev_line()?.filter(|line| !line.whole) else {
        return Ok(len);
    };
    if Tombstone::parse(last.bytes).is_ok() {
        (&*file).write_all(b"\n")?;
        return Ok(len + 1);
    }
    file.set_len(last.offset)?;
    Ok(last.offset)
}

/// The runs that gc removed, each once, in the order of their removal; and what is
/// damaged in the file.
///
/// # Errors
/// The file cannot be read.
pub fn read_tombstones(volume: &Volume) -> Result<(Vec<Tombstone>, Vec<Damage>), StorageError> {
    let Some(file) = volume.root().read_in(layout::VAR, layout::RETIRED)? else {
        return Ok((Vec::new(), Vec::new()));
    };
    let path = volume.path().join(layout::VAR).join(layout::RETIRED);
    let len = file.metadata().at("look at", &path)?.len();
    let mut lines = LineReader::from_span(FileSpan::new(Arc::new(file), 0, len));
    let mut found: Vec<Option<Tombstone>> = Vec::new();
    let mut places: HashMap<(RunId, Option<String>), usize> = HashMap::new();
    let mut damage = Vec::new();
    let mut number = 0;
    while let Some(line) = lines.next_line().at("read", &path)? {
        number += 1;
        if !line.whole {
            // In flight, or torn: then its run is still there.
            break;
        }
        let parsed = if line.too_long {
            Err(DamageReason::TooLong)
        } else {
            Tombstone::parse(line.bytes)
        };
        match parsed {
            Ok(run) => {
                let key = (run.run_id.clone(), run.run.first_id.clone());
                // The last line is the one behind which the run went.
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
    let mut gone: Vec<_> = found.into_iter().flatten().collect();
    gone.retain(|run| runs.as_ref().is_none_or(|runs| !still_there(runs, run)));
    Ok((gone, damage))
}

/// Whether the run itself is there: gc was cut off before it took it.
fn still_there(runs: &Dir, run: &Tombstone) -> bool {
    let Ok(Some(dir)) = catalog::open_dir(runs, &run.run_id) else {
        return false;
    };
    let id = run.run.first_id.as_deref().and_then(parse_ulid);
    catalog::first_id(&dir).is_ok_and(|first| first == id)
}
