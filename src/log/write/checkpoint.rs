//! The checkpoint: the first event of a segment that follows a sealed one.

use serde::Serialize;

use super::draft::Draft;
use crate::log::error::DraftError;
use crate::log::format::event_type::EventType;
use crate::log::format::payload::Sealed;
use crate::log::state::run_state::RunState;
use crate::volume::RunId;

#[derive(Serialize)]
struct LogRotated<'a> {
    sealed: &'a Sealed,
    state: &'a RunState,
}

/// Creates the checkpoint that follows `sealed`. `state` is the state of the run after the
/// last sealed event.
pub(crate) fn checkpoint(
    run: &RunId,
    sealed: &Sealed,
    state: &RunState,
) -> Result<Draft, DraftError> {
    let draft = |state: &RunState| {
        let payload = LogRotated { sealed, state };
        Draft::new_unchecked(EventType::LogRotated, run, None, &payload)
    };
    match draft(state) {
        // The sealed segments still have what such a checkpoint leaves out.
        Err(DraftError::TooLong { .. }) => draft(&state.truncated()?),
        made => made,
    }
}
