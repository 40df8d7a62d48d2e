//! The checkpoint: the first event of a segment that follows a sealed one.

use super::draft::Draft;
use crate::log::error::DraftError;
use crate::log::format::payload::{LogRepaired, LogRotated, RepairAction, Sealed};
use crate::log::state::run_state::RunState;
use crate::volume::RunId;

/// Creates the checkpoint that follows `sealed`. `state` is the state of the run after the
/// last sealed event.
pub(crate) fn checkpoint(
    run: &RunId,
    sealed: &Sealed,
    state: &RunState,
) -> Result<Draft, DraftError> {
    let draft = |state: &RunState| {
        let sealed = sealed.clone();
        Draft::reserved(run, &LogRotated { sealed, state })
    };
    match draft(state) {
        // The sealed segments still have the part that this checkpoint omits.
        Err(DraftError::TooLong { .. }) => draft(&state.truncated()?),
        made => made,
    }
}

/// Creates the record that the previous checkpoint may lack events of `file`.
pub(crate) fn loss_record(
    run: &RunId,
    file: &str,
    action: RepairAction,
) -> Result<Draft, DraftError> {
    let payload = LogRepaired {
        file: file.into(),
        offset: 0,
        bytes: 0,
        action,
        quarantine: None,
        lost_first_seq: None,
        lost_last_seq: None,
    };
    Draft::reserved(run, &payload)
}
