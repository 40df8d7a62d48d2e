//! The removed runs, so that followers can report events that they never read.

use std::collections::HashMap;

use ulid::Ulid;

use super::retired_file;
use super::retired_file::{RetiredFile, parse_line};
use super::tombstones::TombstoneKey;
use crate::log::error::StorageError;
use crate::log::read::cursor::Cursor;
use crate::log::read::damage::{Damage, DamageList};
use crate::log::read::position::{Gap, GapReason};
use crate::log::read::retired_position::RetiredPosition;
use crate::log::segment::line_reader::{FileSpan, LineReader};
use crate::volume::{Dir, IoContext, RunId, Volume};

/// The runs that gc removed, and the number of events of each.
///
/// A run is identified by its id and the id of its first event, because the id of a removed run
/// may be used again.
#[derive(Debug, Default)]
pub struct RemovedRuns {
    events: HashMap<(RunId, Option<Ulid>), u64>,
    /// The number of events of the last removed run of each id.
    last: HashMap<RunId, u64>,
    /// The offset at which reading started. Earlier lines are read only if they are needed.
    start: u64,
    position: RetiredPosition,
}

/// A removed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedRun {
    /// The id of the run.
    pub run: RunId,
    /// The id of its first event.
    pub first_id: Option<Ulid>,
    /// The number of its events.
    pub events: u64,
    /// The position before the run's line.
    pub before: RetiredPosition,
}

/// What was appended to `retired.jsonl` since the last call.
#[derive(Debug, Default)]
pub struct NewlyRemoved {
    /// The removed runs.
    pub runs: Vec<RemovedRun>,
    /// The damaged lines that may have been those of removed runs.
    pub damage: DamageList,
    /// Whether the last line that was read no longer exists, so that lines after it may be
    /// missing too.
    pub lost_position: bool,
}

impl RemovedRuns {
    /// Continues from a position.
    pub fn starting_at(position: RetiredPosition) -> Self {
        Self {
            start: position.offset,
            position,
            ..Self::default()
        }
    }

    /// Starts with the runs that will be removed from now on.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn from_now_on(volume: &Volume) -> Result<Self, StorageError> {
        let Some(retired) = RetiredFile::open(volume)? else {
            return Ok(Self::default());
        };
        let position = RetiredPosition::at_end(&retired.file, retired.len);
        let position = position.at("read", retired.path)?;
        Ok(Self::starting_at(position))
    }

    /// Returns the position after the last tombstone that was read.
    pub fn position(&self) -> RetiredPosition {
        self.position
    }

    /// Reads the tombstones that were appended since the last call.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn update(&mut self, volume: &Volume) -> Result<NewlyRemoved, StorageError> {
        let mut new = NewlyRemoved::default();
        let Some(retired) = RetiredFile::open(volume)? else {
            new.lost_position = self.position.offset > 0;
            *self = Self::default();
            return Ok(new);
        };
        let path = &retired.path;
        let found = self.position.find(&retired.file, retired.len);
        let found = found.at("read", path)?;
        new.lost_position = found.is_none();
        if found != Some(self.position) {
            *self = Self::starting_at(found.unwrap_or_default());
        }
        let from = self.position.offset;
        let mut lines = retired.lines_from(from);
        let (mut number, mut lines_before) = (0, None);
        // Counts only the lines that can be read.
        let count_before = || retired_file::count_lines(&retired.file, from).unwrap_or_default();
        while let Some(line) = lines.next_line().at("read", path)? {
            if !line.whole {
                // The line is incomplete, so its run still exists.
                break;
            }
            number += 1;
            let before = self.position;
            self.position = RetiredPosition::after(line.bytes, line.end());
            match parse_line::<TombstoneKey>(&line) {
                Ok(tombstone) => {
                    let removed = tombstone.into_removed(before);
                    self.record(&removed);
                    new.runs.push(removed);
                }
                Err(reason) => new.damage.push(Damage {
                    file: path.clone(),
                    line: number + *lines_before.get_or_insert_with(count_before),
                    offset: line.offset,
                    reason,
                }),
            }
        }
        Ok(new)
    }

    fn record(&mut self, removed: &RemovedRun) {
        self.last.insert(removed.run.clone(), removed.events);
        let key = (removed.run.clone(), removed.first_id);
        self.events.insert(key, removed.events);
    }

    /// Reads the tombstones before the position at which reading started.
    fn read_older(&mut self, volume: &Volume) -> Result<(), StorageError> {
        let end = std::mem::take(&mut self.start);
        let Some(retired) = RetiredFile::open(volume)?.filter(|_| end > 0) else {
            return Ok(());
        };
        let mut lines = LineReader::from_span(FileSpan::new(retired.file, 0, end));
        while let Some(line) = lines.next_line().at("read", &retired.path)? {
            if let Ok(tombstone) = parse_line::<TombstoneKey>(&line) {
                let older = tombstone.into_removed(RetiredPosition::default());
                self.last.entry(older.run.clone()).or_insert(older.events);
                let key = (older.run, older.first_id);
                self.events.entry(key).or_insert(older.events);
            }
        }
        Ok(())
    }

    /// Returns the gap for a removed run that was not read at all; `None` if gc did not remove
    /// it.
    pub fn gap_for_run(&self, run: &RunId) -> Option<Gap> {
        self.last.get(run).copied().map(gap_of_all)
    }

    /// Returns the gap after the cursor of a run that no longer exists; `None` if all of it was
    /// read.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn gap_after(
        &mut self,
        volume: &Volume,
        cursor: &Cursor,
    ) -> Result<Option<Gap>, StorageError> {
        let from_seq = cursor.next_seq();
        let key = (cursor.run().clone(), cursor.first_id());
        if !self.events.contains_key(&key) {
            self.read_older(volume)?;
        }
        // Lines of other programs have no sequence numbers to compare.
        let events = self.events.get(&key).filter(|_| from_seq > Some(0));
        let all_read = match events {
            Some(events) => from_seq >= Some(*events),
            None => cursor.is_at_end(),
        };
        Ok((!all_read).then(|| Gap {
            from_seq,
            to_seq: events.and_then(|events| events.checked_sub(1)),
            why: GapReason::Removed,
        }))
    }
}

impl RemovedRun {
    /// Returns the gap for a run that was not read at all.
    pub fn gap(&self) -> Gap {
        gap_of_all(self.events)
    }

    /// Returns whether the run still exists because its removal is not finished.
    pub fn still_exists(&self, runs: &Dir) -> bool {
        retired_file::still_exists(runs, &self.run, self.first_id)
    }
}

impl TombstoneKey {
    fn into_removed(self, before: RetiredPosition) -> RemovedRun {
        RemovedRun {
            first_id: self.first_id,
            run: self.run_id,
            events: self.events,
            before,
        }
    }
}

fn gap_of_all(events: u64) -> Gap {
    Gap {
        from_seq: Some(0),
        to_seq: events.checked_sub(1),
        why: GapReason::Removed,
    }
}
