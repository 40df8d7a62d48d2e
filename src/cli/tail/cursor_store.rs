//! The cursors of lines that were written and, as far as that is known, read. They are saved
//! to a file and printed at the end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{FileType, fstat};

use crate::cli::context::print_stderr;
use crate::log::{Cursor, CursorFile, CursorFileError, RemovedRun, RetiredPosition, SavedCursors};
use crate::volume::RunId;

/// Waits this many times the duration of the last save before saving again, so that following
/// many busy runs does not degenerate into saving cursors.
const SAVE_BACKOFF: u32 = 9;
/// How long after a line a pipe is first polled, since it does not report reads.
const ACK_POLL_MIN: Duration = Duration::from_millis(1);
/// … then each time after twice as long, up to this.
const ACK_POLL_MAX: Duration = Duration::from_secs(1);

/// The cursor of each run, behind the last line that was read.
#[derive(Debug)]
pub(crate) struct CursorStore {
    file: Option<CursorFile>,
    show: bool,
    cursors: BTreeMap<RunId, Cursor>,
    /// Cursors that are good once so many bytes of all that is written were read; `None`:
    /// the run is gone. No more of them than lines in the buffer and in the pipe.
    waiting: BTreeMap<(u64, RunId), Option<Cursor>>,
    /// How far `retired.jsonl` was read, with nothing to be read before.
    retired: Option<RetiredPosition>,
    /// … and how far according to the file.
    saved_retired: Option<RetiredPosition>,
    /// Positions in `retired.jsonl` that are good once so many bytes were read.
    waiting_retired: BTreeMap<u64, RetiredPosition>,
    /// How long the last look at what was read was put off, and when the next one is due.
    pause: Duration,
    next_look: Instant,
    unsaved: bool,
    next_save: Instant,
    /// Whether stdout is a file, which has to be synced before a cursor is.
    to_file: bool,
}

impl CursorStore {
    /// Takes the cursor file, if there is one, with the cursors in it.
    pub(crate) fn open(path: Option<&Path>, show: bool) -> Result<Self, CursorFileError> {
        let (file, saved) = match path {
            Some(path) => CursorFile::open(path).map(|(file, saved)| (Some(file), saved))?,
            None => (None, SavedCursors::default()),
        };
        let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
        Ok(Self {
            file,
            show,
            retired: saved.retired,
            waiting_retired: BTreeMap::new(),
            saved_retired: saved.retired,
            cursors: saved
                .cursors
                .into_iter()
                .map(|c| (c.run().clone(), c))
                .collect(),
            waiting: BTreeMap::new(),
            pause: ACK_POLL_MIN,
            next_look: Instant::now(),
            unsaved: false,
            next_save: Instant::now(),
            to_file: fstat(io::stdout()).is_ok_and(|stat| is_file(stat.st_mode)),
        })
    }

    /// Whether anybody wants cursors.
    pub(crate) fn is_used(&self) -> bool {
        self.file.is_some() || self.show
    }

    /// The cursors as they are.
    pub(crate) fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.cursors.values()
    }

    /// The cursor of a run.
    pub(crate) fn cursor_of(&self, run: &RunId) -> Option<&Cursor> {
        self.cursors.get(run)
    }

    /// Whether something was saved before, so that a run without a cursor is new.
    pub(crate) fn is_resumed(&self) -> bool {
        !self.cursors.is_empty() || self.saved_retired.is_some()
    }

    /// How far `retired.jsonl` was read; `None` if that was not recorded.
    pub(crate) fn retired(&self) -> Option<RetiredPosition> {
        self.retired
    }

    /// Whether there is a cursor of a removed run, saved or not.
    pub(crate) fn has_cursor_of(&self, removed: &RemovedRun) -> bool {
        let waiting = self.waiting.iter().rev();
        let latest = waiting.clone().find(|((_, run), _)| *run == removed.run);
        let cursor = match latest {
            Some((_, cursor)) => cursor.as_ref(),
            None => self.cursors.get(&removed.run),
        };
        // Where the id is not known, damage hides it.
        let is_same = |cursor: &Cursor| {
            let id = cursor.first_id();
            id.is_none() || id == removed.first_id
        };
        cursor.is_some_and(is_same)
    }

    /// Takes a cursor to begin behind.
    pub(crate) fn start_after(&mut self, cursor: Cursor) {
        self.cursors.insert(cursor.run().clone(), cursor);
    }

    /// Takes the cursor of a run that is good once `taken` bytes of all that is written
    /// were read; `None`: the run is gone.
    pub(crate) fn record(&mut self, taken: u64, run: RunId, cursor: Option<Cursor>) {
        if self.is_used() && self.waiting.insert((taken, run), cursor).is_none() {
            self.pause = ACK_POLL_MIN;
        }
    }

    /// Takes a position in `retired.jsonl` that is good once `taken` bytes of all that is
    /// written were read.
    pub(crate) fn record_retired(&mut self, taken: u64, position: RetiredPosition) {
        let latest = self.waiting_retired.values().next_back().copied();
        if latest.or(self.retired) != Some(position) {
            self.waiting_retired.insert(taken, position);
            self.pause = ACK_POLL_MIN;
        }
    }

    /// Whether cursors wait until more is read.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.waiting_retired.is_empty()
    }

    /// Takes note that so many bytes were read.
    pub(crate) fn ack(&mut self, read: u64) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= read
        {
            let ((_, run), cursor) = first.remove_entry();
            self.unsaved |= match cursor {
                None => self.cursors.remove(&run).is_some(),
                Some(cursor) => {
                    self.cursors.get(&run) != Some(&cursor) && {
                        self.cursors.insert(run, cursor);
                        true
                    }
                }
            };
            self.pause = ACK_POLL_MIN;
        }
        while let Some(first) = self.waiting_retired.first_entry()
            && *first.key() <= read
        {
            // The first one is saved with the first cursor, or at the end.
            self.unsaved |= self.retired.is_some();
            self.retired = Some(first.remove());
        }
        self.next_look = Instant::now() + self.pause;
        self.pause = ACK_POLL_MAX.min(self.pause * 2);
    }

    /// When the next look at what was read, or the next save, is due, if any is.
    pub(crate) fn due(&self) -> Option<Instant> {
        let look = self.is_waiting().then_some(self.next_look);
        let save = self.unsaved.then_some(self.next_save);
        let first = look.into_iter().chain(save).min();
        first.filter(|_| self.file.is_some())
    }

    /// Saves what is not saved, if there is such and it is time to.
    pub(crate) fn save_in_time(&mut self) -> Result<()> {
        if self.unsaved && self.next_save <= Instant::now() {
            self.save()?;
        }
        Ok(())
    }

    /// Saves what is not saved, if there is such.
    pub(crate) fn save(&mut self) -> Result<()> {
        let is_due = self.unsaved || self.retired != self.saved_retired;
        let Some(file) = self.file.as_mut().filter(|_| is_due) else {
            return Ok(());
        };
        let begun = Instant::now();
        if self.to_file {
            // A cursor that survives a power cut must not pass lines that did not.
            rustix::fs::fdatasync(io::stdout()).context("cannot sync stdout")?;
        }
        file.save(self.cursors.values(), self.retired)?;
        self.unsaved = false;
        self.saved_retired = self.retired;
        self.next_save = Instant::now() + begun.elapsed() * SAVE_BACKOFF;
        Ok(())
    }

    /// Tells the cursors, on stderr, where they were asked for.
    pub(crate) fn show(&self) {
        for cursor in self.cursors.values().filter(|_| self.show) {
            print_stderr(format_args!("cursor={cursor}"));
        }
    }
}
