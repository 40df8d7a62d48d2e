//! The fold of a run that is read from its first segment on.

use super::reader::Item;
use crate::log::format::event_type::EventType;
use crate::log::state::run_state::RunState;

/// The state of a run, item by item. What damage took is brought back by the next
/// checkpoint, whose writer had seen it.
#[derive(Debug, Default)]
pub struct Fold {
    /// The state so far.
    pub state: RunState,
    damaged: bool,
}

impl Fold {
    /// Takes what comes next.
    pub fn apply(&mut self, item: &Item<'_>) {
        match item {
            Item::Damage(_) => self.damaged = true,
            Item::Event(env, line) if self.damaged && env.kind == EventType::LogRotated => {
                let mut checkpoint = RunState::default();
                checkpoint.apply(env, line);
                if checkpoint.jobs_truncated {
                    self.state.apply(env, line);
                } else {
                    self.state = checkpoint;
                    self.damaged = false;
                }
            }
            item => item.fold_into(&mut self.state),
        }
    }
}
