//! Following a run while it grows, over rotations and compressions: nothing is left
//! out, and nothing is given out twice. Nothing is held open between two looks.

use rustix::fs::Stat;

use super::cursor::Cursor;
use super::last_lines::last_lines;
use super::position::{Gap, Position};
use super::reader::Reader;
use crate::log::error::StorageError;
use crate::log::segment::segment_set::{open_active, open_segments, since_checkpoint};
use crate::volume::{Dir, FileKey, RunId, layout};

/// Where a run is begun.
#[derive(Debug, Clone)]
pub enum FollowStart {
    /// With its first event.
    Beginning,
    /// With the newest checkpoint, which brings along the state of all before it; with the
    /// first event where there is none.
    Checkpoint,
    /// With so many of the lines that are asked for.
    Last(usize),
    /// Behind a cursor.
    After(Cursor),
}

/// What the active segment looked like when it was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SeenStat {
    key: FileKey,
    len: u64,
    changed: (i64, u64),
}

impl From<&Stat> for SeenStat {
    fn from(stat: &Stat) -> Self {
        Self {
            key: FileKey::from(stat),
            len: stat.st_size as u64,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// What is read of a run first.
#[derive(Debug, Clone, Copy)]
enum StartState {
    All,
    Checkpoint,
    Last(usize),
}

/// Gives out a run bit by bit.
#[derive(Debug)]
pub struct Follower {
    /// Where to begin, while there is no place yet.
    begin: StartState,
    place: Option<Position>,
    seen: Option<SeenStat>,
}

/// What is new in a run.
#[derive(Debug)]
pub struct Update {
    /// What is missing before it.
    pub gap: Option<Gap>,
    /// The new lines.
    pub reader: Reader,
}

impl Follower {
    /// Begins a run there.
    pub fn new(start: FollowStart) -> Self {
        let (begin, place) = match start {
            FollowStart::Beginning => (StartState::All, None),
            FollowStart::Checkpoint => (StartState::Checkpoint, None),
            FollowStart::Last(n) => (StartState::Last(n), None),
            FollowStart::After(cursor) => (StartState::All, Some(cursor.place)),
        };
        Self {
            begin,
            place,
            seen: None,
        }
    }

    /// What has come since the last look at the run in `dir`; `None` if nothing has.
    /// `want` tells which lines count where a run is begun with its last ones.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn poll(
        &mut self,
        dir: &Dir,
        want: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Update>, StorageError> {
        let now = dir.stat(layout::ACTIVE)?;
        let now = now.as_ref().map(SeenStat::from);
        if now.is_some() && now == self.seen {
            return Ok(None);
        }
        // Noted as it was before it is read: what comes meanwhile is news.
        self.seen = now;
        let Some(place) = self.place else {
            let reader = match std::mem::replace(&mut self.begin, StartState::All) {
                StartState::Last(n) => last_lines(dir, n, want)?,
                StartState::Checkpoint => {
                    Reader::from_segments(since_checkpoint(open_segments(dir)?))
                }
                StartState::All => Reader::from_segments(open_segments(dir)?),
            };
            return Ok(Some(Update { gap: None, reader }));
        };
        let active = open_active(dir)?;
        if let Some(active) = active.filter(|active| place.matches_segment(active)) {
            let reader = Reader::continue_from(&place, vec![active]);
            return Ok(Some(Update { gap: None, reader }));
        }
        let segments = open_segments(dir)?;
        if segments.is_empty() {
            // It is being removed, or between two names.
            self.seen = None;
            return Ok(None);
        }
        let (reader, gap) = Reader::resume(&place, segments);
        Ok(Some(Update { gap, reader }))
    }

    /// Takes note of how far the news were taken.
    pub fn mark_read(&mut self, reader: &Reader) {
        self.place = reader.position().or(self.place);
    }

    /// Looks at the run again even if nothing seems to have changed: not all of the news
    /// were taken.
    pub fn stat_changed(&mut self) {
        self.seen = None;
    }

    /// Whether it has a place in the run.
    pub fn has_events(&self) -> bool {
        self.place.is_some()
    }

    /// Whether the active segment looks as it did when it was read last.
    pub fn has_seen(&self, active: &Stat) -> bool {
        self.seen == Some(SeenStat::from(active))
    }

    /// Where it stands; `None` before the first line. `over` says whether that is behind
    /// the last line of a run that is over.
    pub fn cursor(&self, run: &RunId, over: bool) -> Option<Cursor> {
        Some(Cursor::new(run.clone(), self.place?, over))
    }
}
