//! The cursors of lines that were written and, as far as `tail` can know, read. They are saved
//! to a file and printed at the end.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{FileType, fstat};

use crate::cli::context::print_stderr;
use crate::cli::tail::args::Args;
use crate::log::{Cursor, CursorFile, CursorFileError, RemovedRun, RetiredPosition, SavedCursors};
use crate::volume::RunId;

/// Waits this many times the duration of the last save before saving again, so that following
/// many busy runs does not degenerate into saving cursors.
const SAVE_BACKOFF: u32 = 9;
/// The first delay before checking how much of a pipe was read, since a pipe does not report
/// reads.
const ACK_POLL_MIN: Duration = Duration::from_millis(1);
/// The maximum delay between two such checks; each delay is twice as long as the one before.
const ACK_POLL_MAX: Duration = Duration::from_secs(1);

/// The cursor of each run, after the last line that was read.
#[derive(Debug)]
pub(crate) struct CursorStore {
    file: Option<CursorFile>,
    show: bool,
    cursors: BTreeMap<RunId, Cursor>,
    /// Cursors that become valid when this many bytes of the output were read; `None` if the run
    /// was removed. There are at most as many as lines in the buffer and in the pipe.
    waiting: BTreeMap<(u64, RunId), Option<Cursor>>,
    /// The position in `retired.jsonl` up to which everything was read.
    retired: Option<RetiredPosition>,
    /// The same position as saved in the cursor file.
    saved_retired: Option<RetiredPosition>,
    /// Positions in `retired.jsonl` that become valid when this many bytes were read.
    waiting_retired: BTreeMap<u64, RetiredPosition>,
    /// The current delay between checks of how much was read.
    pause: Duration,
    next_poll: Instant,
    unsaved: bool,
    next_save: Instant,
    /// Whether stdout is a file, which must be synced before a cursor is saved.
    to_file: bool,
}

impl CursorStore {
    /// Opens the cursor file, if there is one, and reads its cursors.
    pub(crate) fn open(args: &Args) -> Result<Self, CursorFileError> {
        let (file, saved) = match &args.cursor_file {
            Some(path) => CursorFile::open(path).map(|(file, saved)| (Some(file), saved))?,
            None => (None, SavedCursors::default()),
        };
        let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
        Ok(Self {
            file,
            show: args.show_cursor,
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
            next_poll: Instant::now(),
            unsaved: false,
            next_save: Instant::now(),
            to_file: fstat(io::stdout()).is_ok_and(|stat| is_file(stat.st_mode)),
        })
    }

    /// Returns whether cursors are saved or shown.
    pub(crate) fn is_used(&self) -> bool {
        self.file.is_some() || self.show
    }

    /// Returns the current cursors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cursor> {
        self.cursors.values()
    }

    /// Returns the cursor of a run.
    pub(crate) fn cursor_of(&self, run: &RunId) -> Option<&Cursor> {
        self.cursors.get(run)
    }

    /// Returns whether an earlier call saved cursors, so that a run without a cursor is new.
    pub(crate) fn is_resumed(&self) -> bool {
        !self.cursors.is_empty() || self.saved_retired.is_some()
    }

    /// Returns the position in `retired.jsonl`; `None` if none was recorded.
    pub(crate) fn retired(&self) -> Option<RetiredPosition> {
        self.retired
    }

    /// Returns whether a removed run has a cursor, saved or not.
    pub(crate) fn has_cursor_of(&self, removed: &RemovedRun) -> bool {
        let waiting = self.waiting.iter().rev();
        let latest = waiting.clone().find(|((_, run), _)| *run == removed.run);
        let cursor = match latest {
            Some((_, cursor)) => cursor.as_ref(),
            None => self.cursors.get(&removed.run),
        };
        // An unknown ID is hidden by damage.
        let is_same = |cursor: &Cursor| {
            let id = cursor.first_id();
            id.is_none() || id == removed.first_id
        };
        cursor.is_some_and(is_same)
    }

    /// Adds a cursor to start after.
    pub(crate) fn start_after(&mut self, cursor: Cursor) {
        self.cursors.insert(cursor.run().clone(), cursor);
    }

    /// Records the cursor of a run, valid when `taken` bytes of the output were read; `None` if
    /// the run was removed.
    pub(crate) fn record(&mut self, taken: u64, run: RunId, cursor: Option<Cursor>) {
        if self.is_used() && self.waiting.insert((taken, run), cursor).is_none() {
            self.pause = ACK_POLL_MIN;
        }
    }

    /// Records a position in `retired.jsonl`, valid when `taken` bytes of the output were read.
    pub(crate) fn record_retired(&mut self, taken: u64, position: RetiredPosition) {
        let latest = self.waiting_retired.values().next_back().copied();
        if latest.or(self.retired) != Some(position) {
            self.waiting_retired.insert(taken, position);
            self.pause = ACK_POLL_MIN;
        }
    }

    /// Returns whether cursors wait until more is read.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.waiting_retired.is_empty()
    }

    /// Makes the cursors valid that need at most `read` bytes.
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
            // The first position is saved with the first cursor, or at the end.
            self.unsaved |= self.retired.is_some();
            self.retired = Some(first.remove());
        }
        self.next_poll = Instant::now() + self.pause;
        self.pause = ACK_POLL_MAX.min(self.pause * 2);
    }

    /// Returns when the next check or save is due, if any.
    pub(crate) fn due(&self) -> Option<Instant> {
        let look = self.is_waiting().then_some(self.next_poll);
        let save = self.unsaved.then_some(self.next_save);
        let first = look.into_iter().chain(save).min();
        first.filter(|_| self.file.is_some())
    }

    /// Saves unsaved cursors if a save is due.
    pub(crate) fn save_in_time(&mut self) -> Result<()> {
        if self.unsaved && self.next_save <= Instant::now() {
            self.save()?;
        }
        Ok(())
    }

    /// Saves unsaved cursors, if any.
    pub(crate) fn save(&mut self) -> Result<()> {
        let is_due = self.unsaved || self.retired != self.saved_retired;
        let Some(file) = self.file.as_mut().filter(|_| is_due) else {
            return Ok(());
        };
        let started = Instant::now();
        if self.to_file {
            // A cursor that survives a power cut must not be past lines that did not.
            rustix::fs::fdatasync(io::stdout()).context("cannot sync stdout")?;
        }
        file.save(self.cursors.values(), self.retired)?;
        self.unsaved = false;
        self.saved_retired = self.retired;
        self.next_save = Instant::now() + started.elapsed() * SAVE_BACKOFF;
        Ok(())
    }

    /// Prints the cursors to stderr if the user asked for them.
    pub(crate) fn show(&self) {
        for cursor in self.cursors.values().filter(|_| self.show) {
            print_stderr(format_args!("cursor={cursor}"));
        }
    }
}
