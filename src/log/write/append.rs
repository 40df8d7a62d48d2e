//! The append operation on a locked run.
//!
//! 1. The known end of the log is brought up to date and, if it is torn, repaired.
//! 2. The batch is admitted: a closed run accepts only what may follow its close.
//! 3. Sequence numbers and ids are assigned, blocks are reserved, and all lines are written
//!    in one write.

use super::batch::{Appended, Batch, Close, LogView};
use super::draft::Draft;
use super::handle::RunHandle;
use super::locked::LockedRun;
use super::tail::Tail;
use super::writer_state::{CATCH_UP_LIMIT_BYTES, LOCKED_READ_LIMIT_BYTES};
use crate::log::error::{AppendError, Refusal, StorageError};
use crate::log::format::job_counts::JobCounts;
use crate::log::state::run_state::RunState;

/// A batch, or a function that creates it under the locks.
pub(crate) enum BatchRequest<'a> {
    /// A batch that does not depend on the log.
    Ready(&'a [Draft]),
    /// A batch that depends on whether the run is open.
    FromView(MakeBatch<'a, ()>),
    /// A batch that depends on the number of jobs.
    FromCounts(MakeBatch<'a, JobCounts>),
    /// A batch that depends on the state of the run.
    FromState(MakeBatch<'a, RunState>),
}

/// Creates a batch from the known facts about the log.
pub(crate) type MakeBatch<'a, T> = &'a mut dyn FnMut(LogView, &T) -> Result<Batch, AppendError>;

/// Where long parts of the log may be read and folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldPolicy {
    /// Only without the locks, because it takes longer than others wait for them.
    Unlocked,
    /// Under the locks, because the log grew faster than it could be read without them.
    Locked,
}

impl FoldPolicy {
    /// Returns the maximum number of bytes to read under the locks to bring the end of the log
    /// up to date.
    fn read_limit(self) -> u64 {
        match self {
            Self::Unlocked => LOCKED_READ_LIMIT_BYTES,
            Self::Locked => u64::MAX,
        }
    }
}

/// The outcome of an attempt to append.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The batch was appended.
    Done(Appended),
    /// Nothing was written, because the end of the log must be found first.
    NeedsTail,
    /// Nothing was written, because the state of the run must be folded first.
    NeedsState,
}

/// Appends a batch.
///
/// # Errors
/// The batch is rejected, or not all of it was written.
pub(crate) fn append(
    run: &mut LockedRun<'_>,
    request: &mut BatchRequest<'_>,
    foreign: ForeignPolicy,
    fold: FoldPolicy,
) -> Result<Attempt, AppendError> {
    if !run.refresh_tail(fold.read_limit())? {
        return Ok(Attempt::NeedsTail);
    }
    if foreign == ForeignPolicy::Refuse && run.writer().tail().is_some_and(Tail::only_foreign) {
        let run = run.handle().run().clone();
        return Err(Refusal::Foreign { run }.into());
    }
    let mut repairs = run.recover_tail()?;
    let Some(is_closed) = run.is_closed(fold.read_limit())? else {
        return Ok(Attempt::NeedsTail);
    };
    let is_ready = match request {
        BatchRequest::FromState(_) => has_state(run, fold)?,
        BatchRequest::FromCounts(_) => has_counts(run, fold)?,
        BatchRequest::Ready(_) | BatchRequest::FromView(_) => true,
    };
    if !is_ready {
        return Ok(Attempt::NeedsState);
    }
    let view = LogView {
        is_new: run.writer().tail().is_none_or(|tail| !tail.started),
        is_closed,
        is_uncertain: run.writer().is_uncertain(),
    };
    let batch;
    let (drafts, close) = match request {
        BatchRequest::Ready(drafts) => (*drafts, Close::No),
        BatchRequest::FromView(make) => {
            batch = make(view, &())?;
            (&*batch.drafts, batch.close)
        }
        BatchRequest::FromCounts(make) => {
            batch = make(view, &run.writer().job_counts().unwrap_or_default())?;
            (&*batch.drafts, batch.close)
        }
        BatchRequest::FromState(make) => {
            batch = make(view, run.state()?)?;
            (&*batch.drafts, batch.close)
        }
    };
    if is_closed {
        check_may_follow_close(run.handle(), drafts, close)?;
    }
    // A close carries the state, and the end of a rollback changes that of a closed run.
    let needs_state = close != Close::No || is_closed && !drafts.is_empty();
    let needs_counts = drafts.iter().any(|draft| draft.step().is_some());
    if needs_state && !has_state(run, fold)? || needs_counts && !has_counts(run, fold)? {
        return Ok(Attempt::NeedsState);
    }
    let encoded = run.encode(drafts, close)?;
    let mut appended = run.write_batch(encoded)?;
    if !repairs.is_empty() {
        repairs.append(&mut appended.bytes);
        appended.bytes = repairs;
    }
    appended.lost = run.writer().take_lost();
    Ok(Attempt::Done(appended))
}

/// Returns whether the state of the run is known, after folding the log if `fold` allows that.
fn has_state(run: &mut LockedRun<'_>, fold: FoldPolicy) -> Result<bool, StorageError> {
    let writer = run.writer();
    // A fold may read as much under the locks as catching up may. Leaving the locks for a short
    // log would let a busy writer turn it into a long one.
    let is_cheap = writer.state().is_some() || writer.len() <= CATCH_UP_LIMIT_BYTES;
    if is_cheap || fold == FoldPolicy::Locked {
        run.state()?;
        return Ok(true);
    }
    Ok(false)
}

/// Returns whether the counts of jobs are known, after folding the log if `fold` allows that.
fn has_counts(run: &mut LockedRun<'_>, fold: FoldPolicy) -> Result<bool, StorageError> {
    // At the start of a log, keeping its state up to date costs nothing.
    let is_empty = run.writer().len() == 0;
    if !is_empty && run.writer().job_counts().is_some() {
        return Ok(true);
    }
    has_state(run, fold)
}

/// Rejects events that may not follow the close of a run.
fn check_may_follow_close(
    handle: &RunHandle,
    drafts: &[Draft],
    close: Close,
) -> Result<(), AppendError> {
    let is_refused = |draft: &Draft| !draft.kind().may_follow_close();
    if close != Close::No || drafts.iter().any(is_refused) {
        let run = handle.run().clone();
        return Err(Refusal::Closed { run }.into());
    }
    Ok(())
}

/// Whether a run that another program wrote accepts events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForeignPolicy {
    /// It does not, because the other program's reader would reject them.
    #[default]
    Refuse,
    /// It does.
    Accept,
}
