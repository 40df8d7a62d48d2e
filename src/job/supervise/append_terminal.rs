//! Appending the last events of a job, which cannot be appended later.

use std::time::{Duration, Instant};

use super::supervisor::Supervisor;
use crate::job::spec::job_spec::AfterJob;
use crate::log::{AppendError, Batch, Close, Durability, EventType, LogView, StorageError};
use crate::volume::error_chain;

/// How long to wait for the lock between two checks for signals.
const LOCK_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum number of retries of the last event of a job after an error.
const MAX_END_RETRIES: u32 = 3;

impl Supervisor<'_> {
    /// Appends events that cannot be appended later, and retries if the error allows it. Returns
    /// the jobs that kept the run open; `None` if the events may not be in the log.
    pub(crate) fn append_terminal(
        &mut self,
        what: &str,
        mut make: impl FnMut(LogView) -> Result<Batch, AppendError>,
    ) -> Option<Vec<String>> {
        // After a short write, a retry must leave out the events that are in the log.
        let mut in_log = 0;
        let deadline = Instant::now() + EventType::JobFailed.lock_budget();
        let mut tries = 0;
        loop {
            let appended = self
                .log
                .append_with(Durability::Power, LOCK_POLL_INTERVAL, |view| {
                    let mut batch = make(view)?;
                    batch.drafts.drain(..in_log.min(batch.drafts.len()));
                    Ok(batch)
                });
            if let Err(AppendError::Partial { written, .. }) = &appended {
                in_log += *written;
            }
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
                // A signal can cancel the wait between two attempts to get the lock.
                Err(AppendError::NotWritten(StorageError::LockTimeout { .. }))
                    if Instant::now() < deadline && self.control.shutdown_requested().is_none() => {
                }
                Err(
                    AppendError::Partial { .. }
                    | AppendError::NotWritten(StorageError::NoSpace { .. } | StorageError::Volume(_)),
                ) if tries < MAX_END_RETRIES => {
                    tries += 1;
                }
                Err(e @ AppendError::NotDurable(_)) => {
                    (self.on_warning)(&format!("{what}: {}", error_chain(&e)));
                    return None;
                }
                Err(e) => {
                    let what = if in_log > 0 {
                        "the close of the run"
                    } else {
                        what
                    };
                    (self.on_warning)(&format!("{what} is not in the log: {}", error_chain(&e)));
                    return None;
                }
            }
        }
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
