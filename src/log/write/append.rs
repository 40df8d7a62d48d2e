//! The append operation on a locked run.
//!
//! 1. The known end of the log is brought up to date and, if it is torn, repaired.
//! 2. The batch is admitted: a closed run accepts only what may follow its close.
//! 3. Sequence numbers and ids are assigned, blocks are reserved, and all lines are written
//!    in one write.

use super::batch::{Appended, Batch, Close, LogView};
use super::draft::Draft;
use super::locked::LockedRun;
use super::tail::Tail;
use crate::log::error::{AppendError, Refusal};

/// A batch, or how to make it.
pub(crate) enum BatchRequest<'a> {
    /// A batch that does not depend on the log.
    Ready(&'a [Draft]),
    /// A batch that is made for the state of the run.
    Made(&'a mut dyn FnMut(&LogView<'_>) -> Result<Batch, AppendError>),
}

/// Where the log may be folded if the state of the run is needed and not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldPolicy {
    /// Only without the locks: folding a long log takes longer than others wait for them.
    Unlocked,
    /// Here, because the log grew faster than it could be folded without the locks.
    Locked,
}

/// The outcome of an attempt to append.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The batch was appended.
    Done(Appended),
    /// Nothing was written, because the state of the run must be folded first.
    NeedsState,
}

/// Appends a batch.
///
/// # Errors
/// The batch is refused, or not all of it was written.
pub(crate) fn append(
    run: &mut LockedRun<'_>,
    request: &mut BatchRequest<'_>,
    foreign: ForeignPolicy,
    fold: FoldPolicy,
) -> Result<Attempt, AppendError> {
    run.refresh_tail()?;
    if foreign == ForeignPolicy::Refuse && run.writer().tail().is_some_and(Tail::only_foreign) {
        let run = run.handle().run().clone();
        return Err(Refusal::Foreign { run }.into());
    }
    let mut repairs = run.recover_tail()?;
    let has_foreign = run.writer().tail().is_some_and(|tail| tail.foreign);
    let ended = run.writer().is_closed();
    // Only the state says whether another program closed the run. The end of a rollback
    // changes the summary of a closed one.
    let needs_state = match request {
        BatchRequest::Ready(drafts) => has_foreign || ended && !drafts.is_empty(),
        BatchRequest::Made(_) => true,
    };
    if needs_state && fold == FoldPolicy::Unlocked && run.writer().state().is_none() {
        return Ok(Attempt::NeedsState);
    }
    let is_closed = ended || has_foreign && run.state()?.is_closed();
    let batch = match request {
        BatchRequest::Ready(drafts) => {
            admit(run, is_closed, drafts, Close::No)?;
            run.encode(drafts, Close::No)?
        }
        BatchRequest::Made(make) => {
            let state = run.state()?;
            let batch = make(&LogView {
                is_new: state.opened_ts.is_none(),
                is_closed,
                state,
            })?;
            admit(run, is_closed, &batch.drafts, batch.close)?;
            run.encode(&batch.drafts, batch.close)?
        }
    };
    let mut appended = run.write_batch(batch)?;
    if !repairs.is_empty() {
        repairs.append(&mut appended.bytes);
        appended.bytes = repairs;
    }
    appended.lost = run.writer().take_lost();
    Ok(Attempt::Done(appended))
}

/// Refuses what may not follow the close of a run.
fn admit(
    run: &mut LockedRun<'_>,
    is_closed: bool,
    drafts: &[Draft],
    close: Close,
) -> Result<(), AppendError> {
    let is_refused = |draft: &Draft| !draft.kind().may_follow_close();
    if is_closed && (close != Close::No || drafts.iter().any(is_refused)) {
        let run = run.handle().run().clone();
        return Err(Refusal::Closed { run }.into());
    }
    if is_closed && !drafts.is_empty() {
        run.state()?;
    }
    Ok(())
}

/// Whether a run that another program wrote accepts events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForeignPolicy {
    /// It does not: the reader of that program would refuse them.
    #[default]
    Refuse,
    /// It does.
    Accept,
}
