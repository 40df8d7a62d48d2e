//! With a cursor file: runs that were removed before any of their lines were shown.

use anyhow::Result;

use super::follow::Tailer;
use crate::cli::context::{print_stderr, warn_damage};
use crate::log::RemovedRun;

impl Tailer<'_> {
    /// Reads which runs gc removed.
    ///
    /// Must run before the cursor of a removed run is dropped: a run with a cursor was shown.
    pub(crate) fn read_removed(&mut self) -> Result<()> {
        let new = self.removed.update(&self.volume)?;
        if self.args.cursor_file.is_none() {
            return Ok(());
        }
        if new.lost_position || !new.damage.is_empty() {
            self.problems.damage = true;
            self.write_out()?;
            warn_damage(&new.damage);
        }
        if new.lost_position {
            print_stderr(
                "warning: `retired.jsonl` was trimmed or replaced: removed runs may be missing",
            );
        }
        let is_unshown = |removed: &RemovedRun| {
            self.requested.includes(&removed.run) && !self.cursors.has_cursor_of(removed)
        };
        self.unshown.extend(new.runs.into_iter().filter(is_unshown));
        Ok(())
    }

    /// Reports the runs that gc removed since the cursor file was saved and that have shown no
    /// lines.
    ///
    /// Must run before the cursor of a removed run is dropped: if only one of the two is saved,
    /// it must be this one.
    pub(crate) fn report_unshown(&mut self) -> Result<()> {
        if self.args.cursor_file.is_none() {
            return Ok(());
        }
        for removed in std::mem::take(&mut self.unshown) {
            if self.cursors.has_cursor_of(&removed) {
                continue;
            }
            let runs = self.runs.as_ref();
            if runs.is_some_and(|runs| removed.still_exists(runs)) {
                // The run is shown, or found to be removed, before its tombstone counts as read.
                self.unshown.push(removed);
                continue;
            }
            self.problems.damage = true;
            self.writer.gap(&removed.run, &removed.gap())?;
        }
        let position = match self.unshown.first() {
            Some(removed) => removed.before,
            None => self.removed.position(),
        };
        self.cursors
            .record_retired(self.writer.accepted(), position);
        Ok(())
    }
}
