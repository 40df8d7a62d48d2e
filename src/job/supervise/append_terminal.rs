//! Appending the last events of a job, which cannot be appended later.

use super::supervisor::Supervisor;
use crate::job::spec::job_spec::AfterJob;
use crate::log::{
    AppendError, Batch, Close, Draft, DraftError, Durability, EventType, LogView, StorageError,
};
use crate::volume::error_chain;

/// The maximum number of retries of the last event of a job after an error.
const MAX_END_RETRIES: u32 = 3;

impl Supervisor<'_> {
    /// Appends an event that cannot be appended later; see [`Supervisor::append_unwritten`].
    pub(crate) fn append_terminal(
        &mut self,
        what: &str,
        draft: Result<Draft, DraftError>,
        close: Close,
    ) -> Option<Vec<String>> {
        match draft {
            Ok(draft) => self.unwritten.push(draft),
            Err(e) => {
                (self.on_warning)(&format!("{what} is not in the log: {}", error_chain(&e)));
                return None;
            }
        }
        self.append_unwritten(what, close)
    }

    /// Appends the events that are not in the log yet, and retries if the error allows it. Not even
    /// a signal shortens the wait for the lock. Returns the jobs that kept the run open; `None` if
    /// the events may not be in the log.
    pub(crate) fn append_unwritten(&mut self, what: &str, close: Close) -> Option<Vec<String>> {
        let mut tries = 0;
        let failed = loop {
            let unwritten = &self.unwritten;
            let budget = EventType::JobFailed.lock_budget();
            let appended = self.log.append_with(Durability::Power, budget, |view| {
                Ok(Batch {
                    drafts: unwritten.drafts(),
                    close: close_if_open(close, view),
                })
            });
            self.unwritten.remove_written(&appended);
            match appended {
                Ok(appended) => {
                    if let Some(lost) = appended.lost {
                        (self.on_warning)(&lost.to_string());
                    }
                    if appended.uncertain {
                        (self.on_warning)(
                            "the run stays open, because damage in its log may hide events",
                        );
                    }
                    return Some(appended.unfinished);
                }
                Err(
                    AppendError::Partial { .. }
                    | AppendError::NotWritten(StorageError::NoSpace { .. } | StorageError::Volume(_)),
                ) if tries < MAX_END_RETRIES => {
                    tries += 1;
                }
                Err(e) => break e,
            }
        };
        if matches!(failed, AppendError::NotDurable(_)) {
            (self.on_warning)(&format!("{what}: {}", error_chain(&failed)));
            return None;
        }
        let what = if self.unwritten.is_empty() {
            "the close of the run"
        } else {
            what
        };
        (self.on_warning)(&format!(
            "{what} is not in the log: {}",
            error_chain(&failed)
        ));
        // A rollback whose start is not in the log does not run.
        self.unwritten.discard(EventType::JobRollbackStarted);
        None
    }
}

/// Returns whether the end of a job closes its run.
pub(crate) fn close_policy(after: AfterJob) -> Close {
    match after {
        AfterJob::CloseOwn => Close::IfAllEnded,
        AfterJob::CloseIfLast => Close::IfCertain,
        AfterJob::StayOpen => Close::No,
    }
}

/// Returns the close to use, because another process may have closed the run in the meantime.
pub(crate) fn close_if_open(close: Close, view: LogView) -> Close {
    if view.is_closed { Close::No } else { close }
}
