//! The cursors of what was written out: kept in a file, shown at the end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::fs::{FileType, fstat};

use super::super::context::say;
use crate::log::{Cursor, CursorFile, CursorFileError};
use crate::volume::RunId;

/// So many times as long as a save took, the next one is put off: whoever follows many
/// busy runs is not to do nothing but save.
const PAUSE: u32 = 9;

/// The cursor of each run, behind the last line that was written out.
#[derive(Debug)]
pub(super) struct Ledger {
    file: Option<CursorFile>,
    show: bool,
    cursors: BTreeMap<RunId, Cursor>,
    unsaved: bool,
    next_save: Instant,
    /// Whether stdout is a file, which has to be synced before a cursor is.
    to_file: bool,
}

impl Ledger {
    /// Takes the cursor file, if there is one, with the cursors in it.
    pub(super) fn open(path: Option<&Path>, show: bool) -> Result<Self, CursorFileError> {
        let (file, cursors) = match path {
            Some(path) => CursorFile::open(path).map(|(file, found)| (Some(file), found))?,
            None => (None, Vec::new()),
        };
        let is_file = |mode| FileType::from_raw_mode(mode) == FileType::RegularFile;
        Ok(Self {
            file,
            show,
            cursors: cursors.into_iter().map(|c| (c.run().clone(), c)).collect(),
            unsaved: false,
            next_save: Instant::now(),
            to_file: fstat(io::stdout()).is_ok_and(|stat| is_file(stat.st_mode)),
        })
    }

    /// Whether anybody wants cursors.
    pub(super) fn is_used(&self) -> bool {
        self.file.is_some() || self.show
    }

    /// The cursors as they are.
    pub(super) fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.cursors.values()
    }

    /// The cursor of a run.
    pub(super) fn of(&self, run: &RunId) -> Option<&Cursor> {
        self.cursors.get(run)
    }

    /// Takes the cursor of a run that was written out up to there; `None`: the run is gone.
    pub(super) fn note(&mut self, run: RunId, cursor: Option<Cursor>) {
        self.unsaved |= match cursor {
            None => self.cursors.remove(&run).is_some(),
            Some(cursor) if self.cursors.get(&run) == Some(&cursor) => false,
            Some(cursor) => {
                self.cursors.insert(run, cursor);
                true
            }
        };
    }

    /// Whether there is none yet.
    pub(super) fn is_empty(&self) -> bool {
        self.cursors.is_empty()
    }

    /// When the next save is due, if there is anything to save.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.file.is_some() && self.unsaved).then_some(self.next_save)
    }

    /// Saves what is not saved, if there is such.
    pub(super) fn save(&mut self) -> Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.unsaved) else {
            return Ok(());
        };
        let begun = Instant::now();
        if self.to_file {
            // A cursor that outlives a power loss must not tell of lines that did not.
            rustix::fs::fdatasync(io::stdout()).context("stdout cannot be synced")?;
        }
        file.save(self.cursors.values())?;
        self.unsaved = false;
        self.next_save = Instant::now() + begun.elapsed() * PAUSE;
        Ok(())
    }

    /// Tells the cursors, on stderr, where they were asked for.
    pub(super) fn show(&self) {
        for cursor in self.cursors.values().filter(|_| self.show) {
            say(format_args!("cursor={cursor}"));
        }
    }
}
