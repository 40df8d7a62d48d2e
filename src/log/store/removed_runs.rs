//! Removed runs, so that followers can report events that they never read.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use ulid::Ulid;

use crate::log::error::StorageError;
use crate::log::format::ulid::parse_ulid;
use crate::log::read::cursor::Cursor;
use crate::log::read::position::{Gap, GapReason};
use crate::log::segment::line_reader::{FileSpan, LineReader};
use crate::volume::{IoContext, RunId, Volume, layout};

/// The runs that gc removed, and the number of events of each.
///
/// A run is identified by its id and the id of its first event: the id of a run that was
/// removed may be used again.
#[derive(Debug, Default)]
pub struct RemovedRuns {
    events: HashMap<(RunId, Option<Ulid>), u64>,
    /// The number of events of the last removed run of each id.
    last: HashMap<RunId, u64>,
    /// The offset up to which `retired.jsonl` was read.
    read_to: u64,
}

#[derive(Deserialize)]
struct TombstoneLine {
    run_id: RunId,
    first_id: Option<String>,
    events: u64,
}

impl RemovedRuns {
    /// Reads the tombstones that were appended since the last call.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn update(&mut self, volume: &Volume) -> Result<(), StorageError> {
        let Some(file) = volume.root().read_in(layout::VAR, layout::RETIRED)? else {
            return Ok(());
        };
        let path = volume.path().join(layout::VAR).join(layout::RETIRED);
        let len = file.metadata().at("stat", &path)?.len();
        if len < self.read_to {
            *self = Self::default();
        }
        let span = FileSpan::new(Arc::new(file), self.read_to, len);
        let mut lines = LineReader::from_span(span);
        while let Some(line) = lines.next_line().at("read", &path)? {
            if line.whole {
                self.read_to = line.end();
                if let Ok(line) = serde_json::from_slice::<TombstoneLine>(line.bytes) {
                    let first_id = line.first_id.as_deref().and_then(parse_ulid);
                    self.last.insert(line.run_id.clone(), line.events);
                    self.events.insert((line.run_id, first_id), line.events);
                }
            }
        }
        Ok(())
    }

    /// Returns the gap for a removed run of which nothing was read; `None` if gc did not
    /// remove it.
    pub fn gap_for_run(&self, run: &RunId) -> Option<Gap> {
        self.last.get(run).map(|events| Gap {
            from_seq: Some(0),
            to_seq: events.checked_sub(1),
            why: GapReason::Removed,
        })
    }

    /// Returns the gap after the cursor of a run that no longer exists; `None` if all of it
    /// was read.
    pub fn gap_after(&self, cursor: &Cursor) -> Option<Gap> {
        let from_seq = cursor.next_seq();
        // Lines of other programs have no sequence numbers to compare.
        let key = (cursor.run().clone(), cursor.first_id());
        let events = self.events.get(&key).filter(|_| from_seq > Some(0));
        let all_read = match events {
            Some(events) => from_seq >= Some(*events),
            None => cursor.is_behind_the_end(),
        };
        (!all_read).then(|| Gap {
            from_seq,
            to_seq: events.and_then(|events| events.checked_sub(1)),
            why: GapReason::Removed,
        })
    }
}
