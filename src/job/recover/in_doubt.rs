//! The policy for runs whose log leaves doubt.

use crate::volume::RunId;

/// The policy for a run whose log does not contain everything that happened: damage may hide
/// events, or a rollback was started and has no terminal event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InDoubt {
    /// Report it and change nothing: a job that seems lost may have completed, and a rollback
    /// may have had its effect.
    Refuse,
    /// Act on the known facts.
    Act,
}

/// An error about a run whose log may lack events.
#[derive(Debug, thiserror::Error)]
#[error("the log of run `{run}` is damaged after its last checkpoint: events may be missing")]
pub struct UncertainLog {
    /// The run.
    pub run: RunId,
}

impl InDoubt {
    /// Checks that the state of a run is certain enough to act on it. `is_uncertain` says
    /// whether damage hides events from the state.
    ///
    /// # Errors
    /// Damage hides events, and the policy is to refuse.
    pub fn check(self, run: &RunId, is_uncertain: bool) -> Result<(), UncertainLog> {
        if self == Self::Refuse && is_uncertain {
            return Err(UncertainLog { run: run.clone() });
        }
        Ok(())
    }
}
