//! The fold of a run's events into its state, with one rule for checkpoints and damage.
//!
//! Every reader that needs the state of a run uses it: `status`, the live view, joining jobs,
//! recovery, undoing, gc and `replay --state`.
//!
//! - Reading starts at the newest full checkpoint, see [`since_checkpoint`]: a sealed segment
//!   that is longer than its checkpoint says may tell more than the checkpoint. One that is
//!   shorter or missing cannot.
//! - A full checkpoint replaces the state where events before it are missing, because its
//!   writer had seen them.

use super::reader::{Item, Reader};
use crate::log::error::StorageError;
use crate::log::format::envelope::{DamageReason, Envelope};
use crate::log::format::event_type::EventType;
use crate::log::interop::foreign::apply_foreign;
use crate::log::segment::segment_set::{open_segments, since_checkpoint};
use crate::log::state::run_state::RunState;
use crate::volume::{Dir, FileKey};

/// The state of a run, folded item by item.
#[derive(Debug, Default)]
pub struct Fold {
    /// The state so far.
    pub state: RunState,
    /// The sequence number after the last valid event.
    next_seq: u64,
    /// Whether lines after the last valid event are damaged.
    damaged: bool,
    /// Whether events are missing since the last full checkpoint.
    lost: bool,
}

impl Fold {
    /// Creates a fold that continues from a known state and sequence number.
    pub(super) fn resume(state: RunState, next_seq: u64, lost: bool) -> Self {
        Self {
            state,
            next_seq,
            damaged: false,
            lost,
        }
    }

    /// Applies the next item.
    pub fn apply(&mut self, item: &Item<'_>) {
        match item {
            Item::Event(env, line) => self.apply_event(env, line),
            Item::Foreign(_, line) => apply_foreign(&mut self.state, line),
            Item::Damage(damage) => match damage.reason {
                // The event was applied the first time.
                DamageReason::Repeated => {}
                DamageReason::Gap => self.lost = true,
                _ => self.damaged = true,
            },
        }
    }

    /// Returns whether damage hides events, so that the state may not be that of the run.
    ///
    /// Damage before the last full checkpoint hides nothing. Neither do damaged lines between
    /// two events that follow each other: they had no sequence number, and were never events
    /// of runlog.
    pub fn is_uncertain(&self) -> bool {
        self.damaged || self.lost
    }

    fn apply_event(&mut self, env: &Envelope<'_>, line: &[u8]) {
        if std::mem::take(&mut self.damaged) {
            self.lost |= env.seq > self.next_seq;
        }
        self.next_seq = env.seq + 1;
        if env.kind != EventType::LogRotated {
            self.state.apply(env, line);
            return;
        }
        let is_first = self.state.first_id.is_none();
        if !self.lost && !is_first {
            self.state.apply(env, line);
            return;
        }
        let mut checkpoint = RunState::default();
        checkpoint.apply(env, line);
        if checkpoint.jobs_truncated || checkpoint.first_id.is_none() {
            self.state.apply(env, line);
            // A log cannot begin with a checkpoint that lacks a part of the state.
            self.lost |= is_first && env.seq > 0;
        } else {
            self.state = checkpoint;
            self.lost = false;
        }
    }
}

/// Returns the state of the run in `dir`, from its newest checkpoint on, or from its first
/// event if it has none.
///
/// # Errors
/// A segment cannot be read.
pub fn fold(dir: &Dir) -> Result<RunState, StorageError> {
    fold_to_end(dir).map(|(fold, _)| fold.state)
}

/// Folds the run in `dir`, see [`fold`], and returns the file and the offset at which reading
/// ended.
pub(crate) fn fold_to_end(dir: &Dir) -> Result<(Fold, Option<(FileKey, u64)>), StorageError> {
    let mut reader = Reader::from_segments(since_checkpoint(open_segments(dir)?));
    let mut fold = Fold::default();
    while let Some(item) = reader.next_item()? {
        fold.apply(&item);
    }
    Ok((fold, reader.end()))
}
