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
    /// Checks whether to act on the state of a run from which damage hides events.
    ///
    /// # Errors
    /// The policy is to refuse.
    pub fn allow_uncertain(self, run: &RunId) -> Result<(), UncertainLog> {
        match self {
            Self::Refuse => Err(UncertainLog { run: run.clone() }),
            Self::Act => Ok(()),
        }
    }
}
