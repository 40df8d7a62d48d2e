//! The fold of a run's events into its state, with one rule for checkpoints and damage.
//!
//! Every reader that needs the state of a run uses it: `status`, the live view, joining jobs,
//! recovery, rollback, gc and `replay --state`.
//!
//! - Reading starts at the newest full checkpoint, see [`since_checkpoint`]. A sealed segment
//!   that is longer than the checkpoint says may have more events than the checkpoint. One that
//!   is shorter or missing cannot.
//! - If events before a full checkpoint are missing, the checkpoint replaces the state, because
//!   its writer had read them.

use super::missing_active::ActiveCheck;
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
    pub(super) fn resume(state: RunState, next_seq: u64) -> Self {
        Self {
            state,
            next_seq,
            ..Self::default()
        }
    }

    /// Records that damage hides events from the state.
    pub(super) fn mark_uncertain(&mut self) {
        self.lost = true;
    }

    /// Applies the next item.
    pub fn apply(&mut self, item: &Item<'_>) {
        match item {
            Item::Event(env, line) => self.apply_event(env, line),
            Item::Foreign(_, line) => apply_foreign(&mut self.state, line),
            // The next checkpoint has their state.
            Item::Dropped(_) => self.lost = true,
            Item::Damage(damage) => match damage.reason {
                // The event was already applied.
                DamageReason::Repeated => {}
                DamageReason::Gap => self.lost = true,
                _ => self.damaged = true,
            },
        }
    }

    /// Returns whether damage hides events, so that the state may not be that of the run.
    ///
    /// Damage before the last full checkpoint hides nothing. Damaged lines between two events
    /// with consecutive numbers do not either: they had no sequence number, and were never
    /// events of runlog.
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
            // A log cannot start with a checkpoint that lacks a part of the state.
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
    let segments = open_segments(dir)?;
    let check = ActiveCheck::new(dir, &segments)?;
    let mut reader = Reader::from_segments(since_checkpoint(segments)).checking(check);
    let mut fold = Fold::default();
    while let Some(item) = reader.next_item()? {
        fold.apply(&item);
    }
    Ok((fold, reader.end()))
}
